"""Binary tables read by column name, in blocks of rows, never as a whole.

Only the columns asked for are kept of a block, in native byte order (NumPy keeps FITS's big-endian
order, which pandas and compiled code refuse).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from catalog.errors import BadInputError
from catalog.files.opening import STREAM_BYTES
from catalog.fits.file import FitsFile, Hdu

Kind = Literal["text", "float", "double", "int", "number", "id", "flag"]
ALLOWED: dict[Kind, str] = {
    "text": "A",
    "float": "ED",
    "double": "D",
    "int": "BIJK",
    "number": "BIJKED",
    "id": "AIJK",
    "flag": "LBIJ",
}
# FITS standard 4.0, table 18; codes that no catalog here uses are carried as opaque bytes.
NUMPY_CODES = {"L": "u1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
TYPES = {
    "L": "logicals", "X": "bits", "B": "integers", "I": "integers", "J": "integers",
    "K": "integers", "A": "texts", "E": "floats", "D": "floats", "C": "complex numbers",
    "M": "complex numbers",
}  # fmt: skip
OPAQUE_BYTES = {"C": 8, "M": 16, "P": 8, "Q": 16}
UNSIGNED_ZERO = 2.0**63  # TZERO of unsigned 64-bit integers


@dataclass(frozen=True)
class Column:
    """Position of one column in a row, and the type and meaning of its cells.

    Parameters
    ----------
    name : str
        TTYPE as written in the file.
    code, repeat : str, int
        Type letter and count of TFORM; for text the count is the width.
    offset : int
        First byte within the row.
    null : int or None
        TNULL: the integer that stands for no value.
    scale, zero : float
        TSCAL and TZERO: value = zero + scale * stored.
    unit : str
        TUNIT as written in the file, empty where there is none; `catalog.files.units` reads it.
    width : int
        Characters of one of several texts in a cell (TDIM, or TFORM rAw); 0: the cell is one text.
    """

    name: str
    code: str
    repeat: int
    offset: int
    null: int | None = None
    scale: float = 1.0
    zero: float = 0.0
    unit: str = ""
    width: int = 0

    @property
    def form(self) -> str:
        """TFORM, without what follows its letter."""
        return f"{self.repeat}{self.code}"

    @property
    def n_values(self) -> int:
        """Values in one cell; a text is one."""
        if self.code != "A":
            return self.repeat
        return -(-self.repeat // self.width) if self.width else 1

    @property
    def words(self) -> str:
        """Return the type of a cell in words."""
        if self.code in "PQ":
            return "an array of variable length in each cell"
        many = f"{self.n_values} " if self.n_values != 1 else ""
        return f"{many}{TYPES[self.code]}" + " in each cell" * bool(many)

    @property
    def n_bytes(self) -> int:
        """Width in the row."""
        if self.code == "X":
            return (self.repeat + 7) // 8
        if self.code == "A":
            return self.repeat
        size = OPAQUE_BYTES.get(self.code) or np.dtype(NUMPY_CODES[self.code]).itemsize
        return self.repeat * size

    @property
    def dtype(self) -> np.dtype:
        """Type of one cell as stored."""
        if self.code in NUMPY_CODES:
            base = np.dtype(NUMPY_CODES[self.code])
            return base if self.repeat == 1 else np.dtype((base, (self.repeat,)))
        return np.dtype(f"{'S' if self.code == 'A' else 'V'}{self.n_bytes}")


@dataclass(frozen=True)
class Table:
    """A binary table in an open file.

    Parameters
    ----------
    file : FitsFile
        The open file.
    hdu : Hdu
        The unit that holds the table.
    columns : dict of str to Column
        By name in lower case; FITS names do not differ by case.
    n_rows, row_bytes : int
        NAXIS2 and NAXIS1.
    """

    file: FitsFile
    hdu: Hdu
    columns: dict[str, Column]
    n_rows: int
    row_bytes: int

    def find(self, names: str | Sequence[str], kind: Kind, *, array: bool = False) -> Column | None:
        """Find the first of some columns that exists, and check its type.

        Parameters
        ----------
        names : str or sequence of str
            Accepted names in lower case, best first.
        kind : {'text', 'float', 'double', 'int', 'number', 'id', 'flag'}
            What its cells must hold; 'number' is a float or an integer, 'id' text or an integer,
            'flag' a logical or an integer.
        array : bool
            Whether a cell holds several values.

        Returns
        -------
        Column or None
            None where the table has none of them.

        Raises
        ------
        BadInputError
            BAD_DTYPE.
        """
        for name in (names,) if isinstance(names, str) else names:
            column = self.columns.get(name)
            if column is None:
                continue
            single = column.n_values == 1 or array
            if column.code not in ALLOWED[kind] or not single:
                raise self._no_such_type(column, kind)
            return column
        return None

    def _no_such_type(self, column: Column, kind: Kind) -> BadInputError:
        """Return the error for a column whose cells are not of the kind that is needed."""
        where = f"column {column.name} of {self.file.path}"
        if kind == "id" and column.code in "ED":
            return BadInputError(
                "BAD_DTYPE", f"{where} holds floating-point numbers, in which ids lose digits",
                "Write it as text or integers.",
            )  # fmt: skip
        if kind == "double" and column.code == "E":
            return BadInputError(
                "BAD_DTYPE",
                f"{where} holds 32-bit floats, whose steps are 0.1 arcsec wide at 360 degrees: "
                "too coarse for matches by position",
                "Use the file as published; 64-bit floats made of these are no better.",
            )
        return BadInputError(
            "BAD_DTYPE",
            f"{where} has TFORM {column.form} ({column.words}) where {kind} is needed",
            "Use the file as published, or convert the column.",
        )

    def require(self, names: str | Sequence[str], kind: Kind, *, array: bool = False) -> Column:
        """Find a column as `find` does, or fail.

        Raises
        ------
        BadInputError
            MISSING_COLUMN or BAD_DTYPE.
        """
        column = self.find(names, kind, array=array)
        if column is None:
            wanted = names if isinstance(names, str) else " or ".join(names)
            raise BadInputError(
                "MISSING_COLUMN",
                f"{self.file.path} has no column {wanted.upper()}",
                "Check that this is the right file, in a release that the reader knows.",
            )
        return column

    def read(self, start: int, stop: int, columns: Iterable[Column]) -> np.ndarray:
        """Read some columns of consecutive rows, as stored.

        Parameters
        ----------
        start, stop : int
            Row range; ``stop`` may pass the end.
        columns : iterable of Column
            What to keep.

        Returns
        -------
        numpy.ndarray
            Structured array, shape (n,), big-endian, fields named as in the file. It holds whole
            rows: n times `row_bytes` bytes.
        """
        start, stop = max(start, 0), min(stop, self.n_rows)
        wanted = {c.name: c for c in columns}
        dtype = np.dtype(
            {
                "names": list(wanted),
                "formats": [c.dtype for c in wanted.values()],
                "offsets": [c.offset for c in wanted.values()],
                "itemsize": self.row_bytes,
            }
        )
        n = max(stop - start, 0)
        self.file.stream.seek(self.hdu.data_offset + start * self.row_bytes)
        rows = np.fromfile(self.file.stream, dtype, n)
        if len(rows) < n:
            raise BadInputError(
                "TRUNCATED",
                f"{self.file.path} became shorter while being read",
                "Let nothing write the file while it is read.",
            )
        return rows

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Row ranges (start, stop) of at most 8 MiB each that cover the table."""
        step = max(1, STREAM_BYTES // max(self.row_bytes, 1))
        for start in range(0, self.n_rows, step):
            yield start, min(start + step, self.n_rows)


def open_table(file: FitsFile, name: str | None = None) -> Table:
    """Find a binary table in an open file.

    Parameters
    ----------
    file : FitsFile
        The open file.
    name : str, optional
        EXTNAME in upper case; without it, or where no unit has it, the first table is taken.

    Returns
    -------
    Table

    Raises
    ------
    BadInputError
        NO_TABLE_HDU, or BAD_DTYPE where the description of the columns is inconsistent.
    """
    tables = [hdu for hdu in file.hdus if hdu.is_table]
    if not tables:
        raise BadInputError(
            "NO_TABLE_HDU",
            f"{file.path} holds no binary table",
            "Check that this is the right file.",
        )
    named = [hdu for hdu in tables if name is not None and hdu.name == name]
    return table_of(file, (named or tables)[0])


def table_of(file: FitsFile, hdu: Hdu) -> Table:
    """Describe the table in one unit; see `open_table`."""
    header, offset = hdu.header, 0
    columns: dict[str, Column] = {}
    try:
        for i in range(1, int(header["TFIELDS"]) + 1):
            column = _column(hdu, i, offset)
            # Of two names that differ by case only, the first one counts.
            columns.setdefault(column.name.lower(), column)
            offset += column.n_bytes
        n_rows, row_bytes = int(header["NAXIS2"]), int(header["NAXIS1"])
    except (KeyError, TypeError, ValueError, OverflowError) as exc:
        raise BadInputError(
            "BAD_DTYPE", f"the columns of {file.path} are not described well ({exc})",
            "Use the file as published, or write it again.",
        ) from exc  # fmt: skip
    if n_rows and not row_bytes:
        raise BadInputError(
            "BAD_DTYPE", f"{file.path} has {n_rows} rows of no bytes", "Use the file as published."
        )
    if offset != row_bytes:
        raise BadInputError(
            "BAD_DTYPE", f"the columns of {file.path} fill {offset} bytes of {row_bytes}", ""
        )
    return Table(file, hdu, columns, n_rows, row_bytes)


def native(rows: np.ndarray, column: Column) -> np.ndarray:
    """Values of a column in native byte order, with TNULL, TSCAL and TZERO applied.

    Parameters
    ----------
    rows : numpy.ndarray
        What `Table.read` returned, shape (n,).
    column : Column
        One of its columns.

    Returns
    -------
    numpy.ndarray
        Shape (n,), or (n, repeat). Integers come as masked int64, or as uint64 where the file
        stores unsigned 64-bit numbers; scaled ones as float64; text as padded bytes.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # damaged scales make infinities, and NaN
        return _native(rows[column.name], column)


def _native(stored: np.ndarray, column: Column) -> np.ndarray:
    """Return stored values as `native` describes them."""
    if column.code not in "BIJK":
        values = stored.astype(stored.dtype.newbyteorder("="))
        scaled = column.code in "ED" and (column.scale, column.zero) != (1.0, 0.0)
        return values * column.scale + column.zero if scaled else values
    if column.scale != 1.0 or column.zero % 1:
        values = stored * column.scale + column.zero
        return values if column.null is None else np.where(stored == column.null, np.nan, values)
    if column.code == "K" and column.zero == UNSIGNED_ZERO:
        return stored.astype(np.int64).view(np.uint64) ^ np.uint64(1 << 63)
    mask = np.zeros(stored.shape, bool) if column.null is None else stored == column.null
    return np.ma.MaskedArray(stored.astype(np.int64) + int(column.zero), mask)


def _column(hdu: Hdu, i: int, offset: int) -> Column:
    """Column number i (from 1) of a table header."""
    header = hdu.header
    form = str(header[f"TFORM{i}"]).strip()
    found = re.match(r"(\d*)([LXBIJKAEDCMPQ])(\d*)", form)
    if not found:
        raise ValueError(f"TFORM{i} is {form!r}")
    null = header.get(f"TNULL{i}")
    repeat = int(found[1] or 1)
    for card in ("TSCAL", "TZERO", "TNULL", "TDIM"):
        if f"{card}{i}" in hdu.unreadable:
            raise ValueError(f"{card}{i} has no value that FITS allows")
    scale, zero = float(header.get(f"TSCAL{i}", 1.0)), float(header.get(f"TZERO{i}", 0.0))
    unsigned = found[2] == "K" and zero == UNSIGNED_ZERO
    if found[2] in "BIJK" and not unsigned and abs(zero) >= UNSIGNED_ZERO:
        raise ValueError(f"TZERO{i} is {zero}")
    if scale == 0:
        raise ValueError(f"TSCAL{i} is 0")
    return Column(
        name=str(header.get(f"TTYPE{i}", f"col{i}")).strip(),
        code=found[2],
        repeat=repeat,
        offset=offset,
        null=None if null is None else int(null),
        scale=scale,
        zero=zero,
        unit=str(header.get(f"TUNIT{i}", "")).strip(),
        width=_text_width(repeat, found[3], str(header.get(f"TDIM{i}", ""))) * (found[2] == "A"),
    )


def _text_width(repeat: int, substring: str, dimensions: str) -> int:
    """Return the characters of one of several texts in a cell; 0 where the cell is one text."""
    axes = [int(n) for n in re.findall(r"[0-9]+", dimensions)]
    has_axes = len(axes) > 1 and math.prod(axes) <= repeat
    width = axes[0] if has_axes else int(substring or 0)  # TDIM counts first (standard, 7.3.2)
    return width if 0 < width < repeat else 0
