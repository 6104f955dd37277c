"""Safe opening of FITS files: nothing inside is read before the file has been found whole.

Structure follows the FITS standard 4.0 (Pence et al. 2010, A&A 524, A42): blocks of 2880 bytes
and cards of 80.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from catalog.errors import BadInputError, SourceUnavailableError, UsageError
from catalog.files.cards import CARD, CardValue, forbidden_in, parse_cards

BLOCK = 2880
STREAM_BYTES = 1 << 23
# The header of an allStar table has about 70 kB; one without END must not be read to its end.
MAX_HEADER_BYTES = 1 << 23
# Deflate cannot pass 1032:1; genuine catalogs stay below 10:1, mostly empty ones below 100:1.
MAX_GZIP_RATIO = 100
MIN_GZIP_LIMIT = 1 << 26
MAX_UNPACKED_BYTES = 1 << 36
# By which simulated files say that they are: ours, and other generators'.
SIMULATION_CARDS = ("SIMULATE", "SIMSURV")


@dataclass(frozen=True)
class FileIdentity:
    """What makes a file the same file again, wherever it lies.

    Parameters
    ----------
    path : pathlib.Path
        Where it was read.
    size : int
        Bytes.
    sha256 : str
        Hexadecimal digest of all bytes, as they are on disk.
    """

    path: Path
    size: int
    sha256: str


@dataclass(frozen=True)
class Hdu:
    """One header and data unit.

    Parameters
    ----------
    header : dict
        Keyword to value of its readable cards.
    header_offset, data_offset, data_bytes : int
        Place of the header and of the data in the file, and size of the data without padding.
    odd_cards : dict of str to str
        Cards with bytes that FITS forbids, with the first such byte.
    """

    header: dict[str, CardValue]
    header_offset: int
    data_offset: int
    data_bytes: int
    odd_cards: dict[str, str] = field(default_factory=dict)

    @property
    def is_table(self) -> bool:
        """Whether this is a binary table."""
        return str(self.header.get("XTENSION", "")).strip() in ("BINTABLE", "A3DTABLE")

    @property
    def name(self) -> str:
        """EXTNAME in upper case; empty if there is none."""
        return str(self.header.get("EXTNAME", "")).strip().upper()


@dataclass(frozen=True)
class FitsFile:
    """An open FITS file whose headers have been read and whose size agrees with them.

    Parameters
    ----------
    path : pathlib.Path
        The file as named by the caller; used in messages.
    stream : typing.BinaryIO
        Its bytes, decompressed.
    hdus : tuple of Hdu
        All units, the primary one first.
    """

    path: Path
    stream: BinaryIO
    hdus: tuple[Hdu, ...]

    @property
    def simulated(self) -> bool:
        """Whether the primary header says that nobody observed this."""
        return any(self.hdus[0].header.get(card) is True for card in SIMULATION_CARDS)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is against the standard in this file and does not touch its data."""
        return tuple(
            f"HDU {i} has bytes that FITS forbids: "
            + ", ".join(f"{byte} in {card}" for card, byte in hdu.odd_cards.items())
            for i, hdu in enumerate(self.hdus)
            if hdu.odd_cards
        )


def padded(n_bytes: int) -> int:
    """Size of a header or of data with its padding to whole blocks, both in bytes."""
    return -(-n_bytes // BLOCK) * BLOCK


def file_identity(path: str | os.PathLike[str]) -> FileIdentity:
    """Size and digest of a file, read as a stream.

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
    with _open(path) as stream:
        digest = hashlib.file_digest(stream, "sha256")
        return FileIdentity(path, stream.tell(), digest.hexdigest())


@contextmanager
def open_fits(path: str | os.PathLike[str]) -> Iterator[FitsFile]:
    """Open a FITS file, gzip-compressed or not, and check that it is whole.

    A compressed file is unpacked to an unnamed temporary file, within limits on size and ratio.

    Parameters
    ----------
    path : path-like
        The file.

    Yields
    ------
    FitsFile
        Open until the ``with`` block ends.

    Raises
    ------
    BadInputError
        EMPTY_FILE, NOT_FITS, TRUNCATED, TOO_LARGE or CHECKSUM (of the gzip stream).
    UsageError, SourceUnavailableError
        Where there is no such file, or it cannot be read.
    """
    path = Path(path)
    with _open(path) as stream:
        magic = stream.read(2)
        stream.seek(0)
        if not magic:
            raise BadInputError("EMPTY_FILE", f"{path} has no bytes", "Download it again.")
        if magic != b"\x1f\x8b":
            yield FitsFile(path, stream, _read_hdus(path, stream))
            return
        with tempfile.TemporaryFile() as unpacked:
            _unpack(path, stream, unpacked)
            yield FitsFile(path, unpacked, _read_hdus(path, unpacked))


def _open(path: Path) -> BufferedReader:
    """Open a file, or say why it cannot be."""
    try:
        return path.open("rb")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as exc:
        raise UsageError(f"{path} is not a file", "Check the path.") from exc
    except OSError as exc:
        raise SourceUnavailableError(
            f"{path} cannot be read ({exc.strerror})", "Check its permissions and its disk."
        ) from exc


def _unpack(path: Path, packed: BinaryIO, out: BinaryIO) -> None:
    """Decompress, and stop as soon as the output is implausibly large."""
    packed_bytes = path.stat().st_size
    limit = min(MAX_UNPACKED_BYTES, max(MIN_GZIP_LIMIT, MAX_GZIP_RATIO * packed_bytes))
    written = 0
    try:
        with gzip.GzipFile(fileobj=packed) as source:
            while chunk := source.read(STREAM_BYTES):
                written += len(chunk)
                if written > limit:
                    raise BadInputError(
                        "TOO_LARGE",
                        f"{path} unpacks to more than {limit} bytes from {packed_bytes}",
                        "If the file is genuine, decompress it with gunzip and give that file.",
                    )
                out.write(chunk)
    except EOFError as exc:
        raise BadInputError(
            "TRUNCATED", f"the gzip stream of {path} ends early", "Download it again."
        ) from exc
    except (gzip.BadGzipFile, zlib.error) as exc:
        raise BadInputError(
            "CHECKSUM", f"the gzip stream of {path} is damaged ({exc})", "Download it again."
        ) from exc
    out.flush()


def _read_hdus(path: Path, stream: BinaryIO) -> tuple[Hdu, ...]:
    """Walk over all headers and compare the sizes they promise with the size of the file."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    if size == 0:
        raise BadInputError("EMPTY_FILE", f"{path} unpacks to nothing", "Download it again.")
    if stream.read(9) != b"SIMPLE  =":
        raise BadInputError(
            "NOT_FITS",
            f"{path} does not begin as a FITS file",
            "It may be an error page of the archive: look at it, then download it again.",
        )
    hdus: list[Hdu] = []
    at = 0
    while at < size:
        stream.seek(at)
        # What follows the last unit and is no extension is allowed by the standard (3.5).
        if hdus and stream.read(8) != b"XTENSION":
            break
        text, data_offset = _read_header(path, stream, at)
        header = parse_cards(text)
        data_bytes = _data_bytes(path, header, len(hdus))
        hdus.append(Hdu(header, at, data_offset, data_bytes, forbidden_in(text)))
        at = data_offset + padded(data_bytes)
        if at > size:
            raise BadInputError(
                "TRUNCATED",
                f"{path} has {size} bytes where its headers promise at least {at}",
                "The download stopped early: download it again.",
            )
    if size % BLOCK:
        raise BadInputError(
            "TRUNCATED",
            f"{path} has {size} bytes, not a multiple of {BLOCK}",
            "Download it again.",
        )
    return tuple(hdus)


def _read_header(path: Path, stream: BinaryIO, at: int) -> tuple[str, int]:
    """Return the text of one header, decoded byte by byte, and the offset behind it."""
    stream.seek(at)
    text = bytearray()
    while len(text) < MAX_HEADER_BYTES:
        block = stream.read(BLOCK)
        if len(block) < BLOCK:
            raise BadInputError("TRUNCATED", f"{path} ends inside a header", "Download it again.")
        text += block
        cards = (block[i : i + CARD] for i in range(0, BLOCK, CARD))
        if any(card.rstrip() == b"END" for card in cards):
            return text.decode("latin-1"), at + len(text)
    raise BadInputError(
        "NOT_FITS", f"a header of {path} has no END within {MAX_HEADER_BYTES} bytes", ""
    )


def _data_bytes(path: Path, header: dict[str, CardValue], index: int) -> int:
    """Size of the data without padding (FITS standard, equations 1 and 2)."""
    try:
        axes = [int(header[f"NAXIS{i}"]) for i in range(1, int(header["NAXIS"]) + 1)]
        if not axes:
            return 0
        bits = abs(int(header["BITPIX"]))
        pcount, gcount = int(header.get("PCOUNT", 0)), int(header.get("GCOUNT", 1))
    except (KeyError, TypeError, ValueError) as exc:
        raise BadInputError(
            "NOT_FITS", f"HDU {index} of {path} has no usable size ({exc})", "Download it again."
        ) from exc
    if min(*axes, pcount, gcount) < 0 or bits not in (8, 16, 32, 64):
        raise BadInputError("NOT_FITS", f"HDU {index} of {path} has an impossible size", "")
    return bits // 8 * gcount * (pcount + math.prod(axes))
