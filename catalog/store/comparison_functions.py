"""SQL functions that put label sets side by side.

Which pairs are compared, and whose network was trained on their star, is decided in one place:
``compared_pairs``. The labels of a pair are those of its right source (the spectrum) where the
label set has a row of it, else those of its left source.
"""

from __future__ import annotations

from catalog.store.columns import LABELS, error_of
from catalog.store.entries import ENTRY
from catalog.store.sql_function import Function

#: The row of a label set for a pair ``k``.
_ROW_OF_PAIR = """
        SELECT * FROM stellar_label x
        WHERE x.label_set_id = {label_set} AND x.source_id = ANY(k.entries)
        ORDER BY x.source_id = k.right_id DESC LIMIT 1"""

# Of label sets of releases of one survey, no crossmatch pairs the entries: the star does.
COMPARED_PAIRS = Function(
    "compared_pairs",
    "bigint[], bigint",
    f"""
CREATE OR REPLACE FUNCTION compared_pairs(label_sets bigint[], of_sample bigint)
RETURNS TABLE (left_id bigint, right_id bigint, star_id bigint, sep_arcsec double precision,
               entries bigint[], trained_by bigint)
LANGUAGE sql STABLE AS $$
WITH releases AS MATERIALIZED (
    SELECT min(f.survey) AS survey,
           count(DISTINCT f.survey) = 1 AND count(f.star_id) = cardinality(label_sets) AS by_star
    FROM unnest(label_sets) AS i (id)
    CROSS JOIN LATERAL (
        SELECT r.survey, r.star_id FROM stellar_label s JOIN source r USING (source_id)
        WHERE s.label_set_id = i.id ORDER BY s.source_id LIMIT 1) f
), trained AS MATERIALIZED (
    SELECT p.place, t.star_id, t.source_id
    FROM unnest(label_sets) WITH ORDINALITY AS p (label_set_id, place)
    JOIN label_set l USING (label_set_id)
    JOIN training_member t USING (model_id)
    WHERE l.kind = 'prediction'
), trained_stars AS MATERIALIZED (
    SELECT t.star_id, min(t.place) AS place FROM trained t GROUP BY t.star_id
), trained_sources AS MATERIALIZED (
    SELECT t.source_id, min(t.place) AS place FROM trained t GROUP BY t.source_id
), link AS (
    SELECT k.left_id, k.right_id, k.star_id, k.sep_arcsec, ARRAY[k.right_id, k.left_id] AS entries
    FROM star_link k
    WHERE k.sample_id = of_sample AND NOT (SELECT by_star FROM releases)
    UNION ALL
    SELECT b.left_id, b.right_id, b.star_id, b.sep_arcsec, ARRAY[b.right_id, b.left_id]
    FROM best_match b
    WHERE of_sample IS NULL AND NOT (SELECT by_star FROM releases)
    UNION ALL
    SELECT min(r.source_id), max(r.source_id), r.star_id, NULL, array_agg(r.source_id)
    FROM source r LEFT JOIN {ENTRY} e USING (source_id)
    WHERE (SELECT by_star FROM releases) AND r.survey = (SELECT survey FROM releases)
      AND e.is_main IS NOT FALSE AND r.star_id IS NOT NULL
      AND (of_sample IS NULL
           OR r.star_id IN (SELECT k.star_id FROM star_link k WHERE k.sample_id = of_sample))
    GROUP BY r.star_id
), pair AS (  -- two crossmatches may have one pair
    SELECT DISTINCT ON (k.left_id, k.right_id) k.*
    FROM link k ORDER BY k.left_id, k.right_id, k.sep_arcsec
)
SELECT k.left_id, k.right_id, k.star_id, k.sep_arcsec, k.entries,
       least(s.place, l.place, r.place)
FROM pair k
LEFT JOIN trained_stars s ON s.star_id = k.star_id
LEFT JOIN trained_sources l ON l.source_id = k.left_id
LEFT JOIN trained_sources r ON r.source_id = k.right_id
$$
""",
    "The pairs on which label sets are compared: those of a sample, or all mutual nearest pairs "
    "(NULL), or, for releases of one survey of stars, the main entries of each star; the other "
    "functions that compare use it",
)

_COLUMNS = ", ".join(f"s.{label}" for label in LABELS)
_ERRORS = ", ".join(f"s.{error_of(label)}" for label in LABELS)
_ORDINALS = ", ".join(
    f"({i}, '{label}', '{meaning.unit}')" for i, (label, meaning) in enumerate(LABELS.items(), 1)
)

COMPARED_LABELS = Function(
    "compared_labels",
    "bigint[], bigint",
    f"""
CREATE OR REPLACE FUNCTION compared_labels(label_sets bigint[], of_sample bigint)
RETURNS TABLE (left_id bigint, right_id bigint, star_id bigint, sep_arcsec double precision,
               trained_by bigint, sources bigint[], label_values real[], label_errors real[],
               is_flagged boolean)
LANGUAGE sql STABLE AS $$
SELECT k.left_id, k.right_id, k.star_id, k.sep_arcsec, k.trained_by, m.*
FROM compared_pairs(label_sets, of_sample) k
CROSS JOIN LATERAL (
    SELECT array_agg(s.source_id ORDER BY a.place),
           array_agg(ARRAY[{_COLUMNS}] ORDER BY a.place),
           array_agg(ARRAY[{_ERRORS}] ORDER BY a.place),
           coalesce(bool_or(s.flags <> 0), false)
    FROM unnest(label_sets) WITH ORDINALITY AS a (label_set_id, place)
    LEFT JOIN LATERAL ({_ROW_OF_PAIR.format(label_set="a.label_set_id")}
    ) s ON true
) m
$$
""",
    "The pairs of compared_pairs with the labels of each set: label_values[place of the set][place "
    "of the label], the errors likewise, and whose they are",
)

_START = """names text[]; ids bigint[] := ARRAY(
        SELECT label_set_id_of(u.name)
        FROM unnest(array_prepend(ref, tests)) WITH ORDINALITY AS u (name, place)
        ORDER BY u.place);
    wanted bigint := sample_id_of(sample);
BEGIN
names := ARRAY(
    SELECT l.name || '@' || l.edition FROM unnest(ids) WITH ORDINALITY AS i (id, place)
    JOIN label_set l ON l.label_set_id = i.id ORDER BY i.place);"""
#: The labels that each of the sets has at all.
_SHARED = f"""shared AS MATERIALIZED (
    SELECT l.ordinal, l.label, l.unit
    FROM unnest(ids) AS a (id)
    CROSS JOIN LATERAL (
        SELECT ARRAY[{", ".join(f"bool_or(s.{label} IS NOT NULL)" for label in LABELS)}] AS has
        FROM stellar_label s WHERE s.label_set_id = a.id) b
    CROSS JOIN (VALUES {_ORDINALS}) AS l (ordinal, label, unit)
    WHERE b.has[l.ordinal]
    GROUP BY l.ordinal, l.label, l.unit HAVING count(*) = cardinality(ids)
)"""

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
    {_START}
RETURN QUERY
WITH {_SHARED}, once AS MATERIALIZED (
    -- a pair of two crossmatches, or another star beside it, adds no spectrum
    SELECT DISTINCT ON (p.sources) p.* FROM compared_labels(ids, wanted) p
    WHERE p.trained_by IS NULL
    ORDER BY p.sources, p.sep_arcsec, p.left_id, p.right_id
)
SELECT t.n * 1000 + l.ordinal::bigint, l.label, l.unit, names[1], names[t.n], o.star_id,
       CASE WHEN o.sep_arcsec IS NULL THEN o.sources[1] ELSE o.left_id END,
       CASE WHEN o.sep_arcsec IS NULL THEN o.sources[t.n] ELSE o.right_id END,
       v.ref, v.test, v.test - v.ref, sqrt(v.ref_err * v.ref_err + v.test_err * v.test_err),
       o.sep_arcsec
FROM once o
CROSS JOIN shared l
CROSS JOIN generate_series(2, cardinality(ids)) AS t (n)
CROSS JOIN LATERAL (
    SELECT o.label_values[1][l.ordinal]::double precision AS ref,
           o.label_errors[1][l.ordinal]::double precision AS ref_err,
           o.label_values[t.n][l.ordinal]::double precision AS test,
           o.label_errors[t.n][l.ordinal]::double precision AS test_err) v
WHERE NOT EXISTS (SELECT FROM generate_series(1, cardinality(ids)) AS i (place)
                  WHERE o.label_values[i.place][l.ordinal] IS NULL);
END $$
""",
    "Label sets against a reference, row by row: only spectra whose label all of the sets have "
    "(of a sample, or of all mutual nearest pairs; for releases of one survey of stars, entries "
    "of one star), without the stars that a predicting network was trained on; delta_err is NULL "
    "unless both errors are known",
)

COMPARISON_COUNTS = Function(
    "comparison_counts",
    "text, text[], text",
    f"""
CREATE OR REPLACE FUNCTION comparison_counts(ref text, tests text[], sample text DEFAULT NULL)
RETURNS TABLE (label text, reason text, label_set text, n bigint, n_stars bigint,
               n_flagged bigint)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    {_START}
RETURN QUERY
WITH {_SHARED}, pair AS MATERIALIZED (
    SELECT p.*, coalesce(p.star_id, -p.left_id) AS star,
           row_number() OVER (PARTITION BY p.trained_by IS NULL, p.sources
                              ORDER BY p.sep_arcsec, p.left_id, p.right_id) AS copy
    FROM compared_labels(ids, wanted) p
), judged AS (
    SELECT l.ordinal, l.label, p.star, p.is_flagged, coalesce(p.trained_by, v.lacking) AS place,
           CASE WHEN p.trained_by IS NOT NULL THEN 'TRAINED_ON'
                WHEN v.lacking IS NOT NULL THEN 'NO_LABEL'
                WHEN p.copy > 1 THEN 'REPEATED' ELSE 'compared' END AS reason
    FROM pair p
    CROSS JOIN shared l
    CROSS JOIN LATERAL (
        SELECT min(i.place) AS lacking FROM generate_series(1, cardinality(ids)) AS i (place)
        WHERE p.label_values[i.place][l.ordinal] IS NULL) v
)
SELECT j.label, j.reason, names[j.place], count(*), count(DISTINCT j.star),
       count(*) FILTER (WHERE j.is_flagged)
FROM judged j
GROUP BY j.ordinal, j.label, j.reason, j.place
ORDER BY j.ordinal, array_position('{{compared,TRAINED_ON,NO_LABEL,REPEATED}}', j.reason), j.place;
END $$
""",
    "How many pairs a comparison uses and leaves out, for each label that all of the sets have: "
    "compared; TRAINED_ON (label_set predicts with a network that was trained on the star); "
    "NO_LABEL (label_set has no value); REPEATED (another pair has the same rows of labels). A "
    "pair counts at the first reason that holds, so that n sums to the pairs",
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

_SIDES = ("left", "right")
_PAIR_LABELS = [
    (f"{name}_{side}" if name == label else error_of(f"{label}_{side}"), f"{side[0]}.{name}")
    for label in LABELS
    for side in _SIDES
    for name in (label, error_of(label))
]

# One row per pair: what is plotted against what is then a matter of naming two columns.
PAIRS = Function(
    "pairs",
    "text, text, text",
    f"""
CREATE OR REPLACE FUNCTION pairs(left_set text, right_set text, sample text DEFAULT NULL)
RETURNS TABLE (star_key text, left_survey text, left_key text, right_survey text, right_key text,
               sep_arcsec double precision, sn_median real, trained_on boolean,
               flags_left bigint, flags_right bigint,
               {", ".join(f"{column} real" for column, _ in _PAIR_LABELS)},
               star_id bigint, left_id bigint, right_id bigint)
LANGUAGE sql STABLE AS $$
WITH asked AS MATERIALIZED (
    SELECT label_set_id_of(left_set) AS l, label_set_id_of(right_set) AS r,
           sample_id_of(sample) AS s
)
SELECT t.star_key, a.survey, a.survey_key, b.survey, b.survey_key, k.sep_arcsec,
       (SELECT q.sn_median FROM spectrum_blob q WHERE q.source_id = ANY(k.entries)
        ORDER BY q.source_id = k.right_id DESC LIMIT 1),
       k.trained_by IS NOT NULL, l.flags, r.flags,
       {", ".join(source for _, source in _PAIR_LABELS)},
       k.star_id, k.left_id, k.right_id
FROM asked w
CROSS JOIN LATERAL compared_pairs(ARRAY[w.l, w.r], w.s) k
JOIN source a ON a.source_id = k.left_id
JOIN source b ON b.source_id = k.right_id
LEFT JOIN star t ON t.star_id = k.star_id
LEFT JOIN LATERAL ({_ROW_OF_PAIR.format(label_set="w.l")}
) l ON true
LEFT JOIN LATERAL ({_ROW_OF_PAIR.format(label_set="w.r")}
) r ON true
$$
""",
    "One row per pair of a sample (or mutual nearest pair) with the labels of two sets side by "
    "side: teff_left and teff_left_err are of left_set, teff_right of right_set; NULL where a set "
    "has none. trained_on marks the pairs that comparisons leave out",
)

COMPARISON_FUNCTIONS = (
    COMPARED_PAIRS,
    COMPARED_LABELS,
    COMPARISON_ROWS,
    COMPARISON_COUNTS,
    COMPARE_LABEL_SETS,
    PAIRS,
)
