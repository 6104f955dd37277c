"""Use a trained model: labels, errors and flags for new spectra."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models import artifact, uncertainty
from models.answers import Answer
from models.arrays import Arrays
from models.presets import PRESETS
from models.records import Predictions, TrainSpec

FLAG_BITS: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        0: ("OUT_OF_RANGE", "a label lies outside the range of the training labels"),
        1: (
            "FAR_FROM_TRAINING",
            "farther from the training spectra than 99% of those, when left out",
        ),
        2: ("LOW_SNR", "median signal-to-noise ratio per pixel below 20"),
        3: ("MASKED", "less than 80% of the pixels are good"),
        4: ("MISSING_ARM", "less than a tenth of the blue or of the red half is good"),
        5: ("NO_INFORMATION", "no good pixel: labels are missing"),
        6: ("HIGH_CHI2", "reproduced worse than 99% of the training spectra, when left out"),
        7: (
            "TRAINED_ON",
            "the model was trained on this spectrum: the out-of-fold set has honest labels; "
            "distance and chi-square are not judged",
        ),
    }
)
"""Bit number -> (name, meaning) of `Predictions.flags`."""

MIN_SNR = 20.0
MIN_GOOD = 0.8
ARM_FRACTION = 0.1


def mark_trained_on(flags: NDArray[np.int64], trained_on: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Flag the spectra that the model was trained on, in place of what compares with those.

    A basis follows its own training spectra so closely that their distance and chi-square cannot
    be held against limits that come from left-out ones.

    Parameters
    ----------
    flags : ndarray of int64, shape (n,)
        As `Model.predict` gives them.
    trained_on : ndarray of bool, shape (n,)
        Whether the model was trained on the spectrum.
    """
    bit = {name: np.int64(1 << b) for b, (name, _) in FLAG_BITS.items()}
    kept = flags & ~(bit["FAR_FROM_TRAINING"] | bit["HIGH_CHI2"])
    return np.where(trained_on, kept | bit["TRAINED_ON"], flags)


@dataclass(frozen=True, eq=False)
class Model:
    """A trained model.

    Parameters
    ----------
    spec : TrainSpec
        What it was trained as.
    first_index, n_pixels : int
        The pixel grid that it expects.
    arrays : dict of str to ndarray
        Everything fitted: networks, scalers, projection, pixels, limits, calibration.
    manifest : dict
        Where it comes from; see `models.trainer`.
    """

    spec: TrainSpec
    first_index: int
    n_pixels: int
    arrays: Arrays
    manifest: Mapping[str, Any]

    def predict(self, flux: ArrayLike, ivar: ArrayLike, continuum: ArrayLike) -> Predictions:
        """Predict the labels of normalized spectra.

        Parameters
        ----------
        flux, ivar, continuum : array_like, shape (n, n_pixels)
            As in `models.continuum.Normalized`, by the recipe that the model names.

        Returns
        -------
        Predictions
            NaN and `NO_INFORMATION` for a spectrum without a good pixel.

        Raises
        ------
        ValueError
            If the spectra lie on another grid.
        """
        flux, ivar, continuum = (np.asarray(a, dtype=np.float32) for a in (flux, ivar, continuum))
        if (
            flux.ndim != 2
            or flux.shape[1] != self.n_pixels
            or not (flux.shape == ivar.shape == continuum.shape)
        ):
            raise ValueError(
                f"The model expects flux, ivar and continuum of one shape (n, {self.n_pixels}); "
                f"got {flux.shape}, {ivar.shape} and {continuum.shape}. Normalize the spectra by "
                f"the recipe {self.spec.recipe!r}."
            )
        compute = PRESETS[self.spec.preset].answer
        answer = compute(self.spec, self.arrays, self.first_index, flux, ivar, continuum)
        blind = ~(ivar > 0.0).any(axis=1)
        for numbers in (answer.values, answer.sigma, answer.ensemble_std):
            numbers[blind] = np.nan
        answer.chi2[blind] = answer.distance[blind] = np.nan
        snr = median_snr(ivar)
        where = uncertainty.regime(self.spec.labels, answer.values, answer.distance)
        return Predictions(
            values=answer.values,
            sigma=uncertainty.calibrate(self.arrays, answer.sigma, snr, where),
            raw_sigma=answer.sigma,
            ensemble_std=answer.ensemble_std,
            chi2=answer.chi2,
            distance=answer.distance,
            flags=self._flags(answer, ivar, snr),
        )

    def _flags(
        self, answer: Answer, ivar: NDArray[np.float32], snr: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """Set the bits of `FLAG_BITS`."""
        good = ivar > 0.0
        middle = good.shape[1] // 2
        arms = np.minimum(good[:, :middle].mean(axis=1), good[:, middle:].mean(axis=1))
        low, high = self.arrays["range_low"], self.arrays["range_high"]
        hits = (
            ((answer.values < low) | (answer.values > high)).any(axis=1),
            snr < MIN_SNR,
            good.mean(axis=1) < MIN_GOOD,
            arms < ARM_FRACTION,
            ~good.any(axis=1),
        )
        flags = limit_flags(self.arrays, answer.distance, answer.chi2)
        for bit, hit in zip((0, 2, 3, 4, 5), hits, strict=True):
            flags |= hit.astype(np.int64) << bit
        return flags


def limit_flags(
    model: Mapping[str, NDArray[Any]], distance: NDArray[np.float64], chi2: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Bits FAR_FROM_TRAINING and HIGH_CHI2, by the limits that a model holds.

    Parameters
    ----------
    model : mapping of str to ndarray
        Arrays of a model, with those of `models.uncertainty.fit_limits`.
    distance, chi2 : ndarray, shape (n,)
        As in `models.records.Predictions`; NaN is within every limit.
    """
    far = distance > model.get("calibration/distance_limit", np.inf)
    high = chi2 > model.get("calibration/chi2_limit", np.inf)
    return (far.astype(np.int64) << 1) | (high.astype(np.int64) << 6)


def median_snr(ivar: NDArray[np.float32]) -> NDArray[np.float64]:
    """Median signal-to-noise ratio per good pixel of normalized spectra, shape (n,); 0 for none."""
    noise = np.where(ivar > 0.0, np.sqrt(ivar), np.float32(np.nan))
    snr = np.zeros(ivar.shape[0])
    seen = (ivar > 0.0).any(axis=1)
    snr[seen] = np.nanmedian(noise[seen], axis=1)
    return snr


def load(data: bytes) -> Model:
    """Read a model from its artifact.

    Parameters
    ----------
    data : bytes
        What training returned as `Step.artifact`.

    Raises
    ------
    ValueError
        If the bytes are damaged or of another format version.
    """
    manifest, arrays = artifact.from_bytes(data)
    return Model(
        spec=TrainSpec.from_dict(manifest["spec"]),
        first_index=int(manifest["grid"]["first_index"]),
        n_pixels=int(manifest["grid"]["n_pixels"]),
        arrays=arrays,
        manifest=manifest,
    )
