"""What every export shares: a query with its order and origin, typed columns, safe replacement.

An export is the answer of one query in a stable order, so that the same state of the database
always gives the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.store.columns import VOCABULARY, Meaning


@dataclass(frozen=True)
class Selection:
    """What is exported.

    Attributes
    ----------
    name : str
        Such as ``aspcap/dr14@1`` or ``best_match``.
    description : str
        In words.
    query : str
        SELECT without parameters; its columns are named as in the vocabulary.
    order : tuple of str
        Columns that make a row unique, by which rows are sorted.
    provenance : mapping
        JSON-able values that tell what the rows were made from.
    date : str or None
        When the content was published, ISO 8601 UTC; not when it was exported.
    notes : tuple of str
        Such as the meaning of flag bits.
    """

    name: str
    description: str
    query: str
    order: tuple[str, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    date: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExportColumn:
    """A column of an export.

    Attributes
    ----------
    name : str
    kind : str
        ``int16``, ``int32``, ``int64``, ``float32``, ``float64``, ``bool`` or ``text``.
    sql : str
        Expression over the selection ``q`` that gives a value of that kind.
    meaning : Meaning
        Unit, UCD and description.
    """

    name: str
    kind: str
    sql: str
    meaning: Meaning


# OID of a PostgreSQL type -> kind, and how it is written where that is not as it is. Numbers
# beyond 64 bits become text: no reader of FITS or JSON could hold them.
_KINDS = {
    16: ("bool", "{}"), 21: ("int16", "{}"), 23: ("int32", "{}"), 20: ("int64", "{}"),
    700: ("float32", "{}"), 701: ("float64", "{}"), 25: ("text", "{}"), 1700: ("text", "{}::text"),
    1184: ("text", "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"),
    3802: ("text", "{}::text"), 1009: ("text", "array_to_json({})::text"),
}  # fmt: skip
_BYTEA = 17


def columns_of(conn: sa.Connection, selection: Selection) -> tuple[ExportColumn, ...]:
    """The columns of a selection, with their meaning; binary ones are left out."""
    cursor: Any = conn.connection.cursor()  # psycopg's, whose types SQLAlchemy does not know
    cursor.execute(f"SELECT * FROM ({selection.query}) q LIMIT 0")
    columns = []
    for name, oid, *_ in cursor.description or ():
        if oid == _BYTEA:
            continue
        kind, sql = _KINDS[oid]
        columns.append(ExportColumn(name, kind, sql.format(f'q."{name}"'), VOCABULARY[name]))
    return tuple(columns)


def ordered_query(
    selection: Selection, columns: tuple[ExportColumn, ...], expressions: Mapping[str, str]
) -> str:
    """The query for some columns (name -> expression over ``q``), in the selection's order."""
    kinds = {c.name: c.kind for c in columns}
    wanted = ", ".join(f'{sql} AS "{name}"' for name, sql in expressions.items())
    # the C collation: the same order whatever the locale of the server
    order = ", ".join(
        f'q."{name}" COLLATE "C"' if kinds[name] == "text" else f'q."{name}"'
        for name in selection.order
    )
    return f"SELECT {wanted} FROM ({selection.query}) q ORDER BY {order}"


@contextmanager
def replace_files(*paths: Path) -> Iterator[tuple[BinaryIO, ...]]:
    """Write files as ``<name>.part`` beside their places and put them there when all is written.

    Whatever fails before that leaves what was there. Links are followed and stay links.

    Raises
    ------
    UsageError
        If the folder does not exist, a file cannot be written, or a device or folder has the name.
    """
    for path in paths:
        if path.exists() and not path.is_file():  # a rename would take the place of a device
            raise UsageError(f"{path} is there and no regular file", "Write to another name")
    paths = tuple(path.resolve() for path in paths)
    parts = [path.with_name(path.name + ".part") for path in paths]
    streams: list[BinaryIO] = []
    try:
        try:
            streams.extend(part.open("wb") for part in parts)
            yield tuple(streams)
            for stream in streams:
                stream.flush()
                os.fsync(stream.fileno())
        finally:
            for stream in streams:
                stream.close()
        for part, path in zip(parts, paths, strict=True):
            part.replace(path)
        _sync_folder(paths[0].parent)
    except OSError as exc:
        raise UsageError(
            f"{paths[0]} cannot be written: {exc.strerror or exc}",
            "Is the folder there, writable, and is there space?",
        ) from exc
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the new names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
