"""The cards of a FITS header as plain values.

A damaged card is left out, as if it were not there: whoever needs it says what is missing. (Astropy
parses on access and raises its own errors then, at any place where a header is used.)
"""

from __future__ import annotations

import re

CARD = 80
CardValue = str | bool | int | float

STRING = re.compile(r"\s*'((?:[^']|'')*)'")
INTEGER = re.compile(r"[+-]?\d+")
REAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([ED][+-]?\d+)?")


def parse_cards(text: str) -> dict[str, CardValue]:
    """Read the keyword cards of a header.

    Parameters
    ----------
    text : str
        The header, a multiple of 80 characters.

    Returns
    -------
    dict of str to str, bool, int or float
        The first card of each keyword that has a value; strings without trailing blanks.
    """
    values: dict[str, CardValue] = {}
    for at in range(0, len(text), CARD):
        keyword, sign, rest = text[at : at + 8].rstrip(), text[at + 8 : at + 10], text[at + 10 :]
        if sign == "= " and keyword not in values:
            value = _value(rest[: CARD - 10])
            if value is not None:
                values[keyword] = value
    return values


def _value(text: str) -> CardValue | None:
    """Read the value of a card (FITS standard 4.0, section 4.2); None where it is none."""
    if found := STRING.match(text):
        return found[1].replace("''", "'").rstrip()
    word = text.partition("/")[0].strip()
    if word in ("T", "F"):
        return word == "T"
    if INTEGER.fullmatch(word):
        return int(word)
    if REAL.fullmatch(word):
        return float(word.replace("D", "E"))
    return None
