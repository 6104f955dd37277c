"""Unpack compressed files as far as they are to be read, to unnamed temporary files."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from catalog.errors import NO_ROOM, BadInputError, SourceUnavailableError
from catalog.files.opening import STREAM_BYTES, InputFile, Limits, open_input

#: What unpacks a stream, by its first bytes; each in little memory, whatever the stream says.
UNPACKERS: dict[bytes, Callable[[BinaryIO], BinaryIO]] = {
    b"\x1f\x8b": lambda packed: gzip.GzipFile(fileobj=packed),  # type: ignore[dict-item, return-value]
    b"BZ": lambda packed: bz2.BZ2File(packed),  # type: ignore[dict-item, return-value]
}
# Deflate cannot pass 1032:1; genuine catalogs stay below 10:1, mostly empty ones below 100:1.
MAX_GZIP_RATIO = 100
MIN_GZIP_LIMIT = 1 << 26
MAX_UNPACKED_BYTES = 1 << 36


@contextmanager
def open_unpacked(path: str | os.PathLike[str], limits: Limits | None = None) -> Iterator[BinaryIO]:
    """Open a file of text, XML or Parquet, gzip-compressed or not.

    Parameters
    ----------
    path : path-like
        The file.
    limits : Limits, optional
        Its bytes are checked here; whoever counts rows asks `Limits.check_rows`.

    Yields
    ------
    typing.BinaryIO
        Its bytes, unpacked and seekable, until the ``with`` block ends.

    Raises
    ------
    BadInputError
        EMPTY_FILE, TOO_LARGE, TRUNCATED or CHECKSUM (of the gzip stream).
    UsageError, SourceUnavailableError
        See `open_input`.
    """
    path, limits = Path(path), limits or Limits()
    with open_input(path) as stream:
        if not is_packed(path, stream):
            limits.check_bytes(path, os.fstat(stream.fileno()).st_size)
            yield stream
            return
        with unpacking(path, stream) as (unpacked, unpack_to):
            limits.check_bytes(path, unpack_to(limits.max_bytes + 1))
            unpacked.seek(0)
            yield unpacked


def is_packed(path: Path, stream: BinaryIO) -> bool:
    """Return whether a stream at its beginning is compressed by gzip or bzip2.

    Raises
    ------
    BadInputError
        EMPTY_FILE.
    """
    magic = stream.read(2)
    stream.seek(0)
    if not magic:
        raise BadInputError("EMPTY_FILE", f"{path} has no bytes", "Download or write it again.")
    return magic in UNPACKERS


class Unpack:
    """Unpack a stream of gzip or bzip2 as far as is asked for, to an unnamed temporary file."""

    def __init__(self, path: Path, packed: BinaryIO, handle: int) -> None:
        self._path, self._handle = path, handle
        magic = packed.read(2)
        packed.seek(0)
        self._source = UNPACKERS[magic](packed)
        self._packed_bytes = os.fstat(packed.fileno()).st_size
        self._limit = min(
            MAX_UNPACKED_BYTES, max(MIN_GZIP_LIMIT, MAX_GZIP_RATIO * self._packed_bytes)
        )
        self._done = 0

    def __call__(self, n_bytes: int) -> int:
        """Unpack until ``n_bytes`` bytes are there, or all.

        Returns
        -------
        int
            Bytes that are there now: fewer than ``n_bytes`` only where the stream has ended.

        Raises
        ------
        BadInputError
            TOO_LARGE, TRUNCATED or CHECKSUM.
        """
        while self._done < n_bytes:
            chunk = self._read(min(STREAM_BYTES, n_bytes - self._done))
            if not chunk:
                break
            if self._done + len(chunk) > self._limit:
                raise BadInputError(
                    "TOO_LARGE",
                    f"{self._path} unpacks to more than {self._limit:,} bytes from "
                    f"{self._packed_bytes:,}",
                    "If the file is genuine, unpack it and give that file.",
                )
            self._write(chunk)
        return self._done

    def _read(self, n_bytes: int) -> bytes:
        """Read unpacked bytes."""
        try:
            return self._source.read(n_bytes)
        except EOFError as exc:
            raise BadInputError(
                "TRUNCATED", f"the packed stream of {self._path} ends early", "Download it again."
            ) from exc
        except (OSError, zlib.error) as exc:  # BadGzipFile, and what bz2 says
            raise BadInputError(
                "CHECKSUM", f"the packed stream of {self._path} is damaged ({exc})",
                "Download it again.",
            ) from exc  # fmt: skip

    def _write(self, chunk: bytes) -> None:
        """Append to the temporary file, past the position of whoever reads it."""
        view = memoryview(chunk)
        while view:
            try:
                n = os.pwrite(self._handle, view, self._done)
            except OSError as exc:
                raise no_scratch(self._path, exc) from exc
            self._done += n
            view = view[n:]


@contextmanager
def unpacking(path: Path, packed: BinaryIO) -> Iterator[tuple[BinaryIO, Unpack]]:
    """Give a temporary file for what a gzip file holds, and what unpacks into it.

    Yields
    ------
    stream : typing.BinaryIO
        Seekable; empty at first.
    unpack_to : Unpack
        ``unpack_to(n)`` makes the first n bytes readable; returns how many are there.
    """
    try:
        scratch = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed below
    except OSError as exc:
        raise no_scratch(path, exc) from exc
    with scratch, io.BufferedReader(InputFile(os.dup(scratch.fileno()), path)) as stream:
        yield stream, Unpack(path, packed, scratch.fileno())


def no_scratch(path: Path, exc: OSError) -> SourceUnavailableError:
    """Return the error for a temporary folder that has no room, or is not there."""
    why = "has no room" if exc.errno in NO_ROOM else f"cannot be used ({exc.strerror or exc})"
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError:
        folder = "for temporary files"
    return SourceUnavailableError(
        f"{path} cannot be unpacked: the folder {folder} {why}",
        "Make space there, or name another folder: TMPDIR",
    )
