"""Many small symmetric matrices at once, cut into halves: inverses and products.

A matrix is inverted from the inverses of its halves, over and over (Schur complements; Golub & Van
Loan 2013, section 3.2.11). Nearly all work is then in products of many small matrices, which is
several times as fast as calling LAPACK for each.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

SMALL = 16  # matrices up to this size are inverted element by element


class Halves(NamedTuple):
    """Symmetric matrices (n, c, c) that are cut once, as most uses need no whole ones.

    Shapes, with h = c // 2: `first` (n, h, h), `side` (n, h, c - h), upper right, and `last`
    (n, c - h, c - h).
    """

    first: Any
    side: Any
    last: Any


def cut(matrices: jax.Array) -> Halves:
    """Cut whole matrices (n, c, c)."""
    half = matrices.shape[-1] // 2
    return Halves(matrices[:, :half, :half], matrices[:, :half, half:], matrices[:, half:, half:])


def invert(matrices: Halves) -> Halves:
    """Invert positive definite matrices that are cut."""
    first = invert_spd(matrices.first)
    shift = first @ matrices.side
    last = invert_spd(matrices.last - matrices.side.swapaxes(1, 2) @ shift)
    side = -(shift @ last)
    return Halves(first - side @ shift.swapaxes(1, 2), side, last)


def invert_spd(matrices: jax.Array) -> jax.Array:
    """Invert positive definite matrices (n, c, c)."""
    if matrices.shape[-1] <= SMALL:
        return _eliminate(matrices)
    first, side, last = invert(cut(matrices))
    upper = jnp.concatenate([first, side], 2)
    return jnp.concatenate([upper, jnp.concatenate([side.swapaxes(1, 2), last], 2)], 1)


def _eliminate(matrices: jax.Array) -> jax.Array:
    """Gauss-Jordan elimination in place, with the matrices along the last axis."""
    c = matrices.shape[-1]
    place = jnp.arange(c)

    def sweep(k: jax.Array, m: jax.Array) -> jax.Array:
        pivot = 1.0 / m[k, k]
        row, column = m[k] * pivot[None], m[:, k]
        in_row, in_column = (place == k)[:, None, None], (place == k)[None, :, None]
        others = m - column[:, None] * row[None]
        others = jnp.where(in_column, (-column * pivot[None])[:, None], others)
        return jnp.where(in_row, jnp.where(in_column, pivot[None, None], row[None]), others)

    if c == 0:  # the first half of a matrix of one
        return matrices
    swept = lax.fori_loop(0, c, sweep, jnp.moveaxis(matrices, 0, -1))
    return jnp.moveaxis(swept, -1, 0)


def times(matrices: Halves, vectors: jax.Array) -> jax.Array:
    """Return products of n matrices that are cut with a vector each, shape (n, c)."""
    upper, lower = jnp.split(vectors, [matrices.first.shape[-1]], axis=1)
    turned = jnp.einsum("nij,ni->nj", matrices.side, upper)
    upper = multiply(matrices.first, upper) + multiply(matrices.side, lower)
    return jnp.concatenate([upper, turned + multiply(matrices.last, lower)], axis=1)


def multiply(matrices: jax.Array, vectors: jax.Array) -> jax.Array:
    """Return products of n matrices (n, i, j) with a vector each, shape (n, i)."""
    return jnp.einsum("nij,nj->ni", matrices, vectors)


def identity(matrices: jax.Array) -> jax.Array:
    """One identity matrix for all of them, shape (1, c, c)."""
    return jnp.eye(matrices.shape[-1], dtype=matrices.dtype)[None]
