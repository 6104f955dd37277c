"""The identity of a file: its size and the digest of its bytes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from catalog.files.opening import open_input
from catalog.records import FileIdentity


def file_identity(path: str | os.PathLike[str]) -> FileIdentity:
    """Return the size and digest of a file, read as a stream.

    Parameters
    ----------
    path : path-like
        A readable file.

    Returns
    -------
    FileIdentity

    Raises
    ------
    UsageError, SourceUnavailableError
        Where there is no such file, or it cannot be read.
    """
    path = Path(path)
    with open_input(path) as stream:
        digest = hashlib.file_digest(stream, "sha256")
        return FileIdentity(path, stream.tell(), digest.hexdigest())
