"""The one way to write many rows: binary COPY into a staging table, then one upsert.

Null convention of arrays on their way in: masked values, NaN in floats, empty byte strings, None
in object arrays. No sentinel and no NaN reaches a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TRAILER = b"\xff\xff"
_TYPES = {
    "f4": "real", "f8": "double precision", "i2": "smallint", "i4": "integer", "i8": "bigint",
    "b1": "boolean",
}  # fmt: skip
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def staging_type(values: np.ndarray, column: sa.Column[Any] | None = None) -> str:
    """Return the PostgreSQL type in which an array is staged.

    Parameters
    ----------
    values : numpy.ndarray
        The array. Its dtype has one type; an array of Python objects has none.
    column : sqlalchemy.Column, optional
        Where the values go: gives the type of an array of Python objects, whatever is in it.

    Raises
    ------
    TypeError
        If the dtype has no type here, or objects go to no column.
    """
    if values.dtype.kind == "S":
        return "text"
    if values.dtype.kind == "O":
        if column is None:
            raise TypeError("an array of objects has no type: name the table that it goes to")
        return column.type.compile(dialect=_DIALECT)
    try:
        return _TYPES[values.dtype.str[1:]]
    except KeyError:
        raise TypeError(f"no column type for an array of {values.dtype}") from None


def _fields(values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """One column as COPY fields: bytes of shape (n, 4 + width), and which of them to send."""
    n, width = len(values), values.dtype.itemsize
    masked = np.ma.getmaskarray(values)
    plain = np.ascontiguousarray(np.ma.getdata(values))
    if plain.dtype.kind == "S":
        length = np.char.str_len(plain).astype(np.int32)
        null = (length == 0) | masked
        body = plain.view(np.uint8).reshape(n, width)
        keep_body = ~null[:, None] & (np.arange(width) < length[:, None])
    else:
        length = np.full(n, width, np.int32)
        null = masked | np.isnan(plain) if plain.dtype.kind == "f" else masked
        body = plain.astype(plain.dtype.newbyteorder(">")).view(np.uint8).reshape(n, width)
        keep_body = ~null[:, None] & np.ones(width, bool)
    head = np.where(null, -1, length).astype(">i4").view(np.uint8).reshape(n, 4)
    if plain.dtype.kind != "S" and not null.any():
        return np.concatenate([head, body], axis=1), None
    keep = np.concatenate([np.ones((n, 4), bool), keep_body], axis=1)
    return np.concatenate([head, body], axis=1), keep


def pack_copy(columns: Mapping[str, np.ndarray]) -> bytes:
    """Equal-length 1-D arrays as the payload of ``COPY ... FROM STDIN (FORMAT binary)``.

    Rows are laid side by side as bytes and what NULLs and short strings do not use is cut out,
    all in NumPy: no Python object is made per value.
    """
    sizes = {len(v) for v in columns.values()}
    if len(sizes) != 1:
        raise ValueError(
            f"columns of different lengths: { {k: len(v) for k, v in columns.items()} }"
        )
    n = sizes.pop()
    count = np.full(n, len(columns), ">i2").view(np.uint8).reshape(n, 2)
    parts = [(count, None), *(_fields(v) for v in columns.values())]
    rows = np.concatenate([body for body, _ in parts], axis=1)
    if all(keep is None for _, keep in parts):
        return COPY_HEADER + rows.tobytes() + COPY_TRAILER
    keep = np.concatenate(
        [np.ones(body.shape, bool) if keep is None else keep for body, keep in parts], axis=1
    )
    body: bytes = rows[keep].tobytes()
    return COPY_HEADER + body + COPY_TRAILER


def copy_in(conn: sa.Connection, table: str, columns: Mapping[str, np.ndarray]) -> None:
    """COPY arrays into the columns of that name of a table, whose types must be theirs."""
    names = ", ".join(f'"{c}"' for c in columns)
    cursor: Any = conn.connection.cursor()
    objects = any(v.dtype.kind == "O" for v in columns.values())
    if objects:
        cursor.execute(f'SELECT {names} FROM "{table}" LIMIT 0')
        types = [column.type_code for column in cursor.description]
    with cursor.copy(f'COPY "{table}" ({names}) FROM STDIN (FORMAT binary)') as copy:
        if objects:
            copy.set_types(types)
            lists = [_python_values(v) for v in columns.values()]
            for row in zip(*lists, strict=True):
                copy.write_row(row)
        else:
            copy.write(pack_copy(columns))


def _python_values(values: np.ndarray) -> list[Any]:
    """Return an array as a list in which None is NULL."""
    out: list[Any] = values.tolist()
    if values.dtype.kind == "S":
        return [(v or b"").decode() or None for v in out]
    if values.dtype.kind == "f":
        return [None if v != v else v for v in out]
    return out


def stage(
    conn: sa.Connection, name: str, columns: Mapping[str, np.ndarray], *tables: sa.Table
) -> None:
    """Make the temporary table ``name`` of these columns; it goes with the transaction.

    Parameters
    ----------
    columns : mapping
        Equal-length arrays.
    *tables : sqlalchemy.Table
        Where they go: an array of Python objects has the type of the first column of its name.
        (A type guessed from the values would be wrong for a column that has none.)
    """
    target = {c.name: c for table in reversed(tables) for c in table.columns}
    spec = ", ".join(f'"{c}" {staging_type(v, target.get(c))}' for c, v in columns.items())
    conn.execute(sa.text(f'DROP TABLE IF EXISTS pg_temp."{name}"'))
    conn.execute(sa.text(f'CREATE TEMPORARY TABLE "{name}" ({spec}) ON COMMIT DROP'))
    copy_in(conn, name, columns)


def upsert(
    conn: sa.Connection,
    table: sa.Table,
    columns: Mapping[str, str],
    source: str,
    *,
    key: Sequence[str] | None = None,
    params: Mapping[str, Any] | None = None,
) -> int:
    """Insert or update rows of ``table`` from a query, touching only rows that really change.

    Parameters
    ----------
    columns : mapping
        Column of ``table`` -> SQL expression over ``source``; cast to the column's type.
    source : str
        What follows FROM, such as ``stage s JOIN source USING (survey_key)``.
    key : sequence of str, optional
        The unique columns; the primary key if not given. Rows are sorted by it, so that two
        writers take their row locks in one order.

    Returns
    -------
    int
        Rows inserted or changed: 0 if all was there already.
    """
    keys = list(key or (c.name for c in table.primary_key.columns))
    dialect = conn.dialect
    cast = {
        c: f"CAST({expr} AS {table.c[c].type.compile(dialect=dialect)})"
        for c, expr in columns.items()
    }
    names = ", ".join(f'"{c}"' for c in columns)
    order = ", ".join(cast[k] for k in keys)
    changing = [c for c in columns if c not in keys]
    action = "NOTHING"
    if changing:
        sets = ", ".join(f'"{c}" = excluded."{c}"' for c in changing)
        old = ", ".join(f't."{c}"' for c in changing)
        new = ", ".join(f'excluded."{c}"' for c in changing)
        action = f"UPDATE SET {sets} WHERE ROW({old}) IS DISTINCT FROM ROW({new})"
    query = (
        f'INSERT INTO "{table.name}" AS t ({names}) SELECT {", ".join(cast.values())} '
        f"FROM {source} ORDER BY {order} "
        f"ON CONFLICT ({', '.join(keys)}) DO {action}"
    )
    return conn.execute(sa.text(query), params or {}).rowcount


def upsert_arrays(
    conn: sa.Connection,
    table: sa.Table,
    columns: Mapping[str, np.ndarray],
    *,
    key: Sequence[str] | None = None,
) -> int:
    """Upsert arrays named like the columns of ``table``; see `upsert`."""
    if len(next(iter(columns.values()))) == 0:
        return 0
    stage(conn, "stage_arrays", columns, table)
    return upsert(conn, table, {c: f's."{c}"' for c in columns}, "stage_arrays s", key=key)


def fetch_arrays(
    conn: sa.Connection, query: str, dtype: np.dtype[Any], params: Mapping[str, Any] | None = None
) -> dict[str, np.ndarray]:
    """Return the answer of a query as arrays, by binary COPY.

    Parameters
    ----------
    query : str
        A SELECT of fixed-width, non-NULL columns (write ``coalesce(x, 'NaN')``), in the order
        and with the exact types of ``dtype``. Parameters (``:name``) are put in as literals.
    dtype : dtype
        Structured; native types ``f4 f8 i2 i4 i8 ?`` matching the columns.

    Raises
    ------
    TypeError
        If the columns are not those of ``dtype``, or hold a NULL.
    """
    if params:
        compiled = sa.text(query).bindparams(**params)
        query = str(compiled.compile(conn, compile_kwargs={"literal_binds": True})).replace(
            "%%", "%"
        )
    cursor = conn.connection.cursor()
    _require_types(cursor, query, dtype)
    fields: list[tuple[str, str]] = [("_count", ">i2")]
    for name in dtype.names or ():
        fields += [(f"_{name}", ">i4"), (name, dtype[name].newbyteorder(">").str)]
    wire = np.dtype(fields)
    buffer = bytearray()
    with cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT binary)") as copy:
        for block in copy:
            buffer += block
    body = memoryview(buffer)[len(COPY_HEADER) : -len(COPY_TRAILER)]
    if len(body) % wire.itemsize:
        raise TypeError("the query's rows hold NULLs: write coalesce(...)")
    rows = np.frombuffer(body, wire)
    for name in dtype.names or ():
        if np.any(rows[f"_{name}"] != dtype[name].itemsize):
            raise TypeError(f"column {name} of the query holds NULLs: write coalesce(...)")
    return {name: rows[name].astype(dtype[name]) for name in dtype.names or ()}


def _require_types(cursor: Any, query: str, dtype: np.dtype[Any]) -> None:
    """Stop unless a query has the types of ``dtype``: the wire format itself names none."""
    cursor.execute(f"SELECT * FROM ({query}) AS query LIMIT 0")
    wanted = [_TYPES[dtype[name].str[1:]] for name in dtype.names or ()]
    if [c.type_code for c in cursor.description] != [psycopg.adapters.types[t].oid for t in wanted]:
        found = [c.type_display for c in cursor.description]
        raise TypeError(f"the query's columns are {found}, not {wanted}")
