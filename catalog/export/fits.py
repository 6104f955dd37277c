"""FITS exports: one binary table with units, UCDs, descriptions, provenance and checksums.

FITS standard 4.0 (Pence et al. 2010, A&A 524, A42), section 7.3. NULL is NaN in floats, TNULLn in
integers, a zero byte in logicals and an empty text. TUCDn and TCOMMn are conventions, not part of
the standard.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from astropy import units
from astropy.io import fits

from catalog.errors import UsageError
from catalog.export.rows import (
    ascii_texts,
    kept,
    logical_codes,
    longest,
    numbers,
    read_blocks,
    refuse_texts,
    schema_of,
)
from catalog.export.selection import NO_UNIT, ExportColumn, Selection, columns_of, described
from catalog.fits.checksum import OnesComplement, encode_sum
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
_SUMMED = "HDU checksum"  # astropy's own comment would hold the time
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
    shape = _Shape(columns, selection.name)
    with kept(
        shape.watch(read_blocks(conn, selection, columns)), schema_of(columns), stream
    ) as rows:
        header = _table_header(shape.n_rows, shape.dtype, _described(selection, columns, shape))
        (primary,) = seal([fits.PrimaryHDU()])
        stream.write(primary.header.tostring().encode("ascii"))
        _write_table(stream, header, (shape.cells(block).tobytes() for block in rows))
    return shape.n_rows


class _Shape:
    """The number of rows and the widths of the texts of a table, found as its blocks pass."""

    def __init__(self, columns: tuple[ExportColumn, ...], name: str) -> None:
        self._columns, self._name = columns, name
        self._widths = {c.name: 1 for c in columns if c.kind == "text"}
        self.n_rows = 0

    def watch(self, blocks: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield blocks of rows after looking at them; UsageError where FITS cannot hold a value."""
        for block in blocks:
            for c in self._columns:
                _check(c, block[c.name], self._name, self.n_rows)
                if c.kind == "text":
                    self._widths[c.name] = max(self._widths[c.name], longest(block[c.name]))
            self.n_rows += len(block)
            yield block

    @property
    def dtype(self) -> np.dtype:
        """The rows as FITS holds them, big-endian."""
        forms = ((c.name, c.kind) for c in self._columns)
        return np.dtype(
            [(n, f"S{self._widths[n]}" if kind == "text" else _FORMS[kind][1]) for n, kind in forms]
        )

    def cells(self, block: pa.RecordBatch) -> np.ndarray:
        """Return a block of rows as FITS holds them."""
        table = np.zeros(len(block), self.dtype)
        for c in self._columns:
            table[c.name] = _cells(c, block[c.name], self._widths.get(c.name, 0))
        return table


def _write_table(stream: BinaryIO, header: fits.Header, body: Iterable[bytes]) -> None:
    """Write a unit block by block; its checksums are filled in when all of it is there."""
    begin, total, size = stream.tell(), OnesComplement(), 0
    stream.write(_summed(header, 0).encode("ascii"))
    for block in body:
        stream.write(block)
        total.add(block)
        size += len(block)
    stream.write(bytes(-size % BLOCK))
    end = stream.tell()
    stream.seek(begin)
    stream.write(_summed(header, total.value).encode("ascii"))
    stream.seek(end)


def _summed(header: fits.Header, data_sum: int) -> str:
    """Return a header with the cards of both checksums."""
    whole = header.copy()
    whole["DATASUM"] = (str(data_sum), _SUMMED)
    whole.set("CHECKSUM", "0" * 16, _SUMMED, before="DATASUM")
    total = OnesComplement()
    total.add(whole.tostring().encode("ascii"))
    total.add(data_sum.to_bytes(4, "big"))
    whole["CHECKSUM"] = encode_sum(total.value)
    return str(whole.tostring())


def table_unit(rows: np.ndarray, described: fits.Header) -> fits.BinTableHDU:
    """Return the unit of a table.

    Parameters
    ----------
    rows : ndarray
        Structured, shape (n,), as FITS holds it.
    described : Header
        Cards of the columns, from TTYPE1 on, and what is to follow them.
    """
    header = _table_header(len(rows), rows.dtype, described)
    body = rows.tobytes()
    body += bytes(-len(body) % BLOCK)
    return fits.BinTableHDU.fromstring(header.tostring().encode("ascii") + body)


def _table_header(n_rows: int, dtype: np.dtype, described: fits.Header) -> fits.Header:
    """Return the header of a table's unit, without checksums."""
    header = fits.Header()
    header["XTENSION"] = ("BINTABLE", "binary table extension")
    header["BITPIX"] = 8
    header["NAXIS"] = 2
    header["NAXIS1"] = dtype.itemsize
    header["NAXIS2"] = n_rows
    header["PCOUNT"] = 0
    header["GCOUNT"] = 1
    header["TFIELDS"] = len(dtype.names or ())
    header.extend(described, strip=False)
    return header


def seal(hdus: list[fits.PrimaryHDU | fits.BinTableHDU]) -> fits.HDUList:
    """Units as a file, with checksums."""
    for unit in hdus:  # with fixed comments: the usual ones hold the time
        unit.add_checksum(when=_SUMMED)
    return fits.HDUList(hdus)


def _null_of(column: ExportColumn) -> int:
    """TNULLn of an integer column: the least integer of its width."""
    return int(np.iinfo(column.kind).min)


def _check(column: ExportColumn, values: pa.Array, table: str, first: int) -> None:
    """Raise UsageError where FITS cannot hold a value of a column; ``first`` rows came before."""
    if column.kind == "text":
        refuse_texts(
            values, "[^ -~]", f"{column.name} of {table}", "FITS texts are printable ASCII",
            first=first,
        )  # fmt: skip
    elif column.kind.startswith("int"):
        null = _null_of(column)
        if pc.any(pc.equal(values, pa.scalar(null, values.type))).as_py():
            raise UsageError(
                f"column {column.name} holds {null}, which is NULL in the FITS file",
                "Export it as CSV",
            )


def _cells(column: ExportColumn, values: pa.Array, width: int) -> np.ndarray:
    """Return a column with FITS's own null in place of NULL."""
    if column.kind == "bool":
        return logical_codes(values)
    if column.kind == "text":
        return ascii_texts(values, width)
    return numbers(values, np.nan if column.kind.startswith("float") else _null_of(column))


def _described(
    selection: Selection, columns: tuple[ExportColumn, ...], shape: _Shape
) -> fits.Header:
    """Return what the header of the table's unit says beside its size."""
    header = fits.Header()
    for i, c in enumerate(columns, start=1):
        header[f"TTYPE{i}"] = c.name
        text = c.kind == "text"
        header[f"TFORM{i}"] = f"{shape.dtype[c.name].itemsize}A" if text else _FORMS[c.kind][0]
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
    header["SORTKEY"] = ", ".join(selection.order or (c.name for c in columns))
    header["PROV"] = json.dumps(selection.provenance, sort_keys=True)
    for line in (*_NULLS, *selection.notes):
        header["COMMENT"] = plain_ascii(line)
    return header


def plain_ascii(text: str) -> str:
    r"""Return text for a header card: other characters as \\xNN, white space as blanks."""
    return " ".join(text.split()).encode("ascii", "backslashreplace").decode()
