"""Number of good pixels of spectra, and their signal-to-noise ratio."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK = 64  # spectra whose pixels are sorted at a time, in the cache


def count_good(good: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the number of good pixels of each spectrum, shape (n,)."""
    # Counting bits is several times as fast as counting truth values.
    bits = np.bitwise_count(np.packbits(good, axis=1))
    return np.asarray(bits.sum(axis=1, dtype=np.int64))


def median_snr(ivar: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the median S/N per good pixel of normalized spectra, shape (n,); 0 for none."""
    found = np.empty(ivar.shape[0])
    for start in range(0, ivar.shape[0], BLOCK):
        found[start : start + BLOCK] = _median_snr(ivar[start : start + BLOCK])
    return found


def _median_snr(ivar: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return `median_snr` of a few spectra; only the ranks that some of them need are sorted."""
    values = np.fmax(ivar, np.float32(0.0))
    n_pixels, n_good = ivar.shape[1], count_good(ivar > 0.0)
    first = n_pixels - n_good
    middle = np.stack([first + (n_good - 1) // 2, first + n_good // 2], axis=1)
    middle = np.minimum(middle, n_pixels - 1)
    low, high = int(middle.min()), int(middle.max())
    # NumPy finds one rank several times as fast as two at once.
    values.partition(low, axis=1)
    upper = values[:, low:].copy()
    upper.partition(high - low, axis=1)
    between = np.sort(upper[:, : high - low + 1], axis=1)
    chosen = np.take_along_axis(between, middle - low, axis=1)
    return np.asarray(np.sqrt(chosen).mean(axis=1, dtype=np.float64))
