"""Where a model should not be believed: flags from flux, ivar and mask, never from a label.

Distance to the training spectra, chi-square and disagreement within the ensemble are held against
limits that 99% of the training spectra keep when they are left out. All three change with the
signal-to-noise ratio of good spectra, so the limits do too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.quantiles import fit_quantile
from models.records import Predictions

FLAG_BITS: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        0: ("OUT_OF_RANGE", "a label lies outside the range of the training labels"),
        1: (
            "FAR_FROM_TRAINING",
            "farther from the training spectra than 99% of those of its S/N, when left out",
        ),
        2: ("LOW_SNR", "median signal-to-noise ratio per pixel below 20"),
        3: ("MASKED", "less than 80% of the pixels are good"),
        4: ("MISSING_ARM", "less than a tenth of the blue or of the red half is good"),
        5: ("NO_INFORMATION", "no good pixel: labels are missing"),
        6: (
            "HIGH_CHI2",
            "reproduced worse than 99% of the training spectra of its S/N, when left out",
        ),
        7: (
            "TRAINED_ON",
            "the model was trained on this spectrum: the out-of-fold set has honest labels; "
            "distance, chi-square and ensemble are not judged",
        ),
        8: (
            "ENSEMBLE_DISAGREES",
            "its networks disagree more than on 99% of the training spectra of its S/N, when left "
            "out",
        ),
        9: ("OTHER_INSTRUMENT", "taken by an instrument that took no training spectrum"),
    }
)
"""Bit number -> (name, meaning) of `models.records.Predictions.flags`."""

BIT: Mapping[str, np.int64] = MappingProxyType(
    {name: np.int64(1 << bit) for bit, (name, _) in FLAG_BITS.items()}
)
"""Name -> value of `Predictions.flags` with that bit alone."""

MIN_SNR = 20.0
MIN_GOOD = 0.8
ARM_FRACTION = 0.1

JUDGED = MappingProxyType(
    {
        "distance": BIT["FAR_FROM_TRAINING"],
        "chi2": BIT["HIGH_CHI2"],
        "disagreement": BIT["ENSEMBLE_DISAGREES"],
    }
)
LEVEL = 0.99  # of the left-out training spectra are within a limit
SNR_KNOTS = (0.25, 0.5, 0.75)  # quantiles of S/N between which a limit is a power of S/N
PENALTY = np.array([0.0, 1.0, 1.0, 1.0, 1.0])  # in units of one spectrum's pull

FloatArray = NDArray[np.float64]


def fit_limits(found: Predictions, snr: FloatArray) -> dict[str, FloatArray]:
    """Fit the limits beyond which a spectrum is flagged.

    Parameters
    ----------
    found : Predictions
        Of n training spectra, each by a model that was not fitted to it: a basis follows its own
        training spectra so closely that their own numbers would say nothing.
    snr : ndarray, shape (n,)
        Signal-to-noise ratio per pixel.

    Returns
    -------
    dict of str to ndarray
        `limit/spread`, the typical spread of the ensemble for each label; `limit/snr`, the knots
        of the limits; and for each quantity that the model has, such as `limit/chi2`, the weights
        of the logarithm of its limit.
    """
    known = np.isfinite(found.distance) & (snr > 0.0)
    if not known.any():
        return {}
    limits = {"limit/snr": np.quantile(np.log(snr[known]), (0.0, *SNR_KNOTS, 1.0))}
    with np.errstate(all="ignore"):
        spread = np.median(found.ensemble_std[known], axis=0)
    if (spread > 0.0).all():
        limits["limit/spread"] = spread
    design = _design(limits["limit/snr"], snr)
    start = np.zeros(design.shape[1])
    for name, numbers in _judged(limits, found).items():
        rows = known & np.isfinite(numbers) & (numbers > 0.0)
        if rows.any():
            y = np.log(numbers[rows])
            weights = fit_quantile(design[rows], y, LEVEL, start, PENALTY)
            # The zero point by rank: right to the last spectrum, however few there are.
            weights[0] += np.quantile(y - design[rows] @ weights, LEVEL)
            limits[f"limit/{name}"] = weights
    return limits


def _design(knots: FloatArray, snr: FloatArray) -> FloatArray:
    """Constant, logarithm of S/N and its bends, shape (n, 5); constant beyond the known range."""
    log_snr = np.clip(np.log(np.maximum(snr, 1e-6)), knots[0], knots[-1])
    bends = np.maximum(log_snr[:, None] - knots[1:-1], 0.0)
    return np.column_stack([np.ones(snr.size), log_snr - knots[2], bends])


def _judged(limits: Mapping[str, NDArray[Any]], found: Predictions) -> dict[str, FloatArray]:
    """Quantities that have limits; each of shape (n,)."""
    numbers = {"distance": found.distance, "chi2": found.chi2}
    if "limit/spread" in limits:
        # The label on which the networks differ most, for them.
        numbers["disagreement"] = (found.ensemble_std / limits["limit/spread"]).max(axis=1)
    return numbers


def limit_flags(
    model: Mapping[str, NDArray[Any]], found: Predictions, snr: FloatArray
) -> NDArray[np.int64]:
    """Bits FAR_FROM_TRAINING, HIGH_CHI2 and ENSEMBLE_DISAGREES, by the limits that a model holds.

    Parameters
    ----------
    model : mapping of str to ndarray
        Arrays of a model, with those of `fit_limits`.
    found : Predictions
        Of n spectra; NaN is within every limit.
    snr : ndarray, shape (n,)
        Signal-to-noise ratio per pixel.
    """
    flags = np.zeros(snr.size, np.int64)
    if "limit/snr" not in model:
        return flags
    design = _design(model["limit/snr"], snr)
    for name, numbers in _judged(model, found).items():
        if f"limit/{name}" in model:
            beyond = numbers > np.exp(design @ model[f"limit/{name}"])
            flags |= np.where(beyond, JUDGED[name], 0)
    return flags


def spectrum_flags(ivar: NDArray[np.float32], snr: FloatArray) -> NDArray[np.int64]:
    """Bits LOW_SNR, MASKED, MISSING_ARM and NO_INFORMATION: how much there is to read.

    Parameters
    ----------
    ivar : ndarray, shape (n, p)
        Inverse variance of normalized spectra; 0 where a pixel is bad.
    snr : ndarray, shape (n,)
        Signal-to-noise ratio per pixel.
    """
    good = ivar > 0.0
    middle = good.shape[1] // 2
    arms = np.minimum(good[:, :middle].mean(axis=1), good[:, middle:].mean(axis=1))
    hits = {
        "LOW_SNR": snr < MIN_SNR,
        "MASKED": good.mean(axis=1) < MIN_GOOD,
        "MISSING_ARM": arms < ARM_FRACTION,
        "NO_INFORMATION": ~good.any(axis=1),
    }
    return np.bitwise_or.reduce([np.where(hit, BIT[name], 0) for name, hit in hits.items()])


def range_flags(model: Mapping[str, NDArray[Any]], values: FloatArray) -> NDArray[np.int64]:
    """Bit OUT_OF_RANGE, by `range_low` and `range_high` of a model.

    Parameters
    ----------
    model : mapping of str to ndarray
        Arrays of a model.
    values : ndarray, shape (n, k) [units of the labels]
        Predicted labels; NaN is within the range.
    """
    outside = (values < model["range_low"]) | (values > model["range_high"])
    return np.where(outside.any(axis=1), BIT["OUT_OF_RANGE"], np.int64(0))


def mark_trained_on(flags: NDArray[np.int64], trained_on: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Flag the spectra that the model was trained on, in place of what compares with those.

    A model follows its own training spectra so closely that their distance, chi-square and spread
    cannot be held against limits that come from left-out ones.

    Parameters
    ----------
    flags : ndarray of int64, shape (n,)
        As `models.predict.Model.predict` gives them.
    trained_on : ndarray of bool, shape (n,)
        Whether the model was trained on the spectrum.
    """
    judged = np.bitwise_or.reduce(list(JUDGED.values()))
    return np.where(trained_on, (flags & ~judged) | BIT["TRAINED_ON"], flags)


def mark_other_instrument(
    flags: NDArray[np.int64], instrument: NDArray[np.str_], trained_on: Collection[str]
) -> NDArray[np.int64]:
    """Flag the spectra of instruments that took no training spectrum.

    Parameters
    ----------
    flags : ndarray of int64, shape (n,)
        Bits that are set already.
    instrument : ndarray of str, shape (n,)
        What took each spectrum.
    trained_on : collection of str
        Instruments of the training spectra; where none is known, nothing is flagged.
    """
    other = ~np.isin(instrument, list(trained_on)) & bool(trained_on)
    return np.where(other, flags | BIT["OTHER_INSTRUMENT"], flags)
