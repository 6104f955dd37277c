"""The guard around each item: what goes wrong inside one file or row refuses that one only."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np

from catalog.errors import BadInputError, CrosslabelError
from catalog.records import BadItem, Block

log = logging.getLogger("crosslabel")  # whose records the command line keeps in a file
MAX_FAULTS = 5  # rows of one block that may each be at fault by themselves


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Turn an exception that nobody foresaw into a reason to refuse one item.

    The traceback goes to the log. Errors of our own pass unchanged, and so does what ends the
    process or the run as a whole: signals, and the errors of the system (`OSError`), for a disk
    that fails is no property of the item.

    Parameters
    ----------
    what : str
        The item, for messages: ``row 12 of mine.csv``.

    Raises
    ------
    BadInputError
        UNEXPECTED, with the type and the words of the exception.
    """
    try:
        yield
    except (CrosslabelError, OSError):
        raise
    except Exception as exc:
        log.exception("%s cannot be read", what)
        raise BadInputError(
            "UNEXPECTED",
            f"{what} cannot be read: {type(exc).__name__}: {exc}",
            "This is a fault of crosslabel, not yours: please report it with the traceback in the "
            "log. All else goes on",
        ) from exc


class ReadsRows(Protocol):
    """An open catalog."""

    def read(self, start: int, stop: int) -> Block:
        """Read a range of rows."""


def read_each(catalog: ReadsRows, start: int, stop: int, name: str) -> Block:
    """Read rows of a catalog; where one of them ends in an unforeseen error, refuse that one only.

    Parameters
    ----------
    catalog : ReadsRows
        The open catalog.
    start, stop : int
        Row numbers from 0.
    name : str
        Of the file, for messages.

    Returns
    -------
    Block
        Rows that cannot be read are in ``bad`` with the reason UNEXPECTED.

    Raises
    ------
    BadInputError
        UNEXPECTED, if more than `MAX_FAULTS` rows cannot be read: it is then no row's own fault.
    """
    blocks: list[Block] = []
    todo, n_faults = [(start, stop)], 0
    while todo:
        first, last = todo.pop()
        try:
            with guarded(f"rows {first} to {last - 1} of {name}"):
                blocks.append(catalog.read(first, last))
        except BadInputError as exc:
            if exc.reason_code != "UNEXPECTED" or n_faults == MAX_FAULTS or stop - start < 2:
                raise
            if last - first == 1:
                n_faults += 1
                item = BadItem(f"row {first}", first, "UNEXPECTED", exc.reason)
                blocks.append(Block({}, np.arange(0), (item,), first, 1))
                continue
            middle = (first + last) // 2
            todo += [(middle, last), (first, middle)]
    return blocks[0] if len(blocks) == 1 else _joined(blocks)


def _joined(blocks: Sequence[Block]) -> Block:
    """Return consecutive blocks as one; those without columns are rows that cannot be read."""
    full = [block for block in blocks if block.columns]
    columns = {
        column: np.ma.concatenate(  # type: ignore[no-untyped-call]
            [block.columns[column] for block in full]
        )
        if any(isinstance(block.columns[column], np.ma.MaskedArray) for block in full)
        else np.concatenate([block.columns[column] for block in full])
        for column in full[0].columns
    }
    return Block(
        columns, np.concatenate([block.rows for block in blocks]),
        tuple(item for block in blocks for item in block.bad), blocks[0].first_row,
        sum(block.n_rows for block in blocks),
    )  # fmt: skip
