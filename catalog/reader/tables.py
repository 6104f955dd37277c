"""Rows of a selection as Astropy tables: units, descriptions, UCDs; NULL is masked, ids exact."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from astropy.table import Column, MaskedColumn, Table

from catalog.errors import UsageError
from catalog.export.rows import ROWS_PER_BLOCK, read_blocks, schema_of
from catalog.export.selection import ExportColumn, Selection, columns_of
from catalog.reader.requested import Request

#: What stands under the mask. NaN spoils whatever forgets the mask, as it should.
_FILL: dict[str, Any] = {"bool": False, "text": "", "float32": np.nan, "float64": np.nan}
_MAX_ROWS = 2**31 - 1  # no memory holds more, and FETCH takes no larger number


class LimitWarning(UserWarning):
    """Not all that there is was given; the text says how much is missing, and how to get it."""


def read_table(conn: sa.Connection, request: Request, limit: int | None) -> tuple[Table, int]:
    """Return the first rows of what is asked for.

    Parameters
    ----------
    limit : int or None
        Largest number of rows; None: all.

    Returns
    -------
    table : Table
        ``meta`` has name, description, notes, provenance, and ``n_rows``: how many there are.
    n_rows : int
        How many rows there are.

    Raises
    ------
    UsageError
        If the limit is no number of rows.
    """
    if limit is not None:
        limit = number_of_rows(limit, 0, "Give limit=None for all rows")
    selection = request.selection
    columns = columns_of(conn, selection)
    size = ROWS_PER_BLOCK if limit is None else min(ROWS_PER_BLOCK, limit + 1)
    found = read_blocks(conn, selection, columns, rows_per_block=size, as_given=request.as_given)
    blocks = list(found if limit is None else islice(found, -(-(limit + 1) // size)))
    rows = pa.Table.from_batches(blocks, schema_of(columns))
    n_rows = len(rows)
    if limit is not None and n_rows > limit:
        n_rows = _count(conn, selection)
        rows = rows.slice(0, limit)
    return make_table(request, columns, rows, n_rows), n_rows


def iterate_tables(conn: sa.Connection, request: Request, rows: int) -> Iterator[Table]:
    """All rows in tables of at most so many, read as they are needed."""
    rows = number_of_rows(rows, 1, "Give the rows of a block: 1 or more")
    selection = request.selection
    columns = columns_of(conn, selection)
    found = read_blocks(conn, selection, columns, rows_per_block=rows, as_given=request.as_given)
    for block in found:
        yield make_table(request, columns, pa.Table.from_batches([block]), None)


def number_of_rows(given: Any, least: int, todo: str) -> int:
    """Return an integer of at least so much, as cursors take it.

    Raises
    ------
    UsageError
        If it is none.
    """
    try:
        number = operator.index(given)
    except TypeError:
        number = -1
    if number < least:
        raise UsageError(f"{given!r} is no number of rows", todo)
    return min(number, _MAX_ROWS)


def _count(conn: sa.Connection, selection: Selection) -> int:
    """Return the number of rows of a selection."""
    cursor: Any = conn.connection.cursor()
    return int(cursor.execute(f"SELECT count(*) FROM (\n{selection.query}\n) q").fetchone()[0])


def make_table(
    request: Request, columns: tuple[ExportColumn, ...], rows: pa.Table, n_rows: int | None
) -> Table:
    """Return rows with what their columns mean."""
    selection = request.selection
    meta = {
        "name": selection.name,
        "description": selection.description,
        "date": selection.date,
        "notes": list(selection.notes),
        "provenance": dict(selection.provenance),
        "n_rows": n_rows,
    }
    return Table(
        [make_column(c, rows[c.name], request.units.get(c.name)) for c in columns],
        meta={key: value for key, value in meta.items() if value not in (None, [], {})},
    )


def make_column(
    column: ExportColumn, values: pa.ChunkedArray, unit: str | None = None
) -> Column | MaskedColumn:
    """Return a column: masked where NULL, plain where nothing is NULL."""
    fill = _FILL.get(column.kind, 0)
    filled = values.fill_null(pa.scalar(fill, values.type))
    is_text = column.kind == "text"
    data = np.array(filled.to_pylist(), str) if is_text else filled.to_numpy()
    meaning = column.meaning
    about: dict[str, Any] = {
        "name": column.name,
        "unit": unit or meaning.unit or None,
        "description": meaning.description,
        "meta": {"ucd": meaning.ucd} if meaning.ucd else {},
    }
    if not values.null_count:
        return Column(data, **about)
    return MaskedColumn(data, mask=pc.is_null(values).to_numpy(), fill_value=fill, **about)
