"""Write files as a whole: beside their places first, and renamed when all is written."""

from __future__ import annotations

import fcntl
import filecmp
import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from catalog.errors import LockedError, UsageError, cannot_write


@contextmanager
def replace_files(*paths: Path) -> Iterator[tuple[BinaryIO, ...]]:
    """Write files as ``<name>.part`` beside their places and put them there when all is written.

    Whatever fails before that leaves what was there, and so does the same content. Links are
    followed and stay links.

    Raises
    ------
    UsageError
        If the folder does not exist, a file cannot be written, or a device or folder has the name.
    SourceUnavailableError
        If the disk is full.
    LockedError
        If another process is writing one of them.
    """
    for path in paths:
        if path.exists() and not path.is_file():  # a rename would take the place of a device
            raise UsageError(f"{path} is there and no regular file", "Write to another name")
    paths = tuple(path.resolve() for path in paths)
    parts = [path.with_name(path.name + ".part") for path in paths]
    try:
        with ExitStack() as stack:
            streams = tuple(stack.enter_context(_claimed(part)) for part in parts)
            yield streams
            for stream in streams:
                stream.flush()
                os.fsync(stream.fileno())
            for part, path in zip(parts, paths, strict=True):
                if not (path.is_file() and filecmp.cmp(part, path, shallow=False)):
                    part.replace(path)
            _sync_folder(paths[0].parent)
    except OSError as exc:
        raise cannot_write(str(paths[0]), exc) from exc


@contextmanager
def _claimed(part: Path) -> Iterator[BinaryIO]:
    """An empty file that no other process writes; it is removed unless it was given another name.

    Raises
    ------
    LockedError
    """

    def keep(name: str, flags: int) -> int:  # what another process has written so far
        return os.open(name, flags & ~os.O_TRUNC, 0o666)

    def is_ours() -> bool:
        return part.exists() and os.path.samestat(part.stat(), os.fstat(stream.fileno()))

    with open(part, "wb", opener=keep) as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_free = is_ours()  # else it was put in its place meanwhile
        except OSError as exc:  # some file systems have no locks
            is_free = not isinstance(exc, BlockingIOError)
        if not is_free:
            raise LockedError(f"another process is writing {part.stem}", "Try again later")
        try:
            stream.truncate()  # what a process left that was killed
            yield stream
        finally:
            if is_ours():
                part.unlink()


def write_digest(stream: BinaryIO, sidecar: BinaryIO, file_name: str) -> None:
    """Write the SHA-256 of what a stream wrote to its file, as ``sha256sum --check`` reads it."""
    stream.flush()
    with Path(stream.name).open("rb") as written:
        digest = hashlib.file_digest(written, "sha256").hexdigest()
    sidecar.write(f"{digest}  {file_name}\n".encode())


def _sync_folder(folder: Path) -> None:
    """Make the new names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
