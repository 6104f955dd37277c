"""Remedies for refused rows, by the reason code that they have in the quarantine.

A whole file has its remedy in the error that refuses it; ``docs/operations.md`` lists all codes.
"""

from __future__ import annotations

from collections.abc import Iterable

REMEDIES: dict[str, str] = {
    "BAD_ID": "write ids as the survey publishes them, as text or integers",
    "BAD_COORD": "correct the position, or take the row away",
    "BAD_VALUE": "correct the value, or leave the cell empty",
    "BAD_TEXT": "write the text again: UTF-8, in FITS printable ASCII",
    "DUP_EQUAL": "nothing: the first of them is used",
    "DUP_CONFLICT": "keep the one that is right",
    "UNEXPECTED": "report it, with the traceback in the log",
}


def advice(codes: Iterable[str]) -> str:
    """Return what to do about rows that were refused for some reasons, in a sentence."""
    words = [f"{code}: {REMEDIES[code]}" for code in codes if code in REMEDIES]
    return "; ".join(words) or "Look at these rows"
