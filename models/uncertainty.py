"""Make predicted errors and limits mean what they say, from out-of-fold predictions.

Neither an error head nor an ensemble is calibrated by itself. The raw errors are multiplied by
factors, one per label and cell, chosen such that 68.27% of the out-of-fold differences lie within
the combined error (split-conformal scaling). A cell is a range of signal-to-noise ratio for giants
or for dwarfs, by predicted log g; without that label, for a range of distance to the training
spectra. Thinly filled cells use the factor of their regime, or else of all spectra. No error is
claimed that is too small, beside those of the known labels, to show in that many differences.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.6827  # central fraction of a Gaussian within one sigma
MIN_CELL = 40  # differences that a cell needs for a factor of its own
SNR_QUANTILES = (1 / 3, 2 / 3)
DISTANCE_QUANTILES = (0.5, 0.85)
GIANT_LOGG = 3.5  # giants lie below [dex]
MIN_FACTOR = 0.1
LIMIT_PERCENTILE = 99.0

FloatArray = NDArray[np.float64]


def regime(names: tuple[str, ...], values: FloatArray, distance: FloatArray) -> FloatArray:
    """Quantity that tells giants from dwarfs, or near from far, shape (n,).

    Parameters
    ----------
    names : tuple of str
        Names of the k labels.
    values : ndarray, shape (n, k) [units of the labels]
        Predicted labels.
    distance : ndarray, shape (n,)
        Distance to the training spectra.
    """
    return values[:, names.index("logg")] if "logg" in names else distance


def fit_limits(distance: FloatArray, chi2: FloatArray) -> dict[str, FloatArray]:
    """Fit the limits beyond which a spectrum is flagged.

    Parameters
    ----------
    distance, chi2 : ndarray, shape (n,)
        Of the training spectra, each as seen by a model that was not fitted to it: a basis follows
        its own training spectra so closely that their own numbers would say nothing.

    Returns
    -------
    dict of str to ndarray
        `calibration/distance_limit` and, where there is any chi-square, `calibration/chi2_limit`.
    """
    limits = {}
    for name, numbers in (("distance", distance), ("chi2", chi2)):
        known = numbers[np.isfinite(numbers)]
        if known.size:
            limits[f"calibration/{name}_limit"] = np.array(np.percentile(known, LIMIT_PERCENTILE))
    return limits


def fit_calibration(
    names: tuple[str, ...],
    delta: FloatArray,
    sigma: FloatArray,
    label_error: FloatArray,
    snr: FloatArray,
    where: FloatArray,
) -> dict[str, FloatArray]:
    """Fit the factors on out-of-fold predictions.

    Parameters
    ----------
    names : tuple of str
        Names of the k labels.
    delta : ndarray, shape (n, k) [units of the labels]
        Predicted minus known labels; NaN where unknown.
    sigma : ndarray, shape (n, k) [units of the labels]
        Raw predicted errors.
    label_error : ndarray, shape (n, k) [units of the labels]
        Errors of the known labels; NaN counts as zero.
    snr, where : ndarray, shape (n,)
        Signal-to-noise ratio per pixel, and what `regime` returns.

    Returns
    -------
    dict of str to ndarray
        `calibration/snr` and `calibration/regime`, the edges between cells, and
        `calibration/factor`, shape (k, n_snr, n_regimes).
    """
    seen = np.isfinite(where)
    edges = {
        "calibration/snr": np.quantile(snr[seen], SNR_QUANTILES),
        "calibration/regime": np.array([GIANT_LOGG])
        if "logg" in names
        else np.quantile(where[seen], DISTANCE_QUANTILES),
    }
    row, column = _cell(edges, snr, where)
    shape = (edges["calibration/snr"].size + 1, edges["calibration/regime"].size + 1)
    factor = np.ones((delta.shape[1], *shape))
    excess = delta**2 - np.nan_to_num(label_error) ** 2
    ratio = np.divide(excess, sigma**2, out=np.full(delta.shape, np.nan), where=sigma > 0.0)
    # The known labels' share of a squared ratio: what the predicted errors cannot be told from.
    share = np.divide(
        np.nan_to_num(label_error) ** 2, sigma**2, out=np.zeros(delta.shape), where=sigma > 0.0
    )
    for j, (r, c) in ((j, cell) for j in range(delta.shape[1]) for cell in np.ndindex(*shape)):
        usable = np.isfinite(ratio[:, j])
        for chosen in (usable & (column == c) & (row == r), usable & (column == c), usable):
            if chosen.sum() >= MIN_CELL or (chosen is usable and usable.any()):
                factor[j, r, c] = _factor(ratio[chosen, j], share[chosen, j])
                break
    return {**edges, "calibration/factor": factor}


def _factor(squared_ratio: FloatArray, share: FloatArray) -> float:
    """Factor on sigma that covers the wanted fraction of squared ratios, with conformal rank.

    The scatter of n differences is known to a fraction of 1 / sqrt(2 n). A predicted error whose
    square is less than sqrt(2 / n) of the known labels' own cannot be told from none, so that is
    the least that is claimed: few differences from a noisy reference do not prove a small error.
    """
    n = squared_ratio.size
    level = min(1.0, LEVEL * (1.0 + 1.0 / n))
    least = max(np.median(share) * np.sqrt(2.0 / n), MIN_FACTOR**2)
    return float(np.sqrt(max(np.quantile(squared_ratio, level), least)))


def _cell(
    edges: Mapping[str, NDArray[Any]], snr: FloatArray, where: FloatArray
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Cell of each spectrum; unknown ones sort last."""
    row = np.searchsorted(edges["calibration/snr"], snr, side="right")
    return row, np.searchsorted(edges["calibration/regime"], where, side="right")


def calibrate(
    model: Mapping[str, NDArray[Any]], sigma: FloatArray, snr: FloatArray, where: FloatArray
) -> FloatArray:
    """Multiply raw errors by the model's factors; unchanged for a model without any.

    Parameters
    ----------
    model : mapping of str to ndarray
        Arrays of a model, with those of `fit_calibration`.
    sigma : ndarray, shape (n, k) [units of the labels]
        Raw errors.
    snr, where : ndarray, shape (n,)
        As in `fit_calibration`.

    Returns
    -------
    ndarray, shape (n, k) [units of the labels]
    """
    if "calibration/factor" not in model:
        return sigma.copy()
    row, column = _cell(model, snr, where)
    return sigma * model["calibration/factor"][:, row, column].T
