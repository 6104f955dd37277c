"""The preset `ridge`: labels as linear functions of the pixels, the floor for all other presets.

Each label has its own penalty, chosen on the training rows by leaving out each star in turn, which
for a linear fit needs no fit of its own (Allen 1974, Technometrics 16, 125). A bad pixel counts as
the mean of the training spectra, as in the projection of `default`. A label is learned from the
rows that have it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.core.arrays import Arrays, Float32Array, FloatArray
from models.core.crossval import Split
from models.core.metrics import sigma_mad
from models.core.options import COMPONENTS
from models.core.records import TrainingData, TrainSpec
from models.core.scaling import LabelScaler
from models.presets import closed_form
from models.presets.preset import RawPrediction
from models.projection.pixel_weights import MAX_DEVIATION
from models.projection.projection import clip_deviation, mean_spectrum
from models.reliability import applicability_domain

PENALTIES = np.logspace(-8.0, 0.0, 49)  # in units of the largest eigenvalue
MIN_MODEL_ERROR = 0.1  # of the scatter of left-out rows: what noise never explains


def fit(spec: TrainSpec, data: TrainingData, split: Split) -> Arrays:
    """Return the coefficients of all labels, fitted to the training rows of a split.

    Parameters
    ----------
    spec : TrainSpec
        Its `components` span the space in which distances are measured.
    data : TrainingData
        All rows.
    split : Split
        Whose training rows are used.
    """
    rows = split.train[(data.ivar[split.train] > 0.0).any(axis=1)]
    flux, ivar, group = data.flux[rows], data.ivar[rows], data.group[rows]
    scaler = LabelScaler.from_data(data.labels[rows], data.names)
    y = scaler.transform(data.labels[rows])
    mean, used = mean_spectrum(flux, ivar)
    good = (ivar > 0.0) & used
    x = clip_deviation(flux, mean, good).astype(np.float64)
    spread = x.var(axis=0)
    noise = _noise(ivar, good, spread)
    # Mostly all rows have all labels, so one decomposition serves them all.
    all_rows = np.ones(rows.size, dtype=bool)
    decompositions = {all_rows.tobytes(): decompose(x - x.mean(axis=0))}
    coefficients, intercepts, variances = [], [], []
    for column in y.T:
        known = np.isfinite(column)
        pattern, center = known.tobytes(), x[known].mean(axis=0)
        if pattern not in decompositions:
            decompositions[pattern] = decompose(x[known] - center)
        mean_label = column[known].mean()
        beta, left_out = solve(
            x[known] - center, column[known] - mean_label, group[known], *decompositions[pattern]
        )
        noise_variance = float(np.median(noise[known] @ beta**2))
        scatter = sigma_mad(left_out)
        coefficients.append(beta)
        intercepts.append(mean_label - center @ beta)
        variances.append(max(scatter**2 - noise_variance, (MIN_MODEL_ERROR * scatter) ** 2))
    u, eigenvalues = decompositions[all_rows.tobytes()]
    leading = min(spec.components, eigenvalues.size)
    # The leading components first.
    basis = x.T @ (u[:, : -leading - 1 : -1] / np.sqrt(eigenvalues[: -leading - 1 : -1]))
    return {
        "mean": mean,
        "used": used,
        "spread": spread,
        "coefficients": np.stack(coefficients, axis=1),
        "intercepts": np.array(intercepts),
        "variances": np.array(variances),
        "center": scaler.center,
        "scale": scaler.scale,
        "basis": basis,
        **applicability_domain.fit(x @ basis, data.labels[rows]),
    }


def decompose(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the left singular vectors and non-zero squared singular values, in rising order.

    Parameters
    ----------
    x : ndarray, shape (n, p)
        Centred rows.

    Returns
    -------
    u : ndarray, shape (n, r)
    eigenvalues : ndarray, shape (r,)
    """
    n, p = x.shape
    eigenvalues, vectors = np.linalg.eigh(x @ x.T if n <= p else x.T @ x)
    kept = eigenvalues > 1e-10 * eigenvalues[-1]
    eigenvalues, vectors = eigenvalues[kept], vectors[:, kept]
    return (vectors if n <= p else x @ (vectors / np.sqrt(eigenvalues))), eigenvalues


def solve(
    x: FloatArray,
    y: FloatArray,
    group: NDArray[np.int64],
    u: FloatArray,
    eigenvalues: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return the coefficients by the best penalty, and the residuals of left-out stars.

    The best penalty is that of the least mean absolute residual: a few wrong labels decide nothing.

    Parameters
    ----------
    x : ndarray, shape (n, p)
        Centred rows.
    y : ndarray, shape (n,)
        Centred labels.
    group : ndarray of int64, shape (n,)
        Number of the star of each row.
    u, eigenvalues : ndarray
        From `decompose`.

    Returns
    -------
    coefficients : ndarray, shape (p,)
    left_out : ndarray, shape (n,)
        Residuals of each row by the fit, with the same penalty, to the rows of all other stars.
    """
    projected = u.T @ y
    penalties = PENALTIES[:, None] * eigenvalues[-1]
    # Computed as 1 - shrinkage directly: small penalties keep their digits.
    removed = penalties / (eigenvalues + penalties)
    residual = y - u @ projected + (removed * projected) @ u.T
    # Leaving rows out divides their residuals by I - H, H being their block of the hat matrix.
    freedom = 1.0 - 1.0 / y.size - (u**2).sum(axis=1) + removed @ (u**2).T
    left_out = residual / freedom
    stars, count = np.unique(group, return_counts=True)
    for star in stars[count > 1]:
        rows = np.flatnonzero(group == star)
        part = u[rows]
        block = np.eye(rows.size) - 1.0 / y.size - part @ part.T
        block = block + (part * removed[:, None]) @ part.T
        left_out[:, rows] = np.linalg.solve(block, residual[:, rows, None])[..., 0]
    best = int(np.argmin(np.abs(left_out).mean(axis=1)))
    coefficients = x.T @ (u @ (projected / (eigenvalues + penalties[best])))
    return coefficients, left_out[best]


def _noise(ivar: Float32Array, good: NDArray[np.bool_], spread: FloatArray) -> FloatArray:
    """Return the noise variance of each pixel; that of the training spectra for a filled one."""
    variance = np.divide(1.0, ivar, out=np.zeros(ivar.shape), where=good)
    return np.where(good, np.minimum(variance, MAX_DEVIATION**2), spread)


def predict_raw(
    spec: TrainSpec,
    model: Arrays,
    first_index: int,
    flux: Float32Array,
    ivar: Float32Array,
    continuum: Float32Array,
) -> RawPrediction:
    """Return the labels by the arrays of one fitted model.

    The raw error is the scatter of left-out training rows, with the part of it that pixel noise
    explains exchanged for the spectrum's own noise.

    Parameters
    ----------
    spec : TrainSpec
        Not used.
    model : dict of str to ndarray
        From `fit`.
    first_index : int
        Not used; the grid of the model is checked before.
    flux, ivar, continuum : ndarray, shape (n, p)
        Normalized spectra; bad pixels count as the mean of the training spectra.
    """
    scaler = LabelScaler(model["center"], model["scale"])
    good = (ivar > 0.0) & model["used"]
    x = clip_deviation(flux, model["mean"], good).astype(np.float64)
    values = x @ model["coefficients"] + model["intercepts"]
    noise = _noise(ivar, good, model["spread"]) @ model["coefficients"] ** 2
    sigma = np.sqrt(model["variances"] + noise)
    empty = ~good.any(axis=1)
    values[empty] = sigma[empty] = np.nan
    return RawPrediction(
        values=scaler.inverse(values),
        sigma=scaler.inverse_errors(sigma),
        ensemble_std=np.full(values.shape, np.nan),
        chi2=np.full(flux.shape[0], np.nan),
        points=x @ model["basis"],
    )


PRESET = closed_form.make_preset(
    "ridge",
    "a linear function of the pixels (ridge regression), a baseline",
    fields={"components": COMPONENTS},
    splits_per_chunk=2,
    fit=fit,
    predict_raw=predict_raw,
)
