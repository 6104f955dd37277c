"""The first schema: tables, views, functions and the guard on complete label sets.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

VIEWS_AND_FUNCTIONS = (
    r"""CREATE VIEW current_label_set AS
SELECT DISTINCT ON (name) label_set_id, name, edition, kind, model_id, n_rows, published_at
FROM label_set
WHERE status = 'complete'
ORDER BY name, edition DESC""",
    r"""COMMENT ON VIEW current_label_set IS 'The newest complete edition of every label set'""",
    r"""CREATE VIEW stellar_label_long AS
SELECT s.label_set_id, c.name AS label_set, s.source_id, v.label, v.unit,
       v.value::double precision AS value, v.err::double precision AS err, s.flags
FROM stellar_label s
JOIN current_label_set c USING (label_set_id)
CROSS JOIN LATERAL (VALUES
        (1, 'teff', 'K', s.teff, s.teff_err),
        (2, 'logg', 'dex', s.logg, s.logg_err),
        (3, 'm_h', 'dex', s.m_h, s.m_h_err),
        (4, 'alpha_m', 'dex', s.alpha_m, s.alpha_m_err),
        (5, 'fe_h', 'dex', s.fe_h, s.fe_h_err),
        (6, 'c_fe', 'dex', s.c_fe, s.c_fe_err),
        (7, 'ci_fe', 'dex', s.ci_fe, s.ci_fe_err),
        (8, 'n_fe', 'dex', s.n_fe, s.n_fe_err),
        (9, 'o_fe', 'dex', s.o_fe, s.o_fe_err),
        (10, 'na_fe', 'dex', s.na_fe, s.na_fe_err),
        (11, 'mg_fe', 'dex', s.mg_fe, s.mg_fe_err),
        (12, 'al_fe', 'dex', s.al_fe, s.al_fe_err),
        (13, 'si_fe', 'dex', s.si_fe, s.si_fe_err),
        (14, 'p_fe', 'dex', s.p_fe, s.p_fe_err),
        (15, 's_fe', 'dex', s.s_fe, s.s_fe_err),
        (16, 'k_fe', 'dex', s.k_fe, s.k_fe_err),
        (17, 'ca_fe', 'dex', s.ca_fe, s.ca_fe_err),
        (18, 'ti_fe', 'dex', s.ti_fe, s.ti_fe_err),
        (19, 'tiii_fe', 'dex', s.tiii_fe, s.tiii_fe_err),
        (20, 'v_fe', 'dex', s.v_fe, s.v_fe_err),
        (21, 'cr_fe', 'dex', s.cr_fe, s.cr_fe_err),
        (22, 'mn_fe', 'dex', s.mn_fe, s.mn_fe_err),
        (23, 'co_fe', 'dex', s.co_fe, s.co_fe_err),
        (24, 'ni_fe', 'dex', s.ni_fe, s.ni_fe_err),
        (25, 'cu_fe', 'dex', s.cu_fe, s.cu_fe_err),
        (26, 'ge_fe', 'dex', s.ge_fe, s.ge_fe_err),
        (27, 'ce_fe', 'dex', s.ce_fe, s.ce_fe_err),
        (28, 'rb_fe', 'dex', s.rb_fe, s.rb_fe_err),
        (29, 'y_fe', 'dex', s.y_fe, s.y_fe_err),
        (30, 'nd_fe', 'dex', s.nd_fe, s.nd_fe_err),
        (31, 'yb_fe', 'dex', s.yb_fe, s.yb_fe_err)
) AS v (ordinal, label, unit, value, err)
WHERE v.value IS NOT NULL""",
    r"""COMMENT ON VIEW stellar_label_long IS 'Labels of the newest complete editions, one row per label'""",
    r"""CREATE VIEW match_ranked AS
SELECT crossmatch_id, left_id, right_id, sep_arcsec,
       count(*) OVER (PARTITION BY crossmatch_id, left_id) AS n_in_radius,
       row_number() OVER (PARTITION BY crossmatch_id, left_id
                          ORDER BY sep_arcsec, right_id) AS left_rank,
       row_number() OVER (PARTITION BY crossmatch_id, right_id
                          ORDER BY sep_arcsec, left_id) AS right_rank
FROM match""",
    r"""COMMENT ON VIEW match_ranked IS 'Candidate pairs with their ranks by separation on either side; ties go to the smaller id'""",
    r"""CREATE VIEW best_match AS
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
WHERE left_rank = 1 AND right_rank = 1""",
    r"""COMMENT ON VIEW best_match IS 'Mutual nearest pairs; survey rows marked as duplicates do not take part'""",
    r"""CREATE VIEW label_comparison AS
SELECT r.label, r.unit, r.label_set AS ref_set, t.label_set AS test_set,
       m.star_id, m.left_id, m.right_id, r.value AS ref_value, t.value AS test_value,
       t.value - r.value AS delta, sqrt(r.err * r.err + t.err * t.err) AS delta_err,
       m.sep_arcsec
FROM (SELECT DISTINCT left_id, right_id, star_id, sep_arcsec FROM best_match) m
JOIN stellar_label_long r ON r.source_id IN (m.left_id, m.right_id)
JOIN stellar_label_long t ON t.source_id IN (m.left_id, m.right_id)
                         AND t.label = r.label AND t.label_set_id <> r.label_set_id
WHERE NOT EXISTS (
    SELECT 1 FROM label_set l JOIN training_member k USING (model_id)
    WHERE l.label_set_id IN (r.label_set_id, t.label_set_id) AND l.kind = 'prediction'
      AND (k.star_id = m.star_id OR k.source_id IN (m.left_id, m.right_id)))""",
    r"""COMMENT ON VIEW label_comparison IS 'Any two label sets side by side on mutual nearest pairs, one row per star and label, without the stars that a predicting network was trained on'""",
    r"""CREATE VIEW job_progress AS
SELECT r.run_id, r.kind, r.target, r.state, count(c.chunk_key) AS chunks,
       count(*) FILTER (WHERE c.state = 'done') AS chunks_done,
       count(*) FILTER (WHERE c.state = 'failed') AS chunks_failed,
       r.rows_written, r.host, r.pid, r.started_at, r.heartbeat_at, r.finished_at, r.error
FROM job_run r
LEFT JOIN job_chunk c USING (run_id)
GROUP BY r.run_id""",
    r"""COMMENT ON VIEW job_progress IS 'Runs with how far they are'""",
    r"""COMMENT ON COLUMN current_label_set."label_set_id" IS 'Surrogate key of an edition of a label set (meta.id)'""",
    r"""COMMENT ON COLUMN current_label_set."name" IS 'Name (meta.id)'""",
    r"""COMMENT ON COLUMN current_label_set."edition" IS 'Edition: 1, 2, 3... (meta.version)'""",
    r"""COMMENT ON COLUMN current_label_set."kind" IS 'Kind of the row (meta.code.class)'""",
    r"""COMMENT ON COLUMN current_label_set."model_id" IS 'Surrogate key of a model (meta.id)'""",
    r"""COMMENT ON COLUMN current_label_set."n_rows" IS 'Number of rows in the file (meta.number)'""",
    r"""COMMENT ON COLUMN current_label_set."published_at" IS 'When it was published (UTC) (time.release)'""",
    r"""COMMENT ON COLUMN stellar_label_long."label_set_id" IS 'Surrogate key of an edition of a label set (meta.id)'""",
    r"""COMMENT ON COLUMN stellar_label_long."label_set" IS 'Label set with its edition (meta.id)'""",
    r"""COMMENT ON COLUMN stellar_label_long."source_id" IS 'Surrogate key of a source (meta.id;meta.main)'""",
    r"""COMMENT ON COLUMN stellar_label_long."label" IS 'Name of a label (meta.id)'""",
    r"""COMMENT ON COLUMN stellar_label_long."unit" IS 'Unit of the value (meta.unit)'""",
    r"""COMMENT ON COLUMN stellar_label_long."value" IS 'Value of the label (stat.value)'""",
    r"""COMMENT ON COLUMN stellar_label_long."err" IS 'Error of the value (stat.error)'""",
    r"""COMMENT ON COLUMN stellar_label_long."flags" IS 'Bits of the producer (table flag_bit) (meta.code.qual)'""",
    r"""COMMENT ON COLUMN match_ranked."crossmatch_id" IS 'Surrogate key of a crossmatch configuration (meta.id)'""",
    r"""COMMENT ON COLUMN match_ranked."left_id" IS 'Source on the left (APOGEE) side of a pair (meta.id)'""",
    r"""COMMENT ON COLUMN match_ranked."right_id" IS 'Source on the right (optical) side of a pair (meta.id)'""",
    r"""COMMENT ON COLUMN match_ranked."sep_arcsec" IS 'Great-circle separation of the pair [arcsec] (pos.angDistance)'""",
    r"""COMMENT ON COLUMN match_ranked."n_in_radius" IS 'Candidates of the left source within the radius (meta.number)'""",
    r"""COMMENT ON COLUMN match_ranked."left_rank" IS 'Rank of the right source among the left one''s candidates, by separation (stat.rank)'""",
    r"""COMMENT ON COLUMN match_ranked."right_rank" IS 'Rank of the left source among the right one''s candidates, by separation (stat.rank)'""",
    r"""COMMENT ON COLUMN best_match."crossmatch_id" IS 'Surrogate key of a crossmatch configuration (meta.id)'""",
    r"""COMMENT ON COLUMN best_match."left_id" IS 'Source on the left (APOGEE) side of a pair (meta.id)'""",
    r"""COMMENT ON COLUMN best_match."right_id" IS 'Source on the right (optical) side of a pair (meta.id)'""",
    r"""COMMENT ON COLUMN best_match."star_id" IS 'Surrogate key of the physical star (meta.id.parent)'""",
    r"""COMMENT ON COLUMN best_match."sep_arcsec" IS 'Great-circle separation of the pair [arcsec] (pos.angDistance)'""",
    r"""COMMENT ON COLUMN label_comparison."label" IS 'Name of a label (meta.id)'""",
    r"""COMMENT ON COLUMN label_comparison."unit" IS 'Unit of the value (meta.unit)'""",
    r"""COMMENT ON COLUMN label_comparison."ref_set" IS 'Reference label set (meta.id)'""",
    r"""COMMENT ON COLUMN label_comparison."test_set" IS 'Compared label set (meta.id)'""",
    r"""COMMENT ON COLUMN label_comparison."star_id" IS 'Surrogate key of the physical star (meta.id.parent)'""",
    r"""COMMENT ON COLUMN label_comparison."left_id" IS 'Source on the left (APOGEE) side of a pair (meta.id)'""",
    r"""COMMENT ON COLUMN label_comparison."right_id" IS 'Source on the right (optical) side of a pair (meta.id)'""",
    r"""COMMENT ON COLUMN label_comparison."ref_value" IS 'Value in the reference set (stat.value)'""",
    r"""COMMENT ON COLUMN label_comparison."test_value" IS 'Value in the compared set (stat.value)'""",
    r"""COMMENT ON COLUMN label_comparison."delta" IS 'Compared value minus reference value (stat.value;arith.diff)'""",
    r"""COMMENT ON COLUMN label_comparison."delta_err" IS 'Combined error of the difference (stat.error;arith.diff)'""",
    r"""COMMENT ON COLUMN label_comparison."sep_arcsec" IS 'Great-circle separation of the pair [arcsec] (pos.angDistance)'""",
    r"""COMMENT ON COLUMN job_progress."run_id" IS 'Surrogate key of a run (meta.id)'""",
    r"""COMMENT ON COLUMN job_progress."kind" IS 'Kind of the row (meta.code.class)'""",
    r"""COMMENT ON COLUMN job_progress."target" IS 'What the run writes; the lock is on it (meta.id)'""",
    r"""COMMENT ON COLUMN job_progress."state" IS 'State in the ledger (meta.code.status)'""",
    r"""COMMENT ON COLUMN job_progress."chunks" IS 'Number of chunks (meta.number)'""",
    r"""COMMENT ON COLUMN job_progress."chunks_done" IS 'Chunks done (meta.number)'""",
    r"""COMMENT ON COLUMN job_progress."chunks_failed" IS 'Chunks failed (meta.number)'""",
    r"""COMMENT ON COLUMN job_progress."rows_written" IS 'Rows inserted, changed or deleted (meta.number)'""",
    r"""COMMENT ON COLUMN job_progress."host" IS 'Host of the process (meta.id)'""",
    r"""COMMENT ON COLUMN job_progress."pid" IS 'Process (meta.id)'""",
    r"""COMMENT ON COLUMN job_progress."started_at" IS 'Start (UTC) (time.start)'""",
    r"""COMMENT ON COLUMN job_progress."heartbeat_at" IS 'Last sign of life (UTC) (time.processing)'""",
    r"""COMMENT ON COLUMN job_progress."finished_at" IS 'End (UTC) (time.end)'""",
    r"""COMMENT ON COLUMN job_progress."error" IS 'What went wrong (meta.note)'""",
    r"""CREATE FUNCTION label_set_id_of(label_set_name text) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
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
END $$""",
    r"""COMMENT ON FUNCTION label_set_id_of(text) IS 'The id of ''name'' (newest complete edition) or ''name@edition'''""",
    r"""CREATE FUNCTION sample_id_of(sample_name text) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    found bigint;
BEGIN
    SELECT sample_id INTO found FROM sample WHERE name = sample_name;
    IF found IS NULL AND sample_name IS NOT NULL THEN
        RAISE EXCEPTION 'no sample %', sample_name;
    END IF;
    RETURN found;
END $$""",
    r"""COMMENT ON FUNCTION sample_id_of(text) IS 'The id of a sample by its name'""",
    r"""CREATE FUNCTION comparison_rows(ref text, tests text[], sample text DEFAULT NULL)
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
BEGIN
RETURN QUERY
WITH trained AS MATERIALIZED (
    SELECT DISTINCT t.star_id, t.source_id
    FROM label_set l JOIN training_member t USING (model_id)
    WHERE l.label_set_id = ANY(ids) AND l.kind = 'prediction'
), link AS (
    SELECT k.left_id, k.right_id, k.star_id, k.sep_arcsec FROM star_link k
    WHERE k.sample_id = wanted
    UNION ALL
    SELECT b.left_id, b.right_id, b.star_id, b.sep_arcsec FROM best_match b
    WHERE wanted IS NULL
), unseen AS MATERIALIZED (
    SELECT DISTINCT ON (k.left_id, k.right_id) k.left_id, k.right_id, k.star_id, k.sep_arcsec
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
        WHERE x.label_set_id = a.label_set_id AND x.source_id IN (k.right_id, k.left_id)
        ORDER BY x.source_id = k.right_id DESC LIMIT 1
    ) AS s
    CROSS JOIN LATERAL (VALUES
        (1, 'teff', 'K', s.teff, s.teff_err),
        (2, 'logg', 'dex', s.logg, s.logg_err),
        (3, 'm_h', 'dex', s.m_h, s.m_h_err),
        (4, 'alpha_m', 'dex', s.alpha_m, s.alpha_m_err),
        (5, 'fe_h', 'dex', s.fe_h, s.fe_h_err),
        (6, 'c_fe', 'dex', s.c_fe, s.c_fe_err),
        (7, 'ci_fe', 'dex', s.ci_fe, s.ci_fe_err),
        (8, 'n_fe', 'dex', s.n_fe, s.n_fe_err),
        (9, 'o_fe', 'dex', s.o_fe, s.o_fe_err),
        (10, 'na_fe', 'dex', s.na_fe, s.na_fe_err),
        (11, 'mg_fe', 'dex', s.mg_fe, s.mg_fe_err),
        (12, 'al_fe', 'dex', s.al_fe, s.al_fe_err),
        (13, 'si_fe', 'dex', s.si_fe, s.si_fe_err),
        (14, 'p_fe', 'dex', s.p_fe, s.p_fe_err),
        (15, 's_fe', 'dex', s.s_fe, s.s_fe_err),
        (16, 'k_fe', 'dex', s.k_fe, s.k_fe_err),
        (17, 'ca_fe', 'dex', s.ca_fe, s.ca_fe_err),
        (18, 'ti_fe', 'dex', s.ti_fe, s.ti_fe_err),
        (19, 'tiii_fe', 'dex', s.tiii_fe, s.tiii_fe_err),
        (20, 'v_fe', 'dex', s.v_fe, s.v_fe_err),
        (21, 'cr_fe', 'dex', s.cr_fe, s.cr_fe_err),
        (22, 'mn_fe', 'dex', s.mn_fe, s.mn_fe_err),
        (23, 'co_fe', 'dex', s.co_fe, s.co_fe_err),
        (24, 'ni_fe', 'dex', s.ni_fe, s.ni_fe_err),
        (25, 'cu_fe', 'dex', s.cu_fe, s.cu_fe_err),
        (26, 'ge_fe', 'dex', s.ge_fe, s.ge_fe_err),
        (27, 'ce_fe', 'dex', s.ce_fe, s.ce_fe_err),
        (28, 'rb_fe', 'dex', s.rb_fe, s.rb_fe_err),
        (29, 'y_fe', 'dex', s.y_fe, s.y_fe_err),
        (30, 'nd_fe', 'dex', s.nd_fe, s.nd_fe_err),
        (31, 'yb_fe', 'dex', s.yb_fe, s.yb_fe_err)
    ) AS v (ordinal, label, unit, value, err)
    WHERE v.value IS NOT NULL
    GROUP BY k.left_id, k.right_id, k.star_id, k.sep_arcsec, v.ordinal, v.label, v.unit
    HAVING count(*) = cardinality(ids)
), once AS (  -- a pair of two crossmatches, or another star beside it, adds no spectrum
    SELECT DISTINCT ON (d.ordinal, d.sources) d.* FROM labelled d
    ORDER BY d.ordinal, d.sources, d.sep_arcsec, d.left_id, d.right_id
)
SELECT t.n * 1000 + o.ordinal::bigint, o.label, o.unit, names[1], names[t.n], o.star_id,
       o.left_id, o.right_id, o.value[1], o.value[t.n], o.value[t.n] - o.value[1],
       sqrt(o.err[1] * o.err[1] + o.err[t.n] * o.err[t.n]), o.sep_arcsec
FROM once o CROSS JOIN generate_series(2, cardinality(ids)) AS t (n);
END $$""",
    r"""COMMENT ON FUNCTION comparison_rows(text, text[], text) IS 'Label sets against a reference, row by row: only spectra whose label all of the sets have (of a sample, or of all mutual nearest pairs), without the stars that a predicting network was trained on; delta_err is NULL unless both errors are known'""",
    r"""CREATE FUNCTION compare_label_sets(ref text, tests text[], sample text DEFAULT NULL)
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
$$""",
    r"""COMMENT ON FUNCTION compare_label_sets(text, text[], text) IS 'Bias and scatter of label sets against a reference, on the rows of comparison_rows'""",
    r"""CREATE FUNCTION refuse_complete_label_set() RETURNS trigger LANGUAGE plpgsql AS $$
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
END $$""",
    r"""COMMENT ON FUNCTION refuse_complete_label_set() IS 'Trigger: rows of a complete label set are never written'""",
    r"""CREATE TRIGGER guard_stellar_label_insert_new AFTER INSERT ON stellar_label REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION refuse_complete_label_set()""",
    r"""CREATE TRIGGER guard_stellar_label_update_new AFTER UPDATE ON stellar_label REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION refuse_complete_label_set()""",
    r"""CREATE TRIGGER guard_stellar_label_update_old AFTER UPDATE ON stellar_label REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION refuse_complete_label_set()""",
    r"""CREATE TRIGGER guard_stellar_label_delete_old AFTER DELETE ON stellar_label REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION refuse_complete_label_set()""",
    r"""CREATE TRIGGER guard_prediction_detail_insert_new AFTER INSERT ON prediction_detail REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION refuse_complete_label_set()""",
    r"""CREATE TRIGGER guard_prediction_detail_update_new AFTER UPDATE ON prediction_detail REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION refuse_complete_label_set()""",
    r"""CREATE TRIGGER guard_prediction_detail_update_old AFTER UPDATE ON prediction_detail REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION refuse_complete_label_set()""",
    r"""CREATE TRIGGER guard_prediction_detail_delete_old AFTER DELETE ON prediction_detail REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION refuse_complete_label_set()""",
)

DROP_VIEWS_AND_FUNCTIONS = (
    "DROP TRIGGER guard_stellar_label_insert_new ON stellar_label",
    "DROP TRIGGER guard_stellar_label_update_new ON stellar_label",
    "DROP TRIGGER guard_stellar_label_update_old ON stellar_label",
    "DROP TRIGGER guard_stellar_label_delete_old ON stellar_label",
    "DROP TRIGGER guard_prediction_detail_insert_new ON prediction_detail",
    "DROP TRIGGER guard_prediction_detail_update_new ON prediction_detail",
    "DROP TRIGGER guard_prediction_detail_update_old ON prediction_detail",
    "DROP TRIGGER guard_prediction_detail_delete_old ON prediction_detail",
    "DROP FUNCTION refuse_complete_label_set()",
    "DROP FUNCTION compare_label_sets(text, text[], text)",
    "DROP FUNCTION comparison_rows(text, text[], text)",
    "DROP FUNCTION sample_id_of(text)",
    "DROP FUNCTION label_set_id_of(text)",
    "DROP VIEW job_progress",
    "DROP VIEW label_comparison",
    "DROP VIEW best_match",
    "DROP VIEW match_ranked",
    "DROP VIEW stellar_label_long",
    "DROP VIEW current_label_set",
)


def upgrade() -> None:
    op.create_table(
        "crossmatch",
        sa.Column(
            "crossmatch_id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Surrogate key of a crossmatch configuration (meta.id)",
        ),
        sa.Column(
            "left_spec",
            sa.Text(),
            nullable=False,
            comment="Left catalog: survey or survey/release (meta.id)",
        ),
        sa.Column(
            "right_spec",
            sa.Text(),
            nullable=False,
            comment="Right catalog: survey or survey/release (meta.id)",
        ),
        sa.Column(
            "radius_arcsec",
            sa.Float(precision=53),
            nullable=False,
            comment="Search radius, inclusive [arcsec] (pos.angDistance)",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was made (UTC) (time.creation)",
        ),
        sa.PrimaryKeyConstraint("crossmatch_id", name=op.f("pk_crossmatch")),
        sa.UniqueConstraint(
            "left_spec",
            "right_spec",
            "radius_arcsec",
            name=op.f("uq_crossmatch_left_spec_right_spec_radius_arcsec"),
        ),
        comment="Configurations of the positional crossmatch",
    )
    op.create_table(
        "flag_bit",
        sa.Column("producer", sa.Text(), nullable=False, comment="Who sets the bit (meta.id)"),
        sa.Column(
            "bit", sa.SmallInteger(), nullable=False, comment="Bit number, from 0 (meta.number)"
        ),
        sa.Column("name", sa.Text(), nullable=False, comment="Name (meta.id)"),
        sa.Column("meaning", sa.Text(), nullable=False, comment="What the bit means (meta.note)"),
        sa.PrimaryKeyConstraint("producer", "bit", name=op.f("pk_flag_bit")),
        comment="What the bits of stellar_label.flags and normalize_flags mean, per producer",
    )
    op.create_table(
        "input_file",
        sa.Column(
            "input_file_id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Surrogate key of an input file (meta.id.parent)",
        ),
        sa.Column(
            "path",
            sa.Text(),
            nullable=False,
            comment="Path of the file when it was read (meta.id;meta.file)",
        ),
        sa.Column(
            "size",
            sa.BigInteger(),
            nullable=False,
            comment="Size of the file [byte] (phys.size;meta.file)",
        ),
        sa.Column(
            "sha256", sa.Text(), nullable=False, comment="SHA-256 of the content (meta.checksum)"
        ),
        sa.Column("kind", sa.Text(), nullable=False, comment="Kind of the row (meta.code.class)"),
        sa.Column("release", sa.Text(), nullable=True, comment="Data release (meta.version)"),
        sa.Column(
            "n_rows",
            sa.BigInteger(),
            nullable=True,
            comment="Number of rows in the file (meta.number)",
        ),
        sa.Column(
            "ingested_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was read (UTC) (time.processing)",
        ),
        sa.PrimaryKeyConstraint("input_file_id", name=op.f("pk_input_file")),
        sa.UniqueConstraint("sha256", "kind", "path", name=op.f("uq_input_file_sha256_kind_path")),
        comment="A file that was read, known by its content",
    )
    op.create_table(
        "job_run",
        sa.Column(
            "run_id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Surrogate key of a run (meta.id)",
        ),
        sa.Column("kind", sa.Text(), nullable=False, comment="Kind of the row (meta.code.class)"),
        sa.Column(
            "target",
            sa.Text(),
            nullable=False,
            comment="What the run writes; the lock is on it (meta.id)",
        ),
        sa.Column(
            "params", postgresql.JSONB(), nullable=False, comment="Parameters as JSON (meta.note)"
        ),
        sa.Column(
            "params_hash",
            sa.Text(),
            nullable=False,
            comment="Digest of everything that changes the answer (meta.checksum)",
        ),
        sa.Column(
            "code_version",
            sa.Text(),
            nullable=False,
            comment="Version of crosslabel (meta.version;meta.software)",
        ),
        sa.Column(
            "state", sa.Text(), nullable=False, comment="State in the ledger (meta.code.status)"
        ),
        sa.Column("host", sa.Text(), nullable=False, comment="Host of the process (meta.id)"),
        sa.Column("pid", sa.Integer(), nullable=False, comment="Process (meta.id)"),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="Start (UTC) (time.start)",
        ),
        sa.Column(
            "heartbeat_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="Last sign of life (UTC) (time.processing)",
        ),
        sa.Column(
            "finished_at", sa.DateTime(timezone=True), nullable=True, comment="End (UTC) (time.end)"
        ),
        sa.Column(
            "rows_written",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="Rows inserted, changed or deleted (meta.number)",
        ),
        sa.Column("error", sa.Text(), nullable=True, comment="What went wrong (meta.note)"),
        sa.CheckConstraint(
            "state IN ('running','paused','failed','succeeded','abandoned')",
            name=op.f("ck_job_run_state"),
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_job_run")),
        comment="Executions of jobs with fixed parameters; a lock, not a state, says that one is alive",
    )
    op.create_index(
        "uq_job_run_open",
        "job_run",
        ["kind", "target"],
        unique=True,
        postgresql_where=sa.text("state IN ('running', 'paused', 'failed')"),
    )
    op.create_table(
        "star",
        sa.Column(
            "star_id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Surrogate key of the physical star (meta.id.parent)",
        ),
        sa.Column(
            "star_key",
            sa.Text(),
            nullable=False,
            comment="Name of the physical star: its 2MASS-style APOGEE_ID (meta.id)",
        ),
        sa.PrimaryKeyConstraint("star_id", name=op.f("pk_star")),
        sa.UniqueConstraint("star_key", name=op.f("uq_star_star_key")),
        comment="Physical stars: what several sources are entries of",
    )
    op.create_table(
        "job_chunk",
        sa.Column(
            "run_id", sa.BigInteger(), nullable=False, comment="Surrogate key of a run (meta.id)"
        ),
        sa.Column("chunk_key", sa.Text(), nullable=False, comment="Key of the chunk (meta.id)"),
        sa.Column(
            "ordinal", sa.Integer(), nullable=False, comment="Order of the chunk (meta.number)"
        ),
        sa.Column(
            "state",
            sa.Text(),
            server_default="pending",
            nullable=False,
            comment="State in the ledger (meta.code.status)",
        ),
        sa.Column(
            "attempts",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="How often it was tried (meta.number)",
        ),
        sa.Column(
            "rows_written",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="Rows inserted, changed or deleted (meta.number)",
        ),
        sa.Column("elapsed_s", sa.REAL(), nullable=True, comment="Time spent [s] (time.duration)"),
        sa.Column("error", sa.Text(), nullable=True, comment="What went wrong (meta.note)"),
        sa.Column(
            "finished_at", sa.DateTime(timezone=True), nullable=True, comment="End (UTC) (time.end)"
        ),
        sa.CheckConstraint("state IN ('pending','done','failed')", name=op.f("ck_job_chunk_state")),
        sa.ForeignKeyConstraint(
            ["run_id"], ["job_run.run_id"], name=op.f("fk_job_chunk_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "chunk_key", name=op.f("pk_job_chunk")),
        sa.UniqueConstraint("run_id", "ordinal", name=op.f("uq_job_chunk_run_id_ordinal")),
        comment="The parts of a run; each commits its rows and its mark in one transaction",
    )
    op.create_table(
        "match_coverage",
        sa.Column(
            "crossmatch_id",
            sa.BigInteger(),
            nullable=False,
            comment="Surrogate key of a crossmatch configuration (meta.id)",
        ),
        sa.Column(
            "chunk_order",
            sa.SmallInteger(),
            nullable=False,
            comment="HEALPix order of the chunks (meta.number)",
        ),
        sa.Column(
            "pixel",
            sa.BigInteger(),
            nullable=False,
            comment="HEALPix pixel of the chunk, nested (pos.healpix)",
        ),
        sa.Column(
            "left_digest",
            sa.BigInteger(),
            nullable=False,
            comment="Digest of the left sources of the pixel (meta.checksum)",
        ),
        sa.Column(
            "right_digest",
            sa.BigInteger(),
            nullable=False,
            comment="Digest of the right sources of the pixel and its neighbours (meta.checksum)",
        ),
        sa.ForeignKeyConstraint(
            ["crossmatch_id"],
            ["crossmatch.crossmatch_id"],
            name=op.f("fk_match_coverage_crossmatch_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "crossmatch_id", "chunk_order", "pixel", name=op.f("pk_match_coverage")
        ),
        comment="What each sky pixel held when it was last matched; differing digests mean new work",
    )
    op.create_table(
        "quarantine",
        sa.Column(
            "input_file_id",
            sa.BigInteger(),
            nullable=False,
            comment="Surrogate key of an input file (meta.id.parent)",
        ),
        sa.Column(
            "item_key",
            sa.Text(),
            nullable=False,
            comment="Row number, key or file name of the refused item; empty for the whole file (meta.id)",
        ),
        sa.Column(
            "reason_code",
            sa.Text(),
            nullable=False,
            comment="Why it was refused; the codes are listed in docs/operations.md (meta.code.error)",
        ),
        sa.Column("detail", sa.Text(), nullable=False, comment="The refusal in words (meta.note)"),
        sa.Column(
            "first_seen",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was first refused (UTC) (time.processing)",
        ),
        sa.Column(
            "attempts",
            sa.Integer(),
            server_default="1",
            nullable=False,
            comment="How often it was tried (meta.number)",
        ),
        sa.ForeignKeyConstraint(
            ["input_file_id"],
            ["input_file.input_file_id"],
            name=op.f("fk_quarantine_input_file_id"),
        ),
        sa.PrimaryKeyConstraint("input_file_id", "item_key", name=op.f("pk_quarantine")),
        comment="Rows and files that were refused, with the reason",
    )
    op.create_table(
        "sample",
        sa.Column(
            "sample_id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Surrogate key of a sample (meta.id)",
        ),
        sa.Column("name", sa.Text(), nullable=False, comment="Name (meta.id)"),
        sa.Column(
            "crossmatch_id",
            sa.BigInteger(),
            nullable=False,
            comment="Surrogate key of a crossmatch configuration (meta.id)",
        ),
        sa.Column("preset", sa.Text(), nullable=False, comment="Preset that made it (meta.id)"),
        sa.Column(
            "params", postgresql.JSONB(), nullable=False, comment="Parameters as JSON (meta.note)"
        ),
        sa.Column(
            "counts",
            postgresql.JSONB(),
            nullable=True,
            comment="Counts from file to sample, as JSON (meta.number)",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was made (UTC) (time.creation)",
        ),
        sa.ForeignKeyConstraint(
            ["crossmatch_id"], ["crossmatch.crossmatch_id"], name=op.f("fk_sample_crossmatch_id")
        ),
        sa.PrimaryKeyConstraint("sample_id", name=op.f("pk_sample")),
        sa.UniqueConstraint("name", name=op.f("uq_sample_name")),
        comment="Named, reproducible selections of matches",
    )
    op.create_table(
        "source",
        sa.Column(
            "source_id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Surrogate key of a source (meta.id;meta.main)",
        ),
        sa.Column(
            "survey",
            sa.Text(),
            nullable=False,
            comment="Survey of the source: apogee, sdss or lamost (meta.id;meta.dataset)",
        ),
        sa.Column(
            "survey_key",
            sa.Text(),
            nullable=False,
            comment="Key of the source in its survey (meta.id)",
        ),
        sa.Column(
            "ra",
            sa.Float(precision=53),
            nullable=False,
            comment="Right ascension, ICRS [deg] (pos.eq.ra;meta.main)",
        ),
        sa.Column(
            "dec",
            sa.Float(precision=53),
            nullable=False,
            comment="Declination, ICRS [deg] (pos.eq.dec;meta.main)",
        ),
        sa.Column(
            "healpix29",
            sa.BigInteger(),
            nullable=False,
            comment="HEALPix cell of the position, nested, order 29 (pos.healpix)",
        ),
        sa.Column(
            "epoch",
            sa.Float(precision=53),
            nullable=True,
            comment="Julian year of the position [yr] (time.epoch)",
        ),
        sa.Column(
            "pmra",
            sa.REAL(),
            nullable=True,
            comment="Proper motion in right ascension, times cos(dec) [mas/yr] (pos.pm;pos.eq.ra)",
        ),
        sa.Column(
            "pmdec",
            sa.REAL(),
            nullable=True,
            comment="Proper motion in declination [mas/yr] (pos.pm;pos.eq.dec)",
        ),
        sa.Column(
            "star_id",
            sa.BigInteger(),
            nullable=True,
            comment="Surrogate key of the physical star (meta.id.parent)",
        ),
        sa.CheckConstraint(
            "ra >= 0 AND ra < 360 AND dec >= -90 AND dec <= 90", name=op.f("ck_source_position")
        ),
        sa.ForeignKeyConstraint(["star_id"], ["star.star_id"], name=op.f("fk_source_star_id")),
        sa.PrimaryKeyConstraint("source_id", name=op.f("pk_source")),
        sa.UniqueConstraint("survey", "survey_key", name=op.f("uq_source_survey_survey_key")),
        comment="Entries of the surveys' catalogs: survey, key and ICRS position",
    )
    op.create_index(op.f("ix_source_star_id"), "source", ["star_id"], unique=False)
    op.create_index(
        op.f("ix_source_survey_healpix29"), "source", ["survey", "healpix29"], unique=False
    )
    op.create_table(
        "apogee_star",
        sa.Column(
            "source_id",
            sa.BigInteger(),
            nullable=False,
            comment="Surrogate key of a source (meta.id;meta.main)",
        ),
        sa.Column(
            "apogee_id",
            sa.Text(),
            nullable=False,
            comment="APOGEE_ID: 2MASS-style name of the star (meta.id)",
        ),
        sa.Column(
            "target_id",
            sa.Text(),
            nullable=True,
            comment="TARGET_ID: telescope, field and APOGEE_ID (meta.id)",
        ),
        sa.Column(
            "apstar_id",
            sa.Text(),
            nullable=False,
            comment="APSTAR_ID: unique name of the combined APOGEE spectrum (meta.id)",
        ),
        sa.Column(
            "data_release",
            sa.Text(),
            nullable=False,
            comment="SDSS data release of the row (meta.version)",
        ),
        sa.Column(
            "telescope",
            sa.Text(),
            nullable=True,
            comment="Telescope of the observation (instr.tel)",
        ),
        sa.Column(
            "field", sa.Text(), nullable=True, comment="Name of the field (meta.id;obs.field)"
        ),
        sa.Column(
            "snr",
            sa.REAL(),
            nullable=True,
            comment="Signal-to-noise ratio per pixel of the APOGEE spectrum (stat.snr)",
        ),
        sa.Column(
            "vhelio_avg",
            sa.REAL(),
            nullable=True,
            comment="Mean heliocentric radial velocity [km/s] (spect.dopplerVeloc)",
        ),
        sa.Column(
            "vscatter",
            sa.REAL(),
            nullable=True,
            comment="Scatter of the visit velocities [km/s] (stat.stdev;spect.dopplerVeloc)",
        ),
        sa.Column(
            "nvisits", sa.Integer(), nullable=True, comment="Number of APOGEE visits (meta.number)"
        ),
        sa.Column(
            "starflag",
            sa.BigInteger(),
            nullable=True,
            comment="STARFLAG bits of APOGEE (meta.code.qual)",
        ),
        sa.Column(
            "aspcapflag",
            sa.BigInteger(),
            nullable=True,
            comment="ASPCAPFLAG bits of ASPCAP (meta.code.qual)",
        ),
        sa.Column(
            "extratarg",
            sa.BigInteger(),
            nullable=True,
            comment="EXTRATARG bits; bit 4 marks duplicates (meta.code)",
        ),
        sa.Column(
            "j", sa.REAL(), nullable=True, comment="2MASS J magnitude [mag] (phot.mag;em.IR.J)"
        ),
        sa.Column(
            "h", sa.REAL(), nullable=True, comment="2MASS H magnitude [mag] (phot.mag;em.IR.H)"
        ),
        sa.Column(
            "k", sa.REAL(), nullable=True, comment="2MASS Ks magnitude [mag] (phot.mag;em.IR.K)"
        ),
        sa.Column(
            "is_primary",
            sa.Boolean(),
            nullable=False,
            comment="Whether this is the survey's main row of the star (meta.code)",
        ),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["source.source_id"],
            name=op.f("fk_apogee_star_source_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("source_id", name=op.f("pk_apogee_star")),
        comment="APOGEE's own columns of a source, from allStar",
    )
    op.create_index(
        op.f("ix_apogee_star_data_release_apogee_id"),
        "apogee_star",
        ["data_release", "apogee_id"],
        unique=False,
    )
    op.create_table(
        "match",
        sa.Column(
            "crossmatch_id",
            sa.BigInteger(),
            nullable=False,
            comment="Surrogate key of a crossmatch configuration (meta.id)",
        ),
        sa.Column(
            "left_id",
            sa.BigInteger(),
            nullable=False,
            comment="Source on the left (APOGEE) side of a pair (meta.id)",
        ),
        sa.Column(
            "right_id",
            sa.BigInteger(),
            nullable=False,
            comment="Source on the right (optical) side of a pair (meta.id)",
        ),
        sa.Column(
            "sep_arcsec",
            sa.Float(precision=53),
            nullable=False,
            comment="Great-circle separation of the pair [arcsec] (pos.angDistance)",
        ),
        sa.ForeignKeyConstraint(
            ["crossmatch_id"],
            ["crossmatch.crossmatch_id"],
            name=op.f("fk_match_crossmatch_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["left_id"], ["source.source_id"], name=op.f("fk_match_left_id")),
        sa.ForeignKeyConstraint(["right_id"], ["source.source_id"], name=op.f("fk_match_right_id")),
        sa.PrimaryKeyConstraint("crossmatch_id", "left_id", "right_id", name=op.f("pk_match")),
        comment="All candidate pairs within the radius, inclusive",
    )
    op.create_index(
        op.f("ix_match_crossmatch_id_right_id"),
        "match",
        ["crossmatch_id", "right_id"],
        unique=False,
    )
    op.create_table(
        "model",
        sa.Column(
            "model_id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Surrogate key of a model (meta.id)",
        ),
        sa.Column("name", sa.Text(), nullable=False, comment="Name (meta.id)"),
        sa.Column(
            "edition", sa.Integer(), nullable=False, comment="Edition: 1, 2, 3... (meta.version)"
        ),
        sa.Column(
            "status", sa.Text(), nullable=False, comment="building or complete (meta.code.status)"
        ),
        sa.Column("preset", sa.Text(), nullable=False, comment="Preset that made it (meta.id)"),
        sa.Column(
            "params", postgresql.JSONB(), nullable=False, comment="Parameters as JSON (meta.note)"
        ),
        sa.Column(
            "params_hash",
            sa.Text(),
            nullable=False,
            comment="Digest of everything that changes the answer (meta.checksum)",
        ),
        sa.Column(
            "seed",
            sa.BigInteger(),
            nullable=False,
            comment="Seed of the random numbers (meta.number)",
        ),
        sa.Column(
            "labels",
            postgresql.ARRAY(sa.Text()),
            nullable=False,
            comment="Names of the labels, in order (meta.note)",
        ),
        sa.Column(
            "label_set_id",
            sa.BigInteger(),
            nullable=True,
            comment="Surrogate key of an edition of a label set (meta.id)",
        ),
        sa.Column(
            "sample_id",
            sa.BigInteger(),
            nullable=True,
            comment="Surrogate key of a sample (meta.id)",
        ),
        sa.Column(
            "recipe", sa.Text(), nullable=False, comment="Recipe of the normalization (meta.id)"
        ),
        sa.Column(
            "recipe_version",
            sa.Integer(),
            nullable=False,
            comment="Version of the recipe (meta.version)",
        ),
        sa.Column(
            "first_index",
            sa.Integer(),
            nullable=True,
            comment="Index of the first pixel on the grid loglam = 3.5 + 1e-4 i (meta.number)",
        ),
        sa.Column(
            "n_pixels", sa.Integer(), nullable=True, comment="Number of pixels (meta.number)"
        ),
        sa.Column("metrics", postgresql.JSONB(), nullable=True, comment="Scores as JSON (stat)"),
        sa.Column(
            "artifact",
            sa.LargeBinary(),
            nullable=True,
            comment="The model itself: a portable file without pickle (meta.id;meta.file)",
        ),
        sa.Column(
            "sha256", sa.Text(), nullable=True, comment="SHA-256 of the content (meta.checksum)"
        ),
        sa.Column(
            "versions",
            postgresql.JSONB(),
            nullable=True,
            comment="Versions of the software, as JSON (meta.version;meta.software)",
        ),
        sa.Column(
            "run_id", sa.BigInteger(), nullable=True, comment="Surrogate key of a run (meta.id)"
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was made (UTC) (time.creation)",
        ),
        sa.CheckConstraint("status IN ('building','complete')", name=op.f("ck_model_status")),
        sa.ForeignKeyConstraint(["run_id"], ["job_run.run_id"], name=op.f("fk_model_run_id")),
        sa.ForeignKeyConstraint(
            ["sample_id"], ["sample.sample_id"], name=op.f("fk_model_sample_id")
        ),
        sa.PrimaryKeyConstraint("model_id", name=op.f("pk_model")),
        sa.UniqueConstraint("name", "edition", name=op.f("uq_model_name_edition")),
        comment="Trained networks with everything they were made from",
    )
    op.create_table(
        "normalized_spectrum",
        sa.Column(
            "source_id",
            sa.BigInteger(),
            nullable=False,
            comment="Surrogate key of a source (meta.id;meta.main)",
        ),
        sa.Column(
            "recipe", sa.Text(), nullable=False, comment="Recipe of the normalization (meta.id)"
        ),
        sa.Column(
            "recipe_version",
            sa.Integer(),
            nullable=False,
            comment="Version of the recipe (meta.version)",
        ),
        sa.Column(
            "spectrum_sha256",
            sa.Text(),
            nullable=False,
            comment="Checksum of the spectrum that was normalized (meta.checksum)",
        ),
        sa.Column("z", sa.REAL(), nullable=True, comment="Redshift of the pipeline (src.redshift)"),
        sa.Column(
            "normalize_flags",
            sa.BigInteger(),
            nullable=False,
            comment="Bits of the normalization (table flag_bit, producer normalize) (meta.code.qual)",
        ),
        sa.Column(
            "good_fraction",
            sa.REAL(),
            nullable=False,
            comment="Fraction of the recipe's pixels that carry information (stat.value;arith.ratio)",
        ),
        sa.Column(
            "flux",
            sa.LargeBinary(),
            nullable=False,
            comment="Flux, little-endian float32 (spectrum: 1e-17 erg/s/cm2/A; normalized: 1) (phot.flux.density;em.wl)",
        ),
        sa.Column(
            "ivar",
            sa.LargeBinary(),
            nullable=False,
            comment="Inverse variance of flux, little-endian float32; 0 is no information (stat.weight;phot.flux.density)",
        ),
        sa.Column(
            "continuum",
            sa.LargeBinary(),
            nullable=False,
            comment="Pseudo-continuum, little-endian float32 (phot.flux.density;spect.continuum)",
        ),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["source.source_id"],
            name=op.f("fk_normalized_spectrum_source_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("source_id", "recipe", name=op.f("pk_normalized_spectrum")),
        comment="Spectra divided by their pseudo-continuum, on the fixed grid of the recipe",
    )
    op.create_table(
        "sample_member",
        sa.Column(
            "sample_id",
            sa.BigInteger(),
            nullable=False,
            comment="Surrogate key of a sample (meta.id)",
        ),
        sa.Column(
            "left_id",
            sa.BigInteger(),
            nullable=False,
            comment="Source on the left (APOGEE) side of a pair (meta.id)",
        ),
        sa.Column(
            "right_id",
            sa.BigInteger(),
            nullable=False,
            comment="Source on the right (optical) side of a pair (meta.id)",
        ),
        sa.Column(
            "accepted",
            sa.Boolean(),
            nullable=False,
            comment="Whether the pair is in the sample (meta.code)",
        ),
        sa.Column(
            "reason",
            sa.Text(),
            nullable=True,
            comment="First reason that rejects the pair; NULL if accepted (meta.code.qual)",
        ),
        sa.Column(
            "label_distance",
            sa.Float(precision=53),
            nullable=True,
            comment="Distance in labels and position of the preset seed-2018 (stat.value;arith.diff)",
        ),
        sa.CheckConstraint("accepted = (reason IS NULL)", name=op.f("ck_sample_member_reason")),
        sa.ForeignKeyConstraint(
            ["left_id"], ["source.source_id"], name=op.f("fk_sample_member_left_id")
        ),
        sa.ForeignKeyConstraint(
            ["right_id"], ["source.source_id"], name=op.f("fk_sample_member_right_id")
        ),
        sa.ForeignKeyConstraint(
            ["sample_id"],
            ["sample.sample_id"],
            name=op.f("fk_sample_member_sample_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("sample_id", "left_id", "right_id", name=op.f("pk_sample_member")),
        comment="Every candidate pair of a sample, accepted or with the first reason that rejects it",
    )
    op.create_table(
        "sdss_spectrum",
        sa.Column(
            "source_id",
            sa.BigInteger(),
            nullable=False,
            comment="Surrogate key of a source (meta.id;meta.main)",
        ),
        sa.Column(
            "specobjid",
            sa.Numeric(precision=20, scale=0),
            nullable=True,
            comment="SDSS specObjID, unsigned 64-bit (meta.id)",
        ),
        sa.Column("plate", sa.Integer(), nullable=False, comment="SDSS plate number (meta.id)"),
        sa.Column(
            "mjd",
            sa.Integer(),
            nullable=False,
            comment="Modified Julian date of the SDSS spectrum [d] (time.epoch)",
        ),
        sa.Column("fiberid", sa.Integer(), nullable=False, comment="SDSS fibre number (meta.id)"),
        sa.Column(
            "run2d",
            sa.Text(),
            nullable=False,
            comment="Version of the SDSS reduction (meta.version)",
        ),
        sa.Column(
            "is_primary",
            sa.Boolean(),
            nullable=True,
            comment="Whether this is the survey's main row of the star (meta.code)",
        ),
        sa.Column(
            "in_sspp",
            sa.Boolean(),
            nullable=True,
            comment="Whether the spectrum has a row in an SSPP catalog (meta.code)",
        ),
        sa.Column(
            "sspp_flag",
            sa.Text(),
            nullable=True,
            comment="SSPP's FLAG: five letters, nnnnn is normal (meta.code.qual)",
        ),
        sa.Column(
            "bv",
            sa.REAL(),
            nullable=True,
            comment="B-V colour adopted by SSPP [mag] (phot.color;em.opt.B;em.opt.V)",
        ),
        sa.Column(
            "v_mag",
            sa.REAL(),
            nullable=True,
            comment="V magnitude adopted by SSPP [mag] (phot.mag;em.opt.V)",
        ),
        sa.Column(
            "g_mag",
            sa.REAL(),
            nullable=True,
            comment="g magnitude used by SSPP [mag] (phot.mag;em.opt.B)",
        ),
        sa.Column(
            "snr_sspp",
            sa.REAL(),
            nullable=True,
            comment="Signal-to-noise ratio given by SSPP (stat.snr)",
        ),
        sa.Column(
            "rv_adop",
            sa.REAL(),
            nullable=True,
            comment="Radial velocity adopted by SSPP [km/s] (spect.dopplerVeloc)",
        ),
        sa.Column(
            "rv_adop_err",
            sa.REAL(),
            nullable=True,
            comment="Error of rv_adop [km/s] (stat.error;spect.dopplerVeloc)",
        ),
        sa.Column(
            "spectype", sa.Text(), nullable=True, comment="Spectral type given by SSPP (src.class)"
        ),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["source.source_id"],
            name=op.f("fk_sdss_spectrum_source_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("source_id", name=op.f("pk_sdss_spectrum")),
        sa.UniqueConstraint(
            "plate",
            "mjd",
            "fiberid",
            "run2d",
            name=op.f("uq_sdss_spectrum_plate_mjd_fiberid_run2d"),
        ),
        comment="SDSS's own columns of a source: its identity, and what SSPP says beside labels",
    )
    op.create_index(
        op.f("ix_sdss_spectrum_specobjid"), "sdss_spectrum", ["specobjid"], unique=False
    )
    op.create_table(
        "spectrum_blob",
        sa.Column(
            "source_id",
            sa.BigInteger(),
            nullable=False,
            comment="Surrogate key of a source (meta.id;meta.main)",
        ),
        sa.Column(
            "input_file_id",
            sa.BigInteger(),
            nullable=False,
            comment="Surrogate key of an input file (meta.id.parent)",
        ),
        sa.Column(
            "instrument",
            sa.Text(),
            nullable=False,
            comment="Spectrograph: SDSS, BOSS or LAMOST (instr)",
        ),
        sa.Column(
            "class",
            sa.Text(),
            nullable=True,
            comment="Class of the pipeline: STAR, GALAXY or QSO (src.class)",
        ),
        sa.Column(
            "subclass", sa.Text(), nullable=True, comment="Subclass of the pipeline (src.class)"
        ),
        sa.Column("z", sa.REAL(), nullable=True, comment="Redshift of the pipeline (src.redshift)"),
        sa.Column(
            "z_err", sa.REAL(), nullable=True, comment="Error of z (stat.error;src.redshift)"
        ),
        sa.Column(
            "zwarning",
            sa.BigInteger(),
            nullable=True,
            comment="ZWARNING bits of the pipeline (meta.code.qual)",
        ),
        sa.Column(
            "sn_median",
            sa.REAL(),
            nullable=True,
            comment="Median of flux * sqrt(ivar) over good pixels (stat.snr)",
        ),
        sa.Column(
            "bad_fraction",
            sa.REAL(),
            nullable=True,
            comment="Fraction of pixels with ivar = 0 (meta.code.qual;arith.ratio)",
        ),
        sa.Column(
            "spectrum_state",
            sa.Text(),
            nullable=False,
            comment="ok, or why there are no usable pixels (meta.code.qual)",
        ),
        sa.Column(
            "first_index",
            sa.Integer(),
            nullable=True,
            comment="Index of the first pixel on the grid loglam = 3.5 + 1e-4 i (meta.number)",
        ),
        sa.Column(
            "loglam0",
            sa.Float(precision=53),
            nullable=True,
            comment="log10 of the first vacuum wavelength in Angstrom (em.wl)",
        ),
        sa.Column(
            "dloglam",
            sa.Float(precision=53),
            nullable=True,
            comment="Step of log10 wavelength (em.wl;spect.binSize)",
        ),
        sa.Column(
            "n_pixels", sa.Integer(), nullable=True, comment="Number of pixels (meta.number)"
        ),
        sa.Column(
            "flux",
            sa.LargeBinary(),
            nullable=True,
            comment="Flux, little-endian float32 (spectrum: 1e-17 erg/s/cm2/A; normalized: 1) (phot.flux.density;em.wl)",
        ),
        sa.Column(
            "ivar",
            sa.LargeBinary(),
            nullable=True,
            comment="Inverse variance of flux, little-endian float32; 0 is no information (stat.weight;phot.flux.density)",
        ),
        sa.Column(
            "and_mask",
            sa.LargeBinary(),
            nullable=True,
            comment="Mask bits set in all exposures, little-endian int32 (meta.code.qual)",
        ),
        sa.Column(
            "or_mask",
            sa.LargeBinary(),
            nullable=True,
            comment="Mask bits set in any exposure, little-endian int32 (meta.code.qual)",
        ),
        sa.Column(
            "sha256", sa.Text(), nullable=True, comment="SHA-256 of the content (meta.checksum)"
        ),
        sa.CheckConstraint(
            "(spectrum_state = 'ok') = (flux IS NOT NULL)", name=op.f("ck_spectrum_blob_state")
        ),
        sa.ForeignKeyConstraint(
            ["input_file_id"],
            ["input_file.input_file_id"],
            name=op.f("fk_spectrum_blob_input_file_id"),
        ),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["source.source_id"],
            name=op.f("fk_spectrum_blob_source_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("source_id", name=op.f("pk_spectrum_blob")),
        comment="Optical spectra on the grid loglam = 3.5 + 1e-4 i; no arrays unless state is ok",
    )
    op.create_table(
        "star_link",
        sa.Column(
            "sample_id",
            sa.BigInteger(),
            nullable=False,
            comment="Surrogate key of a sample (meta.id)",
        ),
        sa.Column(
            "right_id",
            sa.BigInteger(),
            nullable=False,
            comment="Source on the right (optical) side of a pair (meta.id)",
        ),
        sa.Column(
            "left_id",
            sa.BigInteger(),
            nullable=False,
            comment="Source on the left (APOGEE) side of a pair (meta.id)",
        ),
        sa.Column(
            "star_id",
            sa.BigInteger(),
            nullable=False,
            comment="Surrogate key of the physical star (meta.id.parent)",
        ),
        sa.Column(
            "sep_arcsec",
            sa.Float(precision=53),
            nullable=False,
            comment="Great-circle separation of the pair [arcsec] (pos.angDistance)",
        ),
        sa.ForeignKeyConstraint(
            ["left_id"], ["source.source_id"], name=op.f("fk_star_link_left_id")
        ),
        sa.ForeignKeyConstraint(
            ["right_id"], ["source.source_id"], name=op.f("fk_star_link_right_id")
        ),
        sa.ForeignKeyConstraint(
            ["sample_id"],
            ["sample.sample_id"],
            name=op.f("fk_star_link_sample_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["star_id"], ["star.star_id"], name=op.f("fk_star_link_star_id")),
        sa.PrimaryKeyConstraint("sample_id", "right_id", name=op.f("pk_star_link")),
        comment="Accepted pairs: each spectrum belongs to one star of the sample",
    )
    op.create_table(
        "label_set",
        sa.Column(
            "label_set_id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Surrogate key of an edition of a label set (meta.id)",
        ),
        sa.Column("name", sa.Text(), nullable=False, comment="Name (meta.id)"),
        sa.Column(
            "edition", sa.Integer(), nullable=False, comment="Edition: 1, 2, 3... (meta.version)"
        ),
        sa.Column(
            "status", sa.Text(), nullable=False, comment="building or complete (meta.code.status)"
        ),
        sa.Column("kind", sa.Text(), nullable=False, comment="Kind of the row (meta.code.class)"),
        sa.Column(
            "inputs_hash",
            sa.Text(),
            nullable=True,
            comment="Digest of what the edition was made from (meta.checksum)",
        ),
        sa.Column(
            "run_id", sa.BigInteger(), nullable=True, comment="Surrogate key of a run (meta.id)"
        ),
        sa.Column(
            "model_id", sa.BigInteger(), nullable=True, comment="Surrogate key of a model (meta.id)"
        ),
        sa.Column(
            "description",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="In words (meta.note)",
        ),
        sa.Column(
            "params",
            postgresql.JSONB(),
            server_default="{}",
            nullable=False,
            comment="Parameters as JSON (meta.note)",
        ),
        sa.Column(
            "n_rows",
            sa.BigInteger(),
            nullable=True,
            comment="Number of rows in the file (meta.number)",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was made (UTC) (time.creation)",
        ),
        sa.Column(
            "published_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it was published (UTC) (time.release)",
        ),
        sa.CheckConstraint(
            "kind IN ('survey','out_of_fold','prediction')", name=op.f("ck_label_set_kind")
        ),
        sa.CheckConstraint("status IN ('building','complete')", name=op.f("ck_label_set_status")),
        sa.ForeignKeyConstraint(
            ["model_id"], ["model.model_id"], name=op.f("fk_label_set_model_id")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["job_run.run_id"], name=op.f("fk_label_set_run_id")),
        sa.PrimaryKeyConstraint("label_set_id", name=op.f("pk_label_set")),
        sa.UniqueConstraint("name", "edition", name=op.f("uq_label_set_name_edition")),
        comment="Editions of label sets; complete ones never change",
    )
    op.create_table(
        "training_checkpoint",
        sa.Column(
            "model_id",
            sa.BigInteger(),
            nullable=False,
            comment="Surrogate key of a model (meta.id)",
        ),
        sa.Column("chunk_key", sa.Text(), nullable=False, comment="Key of the chunk (meta.id)"),
        sa.Column(
            "state_bytes",
            sa.LargeBinary(),
            nullable=False,
            comment="Everything the next chunk of the training needs, as npz (meta.id;meta.file)",
        ),
        sa.ForeignKeyConstraint(
            ["model_id"],
            ["model.model_id"],
            name=op.f("fk_training_checkpoint_model_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("model_id", name=op.f("pk_training_checkpoint")),
        comment="Where an unfinished training stands, written with the chunk that made it",
    )
    op.create_table(
        "training_history",
        sa.Column(
            "model_id",
            sa.BigInteger(),
            nullable=False,
            comment="Surrogate key of a model (meta.id)",
        ),
        sa.Column(
            "network",
            sa.Text(),
            nullable=False,
            comment="forward (spectrum to labels) or reverse (labels to spectrum) (meta.id)",
        ),
        sa.Column(
            "fold",
            sa.Integer(),
            nullable=False,
            comment="Fold in which the row was held out; -1 the validation run, -2 the final fit (meta.number)",
        ),
        sa.Column(
            "training_epoch",
            sa.Integer(),
            nullable=False,
            comment="Epoch of the training, from 1 (meta.number)",
        ),
        sa.Column(
            "loss",
            sa.Float(precision=53),
            nullable=True,
            comment="Training loss, in the preset's units (stat.fit.residual)",
        ),
        sa.Column(
            "val_loss",
            sa.Float(precision=53),
            nullable=True,
            comment="Loss on held-out stars, in the preset's units (stat.fit.residual)",
        ),
        sa.ForeignKeyConstraint(
            ["model_id"],
            ["model.model_id"],
            name=op.f("fk_training_history_model_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "model_id", "network", "fold", "training_epoch", name=op.f("pk_training_history")
        ),
        comment="Loss curves",
    )
    op.create_table(
        "training_member",
        sa.Column(
            "model_id",
            sa.BigInteger(),
            nullable=False,
            comment="Surrogate key of a model (meta.id)",
        ),
        sa.Column(
            "source_id",
            sa.BigInteger(),
            nullable=False,
            comment="Surrogate key of a source (meta.id;meta.main)",
        ),
        sa.Column(
            "star_id",
            sa.BigInteger(),
            nullable=False,
            comment="Surrogate key of the physical star (meta.id.parent)",
        ),
        sa.Column(
            "fold",
            sa.Integer(),
            nullable=False,
            comment="Fold in which the row was held out; -1 the validation run, -2 the final fit (meta.number)",
        ),
        sa.ForeignKeyConstraint(
            ["model_id"],
            ["model.model_id"],
            name=op.f("fk_training_member_model_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["source_id"], ["source.source_id"], name=op.f("fk_training_member_source_id")
        ),
        sa.ForeignKeyConstraint(
            ["star_id"], ["star.star_id"], name=op.f("fk_training_member_star_id")
        ),
        sa.PrimaryKeyConstraint("model_id", "source_id", name=op.f("pk_training_member")),
        comment="The spectra a model was trained on, with the fold that held each out",
    )
    op.create_table(
        "prediction_detail",
        sa.Column(
            "label_set_id",
            sa.BigInteger(),
            nullable=False,
            comment="Surrogate key of an edition of a label set (meta.id)",
        ),
        sa.Column(
            "source_id",
            sa.BigInteger(),
            nullable=False,
            comment="Surrogate key of a source (meta.id;meta.main)",
        ),
        sa.Column(
            "raw_sigma",
            postgresql.ARRAY(sa.REAL()),
            nullable=True,
            comment="Errors before calibration, one per label of the model (stat.error)",
        ),
        sa.Column(
            "ensemble_std",
            postgresql.ARRAY(sa.REAL()),
            nullable=True,
            comment="Standard deviation over the ensemble, one per label of the model (stat.stdev)",
        ),
        sa.Column(
            "chi2",
            sa.REAL(),
            nullable=True,
            comment="Reduced chi-square of the spectrum given the prediction (stat.fit.chi2)",
        ),
        sa.Column(
            "distance",
            sa.REAL(),
            nullable=True,
            comment="Distance of the spectrum from the training spectra (stat)",
        ),
        sa.ForeignKeyConstraint(
            ["label_set_id"],
            ["label_set.label_set_id"],
            name=op.f("fk_prediction_detail_label_set_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["source_id"], ["source.source_id"], name=op.f("fk_prediction_detail_source_id")
        ),
        sa.PrimaryKeyConstraint("label_set_id", "source_id", name=op.f("pk_prediction_detail")),
        comment="What only networks know about a label row, 1:1; arrays in the order of model.labels",
    )
    op.create_table(
        "stellar_label",
        sa.Column(
            "label_set_id",
            sa.BigInteger(),
            nullable=False,
            comment="Surrogate key of an edition of a label set (meta.id)",
        ),
        sa.Column(
            "source_id",
            sa.BigInteger(),
            nullable=False,
            comment="Surrogate key of a source (meta.id;meta.main)",
        ),
        sa.Column(
            "teff",
            sa.REAL(),
            nullable=True,
            comment="Effective temperature [K] (phys.temperature.effective)",
        ),
        sa.Column(
            "teff_err",
            sa.REAL(),
            nullable=True,
            comment="Error of teff [K] (stat.error;phys.temperature.effective)",
        ),
        sa.Column(
            "logg",
            sa.REAL(),
            nullable=True,
            comment="Surface gravity, log10 of cm/s2 [dex] (phys.gravity)",
        ),
        sa.Column(
            "logg_err",
            sa.REAL(),
            nullable=True,
            comment="Error of logg [dex] (stat.error;phys.gravity)",
        ),
        sa.Column(
            "m_h", sa.REAL(), nullable=True, comment="Metallicity [M/H] [dex] (phys.abund.Z)"
        ),
        sa.Column(
            "m_h_err",
            sa.REAL(),
            nullable=True,
            comment="Error of m_h [dex] (stat.error;phys.abund.Z)",
        ),
        sa.Column(
            "alpha_m",
            sa.REAL(),
            nullable=True,
            comment="Alpha enhancement [alpha/M] [dex] (phys.abund)",
        ),
        sa.Column(
            "alpha_m_err",
            sa.REAL(),
            nullable=True,
            comment="Error of alpha_m [dex] (stat.error;phys.abund)",
        ),
        sa.Column(
            "fe_h", sa.REAL(), nullable=True, comment="Iron abundance [Fe/H] [dex] (phys.abund.Fe)"
        ),
        sa.Column(
            "fe_h_err",
            sa.REAL(),
            nullable=True,
            comment="Error of fe_h [dex] (stat.error;phys.abund.Fe)",
        ),
        sa.Column("c_fe", sa.REAL(), nullable=True, comment="Abundance [C/Fe] [dex] (phys.abund)"),
        sa.Column(
            "c_fe_err",
            sa.REAL(),
            nullable=True,
            comment="Error of c_fe [dex] (stat.error;phys.abund)",
        ),
        sa.Column(
            "ci_fe",
            sa.REAL(),
            nullable=True,
            comment="Abundance [C (from C I lines)/Fe] [dex] (phys.abund)",
        ),
        sa.Column(
            "ci_fe_err",
            sa.REAL(),
            nullable=True,
            comment="Error of ci_fe [dex] (stat.error;phys.abund)",
        ),
        sa.Column("n_fe", sa.REAL(), nullable=True, comment="Abundance [N/Fe] [dex] (phys.abund)"),
        sa.Column(
            "n_fe_err",
            sa.REAL(),
            nullable=True,
            comment="Error of n_fe [dex] (stat.error;phys.abund)",
        ),
        sa.Column("o_fe", sa.REAL(), nullable=True, comment="Abundance [O/Fe] [dex] (phys.abund)"),
        sa.Column(
            "o_fe_err",
            sa.REAL(),
            nullable=True,
            comment="Error of o_fe [dex] (stat.error;phys.abund)",
        ),
        sa.Column(
            "na_fe", sa.REAL(), nullable=True, comment="Abundance [Na/Fe] [dex] (phys.abund)"
        ),
        sa.Column(
            "na_fe_err",
            sa.REAL(),
            nullable=True,
            comment="Error of na_fe [dex] (stat.error;phys.abund)",
        ),
        sa.Column(
            "mg_fe", sa.REAL(), nullable=True, comment="Abundance [Mg/Fe] [dex] (phys.abund)"
        ),
        sa.Column(
            "mg_fe_err",
            sa.REAL(),
            nullable=True,
            comment="Error of mg_fe [dex] (stat.error;phys.abund)",
        ),
        sa.Column(
            "al_fe", sa.REAL(), nullable=True, comment="Abundance [Al/Fe] [dex] (phys.abund)"
        ),
        sa.Column(
            "al_fe_err",
            sa.REAL(),
            nullable=True,
            comment="Error of al_fe [dex] (stat.error;phys.abund)",
        ),
        sa.Column(
            "si_fe", sa.REAL(), nullable=True, comment="Abundance [Si/Fe] [dex] (phys.abund)"
        ),
        sa.Column(
            "si_fe_err",
            sa.REAL(),
            nullable=True,
            comment="Error of si_fe [dex] (stat.error;phys.abund)",
        ),
        sa.Column("p_fe", sa.REAL(), nullable=True, comment="Abundance [P/Fe] [dex] (phys.abund)"),
        sa.Column(
            "p_fe_err",
            sa.REAL(),
            nullable=True,
            comment="Error of p_fe [dex] (stat.error;phys.abund)",
        ),
        sa.Column("s_fe", sa.REAL(), nullable=True, comment="Abundance [S/Fe] [dex] (phys.abund)"),
        sa.Column(
            "s_fe_err",
            sa.REAL(),
            nullable=True,
            comment="Error of s_fe [dex] (stat.error;phys.abund)",
        ),
        sa.Column("k_fe", sa.REAL(), nullable=True, comment="Abundance [K/Fe] [dex] (phys.abund)"),
        sa.Column(
            "k_fe_err",
            sa.REAL(),
            nullable=True,
            comment="Error of k_fe [dex] (stat.error;phys.abund)",
        ),
        sa.Column(
            "ca_fe", sa.REAL(), nullable=True, comment="Abundance [Ca/Fe] [dex] (phys.abund)"
        ),
        sa.Column(
            "ca_fe_err",
            sa.REAL(),
            nullable=True,
            comment="Error of ca_fe [dex] (stat.error;phys.abund)",
        ),
        sa.Column(
            "ti_fe", sa.REAL(), nullable=True, comment="Abundance [Ti/Fe] [dex] (phys.abund)"
        ),
        sa.Column(
            "ti_fe_err",
            sa.REAL(),
            nullable=True,
            comment="Error of ti_fe [dex] (stat.error;phys.abund)",
        ),
        sa.Column(
            "tiii_fe",
            sa.REAL(),
            nullable=True,
            comment="Abundance [Ti (from Ti II lines)/Fe] [dex] (phys.abund)",
        ),
        sa.Column(
            "tiii_fe_err",
            sa.REAL(),
            nullable=True,
            comment="Error of tiii_fe [dex] (stat.error;phys.abund)",
        ),
        sa.Column("v_fe", sa.REAL(), nullable=True, comment="Abundance [V/Fe] [dex] (phys.abund)"),
        sa.Column(
            "v_fe_err",
            sa.REAL(),
            nullable=True,
            comment="Error of v_fe [dex] (stat.error;phys.abund)",
        ),
        sa.Column(
            "cr_fe", sa.REAL(), nullable=True, comment="Abundance [Cr/Fe] [dex] (phys.abund)"
        ),
        sa.Column(
            "cr_fe_err",
            sa.REAL(),
            nullable=True,
            comment="Error of cr_fe [dex] (stat.error;phys.abund)",
        ),
        sa.Column(
            "mn_fe", sa.REAL(), nullable=True, comment="Abundance [Mn/Fe] [dex] (phys.abund)"
        ),
        sa.Column(
            "mn_fe_err",
            sa.REAL(),
            nullable=True,
            comment="Error of mn_fe [dex] (stat.error;phys.abund)",
        ),
        sa.Column(
            "co_fe", sa.REAL(), nullable=True, comment="Abundance [Co/Fe] [dex] (phys.abund)"
        ),
        sa.Column(
            "co_fe_err",
            sa.REAL(),
            nullable=True,
            comment="Error of co_fe [dex] (stat.error;phys.abund)",
        ),
        sa.Column(
            "ni_fe", sa.REAL(), nullable=True, comment="Abundance [Ni/Fe] [dex] (phys.abund)"
        ),
        sa.Column(
            "ni_fe_err",
            sa.REAL(),
            nullable=True,
            comment="Error of ni_fe [dex] (stat.error;phys.abund)",
        ),
        sa.Column(
            "cu_fe", sa.REAL(), nullable=True, comment="Abundance [Cu/Fe] [dex] (phys.abund)"
        ),
        sa.Column(
            "cu_fe_err",
            sa.REAL(),
            nullable=True,
            comment="Error of cu_fe [dex] (stat.error;phys.abund)",
        ),
        sa.Column(
            "ge_fe", sa.REAL(), nullable=True, comment="Abundance [Ge/Fe] [dex] (phys.abund)"
        ),
        sa.Column(
            "ge_fe_err",
            sa.REAL(),
            nullable=True,
            comment="Error of ge_fe [dex] (stat.error;phys.abund)",
        ),
        sa.Column(
            "ce_fe", sa.REAL(), nullable=True, comment="Abundance [Ce/Fe] [dex] (phys.abund)"
        ),
        sa.Column(
            "ce_fe_err",
            sa.REAL(),
            nullable=True,
            comment="Error of ce_fe [dex] (stat.error;phys.abund)",
        ),
        sa.Column(
            "rb_fe", sa.REAL(), nullable=True, comment="Abundance [Rb/Fe] [dex] (phys.abund)"
        ),
        sa.Column(
            "rb_fe_err",
            sa.REAL(),
            nullable=True,
            comment="Error of rb_fe [dex] (stat.error;phys.abund)",
        ),
        sa.Column("y_fe", sa.REAL(), nullable=True, comment="Abundance [Y/Fe] [dex] (phys.abund)"),
        sa.Column(
            "y_fe_err",
            sa.REAL(),
            nullable=True,
            comment="Error of y_fe [dex] (stat.error;phys.abund)",
        ),
        sa.Column(
            "nd_fe", sa.REAL(), nullable=True, comment="Abundance [Nd/Fe] [dex] (phys.abund)"
        ),
        sa.Column(
            "nd_fe_err",
            sa.REAL(),
            nullable=True,
            comment="Error of nd_fe [dex] (stat.error;phys.abund)",
        ),
        sa.Column(
            "yb_fe", sa.REAL(), nullable=True, comment="Abundance [Yb/Fe] [dex] (phys.abund)"
        ),
        sa.Column(
            "yb_fe_err",
            sa.REAL(),
            nullable=True,
            comment="Error of yb_fe [dex] (stat.error;phys.abund)",
        ),
        sa.Column(
            "flags",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="Bits of the producer (table flag_bit) (meta.code.qual)",
        ),
        sa.ForeignKeyConstraint(
            ["label_set_id"],
            ["label_set.label_set_id"],
            name=op.f("fk_stellar_label_label_set_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["source_id"], ["source.source_id"], name=op.f("fk_stellar_label_source_id")
        ),
        sa.PrimaryKeyConstraint("label_set_id", "source_id", name=op.f("pk_stellar_label")),
        comment="Labels: one row per label set and source",
    )
    op.create_index(
        op.f("ix_stellar_label_source_id"), "stellar_label", ["source_id"], unique=False
    )
    for statement in VIEWS_AND_FUNCTIONS:
        op.get_bind().exec_driver_sql(statement.replace("%", "%%"))


def downgrade() -> None:
    for statement in DROP_VIEWS_AND_FUNCTIONS:
        op.execute(statement)
    op.drop_index(op.f("ix_stellar_label_source_id"), table_name="stellar_label")
    op.drop_table("stellar_label")
    op.drop_table("prediction_detail")
    op.drop_table("training_member")
    op.drop_table("training_history")
    op.drop_table("training_checkpoint")
    op.drop_table("label_set")
    op.drop_table("star_link")
    op.drop_table("spectrum_blob")
    op.drop_index(op.f("ix_sdss_spectrum_specobjid"), table_name="sdss_spectrum")
    op.drop_table("sdss_spectrum")
    op.drop_table("sample_member")
    op.drop_table("normalized_spectrum")
    op.drop_table("model")
    op.drop_index(op.f("ix_match_crossmatch_id_right_id"), table_name="match")
    op.drop_table("match")
    op.drop_index(op.f("ix_apogee_star_data_release_apogee_id"), table_name="apogee_star")
    op.drop_table("apogee_star")
    op.drop_index(op.f("ix_source_survey_healpix29"), table_name="source")
    op.drop_index(op.f("ix_source_star_id"), table_name="source")
    op.drop_table("source")
    op.drop_table("sample")
    op.drop_table("quarantine")
    op.drop_table("match_coverage")
    op.drop_table("job_chunk")
    op.drop_table("star")
    op.drop_index(
        "uq_job_run_open",
        table_name="job_run",
        postgresql_where=sa.text("state IN ('running', 'paused', 'failed')"),
    )
    op.drop_table("job_run")
    op.drop_table("input_file")
    op.drop_table("flag_bit")
    op.drop_table("crossmatch")
