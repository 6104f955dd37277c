"""Applicability domain of a model: distance to the training spectra, and robust linear labels.

Networks level off outside of their training data: a star hotter than all training stars is given
the temperature of the hottest. A linear fit extrapolates, so it shows that the star lies beyond. It
must be robust, as most of the few training stars at the edges have wrong labels.

There are two fits. The fine one, to the leading coordinates, separates dwarfs from giants, but the
terms that correct its curvature within the training spectra mislead it beyond them. The coarse one
has only the direction in which the training spectra differ most, in most samples the strength of
lines: its labels are poor, but they go on rising.
"""

from __future__ import annotations

import numpy as np

from models.core.arrays import Arrays, FloatArray
from models.core.metrics import MAD_TO_SIGMA
from models.reliability.quantile_regression import fit_quantile

CLIP = 5.0  # robust standard deviations
LEADING = 16  # coordinates of the linear fit: more would only follow noise
BIWEIGHT = 6.0  # robust standard deviations of the residuals beyond which a row has no weight
ROUNDS = 30


def fit(points: FloatArray, labels: FloatArray, metric: FloatArray | None = None) -> Arrays:
    """Return the centre and covariance of the training spectra, and linear fits of their labels.

    Parameters
    ----------
    points : ndarray, shape (n, c)
        Training spectra in some coordinates, the important ones first.
    labels : ndarray, shape (n, k) [units of the labels]
        Known labels; NaN where missing.
    metric : ndarray, shape (c, c), optional
        Squared length of a spectrum by its coordinates; by default that of an orthonormal basis.

    Returns
    -------
    dict of str to ndarray
        `distance_mean`, shape (c,), and `distance_whiten`, shape (c, c), for `distance`;
        `linear_scale`, shape (m,), `linear_weights`, shape (m + 1, k), `coarse_axis`, shape (c,),
        and `coarse_weights`, shape (2, k), for `linear_labels`.
    """
    mean, covariance = _robust_covariance(points)
    leading = points[:, :LEADING]
    scale = leading.std(axis=0) if points.shape[0] else np.ones(leading.shape[1])
    scale = np.where(scale > 0.0, scale, 1.0)
    model = {
        "distance_mean": mean,
        "distance_whiten": np.linalg.inv(np.linalg.cholesky(covariance)).T,
        "linear_scale": scale,
        "coarse_axis": _principal_axis(covariance, metric),
    }
    for name, x in (
        ("linear", _fine_design(model, points)),
        ("coarse", _coarse_fine_design(model, points)),
    ):
        weights = [_robust_fit(x, column) for column in labels.T]
        model[f"{name}_weights"] = np.stack(weights, axis=1)
    return model


def _robust_covariance(points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return centre and covariance of points, by the median and clipped deviations."""
    mean = np.median(points, axis=0)
    centred = points - mean
    # A few odd spectra must not inflate the covariance: nothing would be far from it.
    limit = CLIP * MAD_TO_SIGMA * np.median(np.abs(centred), axis=0)
    centred = np.clip(centred, -limit, limit)
    covariance = centred.T @ centred / max(points.shape[0] - 1, 1)
    # Directions that the training spectra do not span get a floor instead of infinite weight.
    covariance += 1e-6 * max(float(np.trace(covariance)), 1e-30) * np.eye(mean.size)
    return mean, covariance


def _principal_axis(covariance: FloatArray, metric: FloatArray | None) -> FloatArray:
    """Return the weights of the coordinates in the score of unit variance on the first axis."""
    lengths, directions = np.linalg.eigh(np.eye(len(covariance)) if metric is None else metric)
    root = directions * np.sqrt(np.maximum(lengths, 0.0))
    variance, axes = np.linalg.eigh(root.T @ covariance @ root)
    return np.asarray(root @ axes[:, -1] / np.sqrt(max(variance[-1], 1e-30)))


def _fine_design(model: Arrays, points: FloatArray) -> FloatArray:
    """Return a constant and the leading coordinates, centred and scaled, shape (n, m + 1)."""
    centred = (points - model["distance_mean"])[:, :LEADING] / model["linear_scale"]
    return np.column_stack([np.ones(points.shape[0]), centred])


def _coarse_fine_design(model: Arrays, points: FloatArray) -> FloatArray:
    """Return a constant and the score on the principal axis, shape (n, 2)."""
    score = (points - model["distance_mean"]) @ model["coarse_axis"]
    return np.column_stack([np.ones(points.shape[0]), score])


def _robust_fit(x: FloatArray, y: FloatArray) -> FloatArray:
    """Return the weights of a robust linear fit: Tukey's biweight, begun from the L1 fit."""
    known = np.isfinite(y) & np.isfinite(x).all(axis=1)
    weights = np.zeros(x.shape[1])
    if not known.any():
        return weights
    x, y = x[known], y[known]
    center, scale = np.median(y), max(float(np.std(y)), 1e-30)
    penalty = np.ones(x.shape[1])
    penalty[0] = 0.0  # of the constant
    weights = fit_quantile(x, (y - center) / scale, 0.5, weights, penalty) * scale
    for _ in range(ROUNDS):
        residual = (y - center - x @ weights) / scale
        limit = BIWEIGHT * MAD_TO_SIGMA * max(float(np.median(np.abs(residual))), 1e-9)
        biweight = np.maximum(1.0 - (residual / limit) ** 2, 0.0) ** 2
        weighted = (x * biweight[:, None]).T
        gram = weighted @ x + np.diag(penalty + 1e-9)
        weights = np.linalg.solve(gram, weighted @ (y - center))
    weights[0] += center
    return weights


def distance(model: Arrays, points: FloatArray) -> FloatArray:
    """Return the Mahalanobis distance to the training spectra, shape (n,).

    Parameters
    ----------
    model : dict of str to ndarray
        With the arrays of `fit`.
    points : ndarray, shape (n, c)
        Spectra in the same coordinates.
    """
    whitened = (points - model["distance_mean"]) @ model["distance_whiten"]
    return np.asarray(np.sqrt(np.sum(whitened**2, axis=1)))


def linear_labels(model: Arrays, points: FloatArray) -> FloatArray:
    """Return the labels by the fine and by the coarse fit, shape (n, 2, k) [units of the labels].

    Parameters
    ----------
    model : dict of str to ndarray
        With the arrays of `fit`.
    points : ndarray, shape (n, c)
        Spectra in the same coordinates.
    """
    fine = _fine_design(model, points) @ model["linear_weights"]
    return np.stack([fine, _coarse_fine_design(model, points) @ model["coarse_weights"]], axis=1)
