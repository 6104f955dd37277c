"""The continuum of the notebook as one would write it with ``np.polyfit``, star by star."""

from __future__ import annotations

import numpy as np


def fit_continuum_loop(wavelength, flux, good, split):
    """Fit two polynomials of degree 7 in Angstrom per spectrum: one plain fit and four weighted."""
    continuum = np.full(flux.shape, np.nan)
    red = wavelength >= split
    for i in range(flux.shape[0]):
        for arm in (~red, red):
            x, y, weight = wavelength[arm], flux[i, arm], good[i, arm].astype(float)
            coefficients = np.polyfit(x, y, 7, w=weight)
            for _ in range(4):
                fit = np.polyval(coefficients, x)
                coefficients = np.polyfit(x, y, 7, w=weight * np.where(y < fit, 0.15, 1.0))
            continuum[i, arm] = np.polyval(coefficients, x)
    return continuum
