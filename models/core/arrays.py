"""Named arrays <-> bytes, without pickle."""

from __future__ import annotations

import io
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
Arrays = dict[str, NDArray[Any]]

# What np.load and zipfile raise for bytes that are damaged, or made to look like an archive.
DAMAGED = (
    zipfile.BadZipFile, zlib.error, tokenize.TokenError, EOFError, OSError, LookupError, ValueError,
    TypeError, RuntimeError, MemoryError,
)  # fmt: skip


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return named arrays as npz bytes; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{name: arrays[name] for name in sorted(arrays)})
    return buffer.getvalue()


def unpack(data: bytes) -> Arrays:
    """Return the named arrays of npz bytes, the inverse of `pack`.

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


def select(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """Return the arrays named ``prefix/...``, without the prefix."""
    start = prefix + "/"
    return {name[len(start) :]: a for name, a in arrays.items() if name.startswith(start)}


def add_prefix(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """Return arrays named ``prefix/...``, the inverse of `select`."""
    return {f"{prefix}/{name}": a for name, a in arrays.items()}
