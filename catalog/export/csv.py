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

from catalog.export.selection import ExportColumn, Selection, columns_of, ordered_query

_NULL = 'an empty field; an empty text is written as ""'
# What a spreadsheet would take for a formula: one of the signs, full-width or not, after blanks,
# control characters and characters without width, which some programs trim; or a tab or line end.
_BLANKS = r"\u0001-\u0020\u007f-\u00a0\u00ad\u1680\u180e\u2000-\u200f"
_BLANKS += r"\u2028-\u202f\u205f-\u206f\u3000\ufeff"
_SIGNS = r"=+@\uff1d\uff0b\uff20\uff0d\u2212-"
_FORMULA = rf"^([{_BLANKS}]*[{_SIGNS}]|[\t\r\n])"


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
        Put a quote before texts that a spreadsheet would take for formulas (= + - @ first, also
        full-width or after blanks), and all texts in double quotes, so that none is cut at another
        separator; the texts are then not exact any more.
    """
    columns = columns_of(conn, selection)
    query = ordered_query(selection, columns, {c.name: _expression(c, safe_cells) for c in columns})
    cursor = conn.connection.cursor()
    total = hashlib.sha256()
    options = "FORMAT csv, HEADER, ENCODING 'UTF8'"
    texts = ", ".join(f'"{c.name}"' for c in columns if c.kind == "text")
    if safe_cells and texts:
        options += f", FORCE_QUOTE ({texts})"
    with cursor.copy(f"COPY ({query}) TO STDOUT ({options})") as copy:
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
    """Return the SQL that a column is written with."""
    if column.kind == "bool":
        return f"{column.sql}::text"  # true and false, not t and f
    if safe_cells and column.kind == "text":
        return f"CASE WHEN {column.sql} ~ '{_FORMULA}' THEN '''' ELSE '' END || {column.sql}"
    return column.sql


def _column_schema(column: ExportColumn) -> dict[str, str | None]:
    """Return what the sidecar says about a column."""
    return {
        "name": column.name,
        "type": column.kind,
        "unit": column.meaning.unit or None,
        "ucd": column.meaning.ucd or None,
        "description": column.meaning.description,
    }
