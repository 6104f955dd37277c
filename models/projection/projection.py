"""Ivar-weighted projection of spectra on a basis of spectral components.

The model of a spectrum is x = m + V z + noise, with prior z ~ N(0, L) and per pixel the variance
1 / ivar + s^2, s^2 being the variance that the basis leaves unexplained. The posterior mean
(probabilistic PCA, Tipping & Bishop 1999, with known noise of each pixel) is

    z = (V^T W V + L^-1)^-1 V^T W (x - m),   W = 1 / (1 / ivar + s^2),  W = 0 for bad pixels,

so masked pixels need no filling and noisy ones count less. The basis starts as the principal
components of the training spectra and is refined by ivar-weighted factorisation (HMF; Tsalmantza &
Hogg 2012): pixel by pixel, the weighted fit of the spectra by the scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.core.arrays import Float32Array, FloatArray
from models.projection.pixel_weights import MAX_DEVIATION, aligned_zeros, weigh_deviations
from models.projection.posterior import posterior, prepare, solve_pixels, triangle

REFINEMENTS = 2  # rounds of factorisation
FIRST_SCATTER = 0.02  # s before any residual is known, in units of the continuum
MIN_SCATTER = 1e-3
MIN_PIXEL_ROWS = 10  # a pixel that is good in fewer training spectra is not used
BLOCK = 128  # spectra or pixels per call: one compiled shape, which the cache holds


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of n spectra.

    Parameters
    ----------
    values : ndarray of float64, shape (n, c)
        Posterior means.
    noise : ndarray of float64, shape (n, c)
        Standard deviation of the means under the noise of the spectrum.
    chi2 : ndarray of float64, shape (n,)
        Reduced chi-square of the reconstruction, with the variance 1 / ivar + s^2.
    """

    values: FloatArray
    noise: FloatArray
    chi2: FloatArray


@dataclass(frozen=True, eq=False)
class Projection:
    """A basis, with the mean, prior and scatter that a projection on it needs.

    Parameters
    ----------
    mean : ndarray of float32, shape (p,)
        Mean spectrum.
    basis : ndarray of float32, shape (p, c)
        Orthonormal components.
    prior : ndarray of float64, shape (c,)
        Variance of each score over the training spectra.
    scatter : ndarray of float32, shape (p,)
        Unexplained variance s^2 of each pixel; infinite for pixels that are not used.
    """

    mean: Float32Array
    basis: Float32Array
    prior: FloatArray
    scatter: Float32Array

    def scores(self, flux: Float32Array, ivar: Float32Array) -> Scores:
        """Return the scores of spectra.

        Parameters
        ----------
        flux, ivar : ndarray of float32, shape (n, p)
            Normalized spectra; ivar 0 for bad pixels.
        """
        (n, p), c = flux.shape, self.prior.size
        values, noise, chi2 = np.zeros((n, c)), np.zeros((n, c)), np.zeros(n)
        size = np.sqrt(self.prior)
        basis = prepare(self.basis, self.prior.astype(np.float32), self.scatter)
        weights = [aligned_zeros(BLOCK, basis.rows.shape[1]) for _ in range(2)]
        for start in range(0, n, BLOCK):
            part = slice(start, min(start + BLOCK, n))
            count = part.stop - start
            outputs = [a[:count, :p] for a in weights]
            spectra = (flux[part], ivar[part])
            total, n_good = weigh_deviations(self.mean, self.scatter, *spectra, *outputs)
            # Rows after the last spectrum hold spectra of the block before, which are dropped.
            found = [np.asarray(a)[:count] for a in posterior(basis, *weights)]
            values[part], noise[part] = found[0] * size, found[1] * size
            chi2[part] = np.maximum(total - found[2], 0.0) / np.maximum(n_good, 1)
        return Scores(values, noise, chi2)


def fit_projection(
    flux: Float32Array, ivar: Float32Array, components: int, seed: int
) -> Projection:
    """Return the projection fitted to training spectra.

    Parameters
    ----------
    flux, ivar : ndarray of float32, shape (n, p)
        Training spectra.
    components : int
        Number of components, reduced where there are fewer spectra or pixels than that.
    seed : int
        Of the random start of the subspace iteration.

    Raises
    ------
    ValueError
        If hardly any pixel is good.
    """
    mean, used = mean_spectrum(flux, ivar)
    components = min(components, flux.shape[0] - 1, int(used.sum()) - 1)
    scatter = np.where(used, np.float32(FIRST_SCATTER**2), np.float32(np.inf))
    weight = np.where(used, pixel_weight(ivar, FIRST_SCATTER**2), np.float32(0.0))
    basis, prior = _principal(clip_deviation(flux, mean, weight), components, seed)
    fit = Projection(mean, basis, prior, scatter)
    for _ in range(REFINEMENTS):
        fit = _refine(fit, flux, ivar)
    return fit


def mean_spectrum(flux: Float32Array, ivar: Float32Array) -> tuple[Float32Array, NDArray[np.bool_]]:
    """Return the weighted mean of training spectra, and the pixels good in enough of them.

    Parameters
    ----------
    flux, ivar : ndarray of float32, shape (n, p)
        Training spectra.

    Returns
    -------
    mean : ndarray of float32, shape (p,)
        1 where a pixel is not used.
    used : ndarray of bool, shape (p,)

    Raises
    ------
    ValueError
        If hardly any pixel is good.
    """
    used = (ivar > 0.0).sum(axis=0) >= min(MIN_PIXEL_ROWS, flux.shape[0])
    if used.sum() < 2:
        raise ValueError(
            "The training spectra have hardly any good pixels in common, so no spectral components "
            "can be fitted. Check the masks and the wavelength range of the spectra."
        )
    weight = np.where(used, pixel_weight(ivar, FIRST_SCATTER**2), np.float32(0.0))
    total = np.maximum(weight.sum(axis=0), np.float32(1e-30))
    mean = np.where(used, (weight * np.where(ivar > 0.0, flux, 0.0)).sum(axis=0) / total, 1.0)
    return mean.astype(np.float32), used


def pixel_weight(ivar: Float32Array, scatter: float | NDArray[Any]) -> Float32Array:
    """Return the weights 1 / (1 / ivar + s^2); 0 for bad pixels.

    Parameters
    ----------
    ivar : ndarray of float32, shape (n, p)
        Inverse variances; 0 for bad pixels.
    scatter : float or ndarray, shape (p,)
        Finite variances s^2.
    """
    return ivar / (1.0 + ivar * np.asarray(scatter, np.float32))


def _principal(
    deviation: Float32Array, components: int, seed: int
) -> tuple[Float32Array, FloatArray]:
    """Return leading principal components and variances, by randomized subspace iteration.

    Source: Halko, Martinsson & Tropp (2011, SIAM Review 53, 217), algorithm 4.4.
    """
    rng = np.random.default_rng(seed)
    width = min(components + 16, *deviation.shape)
    space = deviation.T @ rng.standard_normal((deviation.shape[0], width)).astype(np.float32)
    for _ in range(4):
        space = deviation.T @ (deviation @ _orthonormalise(space)[0])
    space = _orthonormalise(space)[0]
    _, size, rotation = np.linalg.svd(deviation @ space, full_matrices=False)
    prior = size[:components].astype(np.float64) ** 2 / deviation.shape[0]
    return space @ rotation[:components].T, np.maximum(prior, 1e-6 * prior[0] + 1e-12)


def _orthonormalise(columns: NDArray[Any]) -> tuple[NDArray[Any], FloatArray]:
    """Return orthonormal columns q and a matrix r with columns = q r.

    For many rows and few columns, several times as fast as a QR decomposition.
    """
    wide = columns.astype(np.float64)
    eigenvalues, vectors = np.linalg.eigh(wide.T @ wide)
    size = np.sqrt(np.maximum(eigenvalues, 1e-14 * max(eigenvalues[-1], 1e-30)))
    return (wide @ (vectors / size)).astype(columns.dtype), (vectors * size).T


def _refine(old: Projection, flux: Float32Array, ivar: Float32Array) -> Projection:
    """Return the projection after a round of factorisation: new mean, basis, scatter, prior."""
    used, zero = np.isfinite(old.scatter), np.float32(0.0)
    weight = pixel_weight(np.where(used, ivar, zero), np.where(used, old.scatter, zero))
    deviation = clip_deviation(flux, old.mean, weight)
    scores = old.scores(flux, ivar).values.astype(np.float32)
    design = np.concatenate([np.ones((scores.shape[0], 1), np.float32), scores], axis=1)
    # A weak ridge, worth one spectrum of typical weight, bounds pixels that are rarely good.
    typical = float(weight[weight > 0.0].mean()) if (weight > 0.0).any() else 1.0
    size = np.concatenate([[1.0], np.sqrt(old.prior)])  # of the columns; scaled, they all count
    ridge = np.concatenate([[1e-6], 1.0 / old.prior]) * old.prior.min() / size**2
    p, d = flux.shape[1], design.shape[1]
    solution = np.zeros((p, d))
    scaled = (design / size).astype(np.float32)
    for start in range(0, p, BLOCK):
        part = slice(start, min(start + BLOCK, p))
        columns = [_pad_rows(a[:, part].T) for a in (weight / np.float32(typical), deviation)]
        found = solve_pixels(*columns, scaled, ridge.astype(np.float32))
        solution[part] = np.asarray(found)[: part.stop - start] / size
    solution[~used] = 0.0
    residual = deviation - design @ solution.T.astype(np.float32)
    # Scatter is the mean excess of squared residuals over the noise, weighted by its inverse
    # variance; clipped, so that outliers do not void a pixel.
    good = weight > 0.0
    noise = np.divide(1.0, ivar, out=np.zeros_like(ivar), where=good)
    excess = np.where(good, np.clip(residual**2, 0.0, 9.0 * (noise + FIRST_SCATTER**2)) - noise, 0)
    precision = np.where(good, 1.0 / (noise + np.float32(FIRST_SCATTER**2)) ** 2, 0.0)
    scatter = (precision * excess).sum(axis=0) / np.maximum(precision.sum(axis=0), 1e-30)
    # Only the product of basis and scores is determined: rotate both to principal axes.
    q, r = _orthonormalise(solution[:, 1:])
    _, size, rotation = np.linalg.svd(scores.astype(np.float64) @ r.T, full_matrices=False)
    prior = size**2 / scores.shape[0]
    return Projection(
        mean=(old.mean + solution[:, 0]).astype(np.float32),
        basis=(q @ rotation.T).astype(np.float32),
        prior=np.maximum(prior, 1e-6 * prior[0] + 1e-12),
        scatter=np.where(used, np.maximum(scatter, MIN_SCATTER**2), np.inf).astype(np.float32),
    )


def clip_deviation(flux: Float32Array, mean: Float32Array, weight: NDArray[Any]) -> Float32Array:
    """Return deviations from the mean spectrum, clipped at +-`MAX_DEVIATION`.

    Parameters
    ----------
    flux : ndarray of float32, shape (n, p)
        Normalized spectra.
    mean : ndarray of float32, shape (p,)
        Mean spectrum.
    weight : ndarray, shape (n, p)
        Deviations are 0 where it is 0 or False.
    """
    return np.where(weight > 0.0, np.clip(flux - mean, -MAX_DEVIATION, MAX_DEVIATION), 0.0).astype(
        np.float32
    )


def _pad_rows(rows: Float32Array) -> Float32Array:
    """Return rows padded with zeros to a block, one compiled shape; a whole block is not copied."""
    if rows.shape[0] == BLOCK:
        return np.ascontiguousarray(rows, np.float32)
    padded = np.zeros((BLOCK, rows.shape[1]), np.float32)
    padded[: rows.shape[0]] = rows
    return padded


def pair_products(columns: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the products of all pairs of columns, and the index of each entry of a matrix in them.

    One matrix product with these gives the normal matrices of many spectra (or pixels) at once.
    """
    i, j, index = triangle(columns.shape[1])
    return columns[:, i] * columns[:, j], index
