"""Linear quantile regression with a quadratic penalty."""

from __future__ import annotations

import numpy as np

from models.core.arrays import FloatArray

ITERATIONS = 60
TOLERANCE = 1e-3  # residuals smaller than this count as zero


def fit_quantile(
    x: FloatArray, y: FloatArray, level: float, start: FloatArray, penalty: FloatArray
) -> FloatArray:
    """Return the weights of the linear function of `x` below which a fraction `level` of `y` lies.

    Least sum of the pinball loss (Koenker & Bassett 1978, Econometrica 46, 33) and of
    ``penalty * (weights - start)**2 / 2``, by majorizing the loss with parabolas (Hunter & Lange
    2000, J. Comput. Graph. Stat. 9, 60). How far a value lies beyond the quantile does not matter.

    Parameters
    ----------
    x : ndarray, shape (n, p)
        Quantities; of order one.
    y : ndarray, shape (n,)
        Values; of order one.
    level : float
        Fraction in (0, 1).
    start, penalty : ndarray, shape (p,)
        Weights that the penalty is zero at, and its strength; 1 is the largest influence of one
        value. A column without penalty must not be zero in all rows.

    Returns
    -------
    ndarray, shape (p,)
        Weights; `start` where there is no value.
    """
    weights = start.copy()
    if y.size == 0:
        return weights
    push = (level - 0.5) * x.sum(axis=0) + penalty * start
    for _ in range(ITERATIONS):
        curvature = 0.5 / (TOLERANCE + np.abs(y - x @ weights))
        weighted = x * curvature[:, None]
        weights = np.linalg.solve(weighted.T @ x + np.diag(penalty), weighted.T @ y + push)
    return weights
