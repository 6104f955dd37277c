"""Pseudo-continuum of the recipe `default`: an ivar-weighted running Gaussian.

Ho et al. (2017, ApJ 836, 5, eq. 1) divide each spectrum by

    c(l0) = sum_i w_i(l0) ivar_i f_i / sum_i w_i(l0) ivar_i,   w_i(l0) = exp(-(l_i - l0)^2 / L^2)

with L = 50 Angstrom. It is linear in the flux and uses no quantiles, so noise does not bias it. It
does not follow the true continuum, but it treats all spectra alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LENGTH = 50.0  # L [Angstrom]
REACH = 3.0  # the Gaussian is cut at this many L, where it has fallen to 1e-4
BLOCK = 256  # output pixels per matrix product

FloatArray = NDArray[np.float64]


def smooth_gaussian(
    flux: FloatArray, ivar: FloatArray, wavelength: FloatArray, length: float = LENGTH
) -> FloatArray:
    """Return spectra smoothed by a Gaussian of fixed width in wavelength.

    Parameters
    ----------
    flux : ndarray, shape (n, p)
        Flux in any unit; finite everywhere.
    ivar : ndarray, shape (n, p)
        Inverse variance; 0 for pixels without information.
    wavelength : ndarray, shape (p,) [Angstrom]
        Increasing wavelengths.
    length : float [Angstrom]
        L of the formula above (sigma is L divided by the root of 2).

    Returns
    -------
    ndarray, shape (n, p)
        In the unit of the flux; NaN where no good pixel lies within `REACH` times `length`.
    """
    weighted = ivar * flux
    continuum = np.full(flux.shape, np.nan)
    for start in range(0, wavelength.size, BLOCK):
        out = wavelength[start : start + BLOCK]
        low = int(np.searchsorted(wavelength, out[0] - REACH * length))
        high = int(np.searchsorted(wavelength, out[-1] + REACH * length, side="right"))
        kernel = _kernel(wavelength[low:high], out, length)
        total = ivar[:, low:high] @ kernel
        np.divide(
            weighted[:, low:high] @ kernel,
            total,
            out=continuum[:, start : start + BLOCK],
            where=total > 0.0,
        )
    return continuum


def _kernel(inner: FloatArray, outer: FloatArray, length: float) -> FloatArray:
    """Return the Gaussian weights of the pixels `inner` (rows) for the pixels `outer` (columns)."""
    distance = (inner[:, None] - outer[None, :]) / length
    return np.where(np.abs(distance) <= REACH, np.exp(-(distance**2)), 0.0)
