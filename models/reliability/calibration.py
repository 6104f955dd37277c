"""Make predicted errors mean what they say, from out-of-fold predictions.

Neither an error head nor an ensemble nor the curvature of a chi-square is calibrated by itself.
The raw errors are multiplied by two factors: one that makes intervals of 68.27%, one for 95%, which
no Gaussian of the same width gives: real differences have long tails. The logarithm of a factor is
a linear function of what is known of a spectrum without its labels: giant or dwarf, by predicted
log g; signal-to-noise ratio; distance to the training spectra; chi-square; predicted temperature;
the raw error itself. Its weights are those of a quantile regression of the out-of-fold differences,
and its zero point, for giants and for dwarfs, is conformal: from differences of stars that the
weights were not fitted to. No error is claimed that is too small, beside those of the known labels,
to show in that many differences.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.reliability.quantile_regression import fit_quantile

LEVELS = (0.6827, 0.95)  # central fractions within the error and the half-width of the interval
WIDTHS = (1.0, 1.959964)  # of these in a Gaussian, in standard deviations
MIN_CELL = 40  # differences that giants or dwarfs need for a zero point of their own
GIANT_LOGG = (3.4, 3.6)  # giants lie below, dwarfs above [dex]
SNR_KNOTS = (0.25, 0.5, 0.75)  # quantiles between which a factor is a power of S/N
EDGES = (1.0, 99.0)  # percentiles beyond which a quantity has no further effect
MIN_FACTOR = 0.1
INNER_FOLDS = 5

# What the pull of one difference is set against: constant, giant, S/N and its knots, distance,
# chi-square, temperature and its square, raw error.
PENALTY = np.array([0.0, 1.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 10.0])

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Evidence:
    """The features that an error may depend on.

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

    def take(self, rows: NDArray[Any]) -> Evidence:
        """Return some of the rows."""
        parts = {f.name: getattr(self, f.name)[rows] for f in dataclasses.fields(self)}
        return Evidence(**parts)


def fit_calibration(
    names: tuple[str, ...],
    evidence: Evidence,
    delta: FloatArray,
    label_error: FloatArray,
    fold: NDArray[np.int64],
) -> dict[str, FloatArray]:
    """Fit the factors on out-of-fold predictions.

    Parameters
    ----------
    names : tuple of str
        Names of the k labels.
    evidence : Evidence
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
    seen = np.isfinite(delta).any(axis=1) & np.isfinite(evidence.distance)
    traits = _traits(names, evidence)
    with np.errstate(divide="ignore"):
        log_sigma = np.log(evidence.sigma)
    usable = np.isfinite(delta) & np.isfinite(log_sigma) & seen[:, None]
    model = {**_scales(traits[seen]), "calibration/log_sigma": np.zeros(k)}
    weights = np.zeros((k, len(LEVELS), PENALTY.size))
    least = np.zeros((k, 2))
    error = np.nan_to_num(label_error)
    for j in range(k):
        rows = np.flatnonzero(usable[:, j])
        if rows.size:
            model["calibration/log_sigma"][j] = np.median(log_sigma[rows, j])
        x = _design(names, model, evidence.take(rows), j)
        giant = x[:, 1] > 0.5
        least[j] = [_least(error[rows, j], cell) for cell in (~giant, giant)]
        for i, (level, width) in enumerate(zip(LEVELS, WIDTHS, strict=True)):
            excess = delta[rows, j] ** 2 - (width * error[rows, j]) ** 2
            ratio = np.sqrt(np.maximum(excess, 0.0)) / evidence.sigma[rows, j]
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
    """Weights of one factor, moved to where left-out rows of giants and of dwarfs want them."""
    weights = fit_quantile(x, y, level, start, PENALTY)
    residual = np.empty(y.size)
    for left_out in np.unique(fold):
        out = fold == left_out
        part = fit_quantile(x[~out], y[~out], level, start, PENALTY)
        residual[out] = y[out] - x[out] @ part
    if y.size:
        dwarf_shift, giant_shift = (
            _conformal(residual[cell if cell.sum() >= MIN_CELL else slice(None)], level)
            for cell in (~giant, giant)
        )
        weights[:2] += dwarf_shift, giant_shift - dwarf_shift
    return weights


def _conformal(residual: FloatArray, level: float) -> float:
    """Return the quantile with the rank that makes it right for one more draw."""
    return float(np.quantile(residual, min(1.0, level * (1.0 + 1.0 / residual.size))))


def _least(error: FloatArray, cell: NDArray[np.bool_]) -> float:
    """Return the least error that differences to labels with such errors can show.

    The scatter of n differences is known to a fraction of 1 / sqrt(2 n). A predicted error whose
    square is less than sqrt(2 / n) of the known labels' own cannot be told from none, so that is
    the least that is claimed: few differences from a noisy reference do not prove a small error.
    """
    chosen = error[cell] if cell.sum() >= MIN_CELL else error
    return float(np.median(chosen) * (2.0 / chosen.size) ** 0.25) if chosen.size else 0.0


def _traits(names: tuple[str, ...], evidence: Evidence) -> FloatArray:
    """Logarithms of S/N, distance and chi-square, and the temperature, shape (n, 4)."""
    teff = evidence.values[:, names.index("teff")] if "teff" in names else evidence.snr * np.nan
    positive = (evidence.snr, evidence.distance, evidence.chi2)
    return np.stack([*(np.log(np.maximum(a, 1e-6)) for a in positive), teff], axis=1)


def _scales(traits: FloatArray) -> dict[str, FloatArray]:
    """Range, centre and scale of each trait, and the knots in S/N; blank ones have no effect."""
    known = np.where(np.isfinite(traits).all(axis=0), traits, 0.0)
    if not known.size:
        known = np.zeros((1, traits.shape[1]))
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
    names: tuple[str, ...], model: Mapping[str, NDArray[Any]], evidence: Evidence, j: int
) -> FloatArray:
    """Quantities that the factors of label j depend on, shape (n, p), in the order of `PENALTY`."""
    traits = np.clip(_traits(names, evidence), *model["calibration/range"])
    center, scale = model["calibration/center"], model["calibration/scale"]
    snr, distance, chi2, teff = np.nan_to_num((traits - center) / scale).T
    bends = np.maximum(snr[:, None] - model["calibration/knots"], 0.0)
    giant = np.zeros(snr.size)
    if "logg" in names:
        giant = np.interp(evidence.values[:, names.index("logg")], GIANT_LOGG, (1.0, 0.0))
    sigma = np.log(np.maximum(evidence.sigma[:, j], 1e-30)) - model["calibration/log_sigma"][j]
    return np.column_stack(
        [np.ones(snr.size), giant, snr, bends, distance, chi2, teff, teff**2, sigma]
    )


def calibrate(
    names: tuple[str, ...], model: Mapping[str, NDArray[Any]], evidence: Evidence
) -> tuple[FloatArray, FloatArray]:
    """Return calibrated errors, and half the widths of the intervals of 95%.

    Parameters
    ----------
    names : tuple of str
        Names of the k labels.
    model : mapping of str to ndarray
        Arrays of a model, with those of `fit_calibration`. Without them errors stay as they are.
    evidence : Evidence
        Of the n predictions.

    Returns
    -------
    sigma, half_width95 : ndarray, shape (n, k) [units of the labels]
        NaN where the raw error is.
    """
    if "calibration/weights" not in model:
        return evidence.sigma.copy(), WIDTHS[1] * evidence.sigma
    widths = np.empty((len(LEVELS), *evidence.sigma.shape))
    for j in range(evidence.sigma.shape[1]):
        x = _design(names, model, evidence, j)
        least = np.where(x[:, 1] > 0.5, *model["calibration/least"][j][::-1])
        for i, width in enumerate(WIDTHS):
            factor = np.exp(x @ model["calibration/weights"][j, i])
            factor = np.maximum(factor, MIN_FACTOR * width)
            widths[i, :, j] = np.maximum(factor * evidence.sigma[:, j], width * least)
    return widths[0], np.maximum(widths[0], widths[1])
