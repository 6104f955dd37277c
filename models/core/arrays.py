"""Named arrays and trees of arrays <-> bytes, without pickle."""

from __future__ import annotations

import io
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

# What np.load and zipfile raise for bytes that are damaged, or made to look like an archive.
DAMAGED = (
    zipfile.BadZipFile, zlib.error, tokenize.TokenError, EOFError, OSError, LookupError, ValueError,
    TypeError, RuntimeError, MemoryError,
)  # fmt: skip


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Write named arrays as npz bytes; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{name: arrays[name] for name in sorted(arrays)})
    return buffer.getvalue()


def unpack(data: bytes) -> Arrays:
    """Undo `pack`.

    Raises
    ------
    ValueError
        If the bytes are not an npz archive of plain arrays.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        if other := [name for name, a in arrays.items() if not isinstance(a, np.ndarray)]:
            raise ValueError(f"{other[0]} is no array")
        return arrays
    except DAMAGED as error:
        # NumPy's own words advise to unpickle whatever it cannot read.
        raise ValueError("These bytes are not an archive of plain arrays.") from error


def flatten(prefix: str, tree: Any) -> Arrays:
    """Name the leaves of a tree ``prefix/000``, ``prefix/001``, ... in JAX's order."""
    leaves = jax.tree.leaves(tree)
    return {f"{prefix}/{i:03d}": np.asarray(leaf) for i, leaf in enumerate(leaves)}


def unflatten(prefix: str, arrays: Mapping[str, NDArray[Any]], like: Any) -> Any:
    """Undo `flatten`, given a tree of the same structure and shapes.

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


def select(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """Take the arrays named ``prefix/...``, without the prefix."""
    start = prefix + "/"
    return {name[len(start) :]: a for name, a in arrays.items() if name.startswith(start)}


def add_prefix(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """Undo `select`."""
    return {f"{prefix}/{name}": a for name, a in arrays.items()}
