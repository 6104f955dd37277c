"""CSV exports: PostgreSQL's own writer, and a sidecar that says what the columns mean.

NULL is an empty field and an empty text is "". Floats are the shortest text that reads back as the
same number, ids are exact, lines end with LF. FILE.csv.schema.json has units, UCDs, descriptions,
provenance and the checksum.
"""

from __future__ import annotations

import hashlib
import json
from typing import BinaryIO

import sqlalchemy as sa

from catalog.files.export import ExportColumn, Selection, columns_of, ordered_query

SCHEMA_SUFFIX = ".schema.json"
_NULL = 'an empty field; an empty text is written as ""'
# what a spreadsheet would take for a formula
_SAFE = "CASE WHEN {0} ~ '^[=+@\\t\\r-]' THEN '''' || {0} ELSE {0} END"


def write_csv(
    conn: sa.Connection,
    selection: Selection,
    stream: BinaryIO,
    sidecar: BinaryIO,
    *,
    file_name: str,
    safe_cells: bool = False,
) -> int:
    """Write a selection as CSV, and its sidecar; returns the number of rows.

    Parameters
    ----------
    file_name : str
        Name of the CSV file, for the sidecar.
    safe_cells : bool
        Put a quote before texts that a spreadsheet would take for formulas (= + - @ first); the
        texts are then not exact any more.
    """
    columns = columns_of(conn, selection)
    query = ordered_query(selection, columns, {c.name: _expression(c, safe_cells) for c in columns})
    cursor = conn.connection.cursor()
    total = hashlib.sha256()
    with cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT csv, HEADER, ENCODING 'UTF8')") as copy:
        for block in copy:
            stream.write(block)
            total.update(block)
    n_rows = cursor.rowcount
    schema = {
        "file": file_name,
        "sha256": total.hexdigest(),
        "n_rows": n_rows,
        "name": selection.name,
        "description": selection.description,
        "null": _NULL,
        "encoding": "UTF-8",
        "safe_cells": safe_cells,
        "key": list(selection.order or (c.name for c in columns)),
        "columns": [_column_schema(c) for c in columns],
        "notes": list(selection.notes),
        "date": selection.date,
        "provenance": selection.provenance,
    }
    sidecar.write(json.dumps(schema, indent=1, ensure_ascii=False).encode() + b"\n")
    return n_rows


def _expression(column: ExportColumn, safe_cells: bool) -> str:
    """How a column is written."""
    if column.kind == "bool":
        return f"{column.sql}::text"  # true and false, not t and f
    return _SAFE.format(column.sql) if safe_cells and column.kind == "text" else column.sql


def _column_schema(column: ExportColumn) -> dict[str, str | None]:
    """What the sidecar says about a column."""
    return {
        "name": column.name,
        "type": column.kind,
        "unit": column.meaning.unit or None,
        "ucd": column.meaning.ucd or None,
        "description": column.meaning.description,
    }
