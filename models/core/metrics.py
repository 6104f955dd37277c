"""Agreement of two sets of labels: robust statistics, and those of the original notebook."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from models.core.arrays import FloatArray

MAD_TO_SIGMA = 1.4826  # of a Gaussian
WIDTH_95 = 1.959964  # standard deviations to either side that hold 95% of a Gaussian


@dataclass(frozen=True)
class Score:
    """Statistics of delta = test - reference over the n finite values.

    Parameters
    ----------
    n : int
        Number of pairs.
    bias, sigma_mad : float
        Median, and 1.4826 times the median absolute deviation about it.
    seed_bias, seed_scatter : float
        Mean, and mean absolute deviation about it, as in the notebook.
    mae : float
        Mean absolute delta.
    outliers : float
        Fraction farther than 3 `sigma_mad` from the median.
    """

    n: int
    bias: float
    sigma_mad: float
    seed_bias: float
    seed_scatter: float
    mae: float
    outliers: float


def score(delta: ArrayLike) -> Score:
    """Return all statistics of a set of differences; NaN values where none is finite."""
    finite = _finite(delta)
    if finite.size == 0:
        return Score(0, *[float("nan")] * 6)
    median, sigma, mean = bias(finite), sigma_mad(finite), float(np.mean(finite))
    return Score(
        n=finite.size,
        bias=median,
        sigma_mad=sigma,
        seed_bias=mean,
        seed_scatter=float(np.mean(np.abs(finite - mean))),
        mae=float(np.mean(np.abs(finite))),
        outliers=float(np.mean(np.abs(finite - median) > 3.0 * sigma)),
    )


def bias(delta: ArrayLike) -> float:
    """Return the median of the finite differences."""
    finite = _finite(delta)
    return float(np.median(finite)) if finite.size else float("nan")


def sigma_mad(delta: ArrayLike) -> float:
    """Return 1.4826 times the median absolute deviation about the median."""
    finite = _finite(delta)
    if finite.size == 0:
        return float("nan")
    return float(MAD_TO_SIGMA * np.median(np.abs(finite - np.median(finite))))


def pull(delta: ArrayLike, error: ArrayLike, reference_error: ArrayLike) -> FloatArray:
    """Return the difference over the combined error; NaN where that is unknown or zero.

    Parameters
    ----------
    delta, error, reference_error : array_like, shape (n,)
        Differences and the errors of both sides, in one unit. A missing error counts as zero as
        long as the other is known.
    """
    both = np.hypot(np.nan_to_num(np.asarray(error)), np.nan_to_num(np.asarray(reference_error)))
    pulls = np.full(np.shape(delta), np.nan)
    np.divide(np.asarray(delta, dtype=np.float64), both, out=pulls, where=both > 0.0)
    return pulls


def coverage(pulls: ArrayLike, width: float = 1.0) -> float:
    """Return the fraction of finite pulls within +-width; 0.683 for width 1 if errors are right."""
    finite = _finite(pulls)
    return float(np.mean(np.abs(finite) <= width)) if finite.size else float("nan")


def _finite(values: ArrayLike) -> FloatArray:
    """Return the finite values, flat."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    return flat[np.isfinite(flat)]
