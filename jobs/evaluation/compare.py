"""Compare label sets with a reference, on the stars that all of them label.

The numbers come from the SQL functions ``compare_label_sets`` and ``comparison_counts``, so that
SQL users see the same ones; errors come from resampled stars (`models.core.resampling`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.store.comparisons import (
    PairCount,
    count_pairs,
    find_compared,
    no_common_stars,
    summary_notes,
)
from catalog.store.samples import sample_id_of
from jobs.evaluation.scores import error_over_stars
from models.core import resampling


@dataclass(frozen=True)
class ComparisonRow:
    """One label of one label set against the reference, in the unit of the label.

    Attributes
    ----------
    label, unit : str
    ref_set, test_set : str
        Names with editions; differences are test minus reference.
    n, n_stars : int
        Spectra compared, and different stars among them.
    bias, bias_err : float
        Median difference and its error; errors are None without bootstrap samples, or where fewer
        than five stars cannot tell them.
    sigma_mad, sigma_mad_err : float
        1.4826 times the median absolute deviation, and its error.
    seed_bias, seed_scatter : float
        Mean, and mean absolute deviation about it, as in the notebook.
    mae : float
        Mean absolute difference.
    pull_sigma : float or None
        Robust scatter of difference over combined error; None where errors are unknown.
    """

    label: str
    unit: str
    ref_set: str
    test_set: str
    n: int
    n_stars: int
    bias: float
    bias_err: float | None
    sigma_mad: float
    sigma_mad_err: float | None
    seed_bias: float
    seed_scatter: float
    mae: float
    pull_sigma: float | None


@dataclass(frozen=True)
class Comparison:
    """A comparison with what must be known to read it.

    Attributes
    ----------
    ref_set : str
    test_sets : tuple of str
        Names with editions.
    sample : str or None
        None: all mutual nearest pairs.
    rows : tuple of ComparisonRow
        By label, then by test set in the order given.
    counts : tuple of PairCount
        By label, how many pairs are compared and how many left out, by reason.
    notes : tuple of str
        The counts in words; sentences about labels that are not compared and simulated data.
    bootstrap, seed : int
        Number and seed of the bootstrap samples.
    """

    ref_set: str
    test_sets: tuple[str, ...]
    sample: str | None
    rows: tuple[ComparisonRow, ...]
    counts: tuple[PairCount, ...]
    notes: tuple[str, ...]
    bootstrap: int
    seed: int


def compare(
    conn: sa.Connection,
    ref: str,
    tests: Sequence[str],
    sample: str | None = None,
    *,
    bootstrap: int = 200,
    seed: int = 0,
) -> Comparison:
    """Compare label sets with a reference; a network's own training stars never take part.

    Parameters
    ----------
    conn : Connection
        A repeatable-read transaction (``Database.reader``), so that all numbers fit together.
    ref : str
        Reference label set, ``name`` or ``name@edition``.
    tests : sequence of str
        Label sets to compare with it.
    sample : str, optional
        Use the pairs of this sample; all mutual nearest pairs if not given.
    bootstrap, seed : int
        Number and seed of the bootstrap samples of stars; 0 gives no errors.

    Raises
    ------
    UsageError
        If a name is unknown or given twice, or if no star has a label in all sets.
    """
    sets = find_compared(conn, ref, tests)
    names = [s.full_name for s in sets]
    if bootstrap < 0 or bootstrap == 1:
        raise UsageError(f"{bootstrap} bootstrap samples give no error", "Take 2 or more, or 0")
    sample_id_of(conn, sample)  # refuses a name that is unknown
    arguments = {"ref": names[0], "tests": names[1:], "sample": sample}
    numbers = conn.execute(
        sa.text("SELECT * FROM compare_label_sets(:ref, :tests, :sample)"), arguments
    ).all()
    if not numbers:
        raise no_common_stars(conn, sets, sample, sample_id_of(conn, sample))
    errors = _errors(conn, arguments, bootstrap, seed)
    rows = tuple(
        ComparisonRow(
            r.label, r.unit, r.ref_set, r.test_set, r.n, r.n_stars,
            r.bias, errors[r.label, r.test_set][0], r.sigma_mad, errors[r.label, r.test_set][1],
            r.seed_bias, r.seed_scatter, r.mae, r.pull_sigma,
        )
        for r in numbers
    )  # fmt: skip
    counts = count_pairs(conn, sets, sample)
    notes = tuple(summary_notes(conn, sets, counts, {r.label for r in rows}))
    return Comparison(names[0], tuple(names[1:]), sample, rows, counts, notes, bootstrap, seed)


def _errors(
    conn: sa.Connection, arguments: dict[str, Any], draws: int, seed: int
) -> dict[tuple[str, str], tuple[float | None, float | None]]:
    """Return the bootstrap errors of bias and sigma_mad by label and test set."""
    rows = conn.execute(
        sa.text(
            "SELECT label, test_set, array_agg(ref_value ORDER BY star, left_id, right_id), "
            "array_agg(test_value ORDER BY star, left_id, right_id), "
            "array_agg(star ORDER BY star, left_id, right_id) FROM (SELECT c.*, "
            "coalesce(star_id, -left_id) AS star FROM comparison_rows(:ref, :tests, :sample) c) r "
            "GROUP BY label, test_set"
        ),
        arguments,
    )
    errors: dict[tuple[str, str], tuple[float | None, float | None]] = {}
    for label, test_set, reference, test, star in rows:
        drawn = resampling.scores(reference, test, resampling.draw_stars(star, draws, seed))
        n_stars = len(set(star))
        errors[label, test_set] = (
            error_over_stars(drawn["bias"], n_stars),
            error_over_stars(drawn["sigma_mad"], n_stars),
        )
    return errors
