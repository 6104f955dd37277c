"""Pseudo-continuum of the recipe `seed-2018`: asymmetrically weighted polynomials, batched.

Each spectrum is split into two arms; in each arm a polynomial of degree 7 is fitted once with equal
weights and four more times with the residuals below the last fit multiplied by 0.15. The weight
multiplies the residual, as ``np.polyfit(w=)`` does, so it enters chi-square squared (0.0225).

The polynomials are written in a Chebyshev basis on [-1, 1], where the normal equations are well
conditioned (the basis has condition 3.5, against 1e8 and more for powers of the wavelength; the
function space is the same). Because T_i T_j = (T_{i+j} + T_{|i-j|}) / 2, the 8 x 8 normal matrix
needs only 15 weighted sums per spectrum, which one matrix product gives for many spectra at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

DEGREE = 7
BELOW_WEIGHT = 0.15  # factor on residuals below the fit
N_REFITS = 4  # weighted fits after the first one
MIN_FRACTION = 0.25  # of an arm's pixels must be good: a clump of them does not hold a polynomial
BLOCK = 32  # spectra solved together: their arrays stay in the cache

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Arm:
    """One stretch of pixels with its polynomial basis.

    Parameters
    ----------
    pixels : slice
        The pixels of the arm.
    basis : ndarray, shape (m, 2 * DEGREE + 1)
        Chebyshev polynomials T_0, T_1, ... at the wavelengths of the arm, scaled to [-1, 1]. The
        first DEGREE + 1 are the basis of the fit, the others make its normal equations.
    """

    pixels: slice
    basis: FloatArray


def make_arms(wavelength: FloatArray, split: float) -> tuple[Arm, Arm]:
    """Return the blue and the red arm of a wavelength axis.

    Parameters
    ----------
    wavelength : ndarray, shape (p,) [Angstrom]
        Increasing vacuum wavelengths.
    split : float [Angstrom]
        First wavelength of the red arm.
    """
    middle = int(np.searchsorted(wavelength, split))
    return _make_arm(wavelength, 0, middle), _make_arm(wavelength, middle, wavelength.size)


def _make_arm(wavelength: FloatArray, start: int, stop: int) -> Arm:
    """Return one stretch of wavelengths with its basis on [-1, 1]."""
    x = wavelength[start:stop]
    scaled = (2.0 * x - x[0] - x[-1]) / (x[-1] - x[0])
    return Arm(slice(start, stop), chebyshev.chebvander(scaled, 2 * DEGREE))


def fit_asymmetric(
    flux: FloatArray, good: BoolArray, basis: FloatArray, min_pixels: int, refits: int = N_REFITS
) -> tuple[FloatArray, BoolArray]:
    """Return the coefficients of one arm of many spectra: one plain fit, then weighted ones.

    Parameters
    ----------
    flux : ndarray, shape (n, m)
        Flux in any unit; values where `good` is false are not used.
    good : ndarray of bool, shape (n, m)
        Pixels that carry information.
    basis : ndarray, shape (m, 2 * DEGREE + 1)
        Basis at these pixels, as in `Arm`.
    min_pixels : int
        Least number of good pixels for a fit.
    refits : int
        Number of weighted fits.

    Returns
    -------
    coefficients : ndarray, shape (n, DEGREE + 1)
        Zero where there was no fit.
    fitted : ndarray of bool, shape (n,)
        False where fewer than `min_pixels` pixels are good.
    """
    fitted = good.sum(axis=1) >= max(min_pixels, DEGREE + 1)
    coefficients = np.zeros((flux.shape[0], DEGREE + 1))
    for start in range(0, flux.shape[0], BLOCK):
        block = slice(start, start + BLOCK)
        some = slice(None) if fitted[block].all() else fitted[block]  # a slice copies nothing
        if fitted[block].any():
            coefficients[block][some] = _fit_block(
                flux[block][some], good[block][some], basis, refits
            )
    return coefficients, fitted


def _fit_block(flux: FloatArray, good: BoolArray, basis: FloatArray, refits: int) -> FloatArray:
    """Return the coefficients of spectra that all have enough good pixels."""
    ones = good.astype(np.float64)
    flux = np.where(good, flux, 0.0)
    scratch = np.empty_like(flux)
    coefficients = _solve(flux, ones, basis, scratch)
    transposed = np.ascontiguousarray(basis[:, : DEGREE + 1].T)
    # By sign and in place: random branches and new pages would take most of the time.
    middle, half = 0.5 * (1.0 + BELOW_WEIGHT**2) * ones, 0.5 * (1.0 - BELOW_WEIGHT**2) * ones
    weight = np.empty_like(flux)
    for _ in range(refits):
        np.matmul(coefficients, transposed, out=weight)
        np.subtract(flux, weight, out=weight)
        np.copysign(half, weight, out=weight)
        weight += middle
        coefficients = _solve(flux, weight, basis, scratch)
    return coefficients


def _solve(
    flux: FloatArray, weight: FloatArray, basis: FloatArray, scratch: FloatArray
) -> FloatArray:
    """Return the solutions of the normal equations; `weight` is the weight in chi-square."""
    moments = weight @ basis
    i, j = np.indices((DEGREE + 1, DEGREE + 1))
    gram = 0.5 * (moments[:, i + j] + moments[:, np.abs(i - j)])
    # Keeps a singular set of pixels solvable; far below the precision of a well-posed fit.
    gram[:, range(DEGREE + 1), range(DEGREE + 1)] += 1e-13 * moments[:, :1]
    right = np.multiply(weight, flux, out=scratch) @ basis[:, : DEGREE + 1]
    return np.linalg.solve(gram, right[..., None])[..., 0].astype(np.float64, copy=False)


def fit_continuum(
    flux: FloatArray, good: BoolArray, arms: tuple[Arm, ...], refits: int = N_REFITS
) -> tuple[FloatArray, BoolArray]:
    """Return the pseudo-continuum of both arms.

    Parameters
    ----------
    flux : ndarray, shape (n, p)
        Flux in any unit.
    good : ndarray of bool, shape (n, p)
        Pixels that carry information; bad ones have weight zero.
    arms : tuple of Arm
        From `make_arms`.
    refits : int
        As in `fit_asymmetric`.

    Returns
    -------
    continuum : ndarray, shape (n, p)
        In the unit of the flux; NaN in an arm that could not be fitted.
    fitted : ndarray of bool, shape (n, n_arms)
        True for arms that were fitted.
    """
    continuum = np.empty(flux.shape)
    fitted = np.zeros((flux.shape[0], len(arms)), dtype=bool)
    for j, arm in enumerate(arms):
        least = int(MIN_FRACTION * arm.basis.shape[0])
        coefficients, ok = fit_asymmetric(
            flux[:, arm.pixels], good[:, arm.pixels], arm.basis, least, refits
        )
        fitted[:, j] = ok
        continuum[:, arm.pixels] = coefficients @ arm.basis[:, : DEGREE + 1].T
        continuum[~ok, arm.pixels] = np.nan
    return continuum, fitted
