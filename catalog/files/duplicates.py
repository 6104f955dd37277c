"""Rows of one file that share a key: the same row twice, or two answers for one thing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from catalog.files.block import RowAudit
from catalog.files.fitstable import Column, Table


@dataclass(frozen=True)
class Duplicates:
    """Rows that share their key with another row of the file.

    Parameters
    ----------
    repeats : dict of int to int
        Row to the earlier row that it repeats byte by byte.
    conflicts : dict of int to tuple of int
        Row to all rows of its key, where they differ.
    """

    repeats: dict[int, int]
    conflicts: dict[int, tuple[int, ...]]

    def reject(self, audit: RowAudit, n_rows: int) -> None:
        """Reject the rows of a block: later repeats, and all rows in conflict.

        Parameters
        ----------
        audit : RowAudit
            Takes DUP_EQUAL and DUP_CONFLICT.
        n_rows : int
            Rows in its block.
        """
        first = audit.first_row
        rows = range(first, first + n_rows)
        mask = np.array([r in self.repeats for r in rows], bool) if self.repeats else None
        if mask is not None:
            audit.reject(
                mask, "DUP_EQUAL", lambda i: f"the row repeats row {self.repeats[first + i]}"
            )
        mask = np.array([r in self.conflicts for r in rows], bool) if self.conflicts else None
        if mask is not None:
            audit.reject(mask, "DUP_CONFLICT", lambda i: self._conflict(first + i))

    def _conflict(self, row: int) -> str:
        """Say which rows are in conflict with one."""
        rows = self.conflicts[row]  # maybe all of the file, in each of its rows
        others = [str(r) for r in rows[:7] if r != row][:6]
        more = ", ..." if len(others) > 5 else ""
        return f"the same key has other content in row {', '.join(others[:5])}{more}"


def find_duplicates(
    table: Table, columns: Sequence[Column], key_of: Callable[[np.ndarray], np.ndarray]
) -> Duplicates:
    """Compare the keys of all rows of a table.

    The whole table is read once in small blocks; only the keys are kept.

    Parameters
    ----------
    table : Table
        The open table.
    columns : sequence of Column
        What the key is made of.
    key_of : callable
        From rows as stored, shape (n,), to keys, byte strings of shape (n,); ``b""`` is no key.

    Returns
    -------
    Duplicates
    """
    parts = [_narrow(key_of(table.read(start, stop, columns))) for start, stop in table.blocks()]
    if not parts:
        return Duplicates({}, {})
    keys = np.concatenate(parts)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    sizes = np.diff(np.append(starts, len(keys)))
    repeats: dict[int, int] = {}
    conflicts: dict[int, tuple[int, ...]] = {}
    for group in np.flatnonzero((sizes > 1) & (ordered[starts] != b"")).tolist():
        rows = order[starts[group] : starts[group] + sizes[group]].tolist()
        contents = {_row_digest(table, row) for row in rows}
        if len(contents) == 1:
            repeats |= dict.fromkeys(rows[1:], rows[0])
        else:
            conflicts |= dict.fromkeys(rows, tuple(rows))
    return Duplicates(repeats, conflicts)


def _narrow(keys: np.ndarray) -> np.ndarray:
    """Keys in an array no wider than the longest of them: there are millions."""
    width = np.strings.str_len(keys).max(initial=1)
    return keys.astype(f"S{max(width, 1)}")


def _row_digest(table: Table, row: int) -> bytes:
    """Digest of one whole row as it is in the file."""
    table.file.stream.seek(table.hdu.data_offset + row * table.row_bytes)
    return hashlib.sha256(table.file.stream.read(table.row_bytes)).digest()
