"""The common log-wavelength grid: windows of it, and spectra shifted along it.

All spectra share loglam = 3.5 + 1e-4 i for integer i; one pixel is 69.04 km/s. A star that moves
with redshift z has its features at loglam + log10(1 + z), that is 1e4 log10(1 + z) pixels away.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LOGLAM_ZERO = 3.5
LOGLAM_STEP = 1e-4

FloatArray = NDArray[np.float64]


def grid_wavelength(first_index: int, n_pixels: int) -> FloatArray:
    """Return vacuum wavelengths [Angstrom] of `n_pixels` pixels from grid index `first_index`."""
    loglam = LOGLAM_ZERO + LOGLAM_STEP * (first_index + np.arange(n_pixels))
    return np.asarray(np.power(10.0, loglam, dtype=np.float64))


def redshift_pixels(z: FloatArray) -> FloatArray:
    """Return the shift in pixels that redshift `z` causes; positive to the red."""
    return np.log10(1.0 + z) / LOGLAM_STEP


def take_window(values: FloatArray, offset: int, n_pixels: int) -> FloatArray:
    """Return the pixels ``offset .. offset + n_pixels`` of each row; zeros outside the input.

    Parameters
    ----------
    values : ndarray, shape (n, m)
        Rows on the input window.
    offset : int
        Input pixel that becomes output pixel 0; may be negative.
    n_pixels : int
        Length of the output.

    Returns
    -------
    ndarray, shape (n, n_pixels)
    """
    window = np.zeros((values.shape[0], n_pixels))
    low, high = max(offset, 0), min(offset + n_pixels, values.shape[1])
    if low < high:
        window[:, low - offset : high - offset] = values[:, low:high]
    return window


def shift(
    flux: FloatArray, ivar: FloatArray, offset: int, n_pixels: int, pixels: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return rows resampled at ``offset + pixels + 0 .. n_pixels`` of the input window.

    Flux is interpolated by the cubic through four neighbours (Catmull-Rom) where all four are
    good, else linearly between two. The variance is interpolated linearly, not by squared weights:
    neighbouring output pixels share noise, and this keeps the information of a stretch of spectrum
    what it was. An output pixel that needs a bad pixel is bad.

    Parameters
    ----------
    flux, ivar : ndarray, shape (n, m)
        Input; ivar 0 marks a bad pixel.
    offset : int
        Input pixel that becomes output pixel 0 without a shift.
    n_pixels : int
        Length of the output.
    pixels : ndarray, shape (n,)
        Shift of each row in pixels.

    Returns
    -------
    flux, ivar : ndarray, shape (n, n_pixels)
        Flux is 0 where ivar is 0.
    """
    whole = np.floor(pixels)
    part = (pixels - whole)[:, None]
    first = whole.astype(np.int64)[:, None] + offset + np.arange(n_pixels)[None, :]
    # Flux and ivar at the four neighbours of each output pixel, from one before to two after.
    f = [_gather(flux, first + k) for k in (-1, 0, 1, 2)]
    v = [_gather(ivar, first + k) for k in (-1, 0, 1, 2)]
    on_pixel = part == 0.0
    linear_ok = (v[1] > 0.0) & (on_pixel | (v[2] > 0.0))
    cubic_ok = linear_ok & (v[0] > 0.0) & (v[2] > 0.0) & (v[3] > 0.0)
    linear = (1.0 - part) * f[1] + part * f[2]
    cubic = f[1] + 0.5 * part * (
        f[2]
        - f[0]
        + part * (2 * f[0] - 5 * f[1] + 4 * f[2] - f[3] + part * (3 * (f[1] - f[2]) + f[3] - f[0]))
    )
    left = np.divide(1.0, v[1], out=np.zeros_like(v[1]), where=v[1] > 0.0)
    right = np.divide(1.0, v[2], out=np.zeros_like(v[2]), where=v[2] > 0.0)
    variance = np.where(linear_ok, (1.0 - part) * left + part * right, 1.0)
    return (
        np.where(cubic_ok, cubic, np.where(linear_ok, linear, 0.0)),
        np.where(linear_ok, 1.0 / variance, 0.0),
    )


def _gather(values: FloatArray, index: NDArray[np.int64]) -> FloatArray:
    """Return pixels of each row by index; zero outside the input."""
    inside = (index >= 0) & (index < values.shape[1])
    taken = np.take_along_axis(values, np.clip(index, 0, values.shape[1] - 1), axis=1)
    return np.where(inside, taken, 0.0)
