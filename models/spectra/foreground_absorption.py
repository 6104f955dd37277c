"""Transmission of interstellar gas and of the atmosphere, the foreground of a star.

Multiplied onto observed spectra, they test how much a label depends on interstellar sodium or on
telluric bands: a label that is measured on the star alone does not change.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.spectra.lines import LIGHT_SPEED, REGIONS

RESOLUTION = 1800.0  # of SDSS and LAMOST spectra, lambda / FWHM
SODIUM = (
    (5891.58, 1.0),
    (5897.56, 0.73),
)  # [Angstrom, vacuum], and equivalent width relative to D2
BAND_DEPTHS = {  # relative to that of the A band
    "O2 A": 1.0,
    "O2 B": 0.5,
    "O2 gamma": 0.1,
    "H2O 7200": 0.3,
    "H2O 8200": 0.3,
    "H2O 9000": 0.7,
}
EDGE = 4.0  # softness of the ends of a band [Angstrom]
TO_SIGMA = 1.0 / np.sqrt(8.0 * np.log(2.0))

FloatArray = NDArray[np.float64]


def interstellar_sodium(
    wavelength: ArrayLike, equivalent_width: float, velocity: ArrayLike = 0.0
) -> FloatArray:
    """Return the transmission of interstellar sodium in both D lines, seen at `RESOLUTION`.

    Parameters
    ----------
    wavelength : array_like, shape (..., p) [Angstrom, vacuum]
        Wavelengths of the pixels, in the frame of the sun.
    equivalent_width : float [Angstrom]
        Of D2. Reddening E(B-V) of 0.1 and of 0.3 mag means about 0.42 and 0.64 (Poznanski et al.
        2012, MNRAS 426, 1465); below zero, absorption is taken away.
    velocity : array_like, shape (...) [km/s]
        Of the gas.

    Returns
    -------
    ndarray, shape (..., p)
    """
    wave = np.asarray(wavelength, dtype=np.float64)
    doppler = 1.0 + np.asarray(velocity, dtype=np.float64)[..., None] / LIGHT_SPEED
    depth = np.zeros(np.broadcast_shapes(wave.shape, doppler.shape))
    for center, relative in SODIUM:
        sigma = center / RESOLUTION * TO_SIGMA
        profile = np.exp(-0.5 * ((wave - center * doppler) / sigma) ** 2)
        depth += equivalent_width * relative / (sigma * np.sqrt(2.0 * np.pi)) * profile
    return 1.0 - depth


def telluric_bands(wavelength: ArrayLike, depth: float) -> FloatArray:
    """Return the transmission of telluric bands as an imperfect correction leaves them.

    Parameters
    ----------
    wavelength : array_like, shape (..., p) [Angstrom, vacuum]
        Wavelengths of the pixels, in the frame of the observer.
    depth : float
        Depth of the A band, the others in proportion (`BAND_DEPTHS`); below zero, too much has
        been corrected. Bands are boxes with soft ends.

    Returns
    -------
    ndarray, shape (..., p)
    """
    wave = np.asarray(wavelength, dtype=np.float64)
    transmission = np.ones(wave.shape)
    for band in REGIONS["telluric"]:
        box = 0.5 * (np.tanh((wave - band.low) / EDGE) - np.tanh((wave - band.high) / EDGE))
        transmission *= 1.0 - depth * BAND_DEPTHS[band.name] * box
    return transmission
