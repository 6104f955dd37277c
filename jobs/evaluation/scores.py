"""Score label sets in bins of the spectra, with errors from resampled stars, and coverage."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jobs.evaluation.data import ComparedLabel
from jobs.evaluation.records import POPULATIONS, Cell, Score, cells_of, known
from models.core import metrics, resampling

GIANT_LOGG = 3.5  # [dex]; giants lie below
MIN_STARS = 5  # fewer say nothing about errors
DIFFERENCES = ("sigma_mad", "mae")  # what is also given as difference to the first set


def score_label(
    data: ComparedLabel,
    edges: Mapping[str, Sequence[float]],
    *,
    bootstrap: int,
    seed: int,
) -> list[Score]:
    """Score all compared sets in all bins; in a bin, on the same draws of its stars.

    Parameters
    ----------
    data : ComparedLabel
        One label in t compared sets; differences are taken to the first.
    edges : mapping of str to sequence of float
        Edges of the bins, for some of `jobs.evaluation.data.BINNED_BY`.
    bootstrap, seed : int
        Number of draws, and the seed of their random numbers.
    """
    found: list[Score] = []
    for population, cell, chosen in _bins(data, edges):
        rows = np.flatnonzero(chosen)
        star = data.star[rows]
        n_stars = np.unique(star).size
        draws = resampling.draw_stars(star, bootstrap, seed)
        values, drawn = (
            [resampling.scores(data.reference[rows], test[rows], which) for test in data.test]
            for which in (resampling.every_row(rows.size), draws)
        )
        for i, name in enumerate(data.names):
            numbers: dict[str, Any] = {}
            for statistic in resampling.STATISTICS:
                value, samples = values[i][statistic], drawn[i][statistic]
                numbers |= _with_error(statistic, value, samples, n_stars)
            for statistic in DIFFERENCES:
                value, samples = (of[i][statistic] - of[0][statistic] for of in (values, drawn))
                difference = _with_error(f"{statistic}_diff", value, samples, n_stars)
                numbers |= difference if i else dict.fromkeys(difference)
            found.append(
                Score(
                    test_set=name,
                    label=data.label,
                    population=population,
                    unit=data.unit,
                    n=rows.size,
                    n_stars=n_stars,
                    **dataclasses.asdict(cell),
                    **numbers,
                    **_reliability(data, i, rows),
                )
            )
    return found


def _with_error(
    name: str, value: np.ndarray, drawn: np.ndarray, n_stars: int
) -> dict[str, float | None]:
    """Return a statistic and its error, by name."""
    return {name: known(value[0]), f"{name}_err": error_over_stars(drawn, n_stars)}


def _bins(
    data: ComparedLabel, edges: Mapping[str, Sequence[float]]
) -> Iterator[tuple[str, Cell, np.ndarray]]:
    """All bins: all stars by everything, giants and dwarfs by S/N."""
    everything = np.ones(data.reference.size, bool)
    giant, dwarf = data.by["logg"] < GIANT_LOGG, data.by["logg"] >= GIANT_LOGG
    for population, chosen in zip(POPULATIONS, (everything, giant, dwarf), strict=True):
        yield population, Cell("all"), chosen
        for name, between in edges.items():
            if population == POPULATIONS[0] or name == "snr":
                for cell in cells_of(name, between):
                    yield population, cell, chosen & cell.holds(data.by[name])


def _reliability(data: ComparedLabel, i: int, rows: np.ndarray) -> dict[str, Any]:
    """Return the coverage of differences by combined errors, which tests the stated errors."""
    delta, own = data.test[i, rows] - data.reference[rows], data.reference_err[rows]
    sigma, raw, half = data.sigma[i, rows], data.raw_sigma[i, rows], data.half_width95[i, rows]
    # A set that states no interval of 95% means that of a Gaussian.
    half = np.where(np.isfinite(half + sigma), half / metrics.WIDTH_95, sigma)
    pulls, wide, of_raw = (_pulls(delta, error, own) for error in (sigma, half, raw))
    return {
        "pull_sigma": known(metrics.sigma_mad(pulls)),
        "n_sigma": int(np.isfinite(pulls).sum()),
        "coverage68": known(metrics.coverage(pulls)),
        "coverage95": known(metrics.coverage(wide, metrics.WIDTH_95)),
        "raw_coverage68": known(metrics.coverage(of_raw)),
        "raw_coverage95": known(metrics.coverage(of_raw, metrics.WIDTH_95)),
    }


def _pulls(delta: np.ndarray, error: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return differences over combined errors, where the compared set states one."""
    stated = np.isfinite(error)
    return metrics.pull(delta[stated], error[stated], own[stated])


def error_over_stars(drawn: np.ndarray, n_stars: int) -> float | None:
    """Return the error from draws of stars; None where there are too few stars to tell."""
    return known(resampling.error_of(drawn)) if n_stars >= MIN_STARS else None
