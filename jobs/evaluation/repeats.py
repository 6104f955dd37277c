"""Internal precision: how far the labels of different spectra of one star lie apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from jobs.evaluation.data import ComparedLabel
from jobs.evaluation.records import Cell, Repeat, cells_of, known
from jobs.evaluation.scores import error_over_stars
from models.core import metrics, resampling


def score_repeats(
    data: ComparedLabel,
    edges: Sequence[float],
    *,
    bootstrap: int,
    seed: int,
) -> list[Repeat]:
    """Compare the spectra of one star with each other, by the lower S/N of each pair.

    Parameters
    ----------
    data, bootstrap, seed
        As in `jobs.evaluation.scores.score_label`.
    edges : sequence of float
        Edges of the bins of S/N.
    """
    found = []
    left, right = _pairs(data.star)
    snr = np.minimum(data.by["snr"][left], data.by["snr"][right])
    for cell in (Cell("all"), *cells_of("snr", edges)):
        inside = np.ones(snr.size, bool) if cell.bin_by == "all" else cell.holds(snr)
        for i, name in enumerate(data.names):
            # A set that labels stars, not spectra, has one row for both.
            use = inside & (data.source_id[i, left] != data.source_id[i, right])
            a, b = left[use], right[use]
            star, difference = data.star[a], data.test[i, a] - data.test[i, b]
            value = resampling.repeat_sigma(difference, resampling.every_row(a.size))
            drawn = resampling.repeat_sigma(
                difference, resampling.draw_stars(star, bootstrap, seed)
            )
            stated = np.hypot(data.sigma[i, a], data.sigma[i, b]) / np.sqrt(2.0)
            n_stars = np.unique(star).size
            found.append(
                Repeat(
                    test_set=name,
                    label=data.label,
                    unit=data.unit,
                    n_pairs=a.size,
                    n_stars=n_stars,
                    repeat_sigma=known(value[0]),
                    repeat_sigma_err=error_over_stars(drawn, n_stars),
                    predicted_sigma=known(metrics.bias(stated)),
                    **dataclasses.asdict(cell),
                )
            )
    return found


def _pairs(star: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return row numbers of all pairs of spectra of one star."""
    order = np.argsort(star, kind="stable")
    ends = np.flatnonzero(star[order][1:] != star[order][:-1]) + 1
    found = [pair for rows in np.split(order, ends) for pair in combinations(rows.tolist(), 2)]
    both = np.array(found, np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]
