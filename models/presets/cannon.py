"""The preset `cannon`: each pixel is a quadratic function of the labels, fitted and then inverted.

The Cannon (Ness et al. 2015, ApJ 808, 16): the flux of pixel j in star n is theta_j . v(l_n) plus
noise of variance 1 / ivar_nj + s_j^2, where v holds 1, the scaled labels and all their products.
Training maximises the likelihood of theta_j and s_j, pixel by pixel, given the labels. Where a star
lacks some, the values expected from its others stand in (`models.presets.imputation`): that costs
less than to leave the star out. The labels of a new spectrum are those of the least chi-square.

For one spectrum that chi-square is a quadratic form in v(l), so a few dozen numbers hold all that
its pixels say, and the search may begin at many places: there are local minima.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.core.arrays import Arrays, Float32Array, FloatArray
from models.core.crossval import Split
from models.core.records import TrainingData, TrainSpec
from models.core.scaling import LabelScaler
from models.presets import closed_form
from models.presets.imputation import fill_labels
from models.presets.label_terms import minimise, n_terms, terms
from models.presets.preset import RawPrediction
from models.projection.projection import (
    BLOCK,
    FIRST_SCATTER,
    MIN_SCATTER,
    clip_deviation,
    mean_spectrum,
    pair_products,
    pixel_weight,
)
from models.reliability import applicability_domain

ROUNDS = 6  # of coefficients and scatter in turn
SCATTER_STEPS = 4  # per round
RIDGE = 1e-3  # in spectra of typical weight: bounds the coefficients of rarely good pixels
MIN_KNOWN = 0.5  # of the labels of a star that takes part
START_FRACTION = 0.15  # of the training stars at each end of a label give a starting point


def fit(spec: TrainSpec, data: TrainingData, split: Split) -> Arrays:
    """Return the coefficients and scatter of all pixels, fitted to the training rows of a split.

    Parameters
    ----------
    spec : TrainSpec
        Not used: nothing can be chosen.
    data : TrainingData
        All rows.
    split : Split
        Whose training rows are used.

    Raises
    ------
    ValueError
        If fewer spectra have enough labels than a pixel has coefficients.
    """
    enough = np.isfinite(data.labels[split.train]).mean(axis=1) >= MIN_KNOWN
    rows = split.train[enough & (data.ivar[split.train] > 0.0).any(axis=1)]
    needed = n_terms(len(data.names))
    if rows.size <= needed:
        raise ValueError(
            f"The preset cannon fits {needed} coefficients per pixel, but only {rows.size} "
            "training spectra have at least half of the labels. Ask for fewer labels or use a "
            "larger sample."
        )
    flux, ivar = data.flux[rows], data.ivar[rows]
    mean, used = mean_spectrum(flux, ivar)
    labels = fill_labels(data.labels[rows])
    scaler = LabelScaler.from_data(labels, data.names)
    labels = scaler.transform(labels)
    theta, scatter = fit_pixels(terms(labels), flux, np.where(used, ivar, 0.0), mean)
    model: Arrays = {
        "mean": mean,
        "theta": theta,
        "scatter": scatter,
        "used": used,
        "starts": _starting_points(labels),
        "center": scaler.center,
        "scale": scaler.scale,
    }
    gram, right, *_ = _normal_equations(model, flux, ivar)
    metric = theta[used].T @ theta[used]
    points = _coordinates(gram, right)
    return {**model, **applicability_domain.fit(points, data.labels[rows], metric)}


def fit_pixels(
    design: FloatArray,
    flux: Float32Array,
    ivar: Float32Array,
    mean: Float32Array,
) -> tuple[FloatArray, FloatArray]:
    """Return the coefficients and intrinsic variance of each pixel of greatest likelihood.

    In turn: coefficients by weighted least squares, then s^2 by its fixed point
    s^2 <- s^2 sum(w^2 r^2) / sum(w) with w = 1 / (1 / ivar + s^2) and residuals r, where the
    derivative of the likelihood vanishes.

    Parameters
    ----------
    design : ndarray of float64, shape (n, d)
        Terms of the labels of each spectrum.
    flux, ivar : ndarray of float32, shape (n, p)
        Training spectra.
    mean : ndarray of float32, shape (p,)
        Spectrum whose difference to the flux is fitted.

    Returns
    -------
    theta : ndarray of float64, shape (p, d)
    scatter : ndarray of float64, shape (p,)
        s^2, at least ``MIN_SCATTER**2``.
    """
    n_pixels, d = flux.shape[1], design.shape[1]
    theta, scatter = np.zeros((n_pixels, d)), np.full(n_pixels, FIRST_SCATTER**2)
    pairs, index = pair_products(design)
    for start in range(0, n_pixels, BLOCK):
        part = slice(start, start + BLOCK)
        noise = ivar[:, part]
        deviation = clip_deviation(flux[:, part], mean[part], noise).astype(np.float64)
        s2 = scatter[part]
        for _ in range(ROUNDS):
            weight = pixel_weight(noise, s2).astype(np.float64)
            ridge = np.eye(d) * RIDGE * np.maximum(weight.mean(axis=0), 1e-30)[:, None, None]
            gram = (weight.T @ pairs)[:, index] + ridge
            solution = np.linalg.solve(gram, ((weight * deviation).T @ design)[..., None])[..., 0]
            squares = (deviation - design @ solution.T) ** 2
            for _ in range(SCATTER_STEPS):
                weight = pixel_weight(noise, s2).astype(np.float64)
                total = np.maximum(weight.sum(axis=0), 1e-30)
                s2 = np.maximum(s2 * (weight**2 * squares).sum(axis=0) / total, MIN_SCATTER**2)
        theta[part], scatter[part] = solution, s2
    return theta, scatter


def _starting_points(labels: FloatArray) -> FloatArray:
    """Return the mean labels, and for each label the mean of the stars at either end of it."""
    count = max(1, round(START_FRACTION * labels.shape[0]))
    ends = [
        labels[rows].mean(axis=0)
        for order in np.argsort(labels, axis=0, kind="stable").T
        for rows in (order[:count], order[-count:])
    ]
    return np.stack([labels.mean(axis=0), *ends])


def _normal_equations(
    model: Arrays, flux: Float32Array, ivar: Float32Array
) -> tuple[FloatArray, FloatArray, FloatArray, NDArray[np.int64]]:
    """Return A, b, c of chi2 = v A v - 2 b v + c, and the number of pixels, of each spectrum."""
    n, d = flux.shape[0], model["theta"].shape[1]
    gram, right = np.zeros((n, d, d)), np.zeros((n, d))
    constant, count = np.zeros(n), np.zeros(n, np.int64)
    pairs, index = pair_products(model["theta"])
    for start in range(0, n, BLOCK):
        part = slice(start, start + BLOCK)
        noise = np.where(model["used"], ivar[part], np.float32(0.0))
        weight = pixel_weight(noise, model["scatter"]).astype(np.float64)
        deviation = clip_deviation(flux[part], model["mean"], weight).astype(np.float64)
        gram[part] = (weight @ pairs)[:, index]
        right[part] = (weight * deviation) @ model["theta"]
        constant[part] = np.sum(weight * deviation**2, axis=1)
        count[part] = (weight > 0.0).sum(axis=1)
    return gram, right, constant, count


def _coordinates(gram: FloatArray, right: FloatArray) -> FloatArray:
    """Return the terms that fit each spectrum best if all are free, with a unit prior."""
    free = np.linalg.solve(gram + np.eye(gram.shape[1]), right[..., None])[..., 0]
    return np.asarray(free, np.float64)


def predict_raw(
    spec: TrainSpec,
    model: Arrays,
    first_index: int,
    flux: Float32Array,
    ivar: Float32Array,
    continuum: Float32Array,
) -> RawPrediction:
    """Return the labels of least chi-square by the arrays of one fitted model.

    The raw errors are the formal ones, roots of the diagonal of the inverse curvature.

    Parameters
    ----------
    spec : TrainSpec
        Not used.
    model : dict of str to ndarray
        From `fit`.
    first_index : int
        Not used; the grid of the model is checked before.
    flux, ivar, continuum : ndarray, shape (n, p)
        Normalized spectra; bad pixels have no weight.
    """
    scaler = LabelScaler(model["center"], model["scale"])
    gram, right, constant, count = _normal_equations(model, flux, ivar)
    found = minimise(gram, right, model["starts"])
    freedom = np.maximum(count - len(scaler.center), 1)
    return RawPrediction(
        values=scaler.inverse(found.labels),
        sigma=scaler.inverse_errors(found.sigma),
        ensemble_std=np.full(found.labels.shape, np.nan),
        chi2=(constant + found.cost) / freedom,
        points=_coordinates(gram, right),
    )


PRESET = closed_form.make_preset(
    "cannon",
    "The Cannon: each pixel a quadratic function of the labels, a baseline",
    fields={},
    splits_per_chunk=1,
    fit=fit,
    predict_raw=predict_raw,
)
