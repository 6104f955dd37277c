"""The SDSS specObjID: a 64-bit number made from plate, MJD, fibre and reduction.

Bits, from the SDSS data model (SpecObjAll): plate << 50 | fiber << 38 | (mjd - 50000) << 24 |
run2d << 10. From plate 8192 on the number passes 2**63, so it is kept as decimal text or uint64
and never goes through a signed integer or a float.
"""

from __future__ import annotations

import re
from contextlib import suppress

import numpy as np

from catalog.files.identifiers import BadId, spectrum_id

MJD_ZERO = 50_000
LARGEST = b"18446744073709551615"
FIELD_BITS = {"plate": (50, 14), "fiber": (38, 12), "mjd": (24, 14), "run2d": (10, 14)}


def run2d_code(run2d: str) -> int | None:
    """Give the number that stands for a reduction within specObjID.

    Parameters
    ----------
    run2d : str
        ``26``, ``103`` (SDSS-I to SEGUE-2) or ``v5_7_0`` (BOSS, eBOSS).

    Returns
    -------
    int or None
        ``vN_M_P`` gives (N - 5) * 10000 + M * 100 + P; None for any other name.
    """
    if re.fullmatch(r"[0-9]{1,5}", run2d):
        return int(run2d)
    found = re.fullmatch(r"v([0-9]+)_([0-9]+)_([0-9]+)", run2d)
    if not found:
        return None
    n, m, p = (int(part) for part in found.groups())
    return (n - 5) * 10_000 + m * 100 + p


def pack_specobjid(plate: int, mjd: int, fiberid: int, run2d: str) -> int | None:
    """Make the specObjID of a spectrum.

    Parameters
    ----------
    plate, mjd, fiberid : int
        Its natural key.
    run2d : str
        Its reduction.

    Returns
    -------
    int or None
        Between 0 and 2**64 - 1; None where a part does not fit its bits or run2d has no number.
    """
    code = run2d_code(run2d)
    if code is None:
        return None
    value = 0
    parts = {"plate": plate, "fiber": fiberid, "mjd": mjd - MJD_ZERO, "run2d": code}
    for name, part in parts.items():
        shift, width = FIELD_BITS[name]
        if not 0 <= part < 1 << width:
            return None
        value |= part << shift
    return value


def unpack_specobjid(
    ids: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Take specObjIDs apart.

    Parameters
    ----------
    ids : numpy.ndarray
        uint64, shape (n,).

    Returns
    -------
    plate, mjd, fiberid, run2d_code : numpy.ndarray
        int64, shape (n,) each.
    """
    ids = np.asarray(ids, np.uint64)
    parts = {}
    for name, (shift, width) in FIELD_BITS.items():
        bits = (ids >> np.uint64(shift)) & np.uint64((1 << width) - 1)
        parts[name] = bits.astype(np.int64)
    return parts["plate"], parts["mjd"] + MJD_ZERO, parts["fiber"], parts["run2d"]


def parse_ids(text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Read identifiers exactly, in any form of `catalog.files.identifiers`.

    Parameters
    ----------
    text : numpy.ndarray
        Byte strings without padding, shape (n,).

    Returns
    -------
    ids : numpy.ndarray
        uint64, shape (n,); 0 where the text is no 64-bit number.
    good : numpy.ndarray
        bool, shape (n,).
    """
    length = np.strings.str_len(text)
    good = np.strings.isdigit(text) & (length > 0) & (length <= len(LARGEST))
    # Twenty digits compare as text, because they have one length.
    good &= (length < len(LARGEST)) | (text <= LARGEST)
    ids = np.zeros(len(text), np.uint64)
    ids[good] = text[good].astype(np.uint64)
    for i in np.flatnonzero(~good & (length > 0)).tolist():
        with suppress(BadId, UnicodeDecodeError, ValueError):
            number = int(spectrum_id(bytes(text[i])))
            if number < 2**64:
                ids[i], good[i] = number, True
    return ids, good
