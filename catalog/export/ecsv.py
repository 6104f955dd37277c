"""ECSV exports: CSV whose comment lines say what the columns are (Astropy APE 6).

NULL is an empty field. Floats are the shortest text that reads back as the same number, logicals
are True and False, lines end with LF.
"""

from __future__ import annotations

from typing import BinaryIO

import sqlalchemy as sa
from astropy.table import Column, Table
from astropy.table.meta import get_yaml_from_table

from catalog.errors import UsageError
from catalog.export.selection import ExportColumn, Selection, columns_of, ordered_query

_NULL = "an empty field; an empty text reads as NULL"
_TYPES = {"text": "str"}


def write_ecsv(conn: sa.Connection, selection: Selection, stream: BinaryIO) -> int:
    """Write a selection as ECSV; returns the number of rows.

    Raises
    ------
    UsageError
        If a text holds a line break, which readers of ECSV do not take.
    """
    columns = columns_of(conn, selection)
    stream.write(_header(selection, columns).encode())
    expressions = {
        c.name: f"CASE WHEN {c.sql} THEN 'True' WHEN NOT {c.sql} THEN 'False' END"
        if c.kind == "bool"
        else c.sql
        for c in columns
    }
    query = ordered_query(selection, columns, expressions)
    n_lines = 0
    cursor = conn.connection.cursor()
    with cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT csv, HEADER, ENCODING 'UTF8')") as copy:
        for block in copy:
            stream.write(block)
            n_lines += len(bytes(block).decode().splitlines())  # as readers find them
    if n_lines != cursor.rowcount + 1:
        raise UsageError(
            f"{selection.name} holds texts with line breaks, which ECSV cannot hold",
            "Export it as CSV",
        )
    return cursor.rowcount


def _header(selection: Selection, columns: tuple[ExportColumn, ...]) -> str:
    """Return the comment lines before the line of names."""
    table = Table()
    for c in columns:
        table[c.name] = Column(
            [], name=c.name, dtype=_TYPES.get(c.kind, c.kind), unit=c.meaning.unit or None,
            description=c.meaning.description, meta={"ucd": c.meaning.ucd} if c.meaning.ucd else {},
        )  # fmt: skip
    table.meta = {
        "name": selection.name,
        "description": selection.description,
        "null": _NULL,
        "key": list(selection.order or table.colnames),
        "date": selection.date,
        "notes": list(selection.notes),
        "provenance": dict(selection.provenance),
    }
    lines = ["%ECSV 1.0", "---", "delimiter: ','", *get_yaml_from_table(table)]
    return "".join(f"# {line}\n" for line in lines)
