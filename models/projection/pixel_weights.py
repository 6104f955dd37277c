"""Weights and weighted deviations of spectra, made a few spectra at a time, in the cache."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.spectra.snr import count_good

MAX_DEVIATION = 1.0  # of a pixel from the mean spectrum: beyond lie cosmic rays and bad sky
FEW = 16  # spectra at a time
ALIGNMENT = 64  # bytes

Float = NDArray[np.float32]


def weigh(
    mean: Float, scatter: Float, flux: Float, ivar: Float, weight: Float, weighted: Float
) -> tuple[Float, NDArray[np.int64]]:
    """Weigh the deviations y of spectra from a mean spectrum with W = 1 / (1 / ivar + s^2).

    Parameters
    ----------
    mean, scatter : ndarray of float32, shape (p,)
        Mean spectrum, and the variances s^2; infinite for pixels that are not used.
    flux, ivar : ndarray of float32, shape (n, p)
        Normalized spectra; ivar 0 for bad pixels.
    weight, weighted : ndarray of float32, shape (n, p)
        Where to write W and W y; both become 0 for bad pixels.

    Returns
    -------
    whole : ndarray of float32, shape (n,)
        y^T W y.
    n_good : ndarray of int64, shape (n,)
        Number of pixels with a weight.
    """
    unused = np.flatnonzero(~np.isfinite(scatter))
    scatter = np.where(np.isfinite(scatter), scatter, np.float32(0.0))
    whole, n_good = np.empty(len(flux), np.float32), np.empty(len(flux), np.int64)
    for start in range(0, len(flux), FEW):
        few = slice(start, start + FEW)
        y, w = flux[few] - mean, weight[few]
        # At bad pixels the flux may be no number; here that gives way to the limit.
        np.fmax(y, np.float32(-MAX_DEVIATION), out=y)
        np.fmin(y, np.float32(MAX_DEVIATION), out=y)
        np.multiply(ivar[few], scatter, out=w)
        np.add(w, np.float32(1.0), out=w)
        np.divide(ivar[few], w, out=w)
        w[:, unused] = 0.0
        np.multiply(w, y, out=weighted[few])
        whole[few] = np.vecdot(weighted[few], y)
        n_good[few] = count_good(w > 0.0)
    return whole, n_good


def aligned(n: int, width: int) -> Float:
    """Zeros (n, width) that begin where XLA wants its arrays to, so that it copies nothing."""
    memory = np.zeros(n * width + ALIGNMENT // 4, np.float32)
    start = -memory.ctypes.data % ALIGNMENT // 4
    return memory[start : start + n * width].reshape(n, width)
