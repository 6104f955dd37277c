"""A simple physical model of a giant's optical spectrum, for the simulated survey.

Flux = Planck function * smooth response * exp(-tau), where tau sums lines at their real vacuum
wavelengths whose strength varies smoothly with Teff, log g and [Fe/H]. It has the right sense and
rough size of each dependence, and no more: it is not a model atmosphere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FIRST_INDEX, N_PIXELS = 798, 3840  # 3800 to 9200 Angstrom on the grid 3.5 + 1e-4 k
LIGHT_KMS = 299_792.458
FULLREJECT, BRIGHTSKY = 1 << 18, 1 << 23  # bits of SPPIXMASK
HC_OVER_K = 1.438776877e8  # Angstrom K
SKY_LINES = (5578.9, 5891.6, 6302.1, 7278.3, 7752.7, 8346.9, 8432.5, 8829.5, 8921.5)
# Vacuum wavelength, tau at 4800 K, log g 2.5, solar; width [pixel]; share of Lorentz wings;
# change of ln(tau) per 800 K, per dex in g, per dex in [Fe/H].
LINES = np.array(
    [
        (3934.8, 3.0, 12.0, 0.7, -0.3, 0.05, 0.6),  # Ca II K
        (3969.6, 2.6, 11.0, 0.7, -0.3, 0.05, 0.6),  # Ca II H
        (4102.9, 0.25, 3.0, 0.5, 1.1, -0.05, 0.0),  # H delta
        (4305.6, 0.50, 16.0, 0.0, -0.5, -0.15, 0.8),  # G band (CH)
        (4341.7, 0.28, 3.0, 0.5, 1.1, -0.05, 0.0),  # H gamma
        (4862.7, 0.40, 3.0, 0.5, 1.0, -0.05, 0.0),  # H beta
        (5168.7, 0.55, 2.5, 0.4, -0.6, 0.25, 0.8),  # Mg b
        (5174.1, 0.70, 2.8, 0.4, -0.6, 0.28, 0.8),
        (5185.0, 0.75, 3.0, 0.4, -0.6, 0.30, 0.8),
        (5271.0, 0.45, 3.0, 0.0, -0.5, -0.05, 1.1),  # Fe 5270
        (5329.5, 0.40, 2.5, 0.0, -0.5, -0.05, 1.1),
        (5336.5, 0.35, 2.5, 0.0, -0.5, -0.05, 1.1),  # Fe 5335
        (5891.6, 0.70, 1.5, 0.3, -0.8, 0.22, 0.7),  # Na D
        (5897.6, 0.60, 1.5, 0.3, -0.8, 0.22, 0.7),
        (6564.6, 0.60, 2.5, 0.4, 0.7, -0.08, 0.0),  # H alpha
        (7100.0, 0.04, 60.0, 0.0, -3.0, -0.20, 0.8),  # TiO
        (8500.4, 0.50, 2.0, 0.4, -0.1, -0.20, 0.6),  # Ca triplet
        (8544.4, 0.90, 2.5, 0.4, -0.1, -0.22, 0.6),
        (8664.5, 0.75, 2.3, 0.4, -0.1, -0.22, 0.6),
    ]
)
N_WEAK = 320


@dataclass(frozen=True)
class LineModel:
    """All lines on the rest-frame grid.

    Parameters
    ----------
    lines : numpy.ndarray
        Rows as in ``LINES``, shape (n_lines, 7).
    profiles : numpy.ndarray
        Shape (n_lines, N_PIXELS), 1 at the centre of a line.
    """

    lines: np.ndarray
    profiles: np.ndarray


def line_model() -> LineModel:
    """Make the lines: the strong ones, and weak metal lines, denser in the blue as in real stars.

    Returns
    -------
    LineModel
    """
    rng = np.random.default_rng(5270)  # the atoms are the same in every survey
    weak = np.empty((N_WEAK, 7))
    weak[:, 0] = 3850 * (8900 / 3850) ** (rng.random(N_WEAK) ** 1.6)
    weak[:, 1:4] = np.column_stack(
        [0.3 * rng.random(N_WEAK) ** 2 + 0.02, np.ones(N_WEAK), np.zeros(N_WEAK)]
    )
    weak[:, 4:] = rng.normal((-0.5, 0.0, 1.2), (0.25, 0.12, 0.2), (N_WEAK, 3))
    lines = np.concatenate([LINES, weak])
    centre = (np.log10(lines[:, :1]) - 3.5) / 1e-4 - FIRST_INDEX
    x = np.arange(N_PIXELS) - centre
    width = np.hypot(lines[:, 2:3], 1.0)  # one pixel: resolving power 1850
    wings = lines[:, 3:4]
    profiles = (1 - wings) * np.exp(-0.5 * (x / width) ** 2) + wings / (1 + (x / width) ** 2)
    return LineModel(lines, profiles)


def model_flux(
    model: LineModel, teff: float, logg: float, fe_h: float, rv_kms: float
) -> np.ndarray:
    """Flux of a star without noise.

    Parameters
    ----------
    model : LineModel
        The lines.
    teff, logg, fe_h : float
        Kelvin, dex, dex.
    rv_kms : float
        Heliocentric radial velocity in km/s.

    Returns
    -------
    numpy.ndarray
        Shape (N_PIXELS,), with a median of 1.
    """
    steps = np.array([(teff - 4800) / 800, logg - 2.5, fe_h])
    strength = model.lines[:, 1] * np.exp(model.lines[:, 4:] @ steps)
    pixel = np.arange(N_PIXELS)
    tau = np.interp(
        pixel - 1e4 * np.log10(1 + rv_kms / LIGHT_KMS), pixel, strength @ model.profiles
    )
    wave = 10 ** (3.5 + 1e-4 * (FIRST_INDEX + pixel))
    flux = wave**-5.0 / np.expm1(HC_OVER_K / (wave * teff)) * np.exp(-tau)
    return flux / np.median(flux)


def observe(
    flux: np.ndarray, snr: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Add response, noise, sky residuals and bad pixels.

    Parameters
    ----------
    flux : numpy.ndarray
        Noiseless, positive, shape (N_PIXELS,).
    snr : float
        Median signal-to-noise ratio per pixel.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    flux, ivar : numpy.ndarray
        Shape (N_PIXELS,).
    or_mask : numpy.ndarray
        int32, shape (N_PIXELS,).
    """
    x = np.linspace(-1, 1, N_PIXELS)
    flux = flux * (1 + 0.05 * rng.normal() * x + 0.05 * rng.normal() * x**2)
    wave = 10 ** (3.5 + 1e-4 * (FIRST_INDEX + np.arange(N_PIXELS)))
    sky = np.exp(-0.5 * ((wave[:, None] / SKY_LINES - 1) * 4400) ** 2).sum(axis=1)
    sigma = np.median(flux) / snr * np.sqrt(0.3 + 0.7 * flux / np.median(flux) + 8 * sky)
    # Sky subtraction leaves somewhat more than the variance says.
    noisy = flux + sigma * rng.normal(size=N_PIXELS) * (1 + 0.5 * np.minimum(sky, 1))
    ivar = sigma**-2.0
    bad = rng.random(N_PIXELS) < 0.004
    for start in rng.integers(0, N_PIXELS, 3):
        bad[start : start + 6] = True
    ivar[bad] = 0
    noisy[bad] *= rng.uniform(0, 5, int(bad.sum()))
    mask = np.where(bad, FULLREJECT, 0) | np.where(sky > 0.2, BRIGHTSKY, 0)
    return noisy, ivar, mask.astype("i4")
