"""Continuum pixels by label sensitivity, and the second normalization round of `seed-2018`.

A network that predicts spectra from labels tells how much each pixel depends on the labels: by the
range between the 16th and the 84th percentile of the pixel over a grid of labels. The least
dependent pixel of each of 49 windows, where below 0.02, is a continuum pixel, and so is the last
pixel of the spectrum. The notebook wrote this and never applied it. Here the grid spans the middle
68% of the training labels instead of a fixed box, which would miss other samples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.core.arrays import Float32Array, FloatArray
from models.networks.architecture import Architecture, Params, apply_jit
from models.spectra import polynomial
from models.spectra.grid import grid_wavelength

N_WINDOWS = 49  # of 73 pixels on the notebook's grid
THRESHOLD = 0.02  # of the continuum
MIN_PER_ARM = 12  # a polynomial of degree 7 needs more than its 8 coefficients
MIN_GOOD = 10  # good continuum pixels that an arm of one spectrum needs
MAX_RATIO = 2.0  # largest plausible factor between the two rounds
GRID_SIZE = 1000  # label combinations, at most
SPLIT = 6507.0  # first wavelength of the red arm [Angstrom]


def label_grid(labels: FloatArray) -> FloatArray:
    """Return a regular grid over the middle 68% of each label.

    Parameters
    ----------
    labels : ndarray, shape (n, k) [units of the labels]
        Training labels, NaN where missing.

    Returns
    -------
    ndarray, shape (g, k)
    """
    k = labels.shape[1]
    per_axis = max(2, int(GRID_SIZE ** (1.0 / k) + 1e-9))
    low, high = np.nanpercentile(labels, [16.0, 84.0], axis=0)
    axes = [np.linspace(low[j], high[j], per_axis) for j in range(k)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, k)


def label_sensitivity(arch: Architecture, params: Params, scaled_grid: FloatArray) -> FloatArray:
    """Return the range of each predicted pixel over a grid of scaled labels.

    The range is the 84th minus the 16th percentile.

    Parameters
    ----------
    arch, params
        The network from labels to pixels.
    scaled_grid : ndarray, shape (g, k)
        Scaled labels.

    Returns
    -------
    ndarray, shape (p,), in units of the continuum
    """
    spectra = np.asarray(apply_jit(arch, params, scaled_grid.astype(np.float32)))
    low, high = np.percentile(spectra, [16.0, 84.0], axis=0)
    return np.asarray(high - low, np.float64)


def choose_pixels(sensitivity: FloatArray, first_index: int) -> NDArray[np.bool_]:
    """Return the continuum pixels.

    In an arm with fewer than `MIN_PER_ARM` windows below the threshold, the least sensitive pixel
    of each of that many equal stretches is taken too: the fit would not hold otherwise.

    Parameters
    ----------
    sensitivity : ndarray, shape (p,)
        From `label_sensitivity`.
    first_index : int
        Grid index of pixel 0.

    Returns
    -------
    ndarray of bool, shape (p,)
    """
    best = _least_sensitive(sensitivity, 0, sensitivity.size, N_WINDOWS)
    chosen = np.zeros(sensitivity.size, dtype=bool)
    chosen[best[sensitivity[best] < THRESHOLD]] = True
    chosen[-1] = True
    for arm in polynomial.make_arms(grid_wavelength(first_index, sensitivity.size), SPLIT):
        if chosen[arm.pixels].sum() < MIN_PER_ARM:
            start, stop = arm.pixels.start, arm.pixels.stop
            chosen[_least_sensitive(sensitivity, start, stop, MIN_PER_ARM)] = True
    return chosen


def _least_sensitive(
    sensitivity: FloatArray, start: int, stop: int, n_windows: int
) -> NDArray[np.int64]:
    """Return the least sensitive pixel of each of some equal windows of ``start .. stop - 1``."""
    windows = np.array_split(np.arange(start, stop), min(n_windows, stop - start))
    return np.array([window[np.argmin(sensitivity[window])] for window in windows])


def refit(
    flux: Float32Array,
    ivar: Float32Array,
    continuum: Float32Array,
    pixels: NDArray[np.bool_],
    first_index: int,
) -> Float32Array:
    """Return flux normalized by polynomials fitted at the continuum pixels only.

    An arm whose second fit is impossible (too few good continuum pixels) or implausible (farther
    than `MAX_RATIO` from the first) keeps the first.

    Parameters
    ----------
    flux, ivar, continuum : ndarray, shape (n, p)
        First round; the un-normalized flux is ``flux * continuum``.
    pixels : ndarray of bool, shape (p,)
        From `choose_pixels`.
    first_index : int
        Grid index of pixel 0.

    Returns
    -------
    ndarray of float32, shape (n, p)
        Flux of the second round; 1 where `ivar` is 0.
    """
    flux_2 = np.array(flux, dtype=np.float32)
    for arm in polynomial.make_arms(grid_wavelength(first_index, flux.shape[1]), SPLIT):
        chosen = np.flatnonzero(pixels[arm.pixels]) + arm.pixels.start
        raw = flux[:, chosen].astype(np.float64) * continuum[:, chosen]
        basis = arm.basis[chosen - arm.pixels.start]
        good = ivar[:, chosen] > 0.0
        coefficients, fitted = polynomial.fit_asymmetric(raw, good, basis, MIN_GOOD)
        second = coefficients @ arm.basis[:, : polynomial.DEGREE + 1].T
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = continuum[:, arm.pixels] / second
        plausible = np.all((ratio > 1.0 / MAX_RATIO) & (ratio < MAX_RATIO), axis=1) & fitted
        flux_2[plausible, arm.pixels] *= ratio[plausible].astype(np.float32)
    return np.where(ivar > 0.0, flux_2, np.float32(1.0))
