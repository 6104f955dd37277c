"""The cards of a FITS header as plain values.

A damaged card is left out, as if it were not there: whoever needs it says what is missing. (Astropy
parses on access and raises its own errors then, at any place where a header is used.) Numbers are
finite: ``1E400`` is a damaged card. Bytes that FITS forbids do not matter in comments; text with
such a byte is no value.
"""

from __future__ import annotations

import math
import re

CARD = 80
CardValue = str | bool | int | float

STRING = re.compile(r"\s*'((?:[^']|'')*)'")
INTEGER = re.compile(r"[+-]?\d+")
REAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([ED][+-]?\d+)?")
FORBIDDEN = re.compile(r"[^ -~]")


def parse_cards(text: str) -> dict[str, CardValue]:
    """Return the values of the keyword cards of a header.

    Parameters
    ----------
    text : str
        The header, a multiple of 80 characters, decoded byte by byte (Latin-1).

    Returns
    -------
    dict of str to str, bool, int or float
        The first card of each keyword that has a value; strings without trailing blanks, finite
        numbers.
    """
    values: dict[str, CardValue] = {}
    for at in range(0, len(text), CARD):
        keyword, sign, rest = text[at : at + 8].rstrip(), text[at + 8 : at + 10], text[at + 10 :]
        if sign == "= " and keyword not in values:
            value = _value(rest[: CARD - 10])
            if value is not None:
                values[keyword] = value
    return values


def unreadable_in(text: str) -> frozenset[str]:
    """Return the keywords whose card has a value that FITS does not allow: ``NaN``, ``1E400``.

    Parameters
    ----------
    text : str
        As in `parse_cards`.
    """
    cards = (text[at : at + CARD] for at in range(0, len(text), CARD))
    return frozenset(
        card[:8].rstrip()
        for card in cards
        if card[8:10] == "= " and card[10:].partition("/")[0].strip() and _value(card[10:]) is None
    )


def forbidden_in(text: str) -> dict[str, str]:
    """Return the cards of a header with bytes that FITS forbids.

    Parameters
    ----------
    text : str
        As in `parse_cards`.

    Returns
    -------
    dict of str to str
        Keyword (``blank`` where it has none) to the first such byte, such as ``0xf1``.
    """
    found: dict[str, str] = {}
    for at in range(0, len(text), CARD):
        card = text[at : at + CARD]
        if odd := FORBIDDEN.search(card):
            keyword = FORBIDDEN.sub("?", card[:8]).strip(" ?") or "blank"
            found.setdefault(keyword, f"0x{ord(odd[0]):02x}")
    return found


def _value(text: str) -> CardValue | None:
    """Return the value of a card (FITS standard 4.0, section 4.2); None where it is none."""
    if found := STRING.match(text):
        value = found[1].replace("''", "'").rstrip()
        return None if FORBIDDEN.search(value) else value
    word = text.partition("/")[0].strip()
    if word in ("T", "F"):
        return word == "T"
    if INTEGER.fullmatch(word):
        return int(word)
    if REAL.fullmatch(word):
        number = float(word.replace("D", "E"))
        return number if math.isfinite(number) else None
    return None
