"""Rows that share a key, in one file or in several: the same row twice, or two answers.

Within a file a row that repeats another (but for the padding of its texts) is left out, and rows
that differ are all refused, because nothing tells which is right. The same holds across the files
of one run, where repeated rows do no harm: what is written twice is the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from catalog.fits.table import Column, Table
from catalog.records import RowAudit


@dataclass(frozen=True)
class Duplicates:
    """Rows that share their key with another row.

    Parameters
    ----------
    repeats : dict of int to int
        Row to the earlier row of the file that it repeats.
    conflicts : dict of int to tuple of int
        Row to all rows of its key, where they differ.
    keys : callable
        Returns the keys of all rows, byte strings of shape (n_rows,); reads the file.
    content : callable
        Returns a digest of a row: of its bytes, or (``padded=False``) of its values by column, with
        texts without their padding, which tells rows of other layouts the same.
    elsewhere : mapping of int to str
        Row to the row of another file that has its key and differs, in words.
    """

    repeats: dict[int, int]
    conflicts: dict[int, tuple[int, ...]]
    keys: Callable[[], np.ndarray]
    content: Callable[..., bytes]
    elsewhere: Mapping[int, str] = field(default_factory=dict)

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
        for found, code, detail in (
            (self.repeats, "DUP_EQUAL", lambda i: f"the row repeats row {self.repeats[first + i]}"),
            (self.conflicts, "DUP_CONFLICT", lambda i: self._conflict(first + i)),
            (self.elsewhere, "DUP_CONFLICT",
             lambda i: f"the same key has other content in {self.elsewhere[first + i]}"),
        ):  # fmt: skip
            if found:
                audit.reject(np.array([r in found for r in rows], bool), code, detail)

    def _conflict(self, row: int) -> str:
        """Return which rows are in conflict with one, in words."""
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

    def keys() -> np.ndarray:
        blocks = (table.read(start, stop, columns) for start, stop in table.blocks())
        parts = [_narrow(key_of(rows)) for rows in blocks]
        return np.concatenate(parts) if parts else np.zeros(0, "S1")

    def content(row: int, *, padded: bool = True) -> bytes:
        return _digest(table, row, padded)

    repeats: dict[int, int] = {}
    conflicts: dict[int, tuple[int, ...]] = {}
    for rows in _groups(keys()):
        if _are_same([(content, row) for row in rows]):
            repeats |= dict.fromkeys(rows[1:], rows[0])
        else:
            conflicts |= dict.fromkeys(rows, tuple(rows))
    return Duplicates(repeats, conflicts, keys, content)


def compare_files(found: Mapping[str, Duplicates]) -> dict[str, Duplicates]:
    """Return the duplicates of several files of one run, with what contradicts another file.

    Parameters
    ----------
    found : mapping of str to Duplicates
        By the name of the file.

    Returns
    -------
    dict of str to Duplicates
        The same, each with ``elsewhere``.
    """
    names = list(found)
    parts = [found[name].keys() for name in names]
    first = np.cumsum([0, *map(len, parts)])
    elsewhere: dict[str, dict[int, str]] = {name: {} for name in names}
    for rows in _groups(np.concatenate(parts) if parts else np.zeros(0, "S1")):
        files = (np.searchsorted(first, rows, side="right") - 1).tolist()
        if len(set(files)) == 1:
            continue
        places = [(names[f], int(row - first[f])) for f, row in zip(files, rows, strict=True)]
        if _are_same([(found[name].content, row) for name, row in places]):
            continue
        for name, row in places:
            other = next(p for p in places if p[0] != name)
            elsewhere[name][row] = f"row {other[1]} of {other[0]}"
    return {name: replace(found[name], elsewhere=elsewhere[name]) for name in names}


def _groups(keys: np.ndarray) -> list[list[int]]:
    """Return the rows of each key that several rows share, in their order; ``b""`` is no key."""
    if not len(keys):
        return []
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    sizes = np.diff(np.append(starts, len(keys)))
    shared = np.flatnonzero((sizes > 1) & (ordered[starts] != b"")).tolist()
    return [order[starts[g] : starts[g] + sizes[g]].tolist() for g in shared]


def _narrow(keys: np.ndarray) -> np.ndarray:
    """Return keys in an array no wider than the longest of them: there are millions."""
    width = np.strings.str_len(keys).max(initial=1)
    return keys.astype(f"S{max(width, 1)}")


def _are_same(rows: Sequence[tuple[Callable[..., bytes], int]]) -> bool:
    """Return whether rows, each with what digests those of its file, are all the same."""
    return any(
        len({content(row, padded=padded) for content, row in rows}) == 1 for padded in (True, False)
    )


def _digest(table: Table, row: int, padded: bool) -> bytes:
    """Return the digest of one whole row as it is in the file, or of its values by column."""
    table.file.stream.seek(table.hdu.data_offset + row * table.row_bytes)
    data = table.file.stream.read(table.row_bytes)
    if padded:
        return hashlib.sha256(data).digest()
    found = hashlib.sha256()
    for name, column in sorted(table.columns.items()):
        cell = data[column.offset : column.offset + column.n_bytes]
        if column.code == "A":
            cell = cell.strip(b" \0")
        found.update(f"{name}:{len(cell)}:".encode() + cell)
    return found.digest()


def reject_repeats(audit: RowAudit, columns: Mapping[str, np.ndarray]) -> None:
    """Of the rows of a table in memory with one key keep the first if all say the same, else none.

    Parameters
    ----------
    audit : RowAudit
        Takes DUP_EQUAL and DUP_CONFLICT.
    columns : mapping of str to numpy.ndarray
        ``key``, byte strings of shape (n,), and floats of shape (n,), NaN for null.
    """
    keys = columns["key"]
    values = np.array([columns[c] for c in columns if c != "key"])
    order = np.argsort(keys, kind="stable")
    firsts = np.flatnonzero(np.append(True, keys[order][1:] != keys[order][:-1])[: len(keys)])
    repeated, conflicting = np.zeros((2, len(keys)), bool)
    number = np.zeros(len(keys), int)
    for group in np.split(order, firsts[1:]):
        if len(group) > 1 and keys[group[0]]:
            number[group] = len(group)
            if np.array_equal(values[:, group[1:]], values[:, group[:-1]], equal_nan=True):
                repeated[group[1:]] = True
            else:
                conflicting[group] = True
    for rejected, code in ((repeated, "DUP_EQUAL"), (conflicting, "DUP_CONFLICT")):
        audit.reject(
            rejected, code,
            lambda i: f"{number[i]} rows have the key {keys[i].decode('utf-8', 'replace')}",
        )  # fmt: skip
