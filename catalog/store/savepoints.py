"""Write many items together, and one by one where the database takes one of them for no data."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import psycopg
import sqlalchemy as sa

log = logging.getLogger("crosslabel")  # whose records the command line keeps in a file
Item = TypeVar("Item")

#: What a value can be wrong by: the first two as SQLAlchemy says it, the next two as COPY does.
VALUE_ERRORS = (
    sa.exc.DataError, sa.exc.IntegrityError, psycopg.DataError, psycopg.IntegrityError,
    TypeError, ValueError, OverflowError,
)  # fmt: skip

#: Items written together of which each may be at fault by itself; more are a fault of the program.
MAX_REFUSED = 100


def write_each(
    conn: sa.Connection,
    items: Sequence[Item],
    write: Callable[[Sequence[Item]], int],
    refuse: Callable[[Item, Exception], int],
) -> int:
    """Write items in one savepoint; if a value is wrong, halve them until the item is found.

    Where nothing is wrong, this costs one savepoint.

    Parameters
    ----------
    items : sequence
        What is to be written, in order; of rows in arrays, their numbers as a range.
    write : callable
        ``write(items) -> rows``: also of a part of them, in the same order.
    refuse : callable
        ``refuse(item, exc) -> rows``: record one that cannot be written. The traceback is in the
        log already.

    Returns
    -------
    int
        Rows that changed.

    Raises
    ------
    Exception
        What the database said, if more than `MAX_REFUSED` items cannot be written.
    """
    refused = 0

    def attempt(part: Sequence[Item]) -> int:
        nonlocal refused
        if not part:
            return 0
        try:
            with conn.begin_nested():
                return write(part)
        except VALUE_ERRORS as exc:
            if refused == MAX_REFUSED:
                raise
            if len(part) == 1:
                refused += 1
                log.exception("an item cannot be written")
                return refuse(part[0], exc)
        half = len(part) // 2
        return attempt(part[:half]) + attempt(part[half:])

    return attempt(items)


def refusal(what: str, exc: Exception) -> str:
    """Return the sentence for the quarantine about an item that cannot be stored.

    Parameters
    ----------
    what : str
        The item, such as ``the row``.
    exc : Exception
        What was raised: one of `VALUE_ERRORS`.
    """
    words = str(getattr(exc, "orig", None) or exc).splitlines()
    return f"{what} cannot be stored: {words[0] if words else type(exc).__name__}"
