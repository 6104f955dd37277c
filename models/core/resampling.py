"""Bootstrap errors of scores over stars: one set of draws for all label sets compared.

A star is drawn with all its spectra. All label sets are scored on the same draws, so that the
difference of two scores has an error of its own, which is smaller than those of the two where
the same stars are hard for both. All draws are worked on at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.core.arrays import FloatArray
from models.core.metrics import MAD_TO_SIGMA

STATISTICS = (
    "bias", "sigma_mad", "mae", "seed_bias", "seed_scatter", "outlier_fraction", "slope",
)  # fmt: skip
OUTLIER = 3.0  # in units of sigma_mad
SLOPE_ROUNDS = 2


@dataclass(frozen=True, eq=False)
class Draws:
    """Rows of bootstrap draws.

    Parameters
    ----------
    rows : ndarray of int64, shape (d, m)
        Row numbers; a draw with fewer than m rows is filled up with zeros.
    inside : ndarray of bool, shape (d, m)
        False where a row only fills up.
    """

    rows: NDArray[np.int64]
    inside: NDArray[np.bool_]


def every_row(n: int) -> Draws:
    """Return one draw that takes each of n rows once, for the scores themselves."""
    return Draws(np.arange(n)[None, :], np.ones((1, n), dtype=bool))


def draw_stars(star: ArrayLike, draws: int, seed: int) -> Draws:
    """Return draws of as many stars as there are, with replacement.

    Parameters
    ----------
    star : array_like, shape (n,)
        Number of the star of each row; the draws depend on the order of the numbers only.
    draws : int
        Number of draws.
    seed : int
        Seed of the random numbers.
    """
    _, of_row, size = np.unique(np.asarray(star), return_inverse=True, return_counts=True)
    order = np.argsort(of_row.reshape(-1), kind="stable")
    begin = np.cumsum(size) - size
    drawn = np.random.default_rng(seed).integers(0, max(size.size, 1), (draws, size.size))
    if not size.size:
        return Draws(np.zeros((draws, 0), np.int64), np.zeros((draws, 0), bool))
    length = size[drawn]
    total = length.sum(axis=1)
    inside = np.arange(total.max(initial=0)) < total[:, None]
    within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length.ravel(), length.ravel())
    rows = np.zeros(inside.shape, dtype=np.int64)
    rows[inside] = order[np.repeat(begin[drawn], length.ravel()) + within]
    return Draws(rows, inside)


def scores(reference: ArrayLike, test: ArrayLike, draws: Draws) -> dict[str, FloatArray]:
    """Return all `STATISTICS` of test minus reference in each draw.

    Parameters
    ----------
    reference, test : array_like, shape (n,)
        Finite labels in one unit.
    draws : Draws
        Of the n rows.

    Returns
    -------
    dict of str to ndarray, shape (d,)
        In the unit of the label, but for the fraction `outlier_fraction` (farther than 3
        `sigma_mad` from `bias`) and the dimensionless `slope`: that of the straight line through
        test against reference by least squares, after leaving out twice what is farther
        than 3 robust scatters from the line. Errors of the reference make it flatter than 1. NaN
        where nothing was drawn, or the reference is constant.
    """
    x, inside = np.asarray(reference, np.float64)[draws.rows], draws.inside
    y = np.asarray(test, np.float64)[draws.rows]
    delta = y - x
    median, mean = _median(delta, inside), _mean(delta, inside)
    deviation = np.abs(delta - median[:, None])
    sigma = MAD_TO_SIGMA * _median(deviation, inside)
    far = deviation > OUTLIER * sigma[:, None]
    return {
        "bias": median,
        "sigma_mad": sigma,
        "mae": _mean(np.abs(delta), inside),
        "seed_bias": mean,
        "seed_scatter": _mean(np.abs(delta - mean[:, None]), inside),
        "outlier_fraction": _mean(far, inside),
        "slope": _slope(x, y, inside),
    }


def repeat_sigma(difference: ArrayLike, draws: Draws) -> FloatArray:
    """Return the scatter of one spectrum from differences between two of one star, shape (d,).

    Parameters
    ----------
    difference : array_like, shape (n,)
        Labels of one spectrum minus those of the other; the sign means nothing, so the scatter is
        1.4826 times the median absolute difference, over sqrt 2.
    draws : Draws
        Of the n pairs.
    """
    spread = _median(np.abs(np.asarray(difference, np.float64))[draws.rows], draws.inside)
    return np.asarray(MAD_TO_SIGMA * spread / np.sqrt(2.0))


def error_of(samples: FloatArray) -> float:
    """Return half the 16th-to-84th percentile range of a statistic over draws; NaN without any."""
    known = samples[np.isfinite(samples)]
    if known.size < 2:
        return float("nan")
    low, high = np.percentile(known, [16.0, 84.0])
    return float(0.5 * (high - low))


def _median(values: FloatArray, inside: NDArray[np.bool_]) -> FloatArray:
    """Return the median of each draw; rows that only fill up sort last."""
    count = inside.sum(axis=1)
    if values.shape[1] == 0:
        return np.full(values.shape[0], np.nan)
    ordered = np.sort(np.where(inside, values, np.inf), axis=1)
    middle = np.stack([np.maximum(count - 1, 0) // 2, np.minimum(count // 2, values.shape[1] - 1)])
    low, high = (np.take_along_axis(ordered, m[:, None], axis=1)[:, 0] for m in middle)
    return np.where(count > 0, 0.5 * (low + high), np.nan)


def _mean(values: NDArray[np.generic], inside: NDArray[np.bool_]) -> FloatArray:
    """Return the mean of each draw."""
    count = inside.sum(axis=1)
    total = np.where(inside, values, 0.0).sum(axis=1)
    means = np.full(count.shape, np.nan)
    np.divide(total, count, out=means, where=count > 0)
    return means


def _slope(x: FloatArray, y: FloatArray, inside: NDArray[np.bool_]) -> FloatArray:
    """Return the slope of y on x by least squares, clipped; see `scores`."""
    kept = inside
    slope = np.full(x.shape[0], np.nan)
    for rounds_left in range(SLOPE_ROUNDS, -1, -1):
        dx, dy = x - _mean(x, kept)[:, None], y - _mean(y, kept)[:, None]
        spread = _mean(dx * dx, kept)
        blank = np.full(slope.shape, np.nan)
        slope = np.divide(_mean(dx * dy, kept), spread, out=blank, where=spread > 0.0)
        if rounds_left:
            residual = dy - slope[:, None] * dx
            residual = np.abs(residual - _median(residual, kept)[:, None])
            sigma = MAD_TO_SIGMA * _median(residual, kept)
            kept = inside & (residual <= OUTLIER * sigma[:, None])
    return slope
