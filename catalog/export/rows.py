"""The rows of an export as Arrow columns, which tell NULL from every value.

One query gives all columns, so that what belongs together stays together, and it comes in blocks,
so that files that are written in blocks need little memory. What has to be known before the first
row is written, such as the width of a text, is found while the rows pass through a file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.export.selection import ExportColumn, Selection, ordered_query

ROWS_PER_BLOCK = 16_384
_TYPES = {
    "bool": pa.bool_(), "int16": pa.int16(), "int32": pa.int32(), "int64": pa.int64(),
    "float32": pa.float32(), "float64": pa.float64(), "text": pa.string(),
}  # fmt: skip


def schema_of(columns: tuple[ExportColumn, ...]) -> pa.Schema:
    """Return the Arrow types of columns."""
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


@contextmanager
def kept(
    blocks: Iterable[pa.RecordBatch], schema: pa.Schema, beside: BinaryIO
) -> Iterator[Iterator[pa.RecordBatch]]:
    """Give blocks of rows a second time, from a temporary file that all of them are put into.

    Parameters
    ----------
    blocks : iterable of RecordBatch
        Read to their end before the first is given back.
    schema : Schema
        Of the blocks.
    beside : typing.BinaryIO
        What is written in the end: where it has a folder, the temporary file is there.
    """
    name = getattr(beside, "name", None)
    folder = Path(name).parent if isinstance(name, str) else None
    with tempfile.TemporaryFile(dir=folder) as file:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.ipc.new_stream(file, schema, options=options) as writer:
            for block in blocks:
                writer.write_batch(block)
        file.seek(0)
        yield iter(pa.ipc.open_stream(file))


def numbers(values: pa.Array, null: float) -> np.ndarray:
    """Return a column of numbers as an array, with ``null`` in place of NULL."""
    filled = values.fill_null(pa.scalar(null, values.type))
    found: np.ndarray = filled.to_numpy(zero_copy_only=False)
    return found


def logical_codes(values: pa.Array) -> np.ndarray:
    """Return the codes of T and F, 0 for NULL, of logicals: as FITS and VOTable hold them."""
    codes = pc.if_else(values, pa.scalar(ord("T"), pa.uint8()), pa.scalar(ord("F"), pa.uint8()))
    found: np.ndarray = codes.fill_null(pa.scalar(0, pa.uint8())).to_numpy(zero_copy_only=False)
    return found


def is_plain(values: pa.Array) -> bool:
    """Return True if all texts of a column are printable ASCII."""
    return not pc.any(pc.match_substring_regex(values, "[^ -~]")).as_py()


def longest(values: pa.Array) -> int:
    """Return the bytes of the longest text of a column, in UTF-8; 0 without any."""
    return int(pc.max(pc.binary_length(values)).as_py() or 0)


def ascii_texts(values: pa.Array, width: int) -> np.ndarray:
    """Return ASCII texts as an array of a width, padded with zeros; empty for NULL."""
    return np.array(values.fill_null("").to_pylist(), f"S{width}")


def refuse_texts(values: pa.Array, pattern: str, column: str, why: str, *, first: int) -> None:
    """Stop if a text of a column matches a pattern, naming the first that does.

    Parameters
    ----------
    first : int
        How many rows came before these.

    Raises
    ------
    UsageError
    """
    found = pc.fill_null(pc.match_substring_regex(values, pattern), False)
    at = pc.index(found, True).as_py()
    if at >= 0:
        raise UsageError(
            f"column {column} holds {values[at].as_py()!r} in row {first + at + 1}, but {why}",
            "Export it as CSV",
        )
