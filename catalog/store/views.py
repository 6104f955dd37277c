"""Views: one constant each, with its comment.

`crosslabel db upgrade` makes them anew when they change (`catalog.store.derived`); they may use
tables, functions and the views above them. Column comments come from the vocabulary. Nothing is
stored twice: ranks and comparisons are computed when asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from catalog.store.columns import LABELS, error_of
from catalog.store.entries import ENTRY

#: The labels of a row ``s`` of stellar_label, as the rows of a VALUES list.
LABEL_VALUES = ",\n        ".join(
    f"({i}, '{label}', '{m.unit}', s.{label}, s.{error_of(label)})"
    for i, (label, m) in enumerate(LABELS.items(), start=1)
)


@dataclass(frozen=True)
class View:
    """A view: its name, query, comment, the columns that make its rows unique (empty: all)."""

    name: str
    query: str
    comment: str
    key: tuple[str, ...] = ()

    @property
    def create(self) -> str:
        """Return the statement that makes or replaces the view."""
        return f"CREATE OR REPLACE VIEW {self.name} AS\n{self.query.strip()}"


CURRENT_LABEL_SET = View(
    "current_label_set",
    """
SELECT DISTINCT ON (name) label_set_id, name, edition, kind, model_id, n_rows, published_at,
       name || '@' || edition AS label_set
FROM label_set
WHERE status = 'complete'
ORDER BY name, edition DESC
""",
    "The newest complete edition of every label set",
    key=("name",),
)

STELLAR_LABEL_LONG = View(
    "stellar_label_long",
    f"""
SELECT s.label_set_id, c.label_set, s.source_id, v.label, v.unit,
       v.value::double precision AS value, v.err::double precision AS err, s.flags
FROM stellar_label s
JOIN current_label_set c USING (label_set_id)
CROSS JOIN LATERAL (VALUES
        {LABEL_VALUES}
) AS v (ordinal, label, unit, value, err)
WHERE v.value IS NOT NULL
""",
    "Labels of the newest complete editions, one row per label; label_set_id_of finds the id of a "
    "name with or without its edition",
    key=("label_set", "source_id", "label"),
)

PAIRS = View(
    "pairs",
    """
SELECT m.name AS sample, t.star_key, l.survey AS left_survey, l.survey_key AS left_key,
       r.survey AS right_survey, r.survey_key AS right_key,
       regexp_replace(f.path, '^.*/', '') AS file_name, k.sep_arcsec, b.sn_median, b.instrument,
       l.ra AS left_ra, l.dec AS left_dec, k.star_id, k.left_id, k.right_id
FROM star_link k
JOIN sample m USING (sample_id)
JOIN star t USING (star_id)
JOIN source l ON l.source_id = k.left_id
JOIN source r ON r.source_id = k.right_id
LEFT JOIN spectrum_blob b ON b.source_id = k.right_id
LEFT JOIN input_file f USING (input_file_id)
""",
    "The pairs of every sample: a star of the reference survey (left) and a spectrum (right); the "
    "function of the same name puts labels beside them",
    key=("sample", "left_survey", "left_key", "right_survey", "right_key"),
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
    key=("crossmatch_id", "left_id", "right_id"),
)

BEST_MATCH = View(
    "best_match",
    f"""
SELECT crossmatch_id, left_id, right_id, star_id, sep_arcsec
FROM (
    SELECT m.crossmatch_id, m.left_id, m.right_id, l.star_id, m.sep_arcsec,
           row_number() OVER (PARTITION BY m.crossmatch_id, m.left_id
                              ORDER BY m.sep_arcsec, m.right_id) AS left_rank,
           row_number() OVER (PARTITION BY m.crossmatch_id, m.right_id
                              ORDER BY m.sep_arcsec, m.left_id) AS right_rank
    FROM match m
    JOIN source l ON l.source_id = m.left_id
    LEFT JOIN {ENTRY} e ON e.source_id = m.left_id
    WHERE e.is_main IS NOT FALSE
) ranked
WHERE left_rank = 1 AND right_rank = 1
""",
    "Mutual nearest pairs; survey rows marked as duplicates do not take part",
    key=("crossmatch_id", "left_id", "right_id"),
)

LABEL_COMPARISON = View(
    "label_comparison",
    """
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
      AND (k.star_id = m.star_id OR k.source_id IN (m.left_id, m.right_id)))
""",
    "Any two label sets side by side on mutual nearest pairs, one row per star and label, without "
    "the stars that a predicting network was trained on",
    key=("ref_set", "test_set", "label", "left_id", "right_id", "ref_value", "test_value"),
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
    key=("run_id",),
)

EVALUATION_SUMMARY = View(
    "evaluation_summary",
    """
SELECT e.evaluation_id, e.ref_set, e.sample, s.test_set, s.label, s.unit, s.n, s.n_stars,
       s.bias, s.bias_err, s.sigma_mad, s.sigma_mad_err, s.sigma_mad_diff, s.sigma_mad_diff_err,
       s.mae, s.mae_err, s.seed_bias, s.seed_scatter, s.outlier_fraction, s.slope,
       s.coverage68, s.coverage95, e.created_at
FROM (
    SELECT DISTINCT ON (ref_set, sample, test_sets) * FROM evaluation
    ORDER BY ref_set, sample, test_sets, evaluation_id DESC
) e
JOIN evaluation_score s USING (evaluation_id)
WHERE s.bin_by = 'all' AND s.population = 'all'
""",
    "Overall scores, newest evaluations only; scores of one evaluation are on the same spectra",
    key=("evaluation_id", "test_set", "label"),
)

#: A reduction as an array that is ordered like its versions: v5_13_2 is {5,13,2}; NULL if unknown.
_REDUCTION = (
    "nullif(CAST(string_to_array(btrim(regexp_replace({}.run2d, '[^0-9]+', ' ', 'g')), ' ') "
    "AS numeric[]), '{{}}')"
)

SUPERSEDED_SPECTRUM = View(
    "superseded_spectrum",
    f"""
SELECT o.source_id, o.plate, o.mjd, o.fiberid, o.run2d
FROM sdss_spectrum o
WHERE EXISTS (
    SELECT 1 FROM sdss_spectrum n JOIN spectrum_blob b ON b.source_id = n.source_id
    WHERE n.plate = o.plate AND n.mjd = o.mjd AND n.fiberid = o.fiberid
      AND {_REDUCTION.format("n")} > {_REDUCTION.format("o")})
""",
    "SDSS spectra of which the catalog has a newer reduction (a higher run2d), with pixels or "
    "without; they stay, but samples, normalize and predict take the newest only",
    key=("source_id",),
)

VIEWS = (
    PAIRS,
    CURRENT_LABEL_SET,
    STELLAR_LABEL_LONG,
    MATCH_RANKED,
    BEST_MATCH,
    SUPERSEDED_SPECTRUM,
    LABEL_COMPARISON,
    JOB_PROGRESS,
    EVALUATION_SUMMARY,
)
