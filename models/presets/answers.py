"""The answer of all presets to spectra, and their common arithmetic of prediction."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.core import arrays as ar
from models.core.arrays import Arrays
from models.networks.architecture import Architecture, apply_jit, template

BLOCK = 512  # spectra per call: one compiled shape, bounded memory

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Answer:
    """A preset's predictions before calibration and flags.

    Parameters
    ----------
    values, sigma, ensemble_std : ndarray, shape (n, k) [units of the labels]
        Labels, raw errors, spread of the ensemble; NaN where the preset has none.
    chi2 : ndarray, shape (n,)
        As in `models.core.records.Predictions`.
    points : ndarray, shape (n, c)
        Spectra in the coordinates of `models.reliability.applicability_domain.describe`.
    """

    values: FloatArray
    sigma: FloatArray
    ensemble_std: FloatArray
    chi2: FloatArray
    points: FloatArray


def apply_blocks(arch: Architecture, model: Arrays, prefix: str, inputs: ArrayLike) -> FloatArray:
    """Run a network whose parameters a model keeps under `prefix`, block by block.

    Parameters
    ----------
    arch : Architecture
        The network.
    model : dict of str to ndarray
        Arrays of a fitted model.
    prefix : str
        Name of the network's arrays.
    inputs : array_like, shape (n, n_in)
        Any float type; computed in float32.

    Returns
    -------
    ndarray of float64, shape (n, n_out)
    """
    params = jax.device_put(ar.unflatten(prefix, model, template(arch)))
    rows = np.asarray(inputs, dtype=np.float32)
    padded = np.zeros((-(-max(rows.shape[0], 1) // BLOCK) * BLOCK, rows.shape[1]), np.float32)
    padded[: rows.shape[0]] = rows
    parts = [
        np.asarray(apply_jit(arch, params, padded[i : i + BLOCK]))
        for i in range(0, padded.shape[0], BLOCK)
    ]
    return np.concatenate(parts)[: rows.shape[0]].astype(np.float64)
