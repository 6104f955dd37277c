"""Predict with a trained model: labels, errors and flags for new spectra."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.core import artifact
from models.core.arrays import Arrays, Float32Array
from models.core.records import Predictions, TrainSpec
from models.core.threads import one_blas_thread
from models.presets.registry import PRESETS, resolve
from models.reliability import applicability_domain
from models.reliability.calibration import CalibrationFeatures, calibrate
from models.reliability.flags import (
    FLAG_BITS,
    limit_flags,
    mark_trained_on,
    range_flags,
    spectrum_flags,
)
from models.spectra.snr import median_snr

__all__ = ["FLAG_BITS", "Model", "load", "mark_trained_on", "median_snr"]

MAX_ROWS = 8192  # spectra that one core works on at a time


@dataclass(frozen=True, eq=False)
class Model:
    """A trained model.

    Parameters
    ----------
    spec : TrainSpec
        Specification of its training.
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

    @property
    def needs_continuum(self) -> bool:
        """True where `predict` needs the continuum: to normalize again, in a second round."""
        return "pixels" in self.arrays

    def predict(self, flux: ArrayLike, ivar: ArrayLike, continuum: ArrayLike) -> Predictions:
        """Return the labels of normalized spectra.

        Parameters
        ----------
        flux, ivar, continuum : array_like, shape (n, n_pixels)
            As in `models.spectra.normalize.Normalized`, by the recipe that the model names.

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
        found = Predictions.empty(flux.shape[0], len(self.spec.labels))

        def fill(rows: NDArray[np.int64]) -> None:
            found.put(rows, self._predict(*(a[rows[0] : rows[-1] + 1] for a in spectra)))

        spectra = (flux, ivar, continuum)
        cores = os.cpu_count() or 1
        # The same number of parts for each core: none is left with the last one alone.
        n_parts = cores * max(1, -(-len(flux) // (cores * MAX_ROWS)))
        parts = np.array_split(np.arange(flux.shape[0]), n_parts)
        with one_blas_thread(), ThreadPoolExecutor(cores) as pool:
            list(pool.map(fill, [rows for rows in parts if rows.size]))
        return found

    def _predict(
        self,
        flux: Float32Array,
        ivar: Float32Array,
        continuum: Float32Array,
    ) -> Predictions:
        """Return the predictions of a part of the spectra; rows do not depend on each other."""
        predict_raw = PRESETS[self.spec.preset].predict_raw
        raw = predict_raw(self.spec, self.arrays, self.first_index, flux, ivar, continuum)
        distance = applicability_domain.distance(self.arrays, raw.points)
        linear = applicability_domain.linear_labels(self.arrays, raw.points)
        snr = median_snr(ivar)
        no_good_pixel = snr == 0.0
        for numbers in (raw.values, raw.sigma, raw.ensemble_std, linear, raw.chi2, distance):
            numbers[no_good_pixel] = np.nan
        features = CalibrationFeatures(raw.values, raw.sigma, snr, distance, raw.chi2)
        sigma, half_width95 = calibrate(self.spec.labels, self.arrays, features)
        low, high = self.arrays["range_low"], self.arrays["range_high"]
        found = Predictions(
            values=raw.values,
            sigma=sigma,
            half_width95=half_width95,
            raw_sigma=raw.sigma,
            ensemble_std=raw.ensemble_std,
            chi2=raw.chi2,
            distance=distance,
            linear=linear,
            flags=range_flags(low, high, raw.values) | spectrum_flags(ivar, snr),
        )
        return replace(found, flags=found.flags | limit_flags(self.arrays, found, snr))


def load(data: bytes) -> Model:
    """Return the model that an artifact holds.

    Parameters
    ----------
    data : bytes
        `Step.artifact` of the last chunk of a training.

    Raises
    ------
    ValueError
        If the bytes are damaged, no model, or of another version of the program.
    """
    manifest, arrays = artifact.from_bytes(data)
    try:
        spec, grid = manifest["spec"], manifest["grid"]
        first_index, n_pixels = int(grid["first_index"]), int(grid["n_pixels"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"The bytes hold no model: their manifest lacks {error}.") from error
    _, checked = resolve(TrainSpec.from_dict(spec))
    return Model(checked, first_index, n_pixels, arrays, manifest)
