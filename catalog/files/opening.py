"""The one way to open a file that people name: regular files only, within limits that are named.

A FIFO does not hang, a device is not read, and nothing is unpacked or read beyond a limit: for FITS
the size that its headers declare (`catalog.fits.file`), for text its bytes and rows (`Limits`),
for archives the sum of their members, before any of them is read.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from catalog.errors import BadInputError, SourceUnavailableError, UsageError
from catalog.words import count

STREAM_BYTES = 1 << 23
MAX_MEMBERS = 100_000  # of an archive; a model has some hundreds
MAX_CONFIG_BYTES = 1 << 20
_readinto = io.FileIO.readinto
_KINDS = (
    (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISDIR, "a folder"),
    (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
)  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """Largest table of text, XML or Parquet that is read; commands have options for both limits.

    Attributes
    ----------
    max_bytes : int
        Bytes, after unpacking.
    max_rows : int
        Rows.
    """

    max_bytes: int = 1 << 30
    max_rows: int = 10_000_000

    def check_bytes(self, path: Path, n_bytes: int) -> None:
        """Raise BadInputError TOO_LARGE if a file has, or unpacks to, too many bytes."""
        if n_bytes > self.max_bytes:
            raise _too_large(path, f"has more than {self.max_bytes:,} bytes", "--max-bytes")

    def check_rows(self, path: Path, n_rows: int) -> None:
        """Raise BadInputError TOO_LARGE if a table has too many rows."""
        if n_rows > self.max_rows:
            raise _too_large(
                path, f"has {count(n_rows, 'row')}, more than {self.max_rows:,}", "--max-rows"
            )


class InputFile(io.FileIO):
    """A file whose read errors say which file it is."""

    def __init__(self, handle: int, path: Path) -> None:
        super().__init__(handle, "rb")
        self.path = path

    def readinto(self, buffer: Any) -> int:
        """Read as `io.FileIO.readinto` does; a failing disk is a source that is not available."""
        try:
            n = _readinto(self, buffer)
        except OSError as exc:
            raise cannot_read(self.path, exc) from exc
        return n or 0

    def readall(self) -> bytes:
        """Read to the end, through `readinto`."""
        parts = []
        while part := self.read(STREAM_BYTES):
            parts.append(part)
        return b"".join(parts)

    def read(self, size: int | None = -1) -> bytes:
        """Read through `readinto`."""
        if size is None or size < 0:
            return self.readall()
        buffer = bytearray(size)
        return bytes(memoryview(buffer)[: self.readinto(buffer)])


def cannot_read(path: Path, exc: OSError) -> SourceUnavailableError:
    """Return the error for a file that the system does not let be read."""
    return SourceUnavailableError(
        f"{path} cannot be read ({exc.strerror or exc})", "Check its permissions and its disk."
    )


def require_file(path: str | os.PathLike[str]) -> None:
    """Raise unless a path leads to a regular file.

    Raises
    ------
    UsageError
        If there is nothing, or a folder, pipe, socket or device.
    SourceUnavailableError
        If the system does not say.
    """
    try:
        _require_regular(Path(path), Path(path).stat())
    except OSError as exc:
        raise _cannot_open(Path(path), exc) from exc


def open_input(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Open a regular file for reading.

    Parameters
    ----------
    path : path-like
        The file; links are followed.

    Returns
    -------
    io.BufferedReader
        Its bytes as they are on disk. Errors while reading are `SourceUnavailableError`.

    Raises
    ------
    UsageError
        If there is no such file, or it is a folder, pipe, socket or device.
    SourceUnavailableError
        If it cannot be opened.
    """
    path = Path(path)
    try:
        _require_regular(path, path.stat())  # opening a device may already do something
        # without O_NONBLOCK a FIFO that came in between would wait for its writer
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as exc:
        raise _cannot_open(path, exc) from exc
    try:
        _require_regular(path, os.fstat(handle))
        return io.BufferedReader(InputFile(handle, path))
    except BaseException:
        os.close(handle)
        raise


def read_bytes(path: str | os.PathLike[str], max_bytes: int, what: str) -> bytes:
    """Read a whole file of limited size.

    Parameters
    ----------
    path : path-like
        The file.
    max_bytes : int
        More than this no such file has [bytes].
    what : str
        What the file is taken for, such as "a model"; for the message.

    Raises
    ------
    BadInputError
        TOO_LARGE.
    UsageError, SourceUnavailableError
        See `open_input`.
    """
    with open_input(path) as stream:
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise BadInputError(
            "TOO_LARGE",
            f"{path} has more than {max_bytes:,} bytes: too large for {what}",
            "Check the path",
        )
    return data


def check_members(path: str | os.PathLike[str], data: BinaryIO, max_bytes: int) -> None:
    """Raise unless the members of a zip or npz archive are together small enough to be read.

    The sizes are those of the archive's directory; what reads a member stops at that size. Bytes
    that are no archive pass: whoever reads them says what they are.

    Parameters
    ----------
    path : path-like
        For the message.
    data : typing.BinaryIO
        The archive; nothing of its members is read.
    max_bytes : int
        Limit for the sum of all members [bytes].

    Raises
    ------
    BadInputError
        TOO_LARGE.
    """
    try:
        with zipfile.ZipFile(data) as archive:
            sizes = [member.file_size for member in archive.infolist()]
    except (zipfile.BadZipFile, OSError, ValueError, LookupError, NotImplementedError, EOFError):
        return
    finally:
        data.seek(0)
    if sum(sizes) > max_bytes or len(sizes) > MAX_MEMBERS:
        raise BadInputError(
            "TOO_LARGE",
            f"{path} has {count(len(sizes), 'member')} with {sum(sizes):,} bytes unpacked; at most "
            f"{max_bytes:,} bytes in {count(MAX_MEMBERS, 'member')} are read",
            "Check where the file comes from",
        )


def _require_regular(path: Path, status: os.stat_result) -> None:
    """Raise unless a status is that of a regular file."""
    if not stat.S_ISREG(status.st_mode):
        kind = next((words for test, words in _KINDS if test(status.st_mode)), "something else")
        raise UsageError(f"{path} is {kind}, not a file", "Check the path")


def _cannot_open(path: Path, exc: OSError) -> UsageError | SourceUnavailableError:
    """Return the error for a file that cannot be opened."""
    if isinstance(exc, FileNotFoundError) and path.is_symlink():
        return UsageError(f"{path} is a link to nothing", "Mend or remove the link")
    if isinstance(exc, FileNotFoundError | NotADirectoryError):
        return UsageError(f"there is no file {path}", "Check the path")
    if exc.errno == errno.ENAMETOOLONG:
        return UsageError(f"{path} cannot be a file ({exc.strerror})", "Check the path")
    return cannot_read(path, exc)


def _too_large(path: Path, what: str, option: str) -> BadInputError:
    """Return the error for a file beyond a limit that people can raise."""
    return BadInputError(
        "TOO_LARGE", f"{path} {what}", f"If that is right, raise the limit: {option}"
    )
