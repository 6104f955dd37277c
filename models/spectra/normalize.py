"""Normalization: a pure function of one spectrum and the recipe.

Spectra are put on the pixels of the recipe, without the pixels that it voids, and divided by their
pseudo-continuum. The result of a spectrum never depends on the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.spectra import grid, polynomial, running_gaussian
from models.spectra.lines import REGIONS, find_pixels
from models.spectra.masks import mask_of
from models.spectra.recipes import RECIPES, Recipe

__all__ = [
    "NORMALIZE_FLAGS",
    "RECIPES",
    "Normalized",
    "Recipe",
    "align",
    "continuum_steps",
    "divide",
    "normalize",
]

FloatArray = NDArray[np.float64]

NORMALIZE_FLAGS: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        0: ("REDSHIFT_UNKNOWN", "no usable redshift: left in the observed frame"),
        1: ("CONTINUUM_NOT_POSITIVE", "continuum near or below zero at good pixels, voided there"),
        2: ("FEW_PIXELS", "less than half of the pixels are good"),
        3: ("MISSING_ARM", "less than a tenth of the blue or of the red half is good"),
        4: ("NO_INFORMATION", "no good pixel"),
    }
)
"""Bit number -> (name, meaning) of `Normalized.flags`."""

MAX_REDSHIFT = 0.01  # 3000 km/s: no star moves faster, so a larger value is not a star's velocity
FEW_PIXELS = 0.5
ARM_FRACTION = 0.1
# Spectra are heliocentric: the atmosphere moves by up to 30 km/s in them, interstellar gas more.
REGION_MARGIN = 50.0  # [km/s]
MIN_CONTINUUM = 0.01  # of the median absolute flux: dividing by less only makes noise


@dataclass(frozen=True)
class Normalized:
    """Normalized spectra on the grid of a recipe.

    Parameters
    ----------
    flux : ndarray of float32, shape (n, p)
        Flux divided by the continuum; 1 where there is no information.
    ivar : ndarray of float32, shape (n, p)
        Inverse variance of `flux`; 0 where there is no information.
    continuum : ndarray of float32, shape (n, p) [unit of the input flux]
        Pseudo-continuum; 1 where none could be fitted.
    flags : ndarray of int64, shape (n,)
        Bits of `NORMALIZE_FLAGS`.
    good_fraction : ndarray of float32, shape (n,)
        Share of pixels with information.
    """

    flux: NDArray[np.float32]
    ivar: NDArray[np.float32]
    continuum: NDArray[np.float32]
    flags: NDArray[np.int64]
    good_fraction: NDArray[np.float32]


def normalize(
    recipe: Recipe,
    first_index: int,
    flux: ArrayLike,
    ivar: ArrayLike,
    and_mask: ArrayLike,
    z: ArrayLike,
) -> Normalized:
    """Return normalized spectra from spectra on one window of the common grid.

    Parameters
    ----------
    recipe : Recipe
        One of `RECIPES`.
    first_index : int
        Grid index of input pixel 0.
    flux : array_like, shape (n, m) [1e-17 erg s^-1 cm^-2 A^-1]
        Spectra, padded where they are shorter than the window.
    ivar : array_like, shape (n, m)
        Inverse variance of `flux`; 0 in the padding and wherever there is no information.
    and_mask : array_like of int, shape (n, m)
        SDSS ``and_mask``.
    z : array_like, shape (n,)
        Redshift of the star; NaN where unknown. Not used by a recipe in the observed frame.

    Returns
    -------
    Normalized

    Raises
    ------
    ValueError
        If the shapes do not belong together.
    """
    margin = _margin(recipe)
    arrays = _checked(flux, ivar, and_mask, z)
    flux, ivar, flags = align(recipe, first_index, *arrays, margin)
    continuum = _continuum(recipe, flux, ivar, margin)
    inner = slice(margin, margin + recipe.n_pixels)
    return divide(recipe, flux[:, inner], ivar[:, inner], continuum[:, inner], flags)


def _checked(
    flux: ArrayLike, ivar: ArrayLike, and_mask: ArrayLike, z: ArrayLike
) -> tuple[FloatArray, FloatArray, NDArray[Any], FloatArray]:
    """Return spectra and redshifts as arrays, after a check of their shapes."""
    flux, ivar = np.asarray(flux, dtype=np.float64), np.asarray(ivar, dtype=np.float64)
    mask, z = np.asarray(and_mask), np.asarray(z, dtype=np.float64)
    if flux.ndim != 2 or not flux.shape == ivar.shape == mask.shape or z.shape != flux.shape[:1]:
        raise ValueError(
            f"Spectra need flux, ivar and and_mask of one shape (n, m) and z of shape (n,); "
            f"got {flux.shape}, {ivar.shape}, {mask.shape} and {z.shape}."
        )
    return flux, ivar, mask, z


def align(
    recipe: Recipe,
    first_index: int,
    flux: FloatArray,
    ivar: FloatArray,
    and_mask: NDArray[Any],
    z: FloatArray,
    margin: int = 0,
) -> tuple[FloatArray, FloatArray, NDArray[np.int64]]:
    """Return spectra on the pixels of a recipe, without the pixels that it voids.

    Parameters
    ----------
    recipe, first_index, flux, ivar, and_mask, z
        As in `normalize`.
    margin : int
        Pixels to add on both sides of the grid.

    Returns
    -------
    flux, ivar : ndarray, shape (n, n_pixels + 2 * margin)
        Both are 0 where there is no information.
    flags : ndarray of int64, shape (n,)
        Bit REDSHIFT_UNKNOWN of `NORMALIZE_FLAGS`.
    """
    good = np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0.0)
    good &= (and_mask.astype(np.int64) & mask_of(recipe.mask_set)) == 0
    observed = grid.grid_wavelength(first_index, flux.shape[1])
    for name in recipe.excluded:
        good[:, find_pixels(REGIONS[name], observed, REGION_MARGIN)] = False
    flux, ivar = np.where(good, flux, 0.0), np.where(good, ivar, 0.0)
    offset, n_pixels = recipe.first_index - margin - first_index, recipe.n_pixels + 2 * margin
    if not recipe.rest_frame:
        flux, ivar = (grid.take_window(values, offset, n_pixels) for values in (flux, ivar))
        return flux, ivar, np.zeros(flux.shape[0], dtype=np.int64)
    known = np.isfinite(z) & (np.abs(np.where(np.isfinite(z), z, 0.0)) <= MAX_REDSHIFT)
    pixels = grid.redshift_pixels(np.where(known, z, 0.0))
    flux, ivar = grid.shift(flux, ivar, offset, n_pixels, pixels)
    return flux, ivar, np.where(known, 0, 1 << 0).astype(np.int64)


def continuum_steps(
    recipe: Recipe,
    first_index: int,
    flux: ArrayLike,
    ivar: ArrayLike,
    and_mask: ArrayLike,
    z: ArrayLike,
) -> tuple[FloatArray, FloatArray]:
    """Return the pseudo-continuum after each fit, the last as in `normalize`.

    Parameters
    ----------
    recipe, first_index, flux, ivar, and_mask, z
        As in `normalize`.

    Returns
    -------
    flux : ndarray, shape (n, n_pixels) [unit of the input flux]
        On the pixels of the recipe; NaN where there is no information.
    steps : ndarray, shape (n_steps, n, n_pixels) [unit of the input flux]
        The plain polynomials, then each weighted fit; or the one running Gaussian. NaN where there
        is none.

    Raises
    ------
    ValueError
        As `normalize`.
    """
    margin = _margin(recipe)
    aligned, weight, _ = align(recipe, first_index, *_checked(flux, ivar, and_mask, z), margin)
    last = polynomial.N_REFITS if recipe.continuum == "polynomial" else 0
    steps = [_continuum(recipe, aligned, weight, margin, refits) for refits in range(last + 1)]
    inner = slice(margin, margin + recipe.n_pixels)
    shown = np.where(weight > 0.0, aligned, np.nan)
    return shown[:, inner], np.stack([step[:, inner] for step in steps])


def _margin(recipe: Recipe) -> int:
    """Return the number of pixels beyond each end of the grid that the running Gaussian needs."""
    if recipe.continuum == "polynomial":
        return 0
    reach = running_gaussian.REACH * recipe.length / recipe.wavelength[0] / np.log(10.0)
    return int(np.ceil(reach / grid.LOGLAM_STEP))


def _continuum(
    recipe: Recipe,
    flux: FloatArray,
    ivar: FloatArray,
    margin: int,
    refits: int = polynomial.N_REFITS,
) -> FloatArray:
    """Return the pseudo-continuum of aligned spectra; NaN where it cannot be fitted."""
    wavelength = grid.grid_wavelength(recipe.first_index - margin, recipe.n_pixels + 2 * margin)
    if recipe.continuum == "gaussian":
        return running_gaussian.smooth_gaussian(flux, ivar, wavelength, recipe.length)
    arms = polynomial.make_arms(wavelength, recipe.split)
    return polynomial.fit_continuum(flux, ivar > 0.0, arms, refits)[0]


def divide(
    recipe: Recipe,
    flux: FloatArray,
    ivar: FloatArray,
    continuum: FloatArray,
    flags: NDArray[np.int64],
) -> Normalized:
    """Return spectra divided by their continuum, with flags where that is not possible.

    Parameters
    ----------
    recipe : Recipe
        Recipe of the pixels.
    flux, ivar : ndarray, shape (n, n_pixels)
        From `align`.
    continuum : ndarray, shape (n, n_pixels) [unit of the flux]
        NaN where there is none.
    flags : ndarray of int64, shape (n,)
        From `align`.

    Returns
    -------
    Normalized
    """
    good = ivar > 0.0
    count = np.maximum(good.sum(axis=1), 1)
    level = np.sum(np.abs(flux), axis=1) / count  # bad pixels hold zero
    usable = np.isfinite(continuum) & (continuum > MIN_CONTINUUM * level[:, None])
    not_positive = np.any(good & ~usable & np.isfinite(continuum), axis=1)
    usable &= continuum > 0.0
    continuum = np.where(usable, continuum, 1.0)
    good &= usable
    fraction = good.mean(axis=1)
    middle = int(np.searchsorted(recipe.wavelength, recipe.split))
    halves = np.stack([good[:, :middle].mean(axis=1), good[:, middle:].mean(axis=1)])
    for bit, hit in (
        (1, not_positive),
        (2, fraction < FEW_PIXELS),
        (3, halves.min(axis=0) < ARM_FRACTION),
        (4, ~good.any(axis=1)),
    ):
        flags = flags | (hit.astype(np.int64) << bit)
    return Normalized(
        flux=np.where(good, flux / continuum, 1.0).astype(np.float32),
        ivar=np.where(good, ivar * continuum**2, 0.0).astype(np.float32),
        continuum=continuum.astype(np.float32),
        flags=flags,
        good_fraction=fraction.astype(np.float32),
    )
