"""The rows of an export as Arrow columns, which tell NULL from every value.

One query gives all columns, so that what belongs together stays together, and it comes in blocks,
so that files that are written in blocks need little memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.files.export import ExportColumn, Selection, ordered_query

ROWS_PER_BLOCK = 16_384
_TYPES = {
    "bool": pa.bool_(), "int16": pa.int16(), "int32": pa.int32(), "int64": pa.int64(),
    "float32": pa.float32(), "float64": pa.float64(), "text": pa.string(),
}  # fmt: skip


def schema_of(columns: tuple[ExportColumn, ...]) -> pa.Schema:
    """The Arrow types of columns."""
    return pa.schema([(c.name, _TYPES[c.kind]) for c in columns])


def read_blocks(
    conn: sa.Connection,
    selection: Selection,
    columns: tuple[ExportColumn, ...],
    *,
    rows_per_block: int = ROWS_PER_BLOCK,
    as_given: bool = False,
) -> Iterator[pa.RecordBatch]:
    """The rows of a selection in blocks, in its order or as the query itself gives them."""
    expressions = {c.name: c.sql for c in columns}
    query = ordered_query(selection, columns, expressions, as_given=as_given)
    schema = schema_of(columns)
    connection: Any = conn.connection.driver_connection
    with connection.cursor(name="crosslabel_export") as cursor:  # a cursor of the server
        cursor.execute(query, binary=True)  # binary: numbers exact
        while rows := cursor.fetchmany(rows_per_block):
            values = zip(*rows, strict=True)
            arrays = [pa.array(v, f.type) for v, f in zip(values, schema, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def read_rows(
    conn: sa.Connection, selection: Selection, columns: tuple[ExportColumn, ...]
) -> pa.Table:
    """All rows of a selection in its order."""
    return pa.Table.from_batches(read_blocks(conn, selection, columns), schema_of(columns))


def numbers(values: pa.ChunkedArray, null: float) -> np.ndarray:
    """A column of numbers as an array, with ``null`` in place of NULL."""
    return values.fill_null(pa.scalar(null, values.type)).to_numpy()


def logical_codes(values: pa.ChunkedArray) -> np.ndarray:
    """A column of logicals as the codes of T and F, 0 for NULL: as FITS and VOTable hold them."""
    codes = pc.if_else(values, pa.scalar(ord("T"), pa.uint8()), pa.scalar(ord("F"), pa.uint8()))
    return codes.fill_null(pa.scalar(0, pa.uint8())).to_numpy()


def is_plain(values: pa.Array | pa.ChunkedArray) -> bool:
    """Return True where all texts of a column are printable ASCII."""
    return not pc.any(pc.match_substring_regex(values, "[^ -~]")).as_py()


def ascii_texts(values: pa.ChunkedArray, least: int = 1) -> np.ndarray:
    """A column of ASCII texts as an array of their width, padded with zeros; empty for NULL."""
    width = max(pc.max(pc.binary_length(values)).as_py() or 0, least)
    return np.array(values.fill_null("").to_pylist(), f"S{width}")


def refuse_texts(values: pa.ChunkedArray, pattern: str, column: str, why: str) -> None:
    """Stop if a text of a column matches a pattern, naming the first that does.

    Raises
    ------
    UsageError
    """
    found = pc.fill_null(pc.match_substring_regex(values, pattern), False)
    at = pc.index(found, True).as_py()
    if at >= 0:
        raise UsageError(
            f"column {column} holds {values[at].as_py()!r} in row {at + 1}, but {why}",
            "Export it as CSV",
        )
