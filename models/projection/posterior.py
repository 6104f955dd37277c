"""The compiled part of a projection: scores of many spectra, without their exact normal matrices.

With components scaled to unit prior, the scores of a spectrum solve (A^T W A + 1) u = A^T W y. The
matrix alone costs p c^2 / 2 products per spectrum. Here it is made from weights averaged over bins
of `BIN` pixels, and only guides conjugate gradients (Shewchuk 1994, section 12) on the exact
equations, where a step costs 2 p c. They end when the scores are those of the exact matrix to a
hundredth of their noise. The noise itself, taken from the binned matrix, is good to about 1%, and
to 10% for a spectrum with many single pixels masked.

A guide needs three digits, so its matrix is multiplied in bfloat16, which processors that know it
do several times as fast, and others do not slower, than float32.
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
    Halves,
    cut,
    identity,
    invert,
    invert_spd,
    multiply,
    times,
)

BIN = 8  # pixels whose weights are averaged
GROUP = 16  # bins that one small matrix product sums
TOLERANCE = 0.01  # error of the scores, root of the mean square in units of their noise
CAUTION = 4.0  # the last correction may leave that many times the error that is expected
MAX_STEPS = 6  # of conjugate gradients; spectra with few bad pixels need 1 or 2
ROUNDING = 1e-3  # what the diagonal gains, so that a rounded matrix stays positive definite
USUAL_IVAR = 2500.0  # S/N 50: shapes the weights within a bin
TINY = 1e-30


class Basis(NamedTuple):
    """A projection made ready for `posterior`; p is padded with zeros to whole groups of bins.

    Shapes: `components` (p, c), scaled to unit prior, their transpose `rows` (c, p), `bins`
    (b, m), the halves of the bins' matrices per unit of weight.
    """

    components: Any
    rows: Any
    bins: Any


@jax.jit
def prepare(basis: jax.Array, prior: jax.Array, scatter: jax.Array) -> Basis:
    """Make the fields of a `models.projection.projection.Projection` ready, all in float32."""
    padding = (0, -scatter.size % (BIN * GROUP))
    components = jnp.pad(basis * jnp.sqrt(prior)[None], (padding, (0, 0)))
    # Pixels that are not used have infinite scatter.
    typical = jnp.pad(1.0 / (1.0 / USUAL_IVAR + scatter), padding).reshape(-1, BIN)
    parts = components.reshape(-1, BIN, prior.size)
    matrices = jnp.einsum("bki,bkj->bij", parts * typical[..., None], parts)
    per_weight = 1.0 / jnp.maximum(typical.sum(axis=1), TINY)
    halves = [part.reshape(per_weight.size, -1) for part in cut(matrices)]
    bins = jnp.concatenate(halves, axis=1) * per_weight[:, None]
    return Basis(components, components.T, bins.astype(jnp.bfloat16))


@jax.jit
def posterior(basis: Basis, weight: jax.Array, weighted: jax.Array) -> tuple[jax.Array, ...]:
    """Project spectra.

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
        What the scores explain of y^T W y.
    """
    covariance = _covariance(basis, weight)
    scores, explained = _solve(basis, weight, weighted @ basis.components, covariance)
    # Under noise alone the mean scatters by C G C = C - C C, the prior being 1.
    first, side, last = covariance
    others = side**2
    upper = jnp.sum(first * (identity(first) - first), axis=1) - jnp.sum(others, axis=2)
    lower = jnp.sum(last * (identity(last) - last), axis=1) - jnp.sum(others, axis=1)
    spread = jnp.concatenate([upper, lower], axis=1)
    return scores, jnp.sqrt(jnp.maximum(spread, 0.0)), explained


def _covariance(basis: Basis, weight: jax.Array) -> Halves:
    """Return the posterior covariance from binned weights."""
    n, c = weight.shape[0], basis.components.shape[1]
    # Sums of neighbours by one product with zeros and ones: several times as fast as a reduction.
    chooser = jnp.repeat(jnp.eye(GROUP, dtype=weight.dtype), BIN, axis=0)
    binned = (weight.reshape(-1, BIN * GROUP) @ chooser).reshape(n, -1)
    product = partial(jnp.matmul, preferred_element_type=weight.dtype)
    matrices = product(binned.astype(basis.bins.dtype), basis.bins)
    half, rest = c // 2, c - c // 2
    first, side, last = jnp.split(matrices, [half**2, half * c], axis=1)
    first, last = (
        part * (1.0 + ROUNDING * identity(part)) + identity(part)
        for part in (first.reshape(n, half, half), last.reshape(n, rest, rest))
    )
    return invert(Halves(first, side.reshape(n, half, rest), last))


def _solve(
    basis: Basis, weight: jax.Array, right: jax.Array, guide: Halves
) -> tuple[jax.Array, jax.Array]:
    """Preconditioned conjugate gradients, all spectra side by side.

    Returns the solution u, and what it explains of y^T W y: 2 u^T A^T W y - u^T A^T W A u.
    """
    enough = TOLERANCE**2 * right.shape[1]

    def unfinished(loop: Any) -> jax.Array:
        step, expected = loop[0], loop[-1]
        return (step < MAX_STEPS) & jnp.any(expected > enough)

    def improve(loop: Any) -> Any:
        step, scores, residual, guided, direction, size, expected = loop
        image = (weight * (direction @ basis.rows)) @ basis.components + direction
        length = size / jnp.maximum(_dot(direction, image), TINY)
        # A finished spectrum stays as it is: its scores must not depend on those beside it.
        wanting = expected > enough
        length = jnp.where(wanting, length, 0.0)
        scores = scores + length * direction
        residual = residual - length * image
        guided = times(guide, residual)
        smaller = _dot(residual, guided)
        shrunk = smaller / jnp.maximum(size, TINY)
        direction = guided + shrunk * direction
        # The last correction takes about as much as this step did.
        expected = jnp.where(wanting, CAUTION**2 * shrunk * smaller, expected)
        return step + 1, scores, residual, guided, direction, smaller, expected

    # With the residual r and the guide C, r^T C r is the squared error in units of the noise.
    first = times(guide, right)
    size = _dot(right, first)
    start = (0, jnp.zeros_like(right), right, first, first, size, size)
    _, scores, residual, guided, _, size, _ = lax.while_loop(unfinished, improve, start)
    # Where the exact residual is known, the guide alone corrects once more, without a product.
    final = scores + guided
    explained = _dot(scores, right + residual) + size + _dot(final, final)
    return final, explained[:, 0]


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
    inverse = invert_spd(matrices)
    right = (weight * target) @ design
    solution = multiply(inverse, right)
    # One correction, as an inverse in float32 has few digits where scores hardly differ.
    return solution + multiply(inverse, right - multiply(matrices, solution))


def triangle(d: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the upper triangle, and where each entry of (d, d) finds its own."""
    i, j = np.triu_indices(d)
    index = np.zeros((d, d), dtype=np.int64)
    index[i, j] = index[j, i] = np.arange(i.size)
    return i, j, index


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """Scalar products of n pairs of vectors, shape (n, 1)."""
    return jnp.sum(a * b, axis=1, keepdims=True)
