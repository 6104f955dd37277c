"""Make predicted errors mean what they say: factors that give 68% coverage out of fold.

Neither an error head nor an ensemble is calibrated by itself. The raw errors are multiplied by
factors, one per label and cell, chosen such that 68.27% of the out-of-fold differences lie within
the combined error (split-conformal scaling). A cell is a range of signal-to-noise ratio and a range
of distance to the training spectra; thinly filled cells use the factor of all spectra.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.6827  # central fraction of a Gaussian within one sigma
MIN_CELL = 60  # differences that a cell needs for a factor of its own
SNR_QUANTILES = (1 / 3, 2 / 3)
DISTANCE_QUANTILES = (0.5, 0.85)
MIN_FACTOR = 0.1

FloatArray = NDArray[np.float64]


def fit_calibration(
    delta: FloatArray,
    sigma: FloatArray,
    label_error: FloatArray,
    snr: FloatArray,
    distance: FloatArray,
) -> dict[str, FloatArray]:
    """Fit the factors on out-of-fold predictions.

    Parameters
    ----------
    delta : ndarray, shape (n, k) [units of the labels]
        Predicted minus known labels; NaN where unknown.
    sigma : ndarray, shape (n, k) [units of the labels]
        Raw predicted errors.
    label_error : ndarray, shape (n, k) [units of the labels]
        Errors of the known labels; NaN counts as zero.
    snr, distance : ndarray, shape (n,)
        Signal-to-noise ratio per pixel, and distance to the training spectra.

    Returns
    -------
    dict of str to ndarray
        `calibration/snr` and `calibration/distance`, the edges between cells, and
        `calibration/factor`, shape (k, n_snr, n_distance).
    """
    seen = np.isfinite(distance)
    edges = {
        "calibration/snr": np.quantile(snr[seen], SNR_QUANTILES),
        "calibration/distance": np.quantile(distance[seen], DISTANCE_QUANTILES),
    }
    row, column = _cell(edges, snr, distance)
    k = delta.shape[1]
    factor = np.ones((k, len(SNR_QUANTILES) + 1, len(DISTANCE_QUANTILES) + 1))
    excess = delta**2 - np.nan_to_num(label_error) ** 2
    ratio = np.divide(excess, sigma**2, out=np.full(delta.shape, np.nan), where=sigma > 0.0)
    for j in range(k):
        usable = np.isfinite(ratio[:, j])
        if not usable.any():
            continue
        factor[j] = _factor(ratio[usable, j])
        for r, c in np.ndindex(*factor.shape[1:]):
            cell = usable & (row == r) & (column == c)
            if cell.sum() >= MIN_CELL:
                factor[j, r, c] = _factor(ratio[cell, j])
    return {**edges, "calibration/factor": factor}


def _factor(squared_ratio: FloatArray) -> float:
    """Factor on sigma that covers the wanted fraction of squared ratios, with conformal rank."""
    level = min(1.0, LEVEL * (1.0 + 1.0 / squared_ratio.size))
    return float(np.sqrt(max(np.quantile(squared_ratio, level), MIN_FACTOR**2)))


def _cell(
    edges: Mapping[str, NDArray[Any]], snr: FloatArray, distance: FloatArray
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Cell of each spectrum; unknown distances sort last."""
    row = np.searchsorted(edges["calibration/snr"], snr, side="right")
    return row, np.searchsorted(edges["calibration/distance"], distance, side="right")


def calibrate(
    model: Mapping[str, NDArray[Any]], sigma: FloatArray, snr: FloatArray, distance: FloatArray
) -> FloatArray:
    """Multiply raw errors by the model's factors; unchanged for a model without any.

    Parameters
    ----------
    model : mapping of str to ndarray
        Arrays of a model, with those of `fit_calibration`.
    sigma : ndarray, shape (n, k) [units of the labels]
        Raw errors.
    snr, distance : ndarray, shape (n,)
        As in `fit_calibration`.

    Returns
    -------
    ndarray, shape (n, k) [units of the labels]
    """
    if "calibration/factor" not in model:
        return sigma.copy()
    row, column = _cell(model, snr, distance)
    return sigma * model["calibration/factor"][:, row, column].T
