"""Weights and weighted deviations of spectra, computed in batches that the cache holds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.core.arrays import Float32Array
from models.spectra.snr import count_good

MAX_DEVIATION = 1.0  # of a pixel from the mean spectrum: beyond lie cosmic rays and bad sky
BATCH = 16  # spectra
ALIGNMENT = 64  # bytes


def weigh_deviations(
    mean: Float32Array,
    scatter: Float32Array,
    flux: Float32Array,
    ivar: Float32Array,
    weight: Float32Array,
    weighted: Float32Array,
) -> tuple[Float32Array, NDArray[np.int64]]:
    """Weight the deviations y of spectra from a mean spectrum by W = 1 / (1 / ivar + s^2).

    Parameters
    ----------
    mean, scatter : ndarray of float32, shape (p,)
        Mean spectrum, and the variances s^2; infinite for pixels that are not used.
    flux, ivar : ndarray of float32, shape (n, p)
        Normalized spectra; ivar 0 for bad pixels.
    weight, weighted : ndarray of float32, shape (n, p)
        Arrays that W and W y are written to; both become 0 for bad pixels.

    Returns
    -------
    chi2 : ndarray of float32, shape (n,)
        y^T W y.
    n_good : ndarray of int64, shape (n,)
        Number of pixels with a weight.
    """
    unused = np.flatnonzero(~np.isfinite(scatter))
    scatter = np.where(np.isfinite(scatter), scatter, np.float32(0.0))
    chi2, n_good = np.empty(len(flux), np.float32), np.empty(len(flux), np.int64)
    for start in range(0, len(flux), BATCH):
        batch = slice(start, start + BATCH)
        y, w = flux[batch] - mean, weight[batch]
        # At bad pixels the flux may be NaN, which fmax replaces by the limit.
        np.fmax(y, np.float32(-MAX_DEVIATION), out=y)
        np.fmin(y, np.float32(MAX_DEVIATION), out=y)
        np.multiply(ivar[batch], scatter, out=w)
        np.add(w, np.float32(1.0), out=w)
        np.divide(ivar[batch], w, out=w)
        w[:, unused] = 0.0
        np.multiply(w, y, out=weighted[batch])
        chi2[batch] = np.vecdot(weighted[batch], y)
        n_good[batch] = count_good(w > 0.0)
    return chi2, n_good


def aligned_zeros(n: int, width: int) -> Float32Array:
    """Return zeros (n, width) at an address aligned as XLA needs it, so that it copies nothing."""
    memory = np.zeros(n * width + ALIGNMENT // 4, np.float32)
    start = -memory.ctypes.data % ALIGNMENT // 4
    return memory[start : start + n * width].reshape(n, width)
