"""VOTable exports: version 1.4, rows in the serialization BINARY2, which marks NULL by a bit.

VOTable 1.4 (IVOA Recommendation 2019-10-21), units by VOUnits 1.0, UCDs by UCD1+. The same head
without rows is what Parquet files embed.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import BinaryIO
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from astropy import units

from catalog.export.rows import (
    ascii_texts,
    is_plain,
    kept,
    logical_codes,
    longest,
    numbers,
    read_blocks,
    schema_of,
)
from catalog.export.selection import NO_UNIT, ExportColumn, Selection, columns_of, described

_NULLS = "A NULL is marked by its bit in BINARY2, whatever the type; no value stands for it."
_DATATYPES = {
    "bool": "boolean", "int16": "short", "int32": "int", "int64": "long", "float32": "float",
    "float64": "double", "text": "char",
}  # fmt: skip
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LEAST_WIDTH = 2  # a text of width 1 would be a single character, which is another type
_BASE64_BLOCK = 57 * 64  # a multiple of 3: no padding within


def write_votable(conn: sa.Connection, selection: Selection, stream: BinaryIO) -> int:
    """Write a selection as VOTable; returns the number of rows."""
    columns = columns_of(conn, selection)
    n_rows = 0
    texts = {c.name: _Text() for c in columns if c.kind == "text"}

    def watched() -> Iterator[pa.RecordBatch]:
        nonlocal n_rows
        for block in read_blocks(conn, selection, columns):
            for name, text in texts.items():
                text.see(block[name])
            n_rows += len(block)
            yield block

    with kept(watched(), schema_of(columns), stream) as blocks:
        declared = {name: text.declared for name, text in texts.items()}
        head, foot = votable_around(selection, columns, n_rows, declared)
        stream.write(f"{head}\n<DATA><BINARY2><STREAM encoding='base64'>\n".encode())
        rest = b""
        for block in blocks:
            cells = {c.name: _cells(c, block[c.name], texts.get(c.name)) for c in columns}
            body = rest + _binary2(block, cells)
            whole = len(body) // _BASE64_BLOCK * _BASE64_BLOCK
            _write_base64(stream, body[:whole])
            rest = body[whole:]
        _write_base64(stream, rest)
        stream.write(f"</STREAM></BINARY2></DATA>\n{foot}\n".encode())
    return n_rows


def _write_base64(stream: BinaryIO, body: bytes) -> None:
    """Write bytes in lines of base64."""
    for start in range(0, len(body), _BASE64_BLOCK):
        stream.write(base64.b64encode(body[start : start + _BASE64_BLOCK]) + b"\n")


class _Text:
    """Declaration of a text column, found as its blocks pass: its characters and width."""

    def __init__(self) -> None:
        self._is_plain, self._ascii, self._utf16 = True, _LEAST_WIDTH, 2 * _LEAST_WIDTH

    def see(self, values: pa.Array) -> None:
        """Look at a block of the column."""
        self._ascii = max(self._ascii, longest(values))
        if is_plain(values):
            self._utf16 = max(self._utf16, 2 * longest(values))
        else:
            self._is_plain = False
            self._utf16 = max(self._utf16, *map(len, _as_utf16(values)))

    @property
    def declared(self) -> tuple[str, str]:
        """Its datatype and arraysize."""
        if self._is_plain:
            return "char", str(self._ascii)
        return "unicodeChar", str(self._utf16 // 2)

    def cells(self, values: pa.Array) -> np.ndarray:
        """Return a block of the column as BINARY2 holds it."""
        if self._is_plain:
            return ascii_texts(values, self._ascii)
        return np.array(_as_utf16(values), f"S{self._utf16}")


def _as_utf16(values: pa.Array) -> list[bytes]:
    """Return the texts of a column in UTF-16."""
    return [v.encode("utf-16-be") for v in values.fill_null("").to_pylist()]


def votable_around(
    selection: Selection,
    columns: tuple[ExportColumn, ...],
    n_rows: int,
    text_types: dict[str, tuple[str, str]],
) -> tuple[str, str]:
    """Return what stands before and after the rows.

    Parameters
    ----------
    text_types : dict
        Text column -> its datatype and arraysize.
    """
    sky = any(c.meaning.ucd.startswith("pos.eq.") for c in columns)
    infos = [
        ("creator", f"crosslabel {selection.provenance.get('written_by', '')}".strip()),
        ("publication_date", selection.date or ""),
        ("sort_key", ", ".join(selection.order or (c.name for c in columns))),
        ("null", _NULLS),
        ("provenance", json.dumps(selection.provenance, sort_keys=True)),
        *(("note", note) for note in selection.notes),
    ]
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">',
        "<RESOURCE>",
        *(f"<INFO name={_attr(k)} value={_attr(v)}/>" for k, v in infos if v),
        *(['<COOSYS ID="icrs" system="ICRS"/>'] if sky else []),
        f'<TABLE ID="table" name={_attr(selection.name)} nrows="{n_rows}">',
        f"<DESCRIPTION>{_text(selection.description)}</DESCRIPTION>",
        *(_field(c, text_types.get(c.name)) for c in columns),
    ]
    return "\n".join(lines), "</TABLE>\n</RESOURCE>\n</VOTABLE>"


def _field(column: ExportColumn, text_type: tuple[str, str] | None) -> str:
    """The declaration of a column."""
    meaning = column.meaning
    datatype, arraysize = text_type or (_DATATYPES[column.kind], "")
    given = {
        "name": column.name,
        "datatype": datatype,
        "arraysize": arraysize,
        "unit": _unit(meaning.unit),
        "ucd": meaning.ucd,
        "ref": "icrs" if meaning.ucd.startswith("pos.eq.") else "",
    }
    attributes = " ".join(f"{key}={_attr(value)}" for key, value in given.items() if value)
    return f"<FIELD {attributes}><DESCRIPTION>{_text(described(meaning))}</DESCRIPTION></FIELD>"


def _unit(unit: str) -> str:
    """A unit as VOUnits write it; empty for none."""
    return units.Unit(unit).to_string("vounit") if unit and unit not in NO_UNIT else ""


def _attr(value: str) -> str:
    """A quoted attribute; what XML cannot hold becomes a question mark."""
    return quoteattr(_NOT_XML.sub("?", value), {"\t": "&#9;", "\n": "&#10;", "\r": "&#13;"})


def _text(value: str) -> str:
    """Text of an element; what XML cannot hold becomes a question mark."""
    return escape(_NOT_XML.sub("?", value))


def _cells(column: ExportColumn, values: pa.Array, text: _Text | None) -> np.ndarray:
    """Return a column as BINARY2 holds it, big-endian; anything in place of NULL."""
    if text is not None:
        return text.cells(values)
    if column.kind == "bool":
        return logical_codes(values)
    array = numbers(values, 0)
    return array.astype(array.dtype.newbyteorder(">"))


def _binary2(rows: pa.RecordBatch, cells: dict[str, np.ndarray]) -> bytes:
    """Return rows: a bit per column that marks NULL, highest bit first, then the cells."""
    masks = [pc.is_null(rows[name]).to_numpy(zero_copy_only=False) for name in cells]
    bits = np.packbits(np.array(masks, bool), axis=0).T
    spec = [("", "u1", (bits.shape[1],)), *(("", a.dtype) for a in cells.values())]
    table = np.empty(len(rows), np.dtype(spec))
    table["f0"] = bits
    for i, array in enumerate(cells.values(), start=1):
        table[f"f{i}"] = array
    return table.tobytes()
