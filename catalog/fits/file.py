"""Safe opening of FITS files: nothing inside is read before the file has been found whole.

Structure follows the FITS standard 4.0 (Pence et al. 2010, A&A 524, A42): blocks of 2880 bytes
and cards of 80.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from catalog.errors import BadInputError
from catalog.files.magic import HEAD_BYTES, not_fits
from catalog.files.opening import STREAM_BYTES, open_input
from catalog.files.unpacking import is_packed, unpacking
from catalog.fits.cards import CARD, CardValue, forbidden_in, parse_cards, unreadable_in

BLOCK = 2880
# The header of an allStar table has about 70 kB; one without END must not be read to its end.
MAX_HEADER_BYTES = 1 << 23
# A compressed file may hold this much behind its last unit: what is no extension (standard, 3.5).
MAX_TAIL_BYTES = STREAM_BYTES
# By which simulated files say that they are: ours, and other generators'.
SIMULATION_CARDS = ("SIMULATE", "SIMSURV")


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
    unreadable : frozenset of str
        Cards whose value FITS does not allow: they are not in ``header``.
    """

    header: dict[str, CardValue]
    header_offset: int
    data_offset: int
    data_bytes: int
    odd_cards: dict[str, str] = field(default_factory=dict)
    unreadable: frozenset[str] = frozenset()

    @property
    def is_table(self) -> bool:
        """True for a binary table."""
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
        """True where the primary header marks the file as simulated."""
        return any(self.hdus[0].header.get(card) is True for card in SIMULATION_CARDS)

    @property
    def notes(self) -> tuple[str, ...]:
        """Return the deviations from the standard that do not affect the data, in words."""
        return tuple(
            f"HDU {i} has bytes that FITS forbids: "
            + ", ".join(f"{byte} in {card}" for card, byte in hdu.odd_cards.items())
            for i, hdu in enumerate(self.hdus)
            if hdu.odd_cards
        )


def padded(n_bytes: int) -> int:
    """Return the size of a header or of data with its padding to whole blocks, both in bytes."""
    return -(-n_bytes // BLOCK) * BLOCK


@contextmanager
def open_fits(path: str | os.PathLike[str]) -> Iterator[FitsFile]:
    """Open a FITS file, compressed by gzip or bzip2 or not, and check that it is whole.

    A compressed file is unpacked to an unnamed temporary file, as far as its headers say that it
    goes.

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
    with open_input(path) as stream:
        if not is_packed(path, stream):
            size = os.fstat(stream.fileno()).st_size
            hdus, _ = _read_hdus(path, stream, lambda n_bytes: size)
            _check_blocks(path, size)
            yield FitsFile(path, stream, hdus)
            return
        with unpacking(path, stream) as (unpacked, unpack_to):
            hdus, declared = _read_hdus(path, unpacked, unpack_to)
            size = unpack_to(declared + MAX_TAIL_BYTES + 1)  # to the checksum of the stream
            if size > declared + MAX_TAIL_BYTES:
                raise BadInputError(
                    "TOO_LARGE",
                    f"{path} unpacks to much more than the {declared:,} bytes that its headers "
                    "declare",
                    "Download it again.",
                )
            _check_blocks(path, size)
            yield FitsFile(path, unpacked, hdus)


def _read_hdus(
    path: Path, stream: BinaryIO, available: Callable[[int], int]
) -> tuple[tuple[Hdu, ...], int]:
    """Walk over all headers and compare the sizes they promise with the size of the file.

    Parameters
    ----------
    available : callable
        ``available(n)`` makes the first n bytes of the stream readable; returns how many are, fewer
        than n only where the file ends.

    Returns
    -------
    hdus : tuple of Hdu
        All units.
    n_bytes : int
        What they take in the file, with padding.
    """
    if available(BLOCK) == 0:
        raise BadInputError("EMPTY_FILE", f"{path} unpacks to nothing", "Download it again.")
    stream.seek(0)
    head = stream.read(HEAD_BYTES)
    if not head.startswith(b"SIMPLE  ="):
        raise not_fits(path, head)
    hdus: list[Hdu] = []
    at = 0
    while available(at + BLOCK) > at:
        stream.seek(at)
        # What follows the last unit and is no extension is allowed by the standard (3.5).
        if hdus and stream.read(8) != b"XTENSION":
            break
        text, data_offset = _read_header(path, stream, at, available)
        header = parse_cards(text)
        data_bytes = _data_bytes(path, header, len(hdus))
        hdus.append(
            Hdu(header, at, data_offset, data_bytes, forbidden_in(text), unreadable_in(text))
        )
        at = data_offset + padded(data_bytes)
        if at > (size := available(at)):
            raise BadInputError(
                "TRUNCATED",
                f"{path} has {size} bytes where its headers promise at least {at}",
                "The download stopped early: download it again.",
            )
    return tuple(hdus), at


def _check_blocks(path: Path, size: int) -> None:
    """Raise TRUNCATED unless a size is a whole number of blocks."""
    if size % BLOCK:
        raise BadInputError(
            "TRUNCATED",
            f"{path} has {size} bytes, not a multiple of {BLOCK}",
            "Download it again.",
        )


def _read_header(
    path: Path, stream: BinaryIO, at: int, available: Callable[[int], int]
) -> tuple[str, int]:
    """Return the text of one header, decoded byte by byte, and the offset behind it."""
    text = bytearray()
    while len(text) < MAX_HEADER_BYTES:
        available(at + len(text) + BLOCK)
        stream.seek(at + len(text))
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
    """Return the size of the data without padding (FITS standard, equations 1 and 2)."""
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
