"""Compiled part of a projection: scores of many spectra without their exact normal matrices.

With components scaled to unit prior, the scores of a spectrum solve (A^T W A + 1) u = A^T W y. The
matrix alone costs p c^2 / 2 products per spectrum. Here it is made from weights averaged over bins
of `BIN` pixels, and only preconditions conjugate gradients (Shewchuk 1994, section 12) on the exact
equations, where a step costs 2 p c. They end when the scores are those of the exact matrix to a
hundredth of their noise. The noise itself, taken from the binned matrix, is good to about 1%, and
to 10% for a spectrum with many single pixels masked.

A preconditioner needs three digits, so its matrix is multiplied in bfloat16, which is several times
as fast as float32 on processors that support it, and not slower on others.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import NDArray

from models.projection.batched_linalg import (
    Blocks,
    identity,
    invert_blocks,
    invert_spd,
    multiply,
    multiply_blocks,
    to_blocks,
)

BIN = 8  # pixels whose weights are averaged
GROUP = 16  # bins that one small matrix product sums
TOLERANCE = 0.01  # error of the scores, root of the mean square in units of their noise
SAFETY = 4.0  # factor on the expected error after the last correction
MAX_STEPS = 6  # of conjugate gradients; spectra with few bad pixels need 1 or 2
ROUNDING = 1e-3  # added to the diagonal, so that a rounded matrix stays positive definite
TYPICAL_IVAR = 2500.0  # S/N 50: shapes the weights within a bin
TINY = 1e-30


class Basis(NamedTuple):
    """A projection in the form that `posterior` needs; p is padded to whole groups of bins.

    Shapes: `components` (p, c), scaled to unit prior, their transpose `rows` (c, p), `bins`
    (b, m), the blocks of the bins' matrices per unit of weight.
    """

    components: Any
    rows: Any
    bins: Any


@jax.jit
def prepare(basis: jax.Array, prior: jax.Array, scatter: jax.Array) -> Basis:
    """Return the basis of a `models.projection.projection.Projection`.

    Parameters
    ----------
    basis : jax.Array of float32, shape (p, c)
        Orthonormal components.
    prior : jax.Array of float32, shape (c,)
        Variance of each score.
    scatter : jax.Array of float32, shape (p,)
        Unexplained variance of each pixel; infinite for pixels that are not used.
    """
    padding = (0, -scatter.size % (BIN * GROUP))
    components = jnp.pad(basis * jnp.sqrt(prior)[None], (padding, (0, 0)))
    # Pixels that are not used have infinite scatter.
    typical = jnp.pad(1.0 / (1.0 / TYPICAL_IVAR + scatter), padding).reshape(-1, BIN)
    parts = components.reshape(-1, BIN, prior.size)
    matrices = jnp.einsum("bki,bkj->bij", parts * typical[..., None], parts)
    per_weight = 1.0 / jnp.maximum(typical.sum(axis=1), TINY)
    blocks = [block.reshape(per_weight.size, -1) for block in to_blocks(matrices)]
    bins = jnp.concatenate(blocks, axis=1) * per_weight[:, None]
    return Basis(components, components.T, bins.astype(jnp.bfloat16))


@jax.jit
def posterior(basis: Basis, weight: jax.Array, weighted: jax.Array) -> tuple[jax.Array, ...]:
    """Return the scores of spectra.

    Parameters
    ----------
    basis : Basis
        From `prepare`.
    weight, weighted : jax.Array of float32, shape (n, p)
        W, and W y with the deviation y from the mean spectrum; both 0 for bad pixels.

    Returns
    -------
    scores, noise : jax.Array, shape (n, c)
        Posterior means, and their standard deviations under the noise of the spectrum, in units
        of the prior's.
    explained : jax.Array, shape (n,)
        Part of y^T W y that the scores explain.
    """
    covariance = _covariance(basis, weight)
    scores, explained = _solve(basis, weight, weighted @ basis.components, covariance)
    # Under noise alone the mean scatters by C G C = C - C C, the prior being 1.
    a, b, d = covariance
    upper = jnp.sum(a * (identity(a) - a), axis=1) - jnp.sum(b**2, axis=2)
    lower = jnp.sum(d * (identity(d) - d), axis=1) - jnp.sum(b**2, axis=1)
    variance = jnp.concatenate([upper, lower], axis=1)
    return scores, jnp.sqrt(jnp.maximum(variance, 0.0)), explained


def _covariance(basis: Basis, weight: jax.Array) -> Blocks:
    """Return the posterior covariance from binned weights."""
    n, c = weight.shape[0], basis.components.shape[1]
    # Sums of neighbours by one product with zeros and ones: several times as fast as a reduction.
    group_sum = jnp.repeat(jnp.eye(GROUP, dtype=weight.dtype), BIN, axis=0)
    binned = (weight.reshape(-1, BIN * GROUP) @ group_sum).reshape(n, -1)
    product = partial(jnp.matmul, preferred_element_type=weight.dtype)
    matrices = product(binned.astype(basis.bins.dtype), basis.bins)
    half, rest = c // 2, c - c // 2
    a, b, d = jnp.split(matrices, [half**2, half * c], axis=1)
    a, d = (
        block * (1.0 + ROUNDING * identity(block)) + identity(block)
        for block in (a.reshape(n, half, half), d.reshape(n, rest, rest))
    )
    return invert_blocks(Blocks(a, b.reshape(n, half, rest), d))


def _solve(
    basis: Basis, weight: jax.Array, right: jax.Array, preconditioner: Blocks
) -> tuple[jax.Array, jax.Array]:
    """Solve the normal equations by preconditioned conjugate gradients, all spectra side by side.

    With the residual r and the preconditioner C, r^T C r is the squared error of the scores in
    units of their noise. The iteration of a spectrum ends when the value expected after one more
    correction is below the tolerance.

    Returns
    -------
    scores : jax.Array, shape (n, c)
        The solution u.
    explained : jax.Array, shape (n,)
        2 u^T A^T W y - u^T A^T W A u, the part of y^T W y that u explains.
    """
    tolerance = TOLERANCE**2 * right.shape[1]

    def unfinished(loop: Any) -> jax.Array:
        step, expected = loop[0], loop[-1]
        goes_on: jax.Array = (step < MAX_STEPS) & jnp.any(expected > tolerance)
        return goes_on

    def improve(loop: Any) -> Any:
        step, scores, residual, preconditioned, direction, error, expected = loop
        image = (weight * (direction @ basis.rows)) @ basis.components + direction
        length = error / jnp.maximum(_dot(direction, image), TINY)
        # A finished spectrum stays as it is: its scores must not depend on those beside it.
        active = expected > tolerance
        length = jnp.where(active, length, 0.0)
        scores = scores + length * direction
        residual = residual - length * image
        preconditioned = multiply_blocks(preconditioner, residual)
        new_error = _dot(residual, preconditioned)
        ratio = new_error / jnp.maximum(error, TINY)
        direction = preconditioned + ratio * direction
        # The last correction reduces the error about as much as this step did.
        expected = jnp.where(active, SAFETY**2 * ratio * new_error, expected)
        return step + 1, scores, residual, preconditioned, direction, new_error, expected

    first = multiply_blocks(preconditioner, right)
    error = _dot(right, first)
    start = (0, jnp.zeros_like(right), right, first, first, error, error)
    _, scores, residual, correction, _, error, _ = lax.while_loop(unfinished, improve, start)
    # With the exact residual, the preconditioner corrects once more without a product.
    final = scores + correction
    explained = _dot(scores, right + residual) + error + _dot(final, final)
    return final, explained[:, 0]


@jax.jit
def solve_pixels(
    weight: jax.Array, target: jax.Array, design: jax.Array, ridge: jax.Array
) -> jax.Array:
    """Return the weighted linear fit of each of m pixels over the spectra.

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
    inverse = invert_spd(matrices)
    right = (weight * target) @ design
    solution = multiply(inverse, right)
    # One correction, as an inverse in float32 has few digits where scores hardly differ.
    return solution + multiply(inverse, right - multiply(matrices, solution))


def triangle(d: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return rows and columns of the upper triangle, and the position in it of each (i, j)."""
    i, j = np.triu_indices(d)
    index = np.zeros((d, d), dtype=np.int64)
    index[i, j] = index[j, i] = np.arange(i.size)
    return i, j, index


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return the scalar products of n pairs of vectors, shape (n, 1)."""
    return jnp.sum(a * b, axis=1, keepdims=True)
