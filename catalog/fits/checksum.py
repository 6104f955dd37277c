"""The checksums that a FITS file carries: verified, and made for what is written in blocks.

Astropy only warns about a wrong checksum; a catalog must not take such a file. The convention is
that of the FITS standard 4.0 (Pence et al. 2010, A&A 524, A42), section 4.4.2.7 and appendix J.
"""

from __future__ import annotations

import numpy as np

from catalog.errors import BadInputError
from catalog.files.opening import STREAM_BYTES
from catalog.fits.file import FitsFile, Hdu, padded


def verify_checksums(file: FitsFile, hdu: Hdu) -> None:
    """Check DATASUM and CHECKSUM of a unit where its header has them.

    Parameters
    ----------
    file : FitsFile
        The open file.
    hdu : Hdu
        One of its units.

    Raises
    ------
    BadInputError
        CHECKSUM, when a sum does not agree; BAD_DTYPE, when DATASUM is no number.
    """
    stated, whole = hdu.header.get("DATASUM"), hdu.header.get("CHECKSUM")
    if stated is None and whole is None:
        return
    data_sum = _ones_complement(file, hdu.data_offset, padded(hdu.data_bytes))
    if stated is not None:
        text = str(stated).strip()
        if not text.isdigit():
            raise BadInputError(
                "BAD_DTYPE", f"DATASUM of {file.path} is {text!r}, not a number", "Fix the header."
            )
        if int(text) != data_sum:
            raise _checksum_error(file, hdu, "DATASUM")
    # An all-zero CHECKSUM says that the sum was not computed (FITS standard, appendix J).
    if whole is not None and str(whole).strip("0 "):
        head = _ones_complement(file, hdu.header_offset, hdu.data_offset - hdu.header_offset)
        if _fold(head + data_sum) not in (0, 0xFFFFFFFF):
            raise _checksum_error(file, hdu, "CHECKSUM")


def _checksum_error(file: FitsFile, hdu: Hdu, card: str) -> BadInputError:
    """Make the error for a sum that does not agree."""
    unit = hdu.name or "HDU " + str(file.hdus.index(hdu))
    return BadInputError(
        "CHECKSUM",
        f"{card} of {unit} in {file.path} does not agree with its bytes",
        "The file was damaged after it was written: download it again.",
    )


def _ones_complement(file: FitsFile, offset: int, n_bytes: int) -> int:
    """Return the sum of a part of a file."""
    file.stream.seek(offset)
    total = OnesComplement()
    while n_bytes > 0:
        chunk = file.stream.read(min(n_bytes, STREAM_BYTES))
        if not chunk:
            raise BadInputError("TRUNCATED", f"{file.path} became shorter while being read", "")
        n_bytes -= len(chunk)
        total.add(chunk)
    return total.value


class OnesComplement:
    """Sum of 32-bit words in ones' complement arithmetic, of bytes that come in pieces."""

    def __init__(self) -> None:
        self._total, self._rest = 0, b""

    def add(self, data: bytes) -> None:
        """Add the next bytes."""
        data = self._rest + data if self._rest else data
        whole = len(data) // 4 * 4
        self._rest = data[whole:]
        words = np.frombuffer(data, ">u4", whole // 4)
        self._total = _fold(self._total + int(words.sum(dtype=np.uint64)))

    @property
    def value(self) -> int:
        """The sum, as if zeros filled the last word."""
        return _fold(self._total + int.from_bytes(self._rest.ljust(4, b"\0"), "big"))


def encode_sum(total: int) -> str:
    """Return the 16 letters and digits of a CHECKSUM card (FITS standard, appendix J).

    Parameters
    ----------
    total : int
        Sum of the unit with 16 zeros in the place of the card's text: the text makes it -0.
    """
    letters = np.zeros((4, 4), np.uint8)  # of each byte of the complement: four that add up to it
    for i, byte in enumerate((~total & 0xFFFFFFFF).to_bytes(4, "big")):
        quarter, rest = divmod(byte, 4)
        four = [quarter + rest + 48, quarter + 48, quarter + 48, quarter + 48]
        while any(not chr(c).isalnum() for c in four):  # no punctuation
            for j in (0, 2):
                if not (chr(four[j]).isalnum() and chr(four[j + 1]).isalnum()):
                    four[j] += 1
                    four[j + 1] -= 1
        letters[:, i] = four
    text = letters.tobytes().decode("ascii")
    return text[-1] + text[:-1]  # the text begins in the last byte of a word


def _fold(total: int) -> int:
    """Add the carries back in."""
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total
