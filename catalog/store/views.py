"""Views and SQL functions: one constant each, with its comment.

Migrations hold frozen copies; a test compares them with these. Column comments come from the
vocabulary. Nothing is stored twice: ranks and comparisons are computed when asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from catalog.store.columns import LABELS, VOCABULARY, error_of

_LABEL_VALUES = ",\n        ".join(
    f"({i}, '{label}', '{m.unit}', s.{label}, s.{error_of(label)})"
    for i, (label, m) in enumerate(LABELS.items(), start=1)
)


@dataclass(frozen=True)
class View:
    """A view: its name, query and comment."""

    name: str
    query: str
    comment: str

    @property
    def create(self) -> str:
        """The statement that makes it."""
        return f"CREATE VIEW {self.name} AS\n{self.query.strip()}"


CURRENT_LABEL_SET = View(
    "current_label_set",
    """
SELECT DISTINCT ON (name) label_set_id, name, edition, kind, model_id, n_rows, published_at
FROM label_set
WHERE status = 'complete'
ORDER BY name, edition DESC
""",
    "The newest complete edition of every label set",
)

STELLAR_LABEL_LONG = View(
    "stellar_label_long",
    f"""
SELECT s.label_set_id, c.name AS label_set, s.source_id, v.label, v.unit,
       v.value::double precision AS value, v.err::double precision AS err, s.flags
FROM stellar_label s
JOIN current_label_set c USING (label_set_id)
CROSS JOIN LATERAL (VALUES
        {_LABEL_VALUES}
) AS v (ordinal, label, unit, value, err)
WHERE v.value IS NOT NULL
""",
    "Labels of the newest complete editions, one row per label",
)

MATCH_RANKED = View(
    "match_ranked",
    """
SELECT crossmatch_id, left_id, right_id, sep_arcsec,
       count(*) OVER (PARTITION BY crossmatch_id, left_id) AS n_in_radius,
       row_number() OVER (PARTITION BY crossmatch_id, left_id
                          ORDER BY sep_arcsec, right_id) AS left_rank,
       row_number() OVER (PARTITION BY crossmatch_id, right_id
                          ORDER BY sep_arcsec, left_id) AS right_rank
FROM match
""",
    "Candidate pairs with their ranks by separation on either side; ties go to the smaller id",
)

BEST_MATCH = View(
    "best_match",
    """
SELECT crossmatch_id, left_id, right_id, star_id, sep_arcsec
FROM (
    SELECT m.crossmatch_id, m.left_id, m.right_id, l.star_id, m.sep_arcsec,
           row_number() OVER (PARTITION BY m.crossmatch_id, m.left_id
                              ORDER BY m.sep_arcsec, m.right_id) AS left_rank,
           row_number() OVER (PARTITION BY m.crossmatch_id, m.right_id
                              ORDER BY m.sep_arcsec, m.left_id) AS right_rank
    FROM match m
    JOIN source l ON l.source_id = m.left_id
    LEFT JOIN apogee_star a ON a.source_id = m.left_id
    WHERE a.is_primary IS NOT FALSE
) ranked
WHERE left_rank = 1 AND right_rank = 1
""",
    "Mutual nearest pairs; survey rows marked as duplicates do not take part",
)

LABEL_COMPARISON = View(
    "label_comparison",
    """
SELECT r.label, r.unit, r.label_set AS ref_set, t.label_set AS test_set,
       m.star_id, m.left_id, m.right_id, r.value AS ref_value, t.value AS test_value,
       t.value - r.value AS delta, sqrt(r.err * r.err + t.err * t.err) AS delta_err,
       m.sep_arcsec
FROM best_match m
JOIN stellar_label_long r ON r.source_id IN (m.left_id, m.right_id)
JOIN stellar_label_long t ON t.source_id IN (m.left_id, m.right_id)
                         AND t.label = r.label AND t.label_set_id <> r.label_set_id
""",
    "Any two label sets side by side on mutual nearest pairs, one row per star and label",
)

JOB_PROGRESS = View(
    "job_progress",
    """
SELECT r.run_id, r.kind, r.target, r.state, count(c.chunk_key) AS chunks,
       count(*) FILTER (WHERE c.state = 'done') AS chunks_done,
       count(*) FILTER (WHERE c.state = 'failed') AS chunks_failed,
       r.rows_written, r.host, r.pid, r.started_at, r.heartbeat_at, r.finished_at, r.error
FROM job_run r
LEFT JOIN job_chunk c USING (run_id)
GROUP BY r.run_id
""",
    "Runs with how far they are",
)

VIEWS = (
    CURRENT_LABEL_SET,
    STELLAR_LABEL_LONG,
    MATCH_RANKED,
    BEST_MATCH,
    LABEL_COMPARISON,
    JOB_PROGRESS,
)


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
CREATE FUNCTION label_set_id_of(label_set_name text) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
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
            USING HINT = 'crosslabel labels list shows those that exist';
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
CREATE FUNCTION sample_id_of(sample_name text) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
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

COMPARISON_ROWS = Function(
    "comparison_rows",
    "text, text[], text",
    f"""
CREATE FUNCTION comparison_rows(ref text, tests text[], sample text DEFAULT NULL)
RETURNS TABLE (ordinal bigint, label text, unit text, ref_set text, test_set text, star_id bigint,
               left_id bigint, right_id bigint, ref_value double precision,
               test_value double precision, delta double precision, delta_err double precision,
               sep_arcsec double precision)
LANGUAGE sql STABLE AS $$
WITH asked AS MATERIALIZED (
    SELECT label_set_id_of(u.name) AS label_set_id, u.name, u.ord
    FROM unnest(array_prepend(ref, tests)) WITH ORDINALITY AS u (name, ord)
), trained AS MATERIALIZED (
    SELECT DISTINCT t.star_id
    FROM asked JOIN label_set l USING (label_set_id) JOIN training_member t USING (model_id)
    WHERE l.kind = 'prediction'
), link AS MATERIALIZED (
    SELECT k.left_id, k.right_id, k.star_id, k.sep_arcsec FROM star_link k
    WHERE k.sample_id = sample_id_of(sample)
    UNION
    SELECT b.left_id, b.right_id, b.star_id, b.sep_arcsec FROM best_match b
    WHERE sample IS NULL
), labelled AS MATERIALIZED (
    SELECT k.left_id, k.right_id, k.star_id, k.sep_arcsec, a.ord, a.name,
           v.ordinal, v.label, v.unit, v.value::double precision AS value,
           v.err::double precision AS err
    FROM link k
    CROSS JOIN asked a
    CROSS JOIN LATERAL (
        SELECT * FROM stellar_label x
        WHERE x.label_set_id = a.label_set_id AND x.source_id IN (k.right_id, k.left_id)
        ORDER BY x.source_id = k.right_id DESC LIMIT 1
    ) AS s
    CROSS JOIN LATERAL (VALUES
        {_LABEL_VALUES}
    ) AS v (ordinal, label, unit, value, err)
    WHERE v.value IS NOT NULL AND k.star_id NOT IN (SELECT t.star_id FROM trained t)
), common AS (
    SELECT d.left_id, d.right_id, d.label FROM labelled d
    GROUP BY d.left_id, d.right_id, d.label
    HAVING count(*) = (SELECT count(*) FROM asked)
)
SELECT t.ord * 1000 + t.ordinal, t.label, t.unit, r.name, t.name, t.star_id,
       t.left_id, t.right_id, r.value, t.value, t.value - r.value,
       sqrt(r.err * r.err + t.err * t.err), t.sep_arcsec
FROM common
JOIN labelled t USING (left_id, right_id, label)
JOIN labelled r USING (left_id, right_id, label)
WHERE r.ord = 1 AND t.ord > 1
$$
""",
    "Label sets against a reference, row by row: only spectra whose label all of the sets have "
    "(of a sample, or of all mutual nearest pairs), without the stars that a predicting network "
    "was trained on",
)

COMPARE_LABEL_SETS = Function(
    "compare_label_sets",
    "text, text[], text",
    """
CREATE FUNCTION compare_label_sets(ref text, tests text[], sample text DEFAULT NULL)
RETURNS TABLE (label text, unit text, ref_set text, test_set text, n bigint,
               bias double precision, sigma_mad double precision, seed_bias double precision,
               seed_scatter double precision, mae double precision, pull_sigma double precision)
LANGUAGE sql STABLE AS $$
WITH r AS MATERIALIZED (SELECT * FROM comparison_rows(ref, tests, sample)
), m AS (
    SELECT ordinal, percentile_cont(0.5) WITHIN GROUP (ORDER BY delta) AS median,
           avg(delta) AS mean,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY delta / delta_err)
               FILTER (WHERE delta_err > 0) AS pull
    FROM r GROUP BY ordinal
)
SELECT r.label, r.unit, r.ref_set, r.test_set, count(*), m.median,
       1.482602218505602 * percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(delta - m.median)),
       m.mean, avg(abs(delta - m.mean)), avg(abs(delta)),
       1.482602218505602 * percentile_cont(0.5)
           WITHIN GROUP (ORDER BY abs(delta / delta_err - m.pull))
           FILTER (WHERE delta_err > 0)
FROM r JOIN m USING (ordinal)
GROUP BY ordinal, r.label, r.unit, r.ref_set, r.test_set, m.median, m.mean, m.pull
ORDER BY ordinal % 1000, ordinal
$$
""",
    "Bias and scatter of label sets against a reference, on the rows of comparison_rows",
)

REFUSE_COMPLETE = Function(
    "refuse_complete_label_set",
    "",
    """
CREATE FUNCTION refuse_complete_label_set() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    touched text;
BEGIN
    SELECT l.name || '@' || l.edition INTO touched FROM label_set l
    WHERE l.status = 'complete'
      AND l.label_set_id IN (SELECT c.label_set_id FROM changed c) LIMIT 1;
    IF touched IS NOT NULL THEN
        RAISE EXCEPTION 'label set % is complete: its rows never change', touched
            USING HINT = 'publish a new edition instead';
    END IF;
    RETURN NULL;
END $$
""",
    "Trigger: rows of a complete label set are never written",
)

FUNCTIONS = (
    LABEL_SET_ID_OF,
    SAMPLE_ID_OF,
    COMPARISON_ROWS,
    COMPARE_LABEL_SETS,
    REFUSE_COMPLETE,
)

#: One trigger per event, as a transition table is NEW or OLD: (table, event, which rows).
GUARDED = tuple(
    (table, event, "OLD" if event == "DELETE" else "NEW")
    for table in ("stellar_label", "prediction_detail")
    for event in ("INSERT", "UPDATE", "DELETE")
)


def trigger_statement(table: str, event: str, rows: str) -> str:
    """The statement that guards ``table`` against one kind of write to complete editions."""
    return (
        f"CREATE TRIGGER guard_{table}_{event.lower()} AFTER {event} ON {table} "
        f"REFERENCING {rows} TABLE AS changed FOR EACH STATEMENT "
        "EXECUTE FUNCTION refuse_complete_label_set()"
    )


def quoted(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def column_comments(view_columns: dict[str, list[str]]) -> list[str]:
    """COMMENT statements for the columns of views, from the vocabulary."""
    return [
        f'COMMENT ON COLUMN {view}."{c}" IS {quoted(VOCABULARY[c].comment)}'
        for view, names in view_columns.items()
        for c in names
    ]
