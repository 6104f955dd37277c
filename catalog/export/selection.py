"""Common parts of exports: a query with its order and origin, typed columns, safe replacement.

An export is the answer of one query in a stable order, so that the same state of the database
always gives the same bytes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.store.columns import VOCABULARY, Meaning


@dataclass(frozen=True)
class Selection:
    """A query to export, with its order and provenance.

    Attributes
    ----------
    name : str
        Such as ``aspcap/dr14@1`` or ``best_match``.
    description : str
        In words.
    query : str
        SELECT without parameters; its columns are named as in the vocabulary.
    order : tuple of str
        Columns that make a row unique, by which rows are sorted; empty: all, from the left.
    provenance : mapping
        JSON-able values that tell what the rows were made from.
    date : str or None
        When the content was published, ISO 8601 UTC; not when it was exported.
    notes : tuple of str
        Such as the meaning of flag bits.
    is_query : bool
        Whether a user wrote the query.
    """

    name: str
    description: str
    query: str
    order: tuple[str, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    date: str | None = None
    notes: tuple[str, ...] = ()
    is_query: bool = False


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


#: Units that neither FITS nor VOUnits have: they stand in the description.
NO_UNIT = ("dex",)


def described(meaning: Meaning) -> str:
    """Return the description of a column, with its unit where a format has no word for that."""
    return meaning.description + (f" [{meaning.unit}]" if meaning.unit in NO_UNIT else "")


# Infinite times and those before Christ have no such form: they stay as PostgreSQL writes them.
_TIME = (
    "CASE WHEN {0} BETWEEN '0001-01-01 00:00Z' AND '9999-12-31 23:59:59.999999Z' "
    "THEN to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') "
    "ELSE ({0} AT TIME ZONE 'UTC')::text END"
)
# OID of a PostgreSQL type -> kind, and how it is written where that is not as it is. Numbers
# beyond 64 bits become text: no reader of FITS or JSON could hold them. Other types, which only
# queries of users have, become text as PostgreSQL writes it.
_KINDS = {
    16: ("bool", "{}"), 21: ("int16", "{}"), 23: ("int32", "{}"), 20: ("int64", "{}"),
    700: ("float32", "{}"), 701: ("float64", "{}"), 25: ("text", "{}"), 1700: ("text", "{}::text"),
    1184: ("text", _TIME),
    3802: ("text", "{}::text"), 1009: ("text", "array_to_json({})::text"),
}  # fmt: skip
_OTHER = ("text", "{}::text")
_BYTEA = 17
_COLUMN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)


def columns_of(conn: sa.Connection, selection: Selection) -> tuple[ExportColumn, ...]:
    """Return the columns of a selection, with their meaning; binary ones of tables are left out.

    Raises
    ------
    UsageError
        If a user's query has columns that no file could hold: binary, or without a name of its own.
    """
    cursor: Any = conn.connection.cursor()  # psycopg's, whose types SQLAlchemy does not know
    # one text for one value, whatever the server's settings
    cursor.execute(
        "SET LOCAL extra_float_digits = 1; SET LOCAL DateStyle = 'ISO, YMD'; "
        "SET LOCAL TimeZone = 'UTC'; SET LOCAL IntervalStyle = 'postgres'"
    )
    # binary: PostgreSQL then takes a single statement only, whatever the query holds
    cursor.execute(f"SELECT * FROM (\n{selection.query}\n) q LIMIT 0", binary=True)
    found = [(name, oid) for name, oid, *_ in cursor.description or ()]
    if selection.is_query:
        _check_columns(found)
    columns = []
    for name, oid in found:
        if oid == _BYTEA:
            continue
        kind, sql = _KINDS.get(oid, _OTHER)
        meaning = VOCABULARY.get(name) or Meaning("", "", f"Column {name} of the query")
        columns.append(ExportColumn(name, kind, sql.format(f'q."{name}"'), meaning))
    return tuple(columns)


def _check_columns(found: list[tuple[str, int]]) -> None:
    """Refuse the columns of a user's query that no file could hold."""
    if not found:
        raise UsageError("the query has no columns", "Name what to export")
    times = Counter(name.lower() for name, _ in found)  # FITS names differ by more than case
    for name, oid in found:
        if oid == _BYTEA:
            raise UsageError(
                f"column {name} of the query is binary", "Name the columns to export, without it"
            )
        if not _COLUMN_NAME.fullmatch(name) or times[name.lower()] > 1:
            wrong = "is there twice" if times[name.lower()] > 1 else "has no plain name"
            raise UsageError(
                f"column {name!r} of the query {wrong}",
                "Give each column a name of its own, of letters, digits and _: AS name",
            )


def ordered_query(
    selection: Selection,
    columns: tuple[ExportColumn, ...],
    expressions: Mapping[str, str],
    *,
    as_given: bool = False,
) -> str:
    """Return the query for some columns (name -> expression over ``q``), in the selection's order.

    Or, ``as_given``, in the order of the query itself.
    """
    wanted = ", ".join(f'{sql} AS "{name}"' for name, sql in expressions.items())
    chosen = f"SELECT {wanted} FROM (\n{selection.query}\n) q"
    if as_given:
        return chosen
    # the C collation: the same order whatever the locale of the server
    by = {c.name: f'({c.sql}) COLLATE "C"' if c.kind == "text" else c.sql for c in columns}
    order = ", ".join(by[name] for name in selection.order or tuple(by))
    return f"{chosen} ORDER BY {order}"
