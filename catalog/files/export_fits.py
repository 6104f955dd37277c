"""FITS exports: one binary table with units, UCDs, descriptions, provenance and checksums.

FITS standard 4.0 (Pence et al. 2010, A&A 524, A42), section 7.3. NULL is NaN in floats, TNULLn in
integers, a zero byte in logicals and an empty text. TUCDn and TCOMMn are conventions, not part of
the standard.
"""

from __future__ import annotations

import json
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from astropy import units
from astropy.io import fits

from catalog.errors import UsageError
from catalog.files.export import NO_UNIT, ExportColumn, Selection, columns_of, described
from catalog.files.export_rows import (
    ascii_texts,
    logical_codes,
    numbers,
    read_rows,
    refuse_texts,
)
from catalog.words import count

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
MAX_COLUMNS = 999  # TFIELDS has three digits


def write_fits(conn: sa.Connection, selection: Selection, stream: BinaryIO) -> int:
    """Write a selection as a FITS table; returns the number of rows.

    Raises
    ------
    UsageError
        If a text is not plain ASCII, an integer is the one that stands for NULL, or there are more
        columns than a table can have.
    """
    columns = columns_of(conn, selection)
    if len(columns) > MAX_COLUMNS:
        raise UsageError(
            f"{selection.name} has {count(len(columns), 'column')}, and FITS tables have "
            f"{MAX_COLUMNS}",
            "Name fewer, or export it as CSV",
        )
    table = _read(conn, selection, columns)
    hdu = table_unit(table, _header(selection, columns, table))
    seal([fits.PrimaryHDU(), hdu]).writeto(stream, output_verify="exception")
    return len(table)


def table_unit(rows: np.ndarray, described: fits.Header) -> fits.BinTableHDU:
    """The unit of a table.

    Parameters
    ----------
    rows : ndarray
        Structured, shape (n,), as FITS holds it.
    described : Header
        Cards of the columns, from TTYPE1 on, and what is to follow them.
    """
    header = fits.Header()
    header["XTENSION"] = ("BINTABLE", "binary table extension")
    header["BITPIX"] = 8
    header["NAXIS"] = 2
    header["NAXIS1"] = rows.dtype.itemsize
    header["NAXIS2"] = len(rows)
    header["PCOUNT"] = 0
    header["GCOUNT"] = 1
    header["TFIELDS"] = len(rows.dtype.names or ())
    header.extend(described, strip=False)
    body = rows.tobytes()
    body += bytes(-len(body) % BLOCK)
    return fits.BinTableHDU.fromstring(header.tostring().encode("ascii") + body)


def seal(hdus: list[fits.PrimaryHDU | fits.BinTableHDU]) -> fits.HDUList:
    """Units as a file, with checksums."""
    for unit in hdus:  # with fixed comments: the usual ones hold the time
        unit.add_datasum(when="data unit checksum")
        unit.add_checksum(when="HDU checksum")
    return fits.HDUList(hdus)


def _read(
    conn: sa.Connection, selection: Selection, columns: tuple[ExportColumn, ...]
) -> np.ndarray:
    """The rows as FITS holds them, big-endian."""
    rows = read_rows(conn, selection, columns)
    cells = {c.name: _cells(c, rows[c.name], selection.name) for c in columns}
    forms = {c.name: _FORMS.get(c.kind, ("A", cells[c.name].dtype.str))[1] for c in columns}
    table = np.zeros(len(rows), np.dtype(list(forms.items())))
    for name, array in cells.items():
        table[name] = array
    return table


def _null_of(column: ExportColumn) -> int:
    """TNULLn of an integer column: the least integer of its width."""
    return int(np.iinfo(column.kind).min)


def _cells(column: ExportColumn, values: pa.ChunkedArray, table: str) -> np.ndarray:
    """A column with FITS's own null in place of NULL."""
    if column.kind == "bool":
        return logical_codes(values)
    if column.kind.startswith("float"):
        return numbers(values, np.nan)
    if column.kind == "text":
        refuse_texts(
            values, "[^ -~]", f"{column.name} of {table}", "FITS texts are printable ASCII"
        )
        return ascii_texts(values)
    null = _null_of(column)
    if pc.any(pc.equal(values, pa.scalar(null, values.type))).as_py():
        raise UsageError(
            f"column {column.name} holds {null}, which is NULL in the FITS file",
            "Export it as CSV",
        )
    return numbers(values, null)


def _header(
    selection: Selection, columns: tuple[ExportColumn, ...], table: np.ndarray
) -> fits.Header:
    """Return the cards of the table's unit besides its size."""
    header = fits.Header()
    for i, c in enumerate(columns, start=1):
        header[f"TTYPE{i}"] = c.name
        text = c.kind == "text"
        header[f"TFORM{i}"] = f"{table.dtype[c.name].itemsize}A" if text else _FORMS[c.kind][0]
        unit = c.meaning.unit
        if unit and unit not in NO_UNIT:
            header[f"TUNIT{i}"] = units.Unit(unit).to_string("fits")
        if c.kind.startswith("int"):
            header[f"TNULL{i}"] = _null_of(c)
        if c.kind.startswith("float") and unit in _DISPLAY:
            header[f"TDISP{i}"] = _DISPLAY[unit]
        if c.meaning.ucd:
            header[f"TUCD{i}"] = c.meaning.ucd
        header[f"TCOMM{i}"] = described(c.meaning)
    header["LONGSTRN"] = ("OGIP 1.0", "long texts go on in CONTINUE cards")
    header["EXTNAME"] = plain_ascii(selection.name)
    header["ORIGIN"] = "crosslabel"
    header["CREATOR"] = f"crosslabel {selection.provenance.get('written_by', '')}".strip()
    if selection.date:
        header["DATE"] = (selection.date, "publication of the content, UTC")
    header["DESCR"] = plain_ascii(selection.description)
    header["SORTKEY"] = ", ".join(selection.order or table.dtype.names or ())
    header["PROV"] = json.dumps(selection.provenance, sort_keys=True)
    for line in (*_NULLS, *selection.notes):
        header["COMMENT"] = plain_ascii(line)
    return header


def plain_ascii(text: str) -> str:
    r"""Text for a header card: other characters as \\xNN, white space as blanks."""
    return " ".join(text.split()).encode("ascii", "backslashreplace").decode()
