"""Numbers written as text: those that everybody reads alike, and no others.

Python's own ``float`` also takes ``4_100`` and digits of other scripts, which are mistakes here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from catalog.files.missing import is_word

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eEdD][+-]?[0-9]+)?")
_INFINITE = re.compile(r"([+-]?)inf(?:inity)?", re.I)


def is_number(text: str) -> bool:
    """Return whether a text is a number."""
    return _NUMBER.fullmatch(text.strip()) is not None


def numbers_of(cells: np.ma.MaskedArray) -> tuple[np.ndarray, Mapping[int, str]]:
    """Return the numbers in a column.

    Parameters
    ----------
    cells : numpy.ma.MaskedArray
        Numbers, texts, bytes or a mixture, shape (n,).

    Returns
    -------
    values : numpy.ndarray
        float64, shape (n,); NaN where there is none: masked, or a word for missing.
    no_numbers : mapping of int to str
        Cells that are neither, by row.
    """
    mask = np.ma.getmaskarray(cells)
    if cells.dtype.kind in "fiu":
        with np.errstate(invalid="ignore"):  # NaN of float32 that signal
            return np.where(mask, np.nan, cells.data.astype("f8")), {}
    values = np.full(len(cells), np.nan)
    no_numbers: dict[int, str] = {}
    for i, cell in enumerate(cells.data.tolist()):
        if mask[i] or cell is None:
            continue
        if isinstance(cell, int | float) and not isinstance(cell, bool):
            values[i] = float(cell)
            continue
        text = cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell)
        text = text.strip().replace("\u2212", "-")
        if _NUMBER.fullmatch(text):
            values[i] = float(text.replace("D", "E").replace("d", "e"))
        elif found := _INFINITE.fullmatch(text):
            values[i] = -np.inf if found[1] == "-" else np.inf
        elif not is_word(text):
            no_numbers[i] = text[:40]
    return values, no_numbers
