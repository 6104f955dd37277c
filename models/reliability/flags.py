"""Flags of predictions that are not reliable, from flux, ivar and mask, never from a known label.

Distance to the training spectra, chi-square, disagreement and labels by linear fits are compared
with limits that 98 to 99.5% of the training spectra keep when they are left out. The first three
change with the signal-to-noise ratio of good spectra, so their limits do too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.core.arrays import Float32Array, FloatArray
from models.core.records import Predictions
from models.reliability.quantile_regression import fit_quantile
from models.spectra.snr import count_good

FLAG_BITS: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        0: (
            "OUT_OF_RANGE",
            "a label lies outside the range of the training labels, or would by one of two robust "
            "linear fits, by more than for 99 or 98% of the training spectra when left out",
        ),
        1: (
            "FAR_FROM_TRAINING",
            "farther from the training spectra than 99.5% of those of its S/N, when left out",
        ),
        2: ("LOW_SNR", "signal-to-noise ratio per pixel of the spectrum (sn_median) below 20"),
        3: ("MASKED", "less than 80% of the pixels are good"),
        4: ("MISSING_ARM", "less than a tenth of the blue or of the red half is good"),
        5: ("NO_INFORMATION", "no good pixel: labels are missing"),
        6: (
            "HIGH_CHI2",
            "reproduced worse than 99.5% of the training spectra of its S/N, when left out",
        ),
        7: (
            "TRAINED_ON",
            "the model was trained on this spectrum: the out-of-fold set has honest labels; "
            "distance, chi-square and disagreement are not judged",
        ),
        8: (
            "DISAGREEMENT",
            "the members of the ensemble differ more than for 99.5% of the training spectra of its "
            "S/N, when left out",
        ),
        9: ("OTHER_INSTRUMENT", "taken by an instrument that took no training spectrum"),
    }
)
"""Bit number -> (name, meaning) of `models.core.records.Predictions.flags`."""

BIT: Mapping[str, np.int64] = MappingProxyType(
    {name: np.int64(1 << bit) for bit, (name, _) in FLAG_BITS.items()}
)
"""Name -> value of `Predictions.flags` with that bit alone."""

MIN_SNR = 20.0
MIN_GOOD = 0.8
ARM_FRACTION = 0.1

LIMITED = MappingProxyType(
    {
        "distance": BIT["FAR_FROM_TRAINING"],
        "chi2": BIT["HIGH_CHI2"],
        "spread": BIT["DISAGREEMENT"],
    }
)
# Shares of the left-out training spectra that are within the limits.
LEVEL = 0.995
LINEAR_LEVELS = (0.99, 0.98)  # of the fine fit, of the coarse one
ROUNDING = 1e-9  # keeps the spectrum that a limit goes through within it
PENALTY = np.array([0.0, 3.0, 3.0])  # on a limit's slope and bend with S/N: few spectra are odd


def fit_limits(found: Predictions, snr: FloatArray, labels: FloatArray) -> dict[str, FloatArray]:
    """Return the limits beyond which a spectrum is flagged.

    Parameters
    ----------
    found : Predictions
        Of n training spectra, each by a model that was not fitted to it: a basis fits its own
        training spectra so closely that their own numbers would be too small.
    snr : ndarray, shape (n,)
        Signal-to-noise ratio per pixel.
    labels : ndarray, shape (n, k) [units of the labels]
        Known labels; NaN where missing.

    Returns
    -------
    dict of str to ndarray
        `limit/low` and `limit/high`, shape (2, k) [units of the labels], between which the labels
        by the linear fits may lie; `limit/snr`, range and middle of the logarithm of S/N;
        `limit/typical_spread`, shape (k,) [units of the labels]; and for each quantity that the
        model has, such as `limit/chi2`, the weights of the logarithm of its limit.
    """
    known = np.isfinite(found.distance) & (snr > 0.0)
    if not known.any():
        return {}
    limits = {"limit/snr": np.quantile(np.log(snr[known]), (0.0, 0.5, 1.0))}
    spread = found.ensemble_std[known]
    if np.isfinite(spread).all():
        typical = np.median(spread, axis=0)
        limits["limit/typical_spread"] = np.where(typical > 0.0, typical, np.inf)
    design = _design(limits["limit/snr"], snr)
    start = np.zeros(design.shape[1])
    for name, numbers in _limited(limits, found).items():
        rows = known & np.isfinite(numbers) & (numbers > 0.0)
        if rows.any():
            y = np.log(numbers[rows])
            weights = fit_quantile(design[rows], y, LEVEL, start, PENALTY)
            # The zero point by rank: right to the last spectrum, however few there are.
            residual = y - design[rows] @ weights
            weights[0] += np.quantile(residual, LEVEL, method="higher") + ROUNDING
            limits[f"limit/{name}"] = weights
    return limits | _linear_ranges(found.linear[known], labels)


def _linear_ranges(linear: FloatArray, labels: FloatArray) -> dict[str, FloatArray]:
    """Return the range of the training labels, widened to hold enough of each fit's labels.

    It is widened in units of that range for the fine fit, and of the scatter of its labels for the
    coarse one: labels that hardly depend on the coarse score lie far within the range.
    """
    low, high = np.nanmin(labels, axis=0), np.nanmax(labels, axis=0)
    scatter = np.median(np.abs(linear[:, 1] - np.median(linear[:, 1], axis=0)), axis=0)
    units = np.stack([high - low, scatter])
    units = np.where(units > 0.0, units, 1.0)
    beyond = np.maximum((low - linear) / units, (linear - high) / units).max(axis=2)
    furthest = [
        np.quantile(b, level, method="higher")
        for b, level in zip(beyond.T, LINEAR_LEVELS, strict=True)
    ]
    margin = (np.array(furthest)[:, None] + ROUNDING) * units
    return {"limit/low": low - margin, "limit/high": high + margin}


def _design(log_range: FloatArray, snr: FloatArray) -> FloatArray:
    """Return a constant, log S/N and its bend, shape (n, 3); constant beyond the known range."""
    low, middle, high = log_range
    log_snr = np.clip(np.log(np.maximum(snr, 1e-6)), low, high) - middle
    return np.column_stack([np.ones(snr.size), log_snr, np.maximum(log_snr, 0.0)])


def _limited(limits: Mapping[str, NDArray[Any]], found: Predictions) -> dict[str, FloatArray]:
    """Return the quantities that have limits, each of shape (n,)."""
    numbers = {"distance": found.distance, "chi2": found.chi2}
    if "limit/typical_spread" in limits:
        # Of the label on which the members differ most, in units of its typical spread.
        numbers["spread"] = (found.ensemble_std / limits["limit/typical_spread"]).max(axis=1)
    return numbers


def limit_flags(
    model: Mapping[str, NDArray[Any]], found: Predictions, snr: FloatArray
) -> NDArray[np.int64]:
    """Return the flags by the limits of a model.

    These are FAR_FROM_TRAINING, HIGH_CHI2, DISAGREEMENT, and OUT_OF_RANGE by the linear fits.

    Parameters
    ----------
    model : mapping of str to ndarray
        Arrays of a model, with those of `fit_limits`.
    found : Predictions
        Of n spectra; NaN is within every limit.
    snr : ndarray, shape (n,)
        Signal-to-noise ratio per pixel.
    """
    if "limit/snr" not in model:
        return np.zeros(snr.size, np.int64)
    flags = range_flags(model["limit/low"], model["limit/high"], found.linear)
    design = _design(model["limit/snr"], snr)
    for name, numbers in _limited(model, found).items():
        if f"limit/{name}" in model:
            beyond = numbers > np.exp(design @ model[f"limit/{name}"])
            flags |= np.where(beyond, LIMITED[name], np.int64(0))
    return flags


def spectrum_flags(ivar: Float32Array, snr: FloatArray) -> NDArray[np.int64]:
    """Return the bits LOW_SNR, MASKED, MISSING_ARM and NO_INFORMATION.

    Parameters
    ----------
    ivar : ndarray, shape (n, p)
        Inverse variance of normalized spectra; 0 where a pixel is bad.
    snr : ndarray, shape (n,)
        Signal-to-noise ratio per pixel.
    """
    n, middle = ivar.shape[1], ivar.shape[1] // 2
    left, right = (count_good(half > 0.0) for half in (ivar[:, :middle], ivar[:, middle:]))
    arms = np.minimum(left / max(middle, 1), right / max(n - middle, 1))
    hits = {
        "LOW_SNR": snr < MIN_SNR,
        "MASKED": (left + right) / max(n, 1) < MIN_GOOD,
        "MISSING_ARM": arms < ARM_FRACTION,
        "NO_INFORMATION": left + right == 0,
    }
    bits = [np.where(hit, BIT[name], 0) for name, hit in hits.items()]
    return np.asarray(np.bitwise_or.reduce(bits))


def range_flags(low: FloatArray, high: FloatArray, values: FloatArray) -> NDArray[np.int64]:
    """Return bit OUT_OF_RANGE for spectra with any label outside its range.

    Parameters
    ----------
    low, high : ndarray, shape (..., k) [units of the labels]
        Range of each label.
    values : ndarray, shape (n, ..., k) [units of the labels]
        Labels; NaN is within the range.
    """
    outside = (values < low) | (values > high)
    return np.where(outside.reshape(len(values), -1).any(axis=1), BIT["OUT_OF_RANGE"], np.int64(0))


def mark_low_snr(flags: NDArray[np.int64], snr: FloatArray) -> NDArray[np.int64]:
    """Return flags with LOW_SNR by the S/N of the spectra as observed.

    `Model.predict` knows normalized pixels only, whose S/N differs a little; what people select,
    flag and bin by is one number, the catalog's ``sn_median``.

    Parameters
    ----------
    flags : ndarray of int64, shape (n,)
        As `models.predict.Model.predict` gives them.
    snr : ndarray, shape (n,)
        Median of flux * sqrt(ivar) over the good pixels; NaN where unknown: the flag then stays.
    """
    low = (flags & ~BIT["LOW_SNR"]) | np.where(snr < MIN_SNR, BIT["LOW_SNR"], np.int64(0))
    return np.where(np.isfinite(snr), low, flags)


def mark_trained_on(flags: NDArray[np.int64], trained_on: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return flags with TRAINED_ON for training spectra, in place of the limits for left-out ones.

    A model fits its own training spectra so closely that their distance, chi-square and spread
    cannot be compared with limits that come from left-out ones.

    Parameters
    ----------
    flags : ndarray of int64, shape (n,)
        As `models.predict.Model.predict` gives them.
    trained_on : ndarray of bool, shape (n,)
        True for training spectra.
    """
    limited = np.bitwise_or.reduce(list(LIMITED.values()))
    return np.where(trained_on, (flags & ~limited) | BIT["TRAINED_ON"], flags)


def mark_other_instrument(
    flags: NDArray[np.int64], instrument: NDArray[np.str_], trained_on: Collection[str]
) -> NDArray[np.int64]:
    """Return flags with OTHER_INSTRUMENT for spectra of instruments without training spectra.

    Parameters
    ----------
    flags : ndarray of int64, shape (n,)
        Bits that are set already.
    instrument : ndarray of str, shape (n,)
        Instrument of each spectrum.
    trained_on : collection of str
        Instruments of the training spectra; where none is known, nothing is flagged.
    """
    other = ~np.isin(instrument, list(trained_on)) & bool(trained_on)
    return np.where(other, flags | BIT["OTHER_INSTRUMENT"], flags)
