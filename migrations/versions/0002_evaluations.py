"""Evaluations, their scores, learning curves; comparisons of releases of one survey by star.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

VIEW = (
    r"""CREATE VIEW evaluation_summary AS
SELECT e.evaluation_id, e.ref_set, e.sample, s.test_set, s.label, s.unit, s.n, s.n_stars,
       s.bias, s.bias_err, s.sigma_mad, s.sigma_mad_err, s.sigma_mad_diff, s.sigma_mad_diff_err,
       s.mae, s.mae_err, s.seed_bias, s.seed_scatter, s.outlier_fraction, s.slope,
       s.coverage68, s.coverage95, e.created_at
FROM (
    SELECT DISTINCT ON (ref_set, sample, test_sets) * FROM evaluation
    ORDER BY ref_set, sample, test_sets, evaluation_id DESC
) e
JOIN evaluation_score s USING (evaluation_id)
WHERE s.bin_by = 'all' AND s.population = 'all'""",
    r"""COMMENT ON VIEW evaluation_summary IS 'Overall scores, newest evaluations only; scores of one evaluation are on the same spectra'""",
    r"""COMMENT ON COLUMN evaluation_summary."ref_set" IS 'Reference label set (meta.id)'""",
    r"""COMMENT ON COLUMN evaluation_summary."sample" IS 'Name of the sample whose pairs are compared; NULL: all mutual nearest pairs (meta.id)'""",
    r"""COMMENT ON COLUMN evaluation_summary."test_set" IS 'Compared label set (meta.id)'""",
    r"""COMMENT ON COLUMN evaluation_summary."label" IS 'Name of a label (meta.id)'""",
    r"""COMMENT ON COLUMN evaluation_summary."unit" IS 'Unit of the value (meta.unit)'""",
    r"""COMMENT ON COLUMN evaluation_summary."n" IS 'Number of spectra compared (meta.number)'""",
    r"""COMMENT ON COLUMN evaluation_summary."n_stars" IS 'Number of different stars among them (meta.number)'""",
    r"""COMMENT ON COLUMN evaluation_summary."bias" IS 'Median difference (stat.value;stat.median)'""",
    r"""COMMENT ON COLUMN evaluation_summary."bias_err" IS 'Error of bias, from resampled stars (stat.error;stat.median)'""",
    r"""COMMENT ON COLUMN evaluation_summary."sigma_mad" IS 'Robust scatter: 1.4826 times the median absolute deviation (stat.stdev;arith.diff)'""",
    r"""COMMENT ON COLUMN evaluation_summary."sigma_mad_err" IS 'Error of sigma_mad, from resampled stars (stat.error;arith.diff)'""",
    r"""COMMENT ON COLUMN evaluation_summary."sigma_mad_diff" IS 'sigma_mad minus that of the first set on the same spectra (stat.value;arith.diff)'""",
    r"""COMMENT ON COLUMN evaluation_summary."sigma_mad_diff_err" IS 'Its error, from the same resampled stars for both (stat.error;arith.diff)'""",
    r"""COMMENT ON COLUMN evaluation_summary."mae" IS 'Mean absolute difference (stat.value;stat.mean)'""",
    r"""COMMENT ON COLUMN evaluation_summary."mae_err" IS 'Error of mae, from resampled stars (stat.error;stat.mean)'""",
    r"""COMMENT ON COLUMN evaluation_summary."seed_bias" IS 'The notebook''s bias: mean difference (stat.value;stat.mean)'""",
    r"""COMMENT ON COLUMN evaluation_summary."seed_scatter" IS 'The notebook''s scatter: mean absolute deviation about the mean (stat.value;stat.mean)'""",
    r"""COMMENT ON COLUMN evaluation_summary."outlier_fraction" IS 'Fraction farther than 3 sigma_mad from the bias (stat.value;arith.ratio)'""",
    r"""COMMENT ON COLUMN evaluation_summary."slope" IS 'Slope of compared on reference values, outliers clipped (stat.fit.param)'""",
    r"""COMMENT ON COLUMN evaluation_summary."coverage68" IS 'Fraction within the combined error; 0.683 if errors are right (stat.value;arith.ratio)'""",
    r"""COMMENT ON COLUMN evaluation_summary."coverage95" IS 'Fraction within the interval of 95%; 0.95 if errors are right (stat.value;arith.ratio)'""",
    r"""COMMENT ON COLUMN evaluation_summary."evaluation_id" IS 'Surrogate key of an evaluation (meta.id)'""",
    r"""COMMENT ON COLUMN evaluation_summary."created_at" IS 'When it was made (UTC) (time.creation)'""",
)

COMPARISON_ROWS = (
    r"""CREATE OR REPLACE FUNCTION comparison_rows(ref text, tests text[], sample text DEFAULT NULL)
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
       CASE WHEN releases THEN o.sources[1] ELSE o.left_id END,
       CASE WHEN releases THEN o.sources[t.n] ELSE o.right_id END,
       o.value[1], o.value[t.n], o.value[t.n] - o.value[1],
       sqrt(o.err[1] * o.err[1] + o.err[t.n] * o.err[t.n]), o.sep_arcsec
FROM once o CROSS JOIN generate_series(2, cardinality(ids)) AS t (n);
END $$""",
    r"""COMMENT ON FUNCTION comparison_rows(text, text[], text) IS 'Label sets against a reference, row by row: only spectra whose label all of the sets have (of a sample, or of all mutual nearest pairs; for APOGEE''s releases among each other, entries of one star), without the stars that a predicting network was trained on; delta_err is NULL unless both errors are known'""",
)

COMPARISON_ROWS_BEFORE = (
    r"""CREATE OR REPLACE FUNCTION comparison_rows(ref text, tests text[], sample text DEFAULT NULL)
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
)


def upgrade() -> None:
    op.create_table(
        "evaluation",
        sa.Column(
            "evaluation_id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Surrogate key of an evaluation (meta.id)",
        ),
        sa.Column("ref_set", sa.Text(), nullable=False, comment="Reference label set (meta.id)"),
        sa.Column(
            "test_sets",
            postgresql.ARRAY(sa.Text()),
            nullable=False,
            comment="Compared label sets with their editions, in order (meta.note)",
        ),
        sa.Column(
            "sample",
            sa.Text(),
            nullable=True,
            comment="Name of the sample whose pairs are compared; NULL: all mutual nearest pairs (meta.id)",
        ),
        sa.Column(
            "settings",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="Edges of the bins, number and seed of the resamplings, as JSON (meta.note)",
        ),
        sa.Column(
            "notes",
            postgresql.ARRAY(sa.Text()),
            nullable=False,
            comment="What must be known to read the numbers (meta.note)",
        ),
        sa.Column(
            "inputs_hash",
            sa.Text(),
            nullable=False,
            comment="Digest of what the edition was made from (meta.checksum)",
        ),
        sa.Column(
            "code_version",
            sa.Text(),
            nullable=False,
            comment="Version of crosslabel (meta.version;meta.software)",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was made (UTC) (time.creation)",
        ),
        sa.PrimaryKeyConstraint("evaluation_id", name=op.f("pk_evaluation")),
        sa.UniqueConstraint("inputs_hash", name=op.f("uq_evaluation_inputs_hash")),
        comment="Evaluations: label sets scored against a reference on the same stars and spectra",
    )
    op.create_table(
        "evaluation_repeat",
        sa.Column(
            "evaluation_id",
            sa.BigInteger(),
            nullable=False,
            comment="Surrogate key of an evaluation (meta.id)",
        ),
        sa.Column("test_set", sa.Text(), nullable=False, comment="Compared label set (meta.id)"),
        sa.Column("label", sa.Text(), nullable=False, comment="Name of a label (meta.id)"),
        sa.Column(
            "bin_by",
            sa.Text(),
            nullable=False,
            comment="What the spectra are binned by: all (not at all), snr, or a label of the reference (meta.id)",
        ),
        sa.Column(
            "bin",
            sa.SmallInteger(),
            nullable=False,
            comment="Number of the bin, from 0 (meta.number)",
        ),
        sa.Column(
            "bin_low",
            sa.Float(precision=53),
            nullable=True,
            comment="Lower edge of the bin, inclusive; NULL: none (stat.value;stat.min)",
        ),
        sa.Column(
            "bin_high",
            sa.Float(precision=53),
            nullable=True,
            comment="Upper edge of the bin, exclusive; NULL: none (stat.value;stat.max)",
        ),
        sa.Column("unit", sa.Text(), nullable=False, comment="Unit of the value (meta.unit)"),
        sa.Column(
            "n_pairs",
            sa.Integer(),
            nullable=False,
            comment="Number of pairs of spectra of one star (meta.number)",
        ),
        sa.Column(
            "n_stars",
            sa.Integer(),
            nullable=False,
            comment="Number of different stars among them (meta.number)",
        ),
        sa.Column(
            "repeat_sigma",
            sa.Float(precision=53),
            nullable=True,
            comment="Robust scatter between spectra of one star, over sqrt 2 (stat.stdev;arith.diff)",
        ),
        sa.Column(
            "repeat_sigma_err",
            sa.Float(precision=53),
            nullable=True,
            comment="Error of repeat_sigma, from resampled stars (stat.error;arith.diff)",
        ),
        sa.Column(
            "predicted_sigma",
            sa.Float(precision=53),
            nullable=True,
            comment="Median error that the compared set states for those spectra (stat.error;stat.median)",
        ),
        sa.ForeignKeyConstraint(
            ["evaluation_id"],
            ["evaluation.evaluation_id"],
            name=op.f("fk_evaluation_repeat_evaluation_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "evaluation_id", "test_set", "label", "bin_by", "bin", name=op.f("pk_evaluation_repeat")
        ),
        comment="Internal precision in an evaluation: pairs of spectra of one star, by their lower S/N",
    )
    op.create_table(
        "evaluation_score",
        sa.Column(
            "evaluation_id",
            sa.BigInteger(),
            nullable=False,
            comment="Surrogate key of an evaluation (meta.id)",
        ),
        sa.Column("test_set", sa.Text(), nullable=False, comment="Compared label set (meta.id)"),
        sa.Column("label", sa.Text(), nullable=False, comment="Name of a label (meta.id)"),
        sa.Column(
            "population",
            sa.Text(),
            nullable=False,
            comment="all, or giants (reference log g below 3.5) or dwarfs (meta.code.class)",
        ),
        sa.Column(
            "bin_by",
            sa.Text(),
            nullable=False,
            comment="What the spectra are binned by: all (not at all), snr, or a label of the reference (meta.id)",
        ),
        sa.Column(
            "bin",
            sa.SmallInteger(),
            nullable=False,
            comment="Number of the bin, from 0 (meta.number)",
        ),
        sa.Column(
            "bin_low",
            sa.Float(precision=53),
            nullable=True,
            comment="Lower edge of the bin, inclusive; NULL: none (stat.value;stat.min)",
        ),
        sa.Column(
            "bin_high",
            sa.Float(precision=53),
            nullable=True,
            comment="Upper edge of the bin, exclusive; NULL: none (stat.value;stat.max)",
        ),
        sa.Column("unit", sa.Text(), nullable=False, comment="Unit of the value (meta.unit)"),
        sa.Column(
            "n", sa.Integer(), nullable=False, comment="Number of spectra compared (meta.number)"
        ),
        sa.Column(
            "n_stars",
            sa.Integer(),
            nullable=False,
            comment="Number of different stars among them (meta.number)",
        ),
        sa.Column(
            "bias",
            sa.Float(precision=53),
            nullable=True,
            comment="Median difference (stat.value;stat.median)",
        ),
        sa.Column(
            "bias_err",
            sa.Float(precision=53),
            nullable=True,
            comment="Error of bias, from resampled stars (stat.error;stat.median)",
        ),
        sa.Column(
            "sigma_mad",
            sa.Float(precision=53),
            nullable=True,
            comment="Robust scatter: 1.4826 times the median absolute deviation (stat.stdev;arith.diff)",
        ),
        sa.Column(
            "sigma_mad_err",
            sa.Float(precision=53),
            nullable=True,
            comment="Error of sigma_mad, from resampled stars (stat.error;arith.diff)",
        ),
        sa.Column(
            "mae",
            sa.Float(precision=53),
            nullable=True,
            comment="Mean absolute difference (stat.value;stat.mean)",
        ),
        sa.Column(
            "mae_err",
            sa.Float(precision=53),
            nullable=True,
            comment="Error of mae, from resampled stars (stat.error;stat.mean)",
        ),
        sa.Column(
            "seed_bias",
            sa.Float(precision=53),
            nullable=True,
            comment="The notebook's bias: mean difference (stat.value;stat.mean)",
        ),
        sa.Column(
            "seed_bias_err",
            sa.Float(precision=53),
            nullable=True,
            comment="Error of seed_bias, from resampled stars (stat.error;stat.mean)",
        ),
        sa.Column(
            "seed_scatter",
            sa.Float(precision=53),
            nullable=True,
            comment="The notebook's scatter: mean absolute deviation about the mean (stat.value;stat.mean)",
        ),
        sa.Column(
            "seed_scatter_err",
            sa.Float(precision=53),
            nullable=True,
            comment="Error of seed_scatter, from resampled stars (stat.error;stat.mean)",
        ),
        sa.Column(
            "outlier_fraction",
            sa.Float(precision=53),
            nullable=True,
            comment="Fraction farther than 3 sigma_mad from the bias (stat.value;arith.ratio)",
        ),
        sa.Column(
            "outlier_fraction_err",
            sa.Float(precision=53),
            nullable=True,
            comment="Error of outlier_fraction, from resampled stars (stat.error;arith.ratio)",
        ),
        sa.Column(
            "slope",
            sa.Float(precision=53),
            nullable=True,
            comment="Slope of compared on reference values, outliers clipped (stat.fit.param)",
        ),
        sa.Column(
            "slope_err",
            sa.Float(precision=53),
            nullable=True,
            comment="Error of slope, from resampled stars (stat.error;stat.fit.param)",
        ),
        sa.Column(
            "sigma_mad_diff",
            sa.Float(precision=53),
            nullable=True,
            comment="sigma_mad minus that of the first set on the same spectra (stat.value;arith.diff)",
        ),
        sa.Column(
            "sigma_mad_diff_err",
            sa.Float(precision=53),
            nullable=True,
            comment="Its error, from the same resampled stars for both (stat.error;arith.diff)",
        ),
        sa.Column(
            "mae_diff",
            sa.Float(precision=53),
            nullable=True,
            comment="mae minus that of the first set on the same spectra (stat.value;arith.diff)",
        ),
        sa.Column(
            "mae_diff_err",
            sa.Float(precision=53),
            nullable=True,
            comment="Its error, from the same resampled stars for both (stat.error;arith.diff)",
        ),
        sa.Column(
            "pull_sigma",
            sa.Float(precision=53),
            nullable=True,
            comment="Robust scatter of delta over its combined error (stat.stdev;arith.ratio)",
        ),
        sa.Column(
            "n_sigma",
            sa.Integer(),
            nullable=False,
            comment="Number of spectra whose label in the compared set has an error (meta.number)",
        ),
        sa.Column(
            "coverage68",
            sa.Float(precision=53),
            nullable=True,
            comment="Fraction within the combined error; 0.683 if errors are right (stat.value;arith.ratio)",
        ),
        sa.Column(
            "coverage95",
            sa.Float(precision=53),
            nullable=True,
            comment="Fraction within the interval of 95%; 0.95 if errors are right (stat.value;arith.ratio)",
        ),
        sa.Column(
            "raw_coverage68",
            sa.Float(precision=53),
            nullable=True,
            comment="coverage68 with the errors before calibration (stat.value;arith.ratio)",
        ),
        sa.Column(
            "raw_coverage95",
            sa.Float(precision=53),
            nullable=True,
            comment="coverage95 with the errors before calibration (stat.value;arith.ratio)",
        ),
        sa.CheckConstraint(
            "population IN ('all','giants','dwarfs')", name=op.f("ck_evaluation_score_population")
        ),
        sa.ForeignKeyConstraint(
            ["evaluation_id"],
            ["evaluation.evaluation_id"],
            name=op.f("fk_evaluation_score_evaluation_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "evaluation_id",
            "test_set",
            "label",
            "population",
            "bin_by",
            "bin",
            name=op.f("pk_evaluation_score"),
        ),
        comment="Scores of an evaluation: by compared set, label, and bin of the spectra",
    )
    op.create_table(
        "learning_curve",
        sa.Column(
            "model_id",
            sa.BigInteger(),
            nullable=False,
            comment="Surrogate key of a model (meta.id)",
        ),
        sa.Column(
            "training_stars",
            sa.Integer(),
            nullable=False,
            comment="Stars that each fold was trained on (meta.number)",
        ),
        sa.Column("label", sa.Text(), nullable=False, comment="Name of a label (meta.id)"),
        sa.Column("unit", sa.Text(), nullable=False, comment="Unit of the value (meta.unit)"),
        sa.Column(
            "n", sa.Integer(), nullable=False, comment="Number of spectra compared (meta.number)"
        ),
        sa.Column(
            "n_stars",
            sa.Integer(),
            nullable=False,
            comment="Number of different stars among them (meta.number)",
        ),
        sa.Column(
            "bias",
            sa.Float(precision=53),
            nullable=True,
            comment="Median difference (stat.value;stat.median)",
        ),
        sa.Column(
            "bias_err",
            sa.Float(precision=53),
            nullable=True,
            comment="Error of bias, from resampled stars (stat.error;stat.median)",
        ),
        sa.Column(
            "sigma_mad",
            sa.Float(precision=53),
            nullable=True,
            comment="Robust scatter: 1.4826 times the median absolute deviation (stat.stdev;arith.diff)",
        ),
        sa.Column(
            "sigma_mad_err",
            sa.Float(precision=53),
            nullable=True,
            comment="Error of sigma_mad, from resampled stars (stat.error;arith.diff)",
        ),
        sa.Column(
            "mae",
            sa.Float(precision=53),
            nullable=True,
            comment="Mean absolute difference (stat.value;stat.mean)",
        ),
        sa.Column(
            "mae_err",
            sa.Float(precision=53),
            nullable=True,
            comment="Error of mae, from resampled stars (stat.error;stat.mean)",
        ),
        sa.Column(
            "seed_bias",
            sa.Float(precision=53),
            nullable=True,
            comment="The notebook's bias: mean difference (stat.value;stat.mean)",
        ),
        sa.Column(
            "seed_bias_err",
            sa.Float(precision=53),
            nullable=True,
            comment="Error of seed_bias, from resampled stars (stat.error;stat.mean)",
        ),
        sa.Column(
            "seed_scatter",
            sa.Float(precision=53),
            nullable=True,
            comment="The notebook's scatter: mean absolute deviation about the mean (stat.value;stat.mean)",
        ),
        sa.Column(
            "seed_scatter_err",
            sa.Float(precision=53),
            nullable=True,
            comment="Error of seed_scatter, from resampled stars (stat.error;stat.mean)",
        ),
        sa.Column(
            "outlier_fraction",
            sa.Float(precision=53),
            nullable=True,
            comment="Fraction farther than 3 sigma_mad from the bias (stat.value;arith.ratio)",
        ),
        sa.Column(
            "outlier_fraction_err",
            sa.Float(precision=53),
            nullable=True,
            comment="Error of outlier_fraction, from resampled stars (stat.error;arith.ratio)",
        ),
        sa.Column(
            "slope",
            sa.Float(precision=53),
            nullable=True,
            comment="Slope of compared on reference values, outliers clipped (stat.fit.param)",
        ),
        sa.Column(
            "slope_err",
            sa.Float(precision=53),
            nullable=True,
            comment="Error of slope, from resampled stars (stat.error;stat.fit.param)",
        ),
        sa.ForeignKeyConstraint(
            ["model_id"],
            ["model.model_id"],
            name=op.f("fk_learning_curve_model_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "model_id", "training_stars", "label", name=op.f("pk_learning_curve")
        ),
        comment="How well a model's preset does with fewer training stars, on the same left-out stars",
    )
    for statement in (*VIEW, *COMPARISON_ROWS):
        op.get_bind().exec_driver_sql(statement.replace("%", "%%"))


def downgrade() -> None:
    for statement in COMPARISON_ROWS_BEFORE:
        op.get_bind().exec_driver_sql(statement.replace("%", "%%"))
    op.execute("DROP VIEW evaluation_summary")
    op.drop_table("learning_curve")
    op.drop_table("evaluation_score")
    op.drop_table("evaluation_repeat")
    op.drop_table("evaluation")
