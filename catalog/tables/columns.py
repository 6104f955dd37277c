"""Tables of anyone's as their readers hand them over: columns by name, cells as they are stored.

A file may hold several tables. A reader (`table_text`, `table_fits`, ...) lists them without
reading their cells; `choose_table` says which one is meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from catalog.errors import BadInputError, UsageError
from catalog.files.units import unit_in_name
from catalog.words import count

_SHOWN, _SHOWN_LETTERS = 40, 60  # names of columns, and letters of one, in a message
_BRACKETS = {"]": "[", ")": "("}  # around a unit in a name, by the one that ends it


@dataclass(frozen=True)
class RawColumn:
    """A column of a table.

    Attributes
    ----------
    index : int
        Its place in the table.
    name : str
        As the file has it.
    unit : str
        As the file has it; empty where it names none.
    other_name : str
        What else the file calls it: the ID of a VOTable's FIELD, or its name without the unit
        that is part of it.
    """

    index: int
    name: str
    unit: str = ""
    other_name: str = ""

    @property
    def folded(self) -> str:
        """The name in the form of `fold`."""
        return fold(self.name)


@dataclass(frozen=True)
class RawTable:
    """A table of a file.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    place : str
        Which table of the file: ``HDU 2``, ``table 1``; empty if a file has only one.
    columns : tuple of RawColumn
        All of them.
    n_rows : int
        Its rows.
    read : callable
        From columns to their cells, a one-dimensional `numpy.ma.MaskedArray` each, of numbers,
        texts, bytes or (as objects) a mixture. Raises BadInputError BAD_DTYPE where cells are no
        single values.
    partial : bool
        Whether its service says that rows are missing.
    """

    path: Path
    place: str
    columns: tuple[RawColumn, ...]
    n_rows: int
    read: Callable[[Sequence[RawColumn]], list[np.ma.MaskedArray]]
    partial: bool = False

    @property
    def where(self) -> str:
        """The file, and which of its tables."""
        return f"{self.place} of {self.path}" if self.place else str(self.path)

    def with_units_of_names(self, known: Mapping[str, str]) -> RawTable:
        """Return the table with the units that stand in the names of columns: ``Teff [K]``.

        Parameters
        ----------
        known : mapping of str to str
            Names without their unit, in the form of `fold`, and the catalog's unit of each:
            ``log`` is no name, so ``log(g)`` is not in grams.
        """
        return replace(self, columns=tuple(_with_unit_of_name(c, known) for c in self.columns))

    def find(
        self, names: Sequence[str], option: str = "", *, exact: bool = False
    ) -> RawColumn | None:
        """Find a column by the first of some names, then by the first that is an ID.

        Parameters
        ----------
        names : sequence of str
            Best first. The same letters in any case win over those with other signs between them:
            ``[Fe/H]`` is ``fe_h``.
        option : str
            The option that can name one of several; for the message.
        exact : bool
            Whether the case of a name tells columns apart: people have written it.

        Raises
        ------
        BadInputError
            WRONG_CONTENT, if several columns have one name but for case or signs.
        """
        forms = (str, str.lower, fold) if exact else (str.lower, fold)
        for attribute in ("name", "other_name"):
            called = [(getattr(column, attribute), column) for column in self.columns]
            for name in names:
                for form in forms:
                    found = [c for own, c in called if own and form(own) == form(name)]
                    if len(found) > 1:
                        raise self._ambiguous(found, option)
                    if found:
                        return found[0]
        return None

    def _ambiguous(self, found: Sequence[RawColumn], option: str) -> BadInputError:
        """Return the error for columns that have one name but for case or signs."""
        words = " and ".join(repr(c.name) for c in found)
        todo = f"Say which: {option} {found[0].name}" if option else "Take one of them away"
        return BadInputError("WRONG_CONTENT", f"{self.where} has both columns {words}", todo)

    def lacks(self, what: str, todo: str) -> BadInputError:
        """Return the error for a table without a column."""
        have = shown_names([c.name for c in self.columns])
        return BadInputError(
            "MISSING_COLUMN", f"{self.where} has {what}; its columns are: {have}", todo
        )


def _with_unit_of_name(column: RawColumn, known: Mapping[str, str]) -> RawColumn:
    """Return a column with the unit behind its name, if the file gives no other."""
    name = column.name.strip()
    opening = _BRACKETS.get(name[-1:])
    if column.unit or column.other_name or opening is None:
        return column
    for i, sign in enumerate(name):
        bare = name[:i].rstrip(" ,")
        wanted = known.get(fold(bare)) if sign == opening else None
        unit = unit_in_name(name[i:], wanted) if wanted else None
        if unit:
            return replace(column, unit=unit, other_name=bare)
    return column


@lru_cache(maxsize=1 << 16)
def fold(name: str) -> str:
    """Return a name in lower case, with one ``_`` for all that is no letter or digit."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def shown_names(names: Sequence[str]) -> str:
    """Return the names of columns for a message: the first of many, and how many more."""
    shown = [(name or "(no name)")[:_SHOWN_LETTERS] for name in names[:_SHOWN]]
    more = len(names) - len(shown)
    return ", ".join(shown) + f" and {more:,} more" * (more > 0)


def choose_table(
    tables: Sequence[RawTable], fits: Callable[[RawTable], bool], wanted: str = ""
) -> RawTable:
    """Return the table that is meant.

    Parameters
    ----------
    tables : sequence of RawTable
        Those of a file, at least one.
    fits : callable
        Whether a table has the columns that are needed.
    wanted : str
        Its number as in `RawTable.place`, or its name; empty: the one that fits and has rows.

    Raises
    ------
    UsageError
        If there is none of that number or name.
    BadInputError
        WRONG_CONTENT, if several fit and have rows.
    """
    places = "; ".join(f"{t.place} ({count(t.n_rows, 'row')})" for t in tables)
    if wanted:
        for table in tables:
            kind, number, *name = table.place.split(" ", 2)
            if wanted.lower() in (number, f"{kind} {number}".lower(), *(n.lower() for n in name)):
                return table
        raise UsageError(
            f"{tables[0].path} has no table {wanted}", f"It has: {places or 'one table only'}"
        )
    suitable = [table for table in tables if fits(table)]
    with_rows = [table for table in suitable if table.n_rows]
    if len(with_rows) > 1:
        raise BadInputError(
            "WRONG_CONTENT", f"{tables[0].path} has several tables of labels: {places}",
            f"Say which: --hdu {with_rows[0].place.split()[1]}",
        )  # fmt: skip
    return (with_rows or suitable or [t for t in tables if t.n_rows] or list(tables))[0]
