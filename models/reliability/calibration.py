"""Calibration of predicted errors from out-of-fold predictions.

Neither an error head nor an ensemble nor the curvature of a chi-square is calibrated by itself.
The raw errors are multiplied by two factors: one for intervals of 68.27%, one for 95%, as the tails
of real differences are longer than those of a Gaussian. The logarithm of a factor is a linear
function of what is known of a spectrum without its labels: giant or dwarf, by predicted log g;
signal-to-noise ratio; distance to the training spectra; chi-square; predicted temperature; the raw
error itself. Its weights are those of a quantile regression of the out-of-fold differences. Its
zero point, for giants and for dwarfs, is conformal (Romano, Patterson & Candes 2019, NeurIPS 32):
from differences of stars that the weights were not fitted to. Calibrated errors are bounded below
by the smallest that so many differences from the known labels, with the errors of these, can show.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.core.arrays import FloatArray
from models.core.metrics import WIDTH_95
from models.core.records import Predictions
from models.reliability.quantile_regression import fit_quantile

LEVELS = (0.6827, 0.95)  # central fractions within the error and the half-width of the interval
WIDTHS = (1.0, WIDTH_95)  # of these in a Gaussian, in standard deviations
MIN_GROUP = 40  # differences that giants or dwarfs need for a zero point of their own
GIANT_LOGG = (3.4, 3.6)  # giants lie below, dwarfs above [dex]
SNR_KNOTS = (0.25, 0.5, 0.75)  # quantiles between which a factor is a power of S/N
EDGES = (1.0, 99.0)  # percentiles beyond which a quantity has no further effect
MIN_FACTOR = 0.1
INNER_FOLDS = 5

# Quadratic penalties on the weights of: constant, giant, S/N and its knots, distance,
# chi-square, temperature and its square, raw error.
PENALTY = np.array([0.0, 1.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 10.0])


@dataclass(frozen=True, eq=False)
class CalibrationFeatures:
    """Properties of n predictions that their errors may depend on.

    Parameters
    ----------
    values, sigma : ndarray, shape (n, k) [units of the labels]
        Predicted labels and their raw errors.
    snr, distance, chi2 : ndarray, shape (n,)
        Signal-to-noise ratio per pixel, distance to the training spectra, reduced chi-square (NaN
        where the preset has none).
    """

    values: FloatArray
    sigma: FloatArray
    snr: FloatArray
    distance: FloatArray
    chi2: FloatArray

    @classmethod
    def of(cls, found: Predictions, snr: FloatArray) -> CalibrationFeatures:
        """Return the features of predictions and the S/N of their spectra, shape (n,)."""
        return cls(found.values, found.raw_sigma, snr, found.distance, found.chi2)

    def take(self, rows: NDArray[Any]) -> CalibrationFeatures:
        """Return the features of some rows."""
        parts = {f.name: getattr(self, f.name)[rows] for f in dataclasses.fields(self)}
        return CalibrationFeatures(**parts)


def fit_calibration(
    names: tuple[str, ...],
    features: CalibrationFeatures,
    delta: FloatArray,
    label_error: FloatArray,
    fold: NDArray[np.int64],
) -> dict[str, FloatArray]:
    """Return the factors, fitted to out-of-fold predictions.

    Parameters
    ----------
    names : tuple of str
        Names of the k labels.
    features : CalibrationFeatures
        Of the n predictions.
    delta : ndarray, shape (n, k) [units of the labels]
        Predicted minus known labels; NaN where unknown.
    label_error : ndarray, shape (n, k) [units of the labels]
        Errors of the known labels; NaN counts as zero.
    fold : ndarray of int64, shape (n,)
        Number of the fold of each star.

    Returns
    -------
    dict of str to ndarray
        `calibration/weights`, shape (k, 2, p), of the logarithm of the factors for the two
        `LEVELS`; `calibration/least`, shape (k, 2) [units of the labels], for dwarfs and giants;
        and what `calibrate` needs to compute the p quantities.
    """
    k = delta.shape[1]
    seen = np.isfinite(delta).any(axis=1) & np.isfinite(features.distance)
    covariates = _covariates(names, features)
    with np.errstate(divide="ignore"):
        log_sigma = np.log(features.sigma)
    usable = np.isfinite(delta) & np.isfinite(log_sigma) & seen[:, None]
    model = {**_scaling(covariates[seen]), "calibration/log_sigma": np.zeros(k)}
    weights = np.zeros((k, len(LEVELS), PENALTY.size))
    least = np.zeros((k, 2))
    error = np.nan_to_num(label_error)
    for j in range(k):
        rows = np.flatnonzero(usable[:, j])
        if rows.size:
            model["calibration/log_sigma"][j] = np.median(log_sigma[rows, j])
        x = _design(names, model, features.take(rows), j)
        giant = x[:, 1] > 0.5
        least[j] = [_smallest_error(error[rows, j], group) for group in (~giant, giant)]
        # A factor is the quantile of |difference| over the raw error, in excess of the label's own.
        for i, (level, width) in enumerate(zip(LEVELS, WIDTHS, strict=True)):
            excess = delta[rows, j] ** 2 - (width * error[rows, j]) ** 2
            ratio = np.sqrt(np.maximum(excess, 0.0)) / features.sigma[rows, j]
            y = np.log(np.maximum(ratio, MIN_FACTOR * width))
            start = np.zeros(PENALTY.size)
            start[0] = np.log(width)
            weights[j, i] = _fit_factor(x, y, giant, level, start, fold[rows] % INNER_FOLDS)
    return {**model, "calibration/weights": weights, "calibration/least": least}


def _fit_factor(
    x: FloatArray,
    y: FloatArray,
    giant: NDArray[np.bool_],
    level: float,
    start: FloatArray,
    fold: NDArray[np.int64],
) -> FloatArray:
    """Return the weights of one factor, with the conformal zero points of giants and of dwarfs."""
    weights = fit_quantile(x, y, level, start, PENALTY)
    residual = np.empty(y.size)
    for left_out in np.unique(fold):
        out = fold == left_out
        part = fit_quantile(x[~out], y[~out], level, start, PENALTY)
        residual[out] = y[out] - x[out] @ part
    if y.size:
        dwarf_shift, giant_shift = (
            _conformal(residual[group if group.sum() >= MIN_GROUP else slice(None)], level)
            for group in (~giant, giant)
        )
        weights[:2] += dwarf_shift, giant_shift - dwarf_shift
    return weights


def _conformal(residual: FloatArray, level: float) -> float:
    """Return the quantile of rank level (n + 1), which covers one more draw with that chance."""
    return float(np.quantile(residual, min(1.0, level * (1.0 + 1.0 / residual.size))))


def _smallest_error(error: FloatArray, group: NDArray[np.bool_]) -> float:
    """Return the smallest error that differences from labels with such errors can show.

    The scatter of n differences is known to a fraction of 1 / sqrt(2 n). A predicted error whose
    square is less than sqrt(2 / n) of the known labels' own cannot be distinguished from zero, so
    that is the lower bound of calibrated errors.
    """
    chosen = error[group] if group.sum() >= MIN_GROUP else error
    return float(np.median(chosen) * (2.0 / chosen.size) ** 0.25) if chosen.size else 0.0


def _covariates(names: tuple[str, ...], features: CalibrationFeatures) -> FloatArray:
    """Return the logarithms of S/N, distance, chi-square, and the temperature, shape (n, 4)."""
    teff = features.values[:, names.index("teff")] if "teff" in names else features.snr * np.nan
    positive = (features.snr, features.distance, features.chi2)
    return np.stack([*(np.log(np.maximum(a, 1e-6)) for a in positive), teff], axis=1)


def _scaling(covariates: FloatArray) -> dict[str, FloatArray]:
    """Return range, centre and scale of each covariate, and the knots in S/N.

    Covariates that are unknown have no effect.
    """
    known = np.where(np.isfinite(covariates).all(axis=0), covariates, 0.0)
    if not known.size:
        known = np.zeros((1, covariates.shape[1]))
    center, scale = known.mean(axis=0), known.std(axis=0)
    scale = np.where(scale > 0.0, scale, 1.0)
    low, high = np.percentile(known, EDGES, axis=0)
    return {
        "calibration/range": np.stack([low, high]),
        "calibration/center": center,
        "calibration/scale": scale,
        "calibration/knots": (np.quantile(known[:, 0], SNR_KNOTS) - center[0]) / scale[0],
    }


def _design(
    names: tuple[str, ...], model: Mapping[str, NDArray[Any]], features: CalibrationFeatures, j: int
) -> FloatArray:
    """Return the terms of the factors of label j, shape (n, p), in the order of `PENALTY`."""
    covariates = np.clip(_covariates(names, features), *model["calibration/range"])
    center, scale = model["calibration/center"], model["calibration/scale"]
    snr, distance, chi2, teff = np.nan_to_num((covariates - center) / scale).T
    bends = np.maximum(snr[:, None] - model["calibration/knots"], 0.0)
    giant = np.zeros(snr.size)
    if "logg" in names:
        giant = np.interp(features.values[:, names.index("logg")], GIANT_LOGG, (1.0, 0.0))
    sigma = np.log(np.maximum(features.sigma[:, j], 1e-30)) - model["calibration/log_sigma"][j]
    return np.column_stack(
        [np.ones(snr.size), giant, snr, bends, distance, chi2, teff, teff**2, sigma]
    )


def calibrate(
    names: tuple[str, ...], model: Mapping[str, NDArray[Any]], features: CalibrationFeatures
) -> tuple[FloatArray, FloatArray]:
    """Return calibrated errors, and half the widths of the intervals of 95%.

    Parameters
    ----------
    names : tuple of str
        Names of the k labels.
    model : mapping of str to ndarray
        Arrays of a model, with those of `fit_calibration`. Without them errors stay as they are.
    features : CalibrationFeatures
        Of the n predictions.

    Returns
    -------
    sigma, half_width95 : ndarray, shape (n, k) [units of the labels]
        NaN where the raw error is.
    """
    if "calibration/weights" not in model:
        return features.sigma.copy(), WIDTHS[1] * features.sigma
    widths = np.empty((len(LEVELS), *features.sigma.shape))
    for j in range(features.sigma.shape[1]):
        x = _design(names, model, features, j)
        least = np.where(x[:, 1] > 0.5, *model["calibration/least"][j][::-1])
        for i, width in enumerate(WIDTHS):
            factor = np.exp(x @ model["calibration/weights"][j, i])
            factor = np.maximum(factor, MIN_FACTOR * width)
            widths[i, :, j] = np.maximum(factor * features.sigma[:, j], width * least)
    return widths[0], np.maximum(widths[0], widths[1])
