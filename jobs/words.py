"""Numbers with their nouns, for messages."""

from __future__ import annotations


def count(n: int, what: str) -> str:
    """Return a number with its noun, such as ``1 star``, ``2,000 stars`` and ``3 spectra``."""
    if n == 1:
        return f"1 {what}"
    plural = f"{what[:-2]}a" if what.endswith("spectrum") else f"{what}s"
    return f"{n:,} {plural}"
