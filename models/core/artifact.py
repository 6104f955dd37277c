"""A trained model <-> bytes: plain arrays and a JSON manifest, with a checksum over both.

The bytes are an npz archive that ``np.load(..., allow_pickle=False)`` opens anywhere. The member
`manifest` holds the JSON text and `sha256` the digest of all other members.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.core.arrays import Arrays, pack, unpack

FORMAT_VERSION = 3


def to_bytes(manifest: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return a model as bytes.

    Parameters
    ----------
    manifest : mapping
        Values that JSON can hold; `format_version` is added.
    arrays : mapping of str to ndarray
        Named arrays; no object arrays.
    """
    text = json.dumps({**manifest, "format_version": FORMAT_VERSION}, sort_keys=True)
    members = {**arrays, "manifest": np.frombuffer(text.encode(), dtype=np.uint8)}
    return pack({**members, "sha256": np.frombuffer(_digest(members), dtype=np.uint8)})


def from_bytes(data: bytes) -> tuple[dict[str, Any], Arrays]:
    """Return manifest and arrays of a model, the inverse of `to_bytes`.

    Returns
    -------
    manifest : dict
        With `format_version`.
    arrays : dict of str to ndarray

    Raises
    ------
    ValueError
        If the bytes are damaged or of another format version.
    """
    try:
        members = unpack(data)
        expected, text = members.pop("sha256").tobytes(), members["manifest"].tobytes()
    except (ValueError, KeyError) as error:
        raise ValueError(f"These bytes are not a model, or they are damaged: {error}") from error
    if _digest(members) != expected:
        raise ValueError("The model is damaged: its checksum does not fit. Load it again.")
    try:
        manifest = json.loads(text)
    except RecursionError as error:
        raise ValueError("The manifest of the model is no JSON that it would hold.") from error
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if version != FORMAT_VERSION:
        raise ValueError(
            f"The model has format version {version}; this program reads {FORMAT_VERSION}. "
            "Use the version of the program that wrote it, or train again."
        )
    return manifest, {name: a for name, a in members.items() if name != "manifest"}


def annotate(
    data: bytes, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None
) -> bytes:
    """Return a model with its provenance added, which only the caller of the training knows.

    Parameters
    ----------
    data : bytes
        From `to_bytes`.
    facts : mapping
        Added to the manifest, where they replace values of the same name.
    arrays : mapping of str to ndarray, optional
        Added to the arrays, likewise.

    Raises
    ------
    ValueError
        As in `from_bytes`.
    """
    manifest, own = from_bytes(data)
    return to_bytes({**manifest, **facts}, {**own, **(arrays or {})})


def _digest(members: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the SHA-256 over names, types, shapes and contents."""
    digest = hashlib.sha256()
    for name in sorted(members):
        array = np.ascontiguousarray(members[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.digest()
