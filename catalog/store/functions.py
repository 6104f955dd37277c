"""SQL functions: one constant each, with its comment. Those of triggers are in `guards`.

`crosslabel db upgrade` makes them anew when they change (`catalog.store.derived`), before the
views, with bodies that are not checked until they run: a body may use any view.
"""

from __future__ import annotations

from dataclasses import dataclass

from catalog.store.views import LABEL_VALUES


@dataclass(frozen=True)
class Function:
    """A SQL function: its name, argument types (for COMMENT and DROP), text and comment."""

    name: str
    signature: str
    create: str
    comment: str


LABEL_SET_ID_OF = Function(
    "label_set_id_of",
    "text",
    """
CREATE OR REPLACE FUNCTION label_set_id_of(label_set_name text) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    found bigint;
BEGIN
    SELECT label_set_id INTO found FROM label_set
    WHERE status = 'complete' AND name = split_part(label_set_name, '@', 1)
      AND (position('@' IN label_set_name) = 0
           OR edition::text = split_part(label_set_name, '@', 2))
    ORDER BY edition DESC LIMIT 1;
    IF found IS NULL THEN
        RAISE EXCEPTION 'no complete label set %', label_set_name
            USING HINT = 'crosslabel label list shows those that exist';
    END IF;
    RETURN found;
END $$
""",
    "The id of 'name' (newest complete edition) or 'name@edition'",
)

SAMPLE_ID_OF = Function(
    "sample_id_of",
    "text",
    """
CREATE OR REPLACE FUNCTION sample_id_of(sample_name text) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    found bigint;
BEGIN
    SELECT sample_id INTO found FROM sample WHERE name = sample_name;
    IF found IS NULL AND sample_name IS NOT NULL THEN
        RAISE EXCEPTION 'no sample %', sample_name;
    END IF;
    RETURN found;
END $$
""",
    "The id of a sample by its name",
)

# plpgsql, so that unknown names are refused even where there is no row to look at
COMPARISON_ROWS = Function(
    "comparison_rows",
    "text, text[], text",
    f"""
CREATE OR REPLACE FUNCTION comparison_rows(ref text, tests text[], sample text DEFAULT NULL)
RETURNS TABLE (ordinal bigint, label text, unit text, ref_set text, test_set text, star_id bigint,
               left_id bigint, right_id bigint, ref_value double precision,
               test_value double precision, delta double precision, delta_err double precision,
               sep_arcsec double precision)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    names text[] := array_prepend(ref, tests);
    ids bigint[] := (SELECT array_agg(label_set_id_of(u.name) ORDER BY u.ord)
                     FROM unnest(names) WITH ORDINALITY AS u (name, ord));
    wanted bigint := sample_id_of(sample);
    -- label sets of releases of one survey: no crossmatch pairs their entries, the star does
    releases boolean := NOT EXISTS (
        SELECT FROM unnest(ids) AS i (id) WHERE 'apogee' IS DISTINCT FROM (
            SELECT r.survey FROM stellar_label s JOIN source r USING (source_id)
            WHERE s.label_set_id = i.id LIMIT 1));
BEGIN
RETURN QUERY
WITH trained AS MATERIALIZED (
    SELECT DISTINCT t.star_id, t.source_id
    FROM label_set l JOIN training_member t USING (model_id)
    WHERE l.label_set_id = ANY(ids) AND l.kind = 'prediction'
), link AS (
    SELECT k.left_id, k.right_id, k.star_id, k.sep_arcsec, ARRAY[k.right_id, k.left_id] AS entries
    FROM star_link k WHERE k.sample_id = wanted AND NOT releases
    UNION ALL
    SELECT b.left_id, b.right_id, b.star_id, b.sep_arcsec, ARRAY[b.right_id, b.left_id]
    FROM best_match b WHERE wanted IS NULL AND NOT releases
    UNION ALL
    SELECT min(r.source_id), max(r.source_id), r.star_id, NULL, array_agg(r.source_id)
    FROM source r JOIN apogee_star p USING (source_id)
    WHERE releases AND p.is_primary AND r.star_id IS NOT NULL AND (wanted IS NULL OR r.star_id IN (
        SELECT k.star_id FROM star_link k WHERE k.sample_id = wanted))
    GROUP BY r.star_id
), unseen AS MATERIALIZED (
    SELECT DISTINCT ON (k.left_id, k.right_id)
           k.left_id, k.right_id, k.star_id, k.sep_arcsec, k.entries
    FROM link k
    WHERE NOT EXISTS (SELECT 1 FROM trained t WHERE t.star_id = k.star_id)
      AND NOT EXISTS (SELECT 1 FROM trained t WHERE t.source_id = k.left_id)
      AND NOT EXISTS (SELECT 1 FROM trained t WHERE t.source_id = k.right_id)
    ORDER BY k.left_id, k.right_id, k.sep_arcsec
), labelled AS (
    SELECT k.left_id, k.right_id, k.star_id, k.sep_arcsec, v.ordinal, v.label, v.unit,
           array_agg(s.source_id ORDER BY a.ord) AS sources,
           array_agg(v.value::double precision ORDER BY a.ord) AS value,
           array_agg(v.err::double precision ORDER BY a.ord) AS err
    FROM unseen k
    CROSS JOIN unnest(ids) WITH ORDINALITY AS a (label_set_id, ord)
    CROSS JOIN LATERAL (
        SELECT * FROM stellar_label x
        WHERE x.label_set_id = a.label_set_id AND x.source_id = ANY(k.entries)
        ORDER BY x.source_id = k.right_id DESC LIMIT 1
    ) AS s
    CROSS JOIN LATERAL (VALUES
        {LABEL_VALUES}
    ) AS v (ordinal, label, unit, value, err)
    WHERE v.value IS NOT NULL
    GROUP BY k.left_id, k.right_id, k.star_id, k.sep_arcsec, v.ordinal, v.label, v.unit
    HAVING count(*) = cardinality(ids)
), once AS (  -- a pair of two crossmatches, or another star beside it, adds no spectrum
    SELECT DISTINCT ON (d.ordinal, d.sources) d.* FROM labelled d
    ORDER BY d.ordinal, d.sources, d.sep_arcsec, d.left_id, d.right_id
)
SELECT t.n * 1000 + o.ordinal::bigint, o.label, o.unit, names[1], names[t.n], o.star_id,
       CASE WHEN releases THEN o.sources[1] ELSE o.left_id END,
       CASE WHEN releases THEN o.sources[t.n] ELSE o.right_id END,
       o.value[1], o.value[t.n], o.value[t.n] - o.value[1],
       sqrt(o.err[1] * o.err[1] + o.err[t.n] * o.err[t.n]), o.sep_arcsec
FROM once o CROSS JOIN generate_series(2, cardinality(ids)) AS t (n);
END $$
""",
    "Label sets against a reference, row by row: only spectra whose label all of the sets have "
    "(of a sample, or of all mutual nearest pairs; for APOGEE's releases among each other, entries "
    "of one star), without the stars that a predicting network was trained on; delta_err is NULL "
    "unless both errors are known",
)

COMPARE_LABEL_SETS = Function(
    "compare_label_sets",
    "text, text[], text",
    """
CREATE OR REPLACE FUNCTION compare_label_sets(ref text, tests text[], sample text DEFAULT NULL)
RETURNS TABLE (label text, unit text, ref_set text, test_set text, n bigint, n_stars bigint,
               bias double precision, sigma_mad double precision, seed_bias double precision,
               seed_scatter double precision, mae double precision, pull_sigma double precision)
LANGUAGE sql STABLE AS $$
WITH r AS MATERIALIZED (
    SELECT c.*, c.delta / nullif(c.delta_err, 0) AS pull FROM comparison_rows(ref, tests, sample) c
), m AS (
    SELECT ordinal, percentile_cont(0.5) WITHIN GROUP (ORDER BY delta) AS median,
           avg(delta) AS mean, percentile_cont(0.5) WITHIN GROUP (ORDER BY pull) AS pull
    FROM r GROUP BY ordinal
)
SELECT r.label, r.unit, r.ref_set, r.test_set, count(*),
       count(DISTINCT coalesce(r.star_id, -r.left_id)), m.median,
       1.4826 * percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(r.delta - m.median)),
       m.mean, avg(abs(r.delta - m.mean)), avg(abs(r.delta)),
       1.4826 * percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(r.pull - m.pull))
FROM r JOIN m USING (ordinal)
GROUP BY ordinal, r.label, r.unit, r.ref_set, r.test_set, m.median, m.mean, m.pull
ORDER BY ordinal % 1000, ordinal
$$
""",
    "Bias and scatter of label sets against a reference, on the rows of comparison_rows",
)

FUNCTIONS = (LABEL_SET_ID_OF, SAMPLE_ID_OF, COMPARISON_ROWS, COMPARE_LABEL_SETS)
