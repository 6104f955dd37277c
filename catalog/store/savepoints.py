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


def write_each(
    conn: sa.Connection,
    items: Sequence[Item],
    write: Callable[[Sequence[Item]], int],
    refuse: Callable[[Item, Exception], int],
) -> int:
    """Write items in one savepoint; if a value is wrong, halve them until the item is found.

    Parameters
    ----------
    items : sequence
        What is to be written, in order.
    write : callable
        ``write(items) -> rows``: also of a part of them, in the same order.
    refuse : callable
        ``refuse(item, exc) -> rows``: record one that cannot be written. The traceback is in the
        log already.

    Returns
    -------
    int
        Rows that changed.
    """
    if not items:
        return 0
    try:
        with conn.begin_nested():
            return write(items)
    except VALUE_ERRORS as exc:
        if len(items) == 1:
            log.exception("an item cannot be written")
            return refuse(items[0], exc)
    half = len(items) // 2
    parts = (items[:half], items[half:])
    return sum(write_each(conn, part, write, refuse) for part in parts)
