"""Trees of arrays, such as the parameters of networks, <-> named arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from models.core.arrays import Arrays


def flatten(prefix: str, tree: Any) -> Arrays:
    """Return the leaves of a tree, named ``prefix/000``, ``prefix/001``, ... in JAX's order.

    Parameters
    ----------
    prefix : str
        Of the names.
    tree : tree of arrays
        Nested dictionaries, tuples or lists.
    """
    leaves = jax.tree.leaves(tree)
    return {f"{prefix}/{i:03d}": np.asarray(leaf) for i, leaf in enumerate(leaves)}


def unflatten(prefix: str, arrays: Mapping[str, NDArray[Any]], like: Any) -> Any:
    """Return the tree of named leaves, the inverse of `flatten`.

    Parameters
    ----------
    prefix : str
        Of the names.
    arrays : mapping of str to ndarray
        With the leaves.
    like : tree
        A tree of the same structure, shapes and types.

    Raises
    ------
    ValueError
        If a leaf is missing or has another shape or type.
    """
    leaves, structure = jax.tree.flatten(like)
    found = []
    for i, leaf in enumerate(leaves):
        array = arrays.get(f"{prefix}/{i:03d}")
        if array is None or array.shape != leaf.shape or array.dtype != leaf.dtype:
            raise ValueError(
                f"Saved array {prefix}/{i:03d} does not fit: expected {leaf.shape} {leaf.dtype}, "
                f"found {'none' if array is None else f'{array.shape} {array.dtype}'}. "
                "It was written for other data or by another version."
            )
        found.append(array)
    return jax.tree.unflatten(structure, found)
