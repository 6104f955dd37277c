"""Spectra as few numbers: ivar-weighted scores on a basis of spectral components.

The model of a spectrum is x = m + V z + noise, with prior z ~ N(0, L) and per pixel the variance
1 / ivar + s^2, s^2 being what the basis leaves unexplained. The posterior mean (probabilistic PCA,
Tipping & Bishop 1999, with known noise of each pixel) is

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

from models.projection.pixel_weights import MAX_DEVIATION, aligned, weigh
from models.projection.posterior import posterior, prepare, solve_pixels, triangle

REFINEMENTS = 2  # rounds of factorisation
FIRST_SCATTER = 0.02  # s before any residual is known, in units of the continuum
MIN_SCATTER = 1e-3
MIN_PIXEL_ROWS = 10  # a pixel that is good in fewer training spectra is not used
BLOCK = 128  # spectra or pixels per call: one compiled shape, which the cache holds

Float = NDArray[np.float32]
FloatArray = NDArray[np.float64]


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
    """A basis with what is needed to project on it.

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

    mean: Float
    basis: Float
    prior: FloatArray
    scatter: Float

    def scores(self, flux: Float, ivar: Float) -> Scores:
        """Project spectra.

        Parameters
        ----------
        flux, ivar : ndarray of float32, shape (n, p)
            Normalized spectra; ivar 0 for bad pixels.
        """
        (n, p), c = flux.shape, self.prior.size
        values, noise, chi2 = np.zeros((n, c)), np.zeros((n, c)), np.zeros(n)
        size = np.sqrt(self.prior)
        basis = prepare(self.basis, self.prior.astype(np.float32), self.scatter)
        weights = [aligned(BLOCK, basis.rows.shape[1]) for _ in range(2)]
        for start in range(0, n, BLOCK):
            part = slice(start, min(start + BLOCK, n))
            count = part.stop - start
            outputs = [a[:count, :p] for a in weights]
            whole, n_good = weigh(self.mean, self.scatter, flux[part], ivar[part], *outputs)
            # Rows after the last spectrum hold older ones, of which nothing is kept.
            found = [np.asarray(a)[:count] for a in posterior(basis, *weights)]
            values[part], noise[part] = found[0] * size, found[1] * size
            chi2[part] = np.maximum(whole - found[2], 0.0) / np.maximum(n_good, 1)
        return Scores(values, noise, chi2)


def fit_projection(flux: Float, ivar: Float, components: int, seed: int) -> Projection:
    """Fit mean, basis, prior and scatter on training spectra.

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


def mean_spectrum(flux: Float, ivar: Float) -> tuple[Float, NDArray[np.bool_]]:
    """Weighted mean of training spectra, and the pixels that are good in enough of them.

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


def pixel_weight(ivar: Float, scatter: float | NDArray[Any]) -> Float:
    """1 / (1 / ivar + s^2), from the finite variances s^2; 0 for bad pixels."""
    return ivar / (1.0 + ivar * np.asarray(scatter, np.float32))


def _principal(deviation: Float, components: int, seed: int) -> tuple[Float, FloatArray]:
    """Return leading principal components by subspace iteration (Halko et al. 2011)."""
    rng = np.random.default_rng(seed)
    width = min(components + 16, *deviation.shape)
    space = deviation.T @ rng.standard_normal((deviation.shape[0], width)).astype(np.float32)
    for _ in range(4):
        space = deviation.T @ (deviation @ _orthogonal(space)[0])
    space = _orthogonal(space)[0]
    _, size, rotation = np.linalg.svd(deviation @ space, full_matrices=False)
    prior = size[:components].astype(np.float64) ** 2 / deviation.shape[0]
    return space @ rotation[:components].T, np.maximum(prior, 1e-6 * prior[0] + 1e-12)


def _orthogonal(columns: NDArray[Any]) -> tuple[NDArray[Any], FloatArray]:
    """Return orthonormal columns q and a matrix r with columns = q r.

    For many rows and few columns, several times as fast as a QR decomposition.
    """
    wide = columns.astype(np.float64)
    eigenvalues, vectors = np.linalg.eigh(wide.T @ wide)
    size = np.sqrt(np.maximum(eigenvalues, 1e-14 * max(eigenvalues[-1], 1e-30)))
    return (wide @ (vectors / size)).astype(columns.dtype), (vectors * size).T


def _refine(old: Projection, flux: Float, ivar: Float) -> Projection:
    """One round of weighted factorisation: new mean, basis and scatter from the scores."""
    used, zero = np.isfinite(old.scatter), np.float32(0.0)
    weight = pixel_weight(np.where(used, ivar, zero), np.where(used, old.scatter, zero))
    deviation = clip_deviation(flux, old.mean, weight)
    scores = old.scores(flux, ivar).values.astype(np.float32)
    design = np.concatenate([np.ones((scores.shape[0], 1), np.float32), scores], axis=1)
    # A weak pull to zero, worth one spectrum of typical weight, keeps rarely seen pixels tame.
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
    # Excess of the squared residuals over the noise; clipped, so outliers do not void a pixel.
    good = weight > 0.0
    noise = np.divide(1.0, ivar, out=np.zeros_like(ivar), where=good)
    excess = np.where(good, np.clip(residual**2, 0.0, 9.0 * (noise + FIRST_SCATTER**2)) - noise, 0)
    trust = np.where(good, 1.0 / (noise + np.float32(FIRST_SCATTER**2)) ** 2, 0.0)
    scatter = (trust * excess).sum(axis=0) / np.maximum(trust.sum(axis=0), 1e-30)
    # The basis times the scores is what counts: rotate both back to principal axes.
    q, r = _orthogonal(solution[:, 1:])
    _, size, rotation = np.linalg.svd(scores.astype(np.float64) @ r.T, full_matrices=False)
    prior = size**2 / scores.shape[0]
    return Projection(
        mean=(old.mean + solution[:, 0]).astype(np.float32),
        basis=(q @ rotation.T).astype(np.float32),
        prior=np.maximum(prior, 1e-6 * prior[0] + 1e-12),
        scatter=np.where(used, np.maximum(scatter, MIN_SCATTER**2), np.inf).astype(np.float32),
    )


def clip_deviation(flux: Float, mean: Float, weight: NDArray[Any]) -> Float:
    """Return the clipped deviation from the mean spectrum; 0 at pixels without weight."""
    return np.where(weight > 0.0, np.clip(flux - mean, -MAX_DEVIATION, MAX_DEVIATION), 0.0).astype(
        np.float32
    )


def _pad_rows(rows: Float) -> Float:
    """Return rows of zeros up to a whole block: one compiled shape. A whole block is not copied."""
    if rows.shape[0] == BLOCK:
        return np.ascontiguousarray(rows, np.float32)
    padded = np.zeros((BLOCK, rows.shape[1]), np.float32)
    padded[: rows.shape[0]] = rows
    return padded


def pair_products(columns: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Products of all pairs of columns, and where each entry of a symmetric matrix finds its own.

    One matrix product with these gives the normal matrices of many spectra (or pixels) at once.
    """
    i, j, index = triangle(columns.shape[1])
    return columns[:, i] * columns[:, j], index
