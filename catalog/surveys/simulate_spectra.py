"""A simple physical model of giants' optical spectra, for the simulated survey.

Flux = Planck function * exp(-tau), where tau sums lines whose strengths vary smoothly with Teff,
log g and [Fe/H]. Every dependence has the right sense and rough size: no model atmosphere.
"""

from __future__ import annotations

import numpy as np
from scipy.constants import speed_of_light

LOGLAM = 3.5 + 1e-4 * np.arange(798, 4638)  # 3800 to 9200 Angstrom
LIGHT_KMS, HC_OVER_K = speed_of_light / 1e3, 1.438776877e8  # km/s, Angstrom K
# Vacuum wavelength [Angstrom]; tau at 4800 K, log g 2.5, solar; width [pixel]; share of Lorentz
# wings; change of ln(tau) per 800 K, per dex in g, per dex in [Fe/H].
LINES = (
    (3934.8, 3.00, 12.0, 0.7, -0.3, 0.05, 0.6),  # Ca II K
    (3969.6, 2.60, 11.0, 0.7, -0.3, 0.05, 0.6),  # Ca II H
    (4305.6, 0.50, 16.0, 0.0, -0.5, -0.15, 0.8),  # G band (CH)
    (4862.7, 0.40, 3.0, 0.5, 1.0, -0.05, 0.0),  # H beta
    (5171.3, 0.70, 4.0, 0.4, -0.6, 0.27, 0.8),  # Mg b
    (5185.0, 0.75, 3.0, 0.4, -0.6, 0.30, 0.8),
    (5271.0, 0.45, 3.0, 0.0, -0.5, -0.05, 1.1),  # Fe
    (5894.6, 0.65, 3.0, 0.3, -0.8, 0.22, 0.7),  # Na D
    (6564.6, 0.60, 2.5, 0.4, 0.7, -0.08, 0.0),  # H alpha
    (7100.0, 0.04, 60.0, 0.0, -3.0, -0.20, 0.8),  # TiO
    (8500.4, 0.50, 2.0, 0.4, -0.1, -0.20, 0.6),  # Ca II triplet
    (8544.4, 0.90, 2.5, 0.4, -0.1, -0.22, 0.6),
    (8664.5, 0.75, 2.3, 0.4, -0.1, -0.22, 0.6),
)


def model_flux(teff: np.ndarray, logg: np.ndarray, fe_h: np.ndarray, rv: np.ndarray) -> np.ndarray:
    """Return the flux of stars without noise.

    Parameters
    ----------
    teff, logg, fe_h, rv : numpy.ndarray
        Kelvin, dex, dex and heliocentric km/s, shape (n,).

    Returns
    -------
    numpy.ndarray
        Shape (n, len(LOGLAM)), each row with a median of 1.
    """
    # Weak lines of metals are denser in the blue. The atoms are the same in every survey.
    rng, weak = np.random.default_rng(5270), np.ones((400, 7))
    weak[:, 0] = 3850 * (8900 / 3850) ** (rng.random(len(weak)) ** 1.6)
    weak[:, 1], weak[:, 3] = 0.02 + 0.4 * rng.random(len(weak)) ** 2, 0
    weak[:, 4:] = rng.normal((-0.5, -0.05, 1.1), (0.4, 0.2, 0.2), (len(weak), 3))
    lines = np.concatenate([LINES, weak])
    wave, tau, width, wings = lines[:, :4].T[:, :, None]
    strength = tau * np.exp(lines[:, 4:] @ np.array([(teff - 4800) / 800, logg - 2.5, fe_h]))

    fine = np.arange(0, len(LOGLAM), 0.5)  # pixel; velocities shift by parts of one
    x = (fine - (np.log10(wave) - LOGLAM[0]) / 1e-4) / np.hypot(width, 1.0)
    depth = strength.T @ ((1 - wings) * np.exp(-0.5 * x**2) + wings / (1 + x**2))
    shift = 1e4 * np.log10(1 + rv / LIGHT_KMS)
    seen = [np.interp(fine[::2] - s, fine, d) for s, d in zip(shift, depth, strict=True)]
    planck = 10 ** (-5 * LOGLAM) / np.expm1(HC_OVER_K / (10**LOGLAM * teff[:, None]))
    flux = planck * np.exp(-np.array(seen))
    return np.asarray(flux / np.median(flux, axis=1, keepdims=True))
