"""Records that pass between readers and the database: a file, a block of rows, a refused item."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class FileIdentity:
    """The path, size and checksum of a file; size and checksum identify it wherever it lies.

    Parameters
    ----------
    path : pathlib.Path
        Where it was read.
    size : int
        Bytes.
    sha256 : str
        Hexadecimal digest of all bytes, as they are on disk.
    """

    path: Path
    size: int
    sha256: str


@dataclass(frozen=True)
class BadItem:
    """One row or file that must not enter the catalog.

    Parameters
    ----------
    item_key : str
        The survey's key of the row, or ``row N`` where the key itself is unusable.
    row : int or None
        Row number in the file, counted from 0; None for a whole file.
    reason_code : str
        One of the codes of ``docs/operations.md``, such as ``BAD_COORD``.
    detail : str
        What is wrong, in one sentence.
    """

    item_key: str
    row: int | None
    reason_code: str
    detail: str


@dataclass(frozen=True)
class Block:
    """Consecutive rows of a catalog: the good ones as columns, the bad ones as reasons.

    Null is NaN in float arrays, the mask of integer `numpy.ma.MaskedArray`, and ``b""`` in byte
    strings. Boolean arrays have no null.

    Parameters
    ----------
    columns : dict of str to numpy.ndarray
        Database column name to values of the good rows, shape (n_good,), native byte order.
    rows : numpy.ndarray
        Row number in the file of each good row, int64, shape (n_good,).
    bad : tuple of BadItem
        The rows left out, in file order.
    first_row, n_rows : int
        The rows of the file that this block covers: good, bad, and those that nobody asked for.
    """

    columns: dict[str, np.ndarray]
    rows: np.ndarray
    bad: tuple[BadItem, ...]
    first_row: int
    n_rows: int

    @property
    def n_good(self) -> int:
        """Number of rows in each column."""
        return len(self.rows)

    @property
    def n_left_out(self) -> int:
        """Number of rows that nobody asked for."""
        return self.n_rows - self.n_good - len(self.bad)


@dataclass
class RowAudit:
    """Collects, for each row of a block, the first reason to reject it.

    Parameters
    ----------
    keys : numpy.ndarray
        Keys of the rows as byte strings, shape (n_rows,); ``b""`` where there is none.
    first_row : int
        Row number of the first one in the file.
    """

    keys: np.ndarray
    first_row: int
    _reasons: dict[int, tuple[str, str]] = field(default_factory=dict)
    _left_out: set[int] = field(default_factory=set)

    def reject(
        self, mask: np.ndarray, reason_code: str, detail: str | Callable[[int], str]
    ) -> None:
        """Reject the rows of a mask unless they already have a reason.

        Parameters
        ----------
        mask : numpy.ndarray
            Boolean, shape (n_rows,).
        reason_code : str
            See `BadItem`.
        detail : str or callable
            The sentence, or a function that makes it from the index within the block.
        """
        for i in np.flatnonzero(mask).tolist():
            text = detail if isinstance(detail, str) else detail(i)
            self._reasons.setdefault(i, (reason_code, text))

    def leave_out(self, mask: np.ndarray) -> None:
        """Take rows away that are neither good nor bad: nobody asked for them.

        Parameters
        ----------
        mask : numpy.ndarray
            Boolean, shape (n_rows,).
        """
        self._left_out.update(np.flatnonzero(mask).tolist())

    def block(self, columns: Mapping[str, np.ndarray]) -> Block:
        """Make the block: rejected rows, and those left out, leave every column.

        Parameters
        ----------
        columns : mapping of str to numpy.ndarray
            Values of all rows, each of shape (n_rows,).

        Returns
        -------
        Block
        """
        rows = sorted(self._reasons.keys() - self._left_out)
        bad = tuple(BadItem(self._name(i), self.first_row + i, *self._reasons[i]) for i in rows)
        numbers = self.first_row + np.arange(len(self.keys))
        gone = [*rows, *self._left_out]
        if gone:
            keep = np.ones(len(self.keys), bool)
            keep[gone] = False
            columns = {name: values[keep] for name, values in columns.items()}
            numbers = numbers[keep]
        return Block(dict(columns), numbers, bad, self.first_row, len(self.keys))

    def _name(self, i: int) -> str:
        """Return the key of a row in words that any database accepts."""
        key = bytes(self.keys[i])
        printable = key and all(32 <= byte < 127 for byte in key)
        return key.decode("ascii") if printable else f"row {self.first_row + i}"
