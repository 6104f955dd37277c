"""The compiled part of a projection: scores of many spectra, without their exact normal matrices.

With components scaled to unit prior, the scores of a spectrum solve (A^T W A + 1) u = A^T W y. The
matrix alone costs p c^2 / 2 products per spectrum. Here it is made from weights averaged over bins
of `BIN` pixels, and only guides conjugate gradients (Shewchuk 1994, section 12) on the exact
equations, where a step costs 2 p c. They end when the scores are those of the exact matrix to a
hundredth of their noise; the noise itself, taken from the binned matrix, is good to about 1%, and
to 10% for a spectrum with many single pixels masked.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import NDArray

BIN = 8  # pixels whose weights are averaged
GROUP = 16  # bins that one small matrix product sums
TOLERANCE = 0.01  # error of the scores, root of the mean square in units of their noise
MAX_STEPS = 6  # of conjugate gradients; most spectra need 3
USUAL_IVAR = 2500.0  # S/N 50: shapes the weights within a bin
MAX_DEVIATION = 1.0  # of a pixel from the mean spectrum: beyond lie cosmic rays and bad sky
SMALL = 16  # matrices up to this size are inverted element by element
TINY = 1e-30


class Basis(NamedTuple):
    """A projection made ready for `posterior`.

    Shapes: `mean`, `scatter` and `used` (p,), `components` (p, c), scaled to unit prior, their
    transpose `rows` (c, p), `bins` (b, c (c + 1) / 2), the matrices of the bins per unit of weight.
    """

    mean: Any
    scatter: Any
    used: Any
    components: Any
    rows: Any
    bins: Any


@jax.jit
def prepare(mean: jax.Array, basis: jax.Array, prior: jax.Array, scatter: jax.Array) -> Basis:
    """Make the fields of a `models.projection.Projection` ready, all in float32."""
    c = basis.shape[1]
    used = jnp.isfinite(scatter)
    scatter = jnp.where(used, scatter, 0.0)
    components = basis * jnp.sqrt(prior)[None]
    typical = _to_bins(jnp.where(used, 1.0 / (1.0 / USUAL_IVAR + scatter), 0.0))
    parts = _to_bins(components.T).transpose(1, 2, 0)
    matrices = jnp.einsum("bki,bkj->bij", parts * typical[..., None], parts).reshape(-1, c * c)
    i, j, _ = triangle(c)
    per_weight = 1.0 / jnp.maximum(typical.sum(axis=1), TINY)
    bins = matrices[:, i * c + j] * per_weight[:, None]
    return Basis(mean, scatter, used, components, components.T, bins)


@jax.jit
def posterior(basis: Basis, flux: jax.Array, ivar: jax.Array) -> tuple[jax.Array, ...]:
    """Project spectra.

    Parameters
    ----------
    basis : Basis
        From `prepare`.
    flux, ivar : jax.Array of float32, shape (n, p)
        Normalized spectra; ivar 0 for bad pixels.

    Returns
    -------
    scores, noise : jax.Array, shape (n, c)
        Posterior means, and their standard deviations under the noise of the spectrum, in units
        of the prior's.
    chi2 : jax.Array, shape (n,)
        Reduced chi-square of the reconstruction, a difference of larger numbers: good to 0.2%.
    """
    ivar = jnp.where(basis.used[None], ivar, 0.0)
    weight = ivar / (1.0 + ivar * basis.scatter[None])
    deviation = jnp.clip(flux - basis.mean[None], -MAX_DEVIATION, MAX_DEVIATION)
    weighted = jnp.where(weight > 0.0, weight * deviation, 0.0)
    # At bad pixels even the deviation may be no number.
    whole = jnp.sum(jnp.where(weight > 0.0, weighted * deviation, 0.0), axis=1)
    covariance = _covariance(basis, weight)
    right = weighted @ basis.components
    scores, left = _solve(basis, weight, right, covariance)
    # Under noise alone the mean scatters by C G C = C - C C, the prior being 1.
    spread = jnp.einsum("nii->ni", covariance) - jnp.sum(covariance**2, axis=2)
    # What the scores explain of y^T W y: 2 u^T A^T W y - u^T G u, and G u is known from the solver.
    explained = jnp.sum(scores * (right + left + scores), axis=1)
    n_good = jnp.maximum(jnp.sum(weight > 0.0, axis=1), 1)
    chi2 = jnp.maximum(whole - explained, 0.0) / n_good
    return scores, jnp.sqrt(jnp.maximum(spread, 0.0)), chi2


def _covariance(basis: Basis, weight: jax.Array) -> jax.Array:
    """Posterior covariance (n, c, c) from binned weights."""
    n, c = weight.shape[0], basis.components.shape[1]
    groups = jnp.pad(weight, ((0, 0), (0, -weight.shape[1] % (BIN * GROUP))))
    # Sums of neighbours by one product with zeros and ones: several times as fast as a reduction.
    chooser = jnp.repeat(jnp.eye(GROUP, dtype=weight.dtype), BIN, axis=0)
    binned = (groups.reshape(-1, BIN * GROUP) @ chooser).reshape(n, -1)
    matrices = (binned @ basis.bins)[:, triangle(c)[2]]
    return invert_spd(matrices + jnp.eye(c, dtype=weight.dtype)[None])


def _solve(
    basis: Basis, weight: jax.Array, right: jax.Array, guide: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Preconditioned conjugate gradients, all spectra side by side: solution and residual."""
    direction = _times(guide, right)

    def wanting(size: jax.Array) -> jax.Array:
        # With the residual r and the guide C, r^T C r is the squared error in units of the noise.
        return ~(size <= TOLERANCE**2 * right.shape[1])

    def unfinished(loop: Any) -> jax.Array:
        step, size = loop[0], loop[-1]
        return (step < MAX_STEPS) & jnp.any(wanting(size))

    def improve(loop: Any) -> Any:
        step, scores, residual, direction, size = loop
        image = (weight * (direction @ basis.rows)) @ basis.components + direction
        length = size / jnp.maximum(_dot(direction, image), TINY)
        # A finished spectrum stays as it is: its scores must not depend on those beside it.
        length = jnp.where(wanting(size), length, 0.0)
        scores = scores + length * direction
        residual = residual - length * image
        guided = _times(guide, residual)
        smaller = _dot(residual, guided)
        direction = guided + smaller / jnp.maximum(size, TINY) * direction
        return step + 1, scores, residual, direction, smaller

    start = (0, jnp.zeros_like(right), right, direction, _dot(right, direction))
    _, scores, residual, _, _ = lax.while_loop(unfinished, improve, start)
    return scores, residual


def invert_spd(matrices: jax.Array) -> jax.Array:
    """Invert symmetric positive definite matrices (n, c, c) by halves (Schur complements).

    Nearly all work is in products of many small matrices, which is several times as fast as
    calling LAPACK for each.
    """
    c = matrices.shape[-1]
    if c <= SMALL:
        return _eliminate(matrices)
    half = c // 2
    a, b, d = matrices[:, :half, :half], matrices[:, :half, half:], matrices[:, half:, half:]
    first = invert_spd(a)
    shift = b.swapaxes(1, 2) @ first
    last = invert_spd(d - shift @ b)
    corner = last @ shift
    upper = jnp.concatenate([first + shift.swapaxes(1, 2) @ corner, -corner.swapaxes(1, 2)], 2)
    return jnp.concatenate([upper, jnp.concatenate([-corner, last], 2)], 1)


def _eliminate(matrices: jax.Array) -> jax.Array:
    """Gauss-Jordan elimination in place, with the matrices along the last axis."""

    def sweep(k: jax.Array, m: jax.Array) -> jax.Array:
        pivot = 1.0 / m[k, k]
        row, column = m[k] * pivot[None], m[:, k]
        m = m - column[:, None] * row[None]
        return m.at[k].set(row).at[:, k].set(-column * pivot[None]).at[k, k].set(pivot)

    swept = lax.fori_loop(0, matrices.shape[-1], sweep, jnp.moveaxis(matrices, 0, -1))
    return jnp.moveaxis(swept, -1, 0)


@jax.jit
def solve_pixels(
    weight: jax.Array, target: jax.Array, design: jax.Array, ridge: jax.Array
) -> jax.Array:
    """Weighted linear fit of each of m pixels over the spectra.

    Parameters
    ----------
    weight, target : jax.Array, shape (m, n)
        Weights and values of a pixel in each spectrum.
    design : jax.Array, shape (n, d)
        The same for all pixels.
    ridge : jax.Array, shape (d,)
        Added to the diagonal of the normal matrices.

    Returns
    -------
    jax.Array, shape (m, d)
    """
    i, j, index = triangle(design.shape[1])
    matrices = (weight @ (design[:, i] * design[:, j]))[:, index] + jnp.diag(ridge)[None]
    right = (weight * target) @ design
    inverse = invert_spd(matrices)
    solution = _times(inverse, right)
    # One correction, as an inverse in float32 has few digits where scores hardly differ.
    return solution + _times(inverse, right - _times(matrices, solution))


def triangle(d: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the upper triangle, and where each entry of (d, d) finds its own."""
    i, j = np.triu_indices(d)
    index = np.zeros((d, d), dtype=np.int64)
    index[i, j] = index[j, i] = np.arange(i.size)
    return i, j, index


def _to_bins(values: jax.Array) -> jax.Array:
    """Cut the last axis into bins, padded with zeros to whole groups of them."""
    padding = [(0, 0)] * (values.ndim - 1) + [(0, -values.shape[-1] % (BIN * GROUP))]
    return jnp.pad(values, padding).reshape(*values.shape[:-1], -1, BIN)


def _times(matrices: jax.Array, vectors: jax.Array) -> jax.Array:
    """Products of n matrices with a vector each."""
    return jnp.einsum("nij,nj->ni", matrices, vectors)


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """Scalar products of n pairs of vectors, shape (n, 1)."""
    return jnp.sum(a * b, axis=1, keepdims=True)
