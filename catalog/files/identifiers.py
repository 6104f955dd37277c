"""The one reading of identifiers, in the forms in which files hold them.

Text with padding or quotes, the ``b'...'`` that Python prints for bytes, numbers signed or
unsigned, ``0x...`` as CasJobs writes binary: all become the one text that the catalog has. What has
gone through floating point has lost its digits, and is refused.
"""

from __future__ import annotations

import re

import numpy as np

from catalog.errors import UsageError
from catalog.files.missing import is_word

_BYTES = re.compile(r"b(['\"])(.*)\1", re.S)
_QUOTED = re.compile(r"(['\"])(.*)\1", re.S)
_FLOAT = re.compile(r"[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_HEX = re.compile(r"0[xX][0-9a-fA-F]{1,16}")
# 2MASS: J, hours minutes seconds, degrees minutes seconds; APOGEE writes 2M for J, and AP where
# 2MASS does not know the star.
_TWO_MASS = re.compile(r"(?:2MASS)?[ _-]?(2M|AP|J|)[ ]?([0-9]{8}[+-][0-9]{7})", re.I)
_MINUS = str.maketrans({"\u2212": "-", "\u2013": "-", "\u00a0": " ", "\ufeff": ""})


class BadId(ValueError):  # noqa: N818 - the name of the reason code
    """An identifier that cannot be one; the message says why."""


def plain_id(cell: object) -> str:
    """Return an identifier as text; empty where there is none.

    Parameters
    ----------
    cell : object
        Text, bytes or an integer.

    Raises
    ------
    BadId
        For a floating-point number, or its text.
    UnicodeDecodeError
        For bytes that are no UTF-8.
    """
    if isinstance(cell, bool | np.bool_ | float | np.floating):
        raise BadId(f"{cell!r} has gone through floating point, in which ids lose digits")
    text = cell.decode() if isinstance(cell, bytes) else str(cell)
    text = text.translate(_MINUS).strip(" \t\r\n\0")
    if found := _BYTES.fullmatch(text) or _QUOTED.fullmatch(text):
        text = found[2].strip()
    if is_word(text):
        return ""
    if _FLOAT.fullmatch(text):
        raise BadId(f"{text} has gone through floating point, in which ids lose digits")
    return text


def two_mass_id(cell: object) -> str:
    """Return APOGEE_ID: ``2M`` or ``AP`` before the numbers of the name, whatever the file has.

    Raises
    ------
    BadId, UnicodeDecodeError
        As `plain_id`.
    """
    text = plain_id(cell)
    if found := _TWO_MASS.fullmatch(text):
        return ("AP" if found[1].upper() == "AP" else "2M") + found[2]
    return text


def spectrum_id(cell: object) -> str:
    """Return a specObjID in decimal digits, or a key plate-mjd-fiber-run2d as it is.

    From plate 8192 on the number passes 2**63: a negative one went through a signed column.

    Raises
    ------
    BadId, UnicodeDecodeError
        As `plain_id`; and for a number below -2**63.
    """
    text = plain_id(cell)
    if _HEX.fullmatch(text):
        return str(int(text, 16))
    if not _INTEGER.fullmatch(text):
        return text
    number = int(text)
    if number < -(2**63):
        raise BadId(f"{text} is no 64-bit number")
    return str(number + 2**64 if number < 0 else number)


def spellings(name: str) -> set[str]:
    """Return the forms in which the catalog may have an identifier that a person gave.

    Raises
    ------
    UsageError
        If it has gone through floating point and lost its digits.
    """
    try:
        return {name.strip(), two_mass_id(name), spectrum_id(name)}
    except BadId as exc:
        raise UsageError(str(exc), "Give the identifier as text, with all digits") from exc
