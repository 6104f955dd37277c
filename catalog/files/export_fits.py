"""FITS exports: one binary table with units, UCDs, descriptions, provenance and checksums.

FITS standard 4.0 (Pence et al. 2010, A&A 524, A42), section 7.3. NULL is NaN in floats, TNULLn in
integers, a zero byte in logicals and an empty text. TUCDn and TCOMMn are conventions, not part of
the standard.
"""

from __future__ import annotations

import json
from typing import BinaryIO

import numpy as np
import sqlalchemy as sa
from astropy import units
from astropy.io import fits

from catalog.errors import UsageError
from catalog.files.export import ExportColumn, Selection, columns_of, ordered_query
from catalog.store.bulk import fetch_arrays

_FORMS = {
    "bool": ("L", "u1"), "int16": ("I", ">i2"), "int32": ("J", ">i4"), "int64": ("K", ">i8"),
    "float32": ("E", ">f4"), "float64": ("D", ">f8"),
}  # fmt: skip
_DISPLAY = {"deg": "F13.8", "arcsec": "F9.5", "K": "F9.2", "dex": "F9.4", "km/s": "F10.3"}
_NULLS = (
    "NULL is NaN in floats, TNULLn in integers, a zero byte in logicals and empty in texts.",
    "The unit dex, which FITS does not have, is named in TCOMMn.",
)
BLOCK = 2880


def write_fits(conn: sa.Connection, selection: Selection, stream: BinaryIO) -> int:
    """Write a selection as a FITS table; returns the number of rows.

    Raises
    ------
    UsageError
        If a text is not plain ASCII, or an integer is the one that stands for NULL.
    """
    columns = columns_of(conn, selection)
    table = _read(conn, selection, columns)
    header = _header(selection, columns, table)
    body = table.tobytes()
    body += bytes(-len(body) % BLOCK)
    hdu = fits.BinTableHDU.fromstring(header.tostring().encode("ascii") + body)
    primary = fits.PrimaryHDU()
    for unit in (primary, hdu):  # with fixed comments: the usual ones hold the time
        unit.add_datasum(when="data unit checksum")
        unit.add_checksum(when="HDU checksum")
    fits.HDUList([primary, hdu]).writeto(stream, output_verify="exception")
    return len(table)


def _read(
    conn: sa.Connection, selection: Selection, columns: tuple[ExportColumn, ...]
) -> np.ndarray:
    """The rows as FITS holds them, big-endian."""
    numbers = [c for c in columns if c.kind != "text"]
    texts = [c for c in columns if c.kind == "text"]
    _check_nulls(conn, selection, numbers)
    # a query has at least one column: the constant also counts the rows
    fields = [("_row", "i2"), *((c.name, _fetched(c)) for c in numbers)]
    query = ordered_query(
        selection, columns, {"_row": "0::smallint"} | {c.name: _not_null(c) for c in numbers}
    )
    fetched = fetch_arrays(conn, query, np.dtype(fields))
    n = len(fetched["_row"])
    encoded = _fetch_texts(conn, selection, columns, texts, n)
    spec = [(c.name, encoded[c.name].dtype if c.kind == "text" else _FORMS[c.kind][1])
            for c in columns]  # fmt: skip
    table = np.zeros(n, np.dtype(spec))
    for c in columns:
        table[c.name] = encoded[c.name] if c.kind == "text" else fetched[c.name]
    return table


def _fetched(column: ExportColumn) -> str:
    """The type in which a number is fetched; logicals come as the codes of T and F."""
    return "i2" if column.kind == "bool" else _FORMS[column.kind][1][1:]


def _null_of(column: ExportColumn) -> int:
    """TNULLn of an integer column: the least integer of its width."""
    return int(np.iinfo(column.kind).min)


def _not_null(column: ExportColumn) -> str:
    """An expression that has FITS's own null in place of NULL."""
    if column.kind == "bool":
        return (
            f"(CASE WHEN {column.sql} THEN 84 WHEN NOT {column.sql} THEN 70 ELSE 0 END)::smallint"
        )
    if column.kind.startswith("float"):
        return f"coalesce({column.sql}, 'NaN')"
    cast = {"int16": "smallint", "int32": "integer", "int64": "bigint"}[column.kind]
    return f"coalesce({column.sql}, ('{_null_of(column)}')::{cast})"


def _check_nulls(conn: sa.Connection, selection: Selection, numbers: list[ExportColumn]) -> None:
    """Refuse integers that would read as NULL."""
    integers = [c for c in numbers if c.kind.startswith("int")]
    if not integers:
        return
    tests = ", ".join(f"bool_or({c.sql} = '{_null_of(c)}')" for c in integers)
    cursor = conn.connection.cursor()
    cursor.execute(f"SELECT {tests} FROM ({selection.query}) q")
    for column, found in zip(integers, cursor.fetchone() or (), strict=True):
        if found:
            raise UsageError(
                f"column {column.name} holds {_null_of(column)}, which is NULL in the FITS file",
                "Export it as CSV",
            )


def _fetch_texts(
    conn: sa.Connection,
    selection: Selection,
    columns: tuple[ExportColumn, ...],
    texts: list[ExportColumn],
    n: int,
) -> dict[str, np.ndarray]:
    """Text columns as fixed-width ASCII."""
    if not texts:
        return {}
    cursor = conn.connection.cursor()
    cursor.execute(ordered_query(selection, columns, {c.name: c.sql for c in texts}))
    rows = cursor.fetchall()
    if len(rows) != n:
        raise UsageError(
            f"{selection.name} changed while it was read", "Export in a repeatable-read transaction"
        )
    encoded = {}
    for i, column in enumerate(texts):
        values = [row[i] or "" for row in rows]
        for at, value in enumerate(values):
            if not (value.isascii() and value.isprintable()):
                raise UsageError(
                    f"column {column.name} of {selection.name} holds {value!r} in row {at + 1}, "
                    "but FITS texts are printable ASCII",
                    "Export it as CSV",
                )
        encoded[column.name] = np.array([v.encode() for v in values] or [b""], "S")[:n]
    return encoded


def _header(
    selection: Selection, columns: tuple[ExportColumn, ...], table: np.ndarray
) -> fits.Header:
    """The header of the table's unit."""
    header = fits.Header()
    header["XTENSION"] = ("BINTABLE", "binary table extension")
    header["BITPIX"] = 8
    header["NAXIS"] = 2
    header["NAXIS1"] = table.dtype.itemsize
    header["NAXIS2"] = len(table)
    header["PCOUNT"] = 0
    header["GCOUNT"] = 1
    header["TFIELDS"] = len(columns)
    for i, c in enumerate(columns, start=1):
        header[f"TTYPE{i}"] = c.name
        text = c.kind == "text"
        header[f"TFORM{i}"] = f"{table.dtype[c.name].itemsize}A" if text else _FORMS[c.kind][0]
        unit = c.meaning.unit
        if unit and unit != "dex":
            header[f"TUNIT{i}"] = units.Unit(unit).to_string("fits")
        if c.kind.startswith("int"):
            header[f"TNULL{i}"] = _null_of(c)
        if c.kind.startswith("float") and unit in _DISPLAY:
            header[f"TDISP{i}"] = _DISPLAY[unit]
        header[f"TUCD{i}"] = c.meaning.ucd
        header[f"TCOMM{i}"] = c.meaning.description + (" [dex]" if unit == "dex" else "")
    header["EXTNAME"] = plain_ascii(selection.name)
    header["ORIGIN"] = "crosslabel"
    header["CREATOR"] = f"crosslabel {selection.provenance.get('written_by', '')}".strip()
    if selection.date:
        header["DATE"] = (selection.date, "publication of the content, UTC")
    header["DESCR"] = plain_ascii(selection.description)
    header["SORTKEY"] = ", ".join(selection.order)
    header["PROV"] = json.dumps(selection.provenance, sort_keys=True)
    for line in (*_NULLS, *selection.notes):
        header["COMMENT"] = plain_ascii(line)
    return header


def plain_ascii(text: str) -> str:
    r"""Text for a header card: other characters as \\xNN, white space as blanks."""
    return " ".join(text.split()).encode("ascii", "backslashreplace").decode()
