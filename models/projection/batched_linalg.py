"""Inverses and products of many small symmetric matrices at once.

A matrix is inverted from the inverses of its diagonal blocks, recursively (Schur complements; Golub
& Van Loan 2013, section 3.2.11). Nearly all work is then in products of many small matrices, which
is several times as fast as calling LAPACK for each.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

SMALL = 16  # matrices up to this size are inverted element by element


class Blocks(NamedTuple):
    """Symmetric matrices [[A, B], [B^T, D]] of shape (n, c, c) by their blocks.

    Shapes, with h = c // 2: `a` (n, h, h), `b` (n, h, c - h) and `d` (n, c - h, c - h).
    """

    a: Any
    b: Any
    d: Any


def to_blocks(matrices: jax.Array) -> Blocks:
    """Return the blocks of matrices (n, c, c)."""
    half = matrices.shape[-1] // 2
    return Blocks(matrices[:, :half, :half], matrices[:, :half, half:], matrices[:, half:, half:])


def invert_blocks(matrices: Blocks) -> Blocks:
    """Return the inverses of positive definite matrices, both by their blocks."""
    inverse_a = invert_spd(matrices.a)
    ab = inverse_a @ matrices.b
    d = invert_spd(matrices.d - matrices.b.swapaxes(1, 2) @ ab)  # of the Schur complement
    b = -(ab @ d)
    return Blocks(inverse_a - b @ ab.swapaxes(1, 2), b, d)


def invert_spd(matrices: jax.Array) -> jax.Array:
    """Return the inverses of positive definite matrices (n, c, c)."""
    if matrices.shape[-1] <= SMALL:
        return _eliminate(matrices)
    a, b, d = invert_blocks(to_blocks(matrices))
    upper = jnp.concatenate([a, b], 2)
    return jnp.concatenate([upper, jnp.concatenate([b.swapaxes(1, 2), d], 2)], 1)


def _eliminate(matrices: jax.Array) -> jax.Array:
    """Return inverses by Gauss-Jordan elimination, all matrices side by side on the last axis."""
    c = matrices.shape[-1]
    index = jnp.arange(c)

    def sweep(k: jax.Array, m: jax.Array) -> jax.Array:
        pivot = 1.0 / m[k, k]
        row, column = m[k] * pivot[None], m[:, k]
        in_row, in_column = (index == k)[:, None, None], (index == k)[None, :, None]
        others = m - column[:, None] * row[None]
        others = jnp.where(in_column, (-column * pivot[None])[:, None], others)
        return jnp.where(in_row, jnp.where(in_column, pivot[None, None], row[None]), others)

    if c == 0:  # block A of a matrix of one element
        return matrices
    swept = lax.fori_loop(0, c, sweep, jnp.moveaxis(matrices, 0, -1))
    return jnp.moveaxis(swept, -1, 0)


def multiply_blocks(matrices: Blocks, vectors: jax.Array) -> jax.Array:
    """Return the products of n matrices, by their blocks, with a vector each, shape (n, c)."""
    upper, lower = jnp.split(vectors, [matrices.a.shape[-1]], axis=1)
    from_b = jnp.einsum("nij,ni->nj", matrices.b, upper)
    upper = multiply(matrices.a, upper) + multiply(matrices.b, lower)
    return jnp.concatenate([upper, from_b + multiply(matrices.d, lower)], axis=1)


def multiply(matrices: jax.Array, vectors: jax.Array) -> jax.Array:
    """Return the products of n matrices (n, i, j) with a vector each, shape (n, i)."""
    return jnp.einsum("nij,nj->ni", matrices, vectors)


def identity(matrices: jax.Array) -> jax.Array:
    """Return the identity matrix that fits matrices (n, c, c), shape (1, c, c)."""
    return jnp.eye(matrices.shape[-1], dtype=matrices.dtype)[None]
