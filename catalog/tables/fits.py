"""Tables of a FITS file as tables of anyone's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from catalog.errors import BadInputError
from catalog.files.opening import Limits
from catalog.fits.checksum import verify_checksums
from catalog.fits.file import FitsFile, Hdu
from catalog.fits.table import Table, native, table_of
from catalog.tables.columns import RawColumn, RawTable


def list_tables(path: Path, file: FitsFile, limits: Limits) -> list[RawTable]:
    """List the binary tables of an open file; their cells are read while it is open.

    Parameters
    ----------
    path : Path
        For messages.
    file : FitsFile
        The open file.
    limits : Limits
        How many rows a table may have.

    Raises
    ------
    BadInputError
        NO_TABLE_HDU, TOO_LARGE, BAD_DTYPE where the description of columns is inconsistent.
    """
    units = [(i, hdu) for i, hdu in enumerate(file.hdus) if hdu.is_table and not _is_image(hdu)]
    if not units:
        ascii_tables = [str(i) for i, hdu in enumerate(file.hdus) if _is_ascii(hdu)]
        raise BadInputError(
            "NO_TABLE_HDU",
            f"{path} holds no binary table"
            + f"; HDU {', '.join(ascii_tables)} is an ASCII table" * bool(ascii_tables),
            "Write it as a binary table: Table.read(...).write(...) of Astropy does"
            if ascii_tables else "Check that this is the right file.",
        )  # fmt: skip
    tables = []
    for i, hdu in units:
        table = table_of(file, hdu)
        columns = tuple(RawColumn(k, c.name, c.unit) for k, c in enumerate(table.columns.values()))
        place = f"HDU {i} {hdu.name}".strip() if len(units) > 1 else ""
        tables.append(RawTable(path, place, columns, table.n_rows, _reader(table, limits)))
    return tables


def _reader(
    table: Table, limits: Limits
) -> Callable[[Sequence[RawColumn]], list[np.ma.MaskedArray]]:
    """Return what reads columns of one table, in one pass over its rows."""

    def read(wanted: Sequence[RawColumn]) -> list[np.ma.MaskedArray]:
        limits.check_rows(table.file.path, table.n_rows)
        verify_checksums(table.file, table.hdu)
        found = [table.columns[column.name.lower()] for column in wanted]
        for column in found:
            if column.n_values != 1 or column.code not in "ABIJKED":
                todo = "Write one value in each cell, and as many rows as there are values"
                if table.n_rows == 1 and column.n_values != 1:
                    todo = "A column-oriented table; STILTS writes rows: tpipe ofmt=fits-basic"
                raise BadInputError(
                    "BAD_DTYPE",
                    f"column {column.name} of {table.file.path} has TFORM {column.form}: "
                    f"{column.words}",
                    todo,
                )
        parts: list[list[np.ma.MaskedArray]] = [[] for _ in found]
        for start, stop in table.blocks():
            rows = table.read(start, stop, found)
            for part, column in zip(parts, found, strict=True):
                part.append(np.ma.MaskedArray(native(rows, column)))
        none = np.ma.MaskedArray(np.zeros(0, object), False)
        join = np.ma.concatenate
        return [
            join(part) if part else none  # type: ignore[no-untyped-call]
            for part in parts
        ]

    return read


def _is_image(hdu: Hdu) -> bool:
    """Return True where a binary table is an image, compressed in tiles."""
    return hdu.header.get("ZIMAGE") is True


def _is_ascii(hdu: Hdu) -> bool:
    """Return True where this is an ASCII table."""
    return str(hdu.header.get("XTENSION", "")).strip() == "TABLE"
