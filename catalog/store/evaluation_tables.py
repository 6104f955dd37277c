"""The tables of evaluations: how well label sets agree with a reference, bin by bin.

They name label sets by name and edition, not by id: what was measured stays true after a model
and its labels are gone.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, Column, Integer, SmallInteger, Table, Text
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from catalog.store.columns import STATISTICS
from catalog.store.table_parts import Double, col, key, metadata, now, opt, ref


def _bin(*names: str) -> tuple[Column[Any], ...]:
    """Return the columns that name a bin of compared spectra; all but edges and unit are key."""
    return (
        *(col(name, Text, primary_key=True) for name in names),
        col("bin", SmallInteger, primary_key=True),
        opt("bin_low", Double),
        opt("bin_high", Double),
        col("unit", Text),
    )


def _counts_and_statistics() -> tuple[Column[Any], ...]:
    """Return the columns of counts and statistics; NULL where there are too few spectra."""
    return (
        col("n", Integer),
        col("n_stars", Integer),
        *(
            opt(name, Double)
            for statistic in STATISTICS
            for name in (statistic, f"{statistic}_err")
        ),
    )


evaluation = Table(
    "evaluation",
    metadata,
    key("evaluation_id"),
    col("ref_set", Text),
    col("test_sets", ARRAY(Text)),
    opt("sample", Text),
    col("settings", JSONB),
    col("notes", ARRAY(Text)),
    col("inputs_hash", Text),
    col("code_version", Text),
    now("created_at"),
    Unique("inputs_hash"),
    comment="Evaluations: label sets scored against a reference on the same stars and spectra",
)

evaluation_score = Table(
    "evaluation_score",
    metadata,
    ref("evaluation_id", "evaluation.evaluation_id", cascade=True, primary_key=True),
    *_bin("test_set", "label", "population", "bin_by"),
    *_counts_and_statistics(),
    opt("sigma_mad_diff", Double),
    opt("sigma_mad_diff_err", Double),
    opt("mae_diff", Double),
    opt("mae_diff_err", Double),
    opt("pull_sigma", Double),
    col("n_sigma", Integer),
    opt("coverage68", Double),
    opt("coverage95", Double),
    opt("raw_coverage68", Double),
    opt("raw_coverage95", Double),
    CheckConstraint("population IN ('all','giants','dwarfs')", name="population"),
    comment="Scores of an evaluation: by compared set, label, and bin of the spectra",
)

evaluation_repeat = Table(
    "evaluation_repeat",
    metadata,
    ref("evaluation_id", "evaluation.evaluation_id", cascade=True, primary_key=True),
    *_bin("test_set", "label", "bin_by"),
    col("n_pairs", Integer),
    col("n_stars", Integer),
    opt("repeat_sigma", Double),
    opt("repeat_sigma_err", Double),
    opt("predicted_sigma", Double),
    comment="Internal precision in an evaluation: pairs of spectra of one star, by their lower S/N",
)

learning_curve = Table(
    "learning_curve",
    metadata,
    ref("model_id", "model.model_id", cascade=True, primary_key=True),
    col("training_stars", Integer, primary_key=True),
    col("label", Text, primary_key=True),
    col("unit", Text),
    *_counts_and_statistics(),
    comment="How well a model's preset does with fewer training stars, on the same left-out stars",
)
