"""Tables of text: CSV with any usual separator, and ECSV.

What is read is sure: a separator that gives every line as many fields as the header, SkyServer's
``#Table1`` before it, a header written as a comment. Otherwise the line is shown that does not fit.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from astropy.io import ascii as astropy_ascii

from catalog.errors import BadInputError
from catalog.files.missing import is_word
from catalog.files.numbers import is_number
from catalog.files.opening import Limits
from catalog.tables.columns import RawColumn, RawTable
from catalog.words import count

_SKYSERVER = re.compile(r"#\s*Table\s*[0-9]+\s*")
_RULE = re.compile(r"[-+=|: ]+")  # of PostgreSQL's and Markdown's tables
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+(?:[eE][+-]?[0-9]+)?")
#: Tried in this order; None splits at blanks.
_SEPARATORS: dict[str | None, str] = {
    ",": "comma", "\t": "tab", ";": "semicolon", "|": "|", None: "blanks",
}  # fmt: skip
_SAMPLE = 50  # lines that decide
_SHOWN = 80  # characters of a line in a message


def read_text(path: Path, stream: BinaryIO, limits: Limits) -> list[RawTable]:
    """Read a table of text with a header line; all cells are texts.

    Parameters
    ----------
    path : Path
        For messages.
    stream : typing.BinaryIO
        The file, unpacked.
    limits : Limits
        Its rows are counted while it is read.

    Raises
    ------
    BadInputError
        BAD_TEXT for another encoding than UTF-8 (or UTF-16 with its mark), HTML_BODY,
        WRONG_CONTENT with the line that does not fit, TOO_LARGE.
    """
    text = _decoded(path, stream.read())
    if re.match(r"\s*<(!doctype|html)", text, re.I):
        raise BadInputError(
            "HTML_BODY", f"{path} is a web page, not a table", "Look at it, then download it again"
        )
    if text.startswith("# %ECSV"):
        return read_ecsv(path, io.BytesIO(text.encode()), limits)
    lines = [line for line in io.StringIO(text, newline="") if line.strip()]
    is_comment = [line.lstrip().startswith("#") for line in lines]
    n_comments = is_comment.index(False) if False in is_comment else len(lines)
    comments = [x for x in lines[:n_comments] if not _SKYSERVER.fullmatch(x.strip())]
    lines = lines[n_comments:]
    if not lines and not comments:
        raise BadInputError("WRONG_CONTENT", f"{path} has no header", "Write it again")
    separator = _separator(lines[:_SAMPLE])
    if comments and (not lines or _is_header(comments[-1], lines[0], separator)):
        lines.insert(0, comments[-1].lstrip()[1:].lstrip())
    header, *rows = _rows(path, lines, separator, limits)
    header = [name.strip() for name in header]
    twice = next((n for i, n in enumerate(header) if n and n in header[:i]), None)
    if twice is not None:
        raise BadInputError(
            "WRONG_CONTENT", f"two columns of {path} have one name: {twice}", "Rename one of them"
        )
    columns = tuple(RawColumn(i, name) for i, name in enumerate(header))

    def read(wanted: Sequence[RawColumn]) -> list[np.ma.MaskedArray]:
        found = []
        for column in wanted:
            cells = [row[column.index] for row in rows]
            if separator != ",":
                cells = _with_points(cells)
            found.append(np.ma.MaskedArray(np.array(cells, object), False))
        return found

    return [RawTable(path, "", columns, len(rows), read)]


def read_ecsv(path: Path, stream: BinaryIO, limits: Limits) -> list[RawTable]:
    """Read an ECSV table, with its types and units."""
    text = _decoded(path, stream.read())
    table = astropy_ascii.read(text.splitlines(), format="ecsv", guess=False)
    limits.check_rows(path, len(table))
    names = table.colnames
    columns = tuple(
        RawColumn(i, name, str(getattr(table[name], "unit", None) or ""))
        for i, name in enumerate(names)
    )

    def read(wanted: Sequence[RawColumn]) -> list[np.ma.MaskedArray]:
        return [_plain(path, column.name, table[column.name]) for column in wanted]

    return [RawTable(path, "", columns, len(table), read)]


def _plain(path: Path, name: str, column: object) -> np.ma.MaskedArray:
    """Return the cells of a column of Astropy; `Quantity` and `Masked` become plain."""
    mask = getattr(column, "mask", False)
    cells = getattr(column, "unmasked", column)
    cells = np.asarray(getattr(cells, "value", cells))
    if cells.ndim != 1 or cells.dtype.kind not in "fiuSUO":
        raise BadInputError(
            "BAD_DTYPE", f"column {name} of {path} does not hold single numbers or texts",
            "Write it as a plain column",
        )  # fmt: skip
    return np.ma.MaskedArray(cells, np.broadcast_to(mask, cells.shape))


def _decoded(path: Path, data: bytes) -> str:
    """Return the text of a file; bytes 0 in its header or at its end mean that it is none."""
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as exc:
        number = data.count(b"\n", 0, exc.start) + 1
        line = data.split(b"\n", number)[number - 1].strip().decode("latin-1")
        raise BadInputError(
            "BAD_TEXT",
            f"line {number} of {path} is not encoded as {encoding[:6].upper().strip('-')}: "
            f"{line[:_SHOWN]!r}",
            "Write the file again in UTF-8",
        ) from exc
    if "\0" in text.lstrip().partition("\n")[0] or text.endswith("\0"):
        raise BadInputError(
            "BAD_TEXT",
            f"{path} holds bytes 0: it is no text, damaged, or UTF-16 or UTF-32 without its mark",
            "Look at it, then write it again in UTF-8",
        )
    return text


def _separator(sample: Sequence[str]) -> str | None:
    """Return the first separator that gives all lines one number of fields, more than one."""
    for separator in _SEPARATORS:
        try:
            counts = {len(fields) for fields in _split(sample, separator)}
        except csv.Error:
            continue
        if len(counts) == 1 and counts != {1}:
            return separator
    return ","


def _split(lines: Iterable[str], separator: str | None) -> Iterable[list[str]]:
    """Split lines into fields."""
    if separator is None:
        return (line.split() for line in lines)
    if separator != "|":
        return csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=True)
    inner = (line.strip() for line in lines if not _RULE.fullmatch(line.strip()))
    bare = (x[x.startswith("|") : len(x) - x.endswith("|") * x.startswith("|")] for x in inner)
    return csv.reader(bare, delimiter="|", strict=True)


def _is_header(comment: str, line: str, separator: str | None) -> bool:
    """Return True where a comment names the columns of the line behind it, which has numbers."""
    names, cells = (next(iter(_split([x], separator)), []) for x in (comment.lstrip()[1:], line))
    has_number = any(is_number(cell) for cell in cells)
    return len(names) == len(cells) and has_number and not any(map(is_number, names))


def _rows(
    path: Path, lines: Sequence[str], separator: str | None, limits: Limits
) -> list[list[str]]:
    """Return header and rows; a row of another length is no table."""
    rows: list[list[str]] = []
    try:
        for row in _split(lines, separator):
            if not any(field.strip() for field in row):
                continue
            rows.append(row)
            limits.check_rows(path, len(rows) - 1)
            if len(row) != len(rows[0]):
                raise _ragged(path, rows, separator)
    except csv.Error as exc:
        raise BadInputError(
            "WRONG_CONTENT", f"{path} is no table of text: {exc}, after row {len(rows) - 1}",
            "Look at the quotes there",
        ) from exc  # fmt: skip
    return rows


def _ragged(path: Path, rows: Sequence[Sequence[str]], separator: str | None) -> BadInputError:
    """Return the error for a row with another number of fields than the header."""
    shown = [(separator or " ").join(row)[:_SHOWN] for row in (rows[0], rows[-1])]
    tried = ", ".join(word for sep, word in _SEPARATORS.items() if sep not in (separator, None))
    return BadInputError(
        "WRONG_CONTENT",
        f"row {len(rows) - 1} of {path} has {count(len(rows[-1]), 'field')}, its header "
        f"{len(rows[0])}, with the separator {_SEPARATORS[separator]}: header {shown[0]!r}, row "
        f"{shown[1]!r}",
        f"Give all rows as many fields as the header (separators that do not fit: {tried})",
    )


def _with_points(cells: list[str]) -> list[str]:
    """Return cells with decimal points where all numbers have decimal commas."""
    some = [cell for cell in islice((c.strip() for c in cells), 1000) if not is_word(cell)]
    if any(_DECIMAL_COMMA.fullmatch(c) for c in some) and not any("." in c for c in some):
        return [cell.replace(",", ".") for cell in cells]
    return cells
