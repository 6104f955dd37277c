"""VOTables: columns by the names and IDs of their fields, and the service's verdict on its answer.

A TAP service tells in ``<INFO name="QUERY_STATUS">`` whether the answer is whole (DALI 1.1, section
4.4): ``OVERFLOW`` after the table means that rows are missing, ``ERROR`` holds what went wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO
from xml.parsers import expat

import numpy as np
from astropy.io import votable

from catalog.errors import BadInputError
from catalog.files.opening import Limits
from catalog.tables.columns import RawColumn, RawTable
from catalog.tables.votable_guard import refuse_references


def read_votable(
    path: Path, stream: BinaryIO, limits: Limits, *, allow_overflow: bool = False
) -> list[RawTable]:
    """List the tables of a VOTable.

    Parameters
    ----------
    path : Path
        For messages.
    stream : typing.BinaryIO
        The file, unpacked.
    limits : Limits
        How many rows its tables may have.
    allow_overflow : bool
        Take an answer that the service has cut off.

    Raises
    ------
    BadInputError
        TRUNCATED_ANSWER or SERVICE_ERROR, by the service's own word; NO_TABLE_HDU, TOO_LARGE.
    """
    refuse_references(path, stream)
    units = _declared_units(stream)
    stream.seek(0)
    document = votable.parse(stream, verify="ignore", filename=str(path))
    partial = _check_status(path, document, allow_overflow)
    tables = []
    for number, table in enumerate(document.iter_tables(), start=1):
        limits.check_rows(path, len(table.array))
        said = units[number - 1] if number <= len(units) else []
        columns = tuple(
            RawColumn(i, field.name or field.ID or "", said[i] if i < len(said) else "",
                      field.ID or "")
            for i, field in enumerate(table.fields)
        )  # fmt: skip
        place = f"table {number} {table.name or table.ID or ''}".strip()
        read = _reader(path, table)
        tables.append(RawTable(path, place, columns, len(table.array), read, partial))
    if not tables:
        raise BadInputError("NO_TABLE_HDU", f"{path} holds no table", "Ask the service again")
    if len(tables) == 1:
        return [replace(tables[0], place="")]
    return tables


def _reader(path: Path, table: Any) -> Any:
    """Return what reads columns of one table."""

    def read(wanted: Sequence[RawColumn]) -> list[np.ma.MaskedArray]:
        found = []
        for column in wanted:
            cells = np.ma.asarray(table.array[table.array.dtype.names[column.index]])
            if (
                cells.ndim != 1
                or table.fields[column.index].datatype not in _SINGLE
                or (cells.dtype.kind == "O" and any(isinstance(c, np.ndarray) for c in cells.data))
            ):
                raise BadInputError(
                    "BAD_DTYPE",
                    f"column {column.name} of {path} does not hold single numbers or texts",
                    "Write one value in each cell",
                )
            found.append(cells)
        return found

    return read


_SINGLE = ("char", "unicodeChar", "unsignedByte", "short", "int", "long", "float", "double")


def _check_status(path: Path, document: Any, allow_overflow: bool) -> bool:
    """Raise what the service said of its answer, or return whether it has cut it off."""
    partial = False
    for info in _infos(document):
        if str(info.name).upper() != "QUERY_STATUS":
            continue
        status = str(info.value).upper()
        said = " ".join(str(info.content or "").split())
        if status == "ERROR":
            raise BadInputError(
                "SERVICE_ERROR",
                f"{path} is a service's error: {said or 'without a word'}",
                "Correct the query, and ask again",
            )
        partial |= status == "OVERFLOW"
        if status == "OVERFLOW" and not allow_overflow:
            raise BadInputError(
                "TRUNCATED_ANSWER",
                f"{path} is not the whole answer: the service says OVERFLOW"
                + f" ({said})" * bool(said),
                "Ask again with a larger MAXREC; --allow-overflow takes the rows that are there",
            )
    return partial


def _infos(element: Any) -> Iterator[Any]:
    """All INFO elements of a document, whether before or behind their table."""
    yield from element.infos
    for resource in element.resources:
        yield from _infos(resource)
        for table in resource.tables:
            yield from table.infos


def _declared_units(stream: BinaryIO) -> list[list[str]]:
    """Return the units of the fields of each table as they are written: Astropy gives its reading.

    What is no XML has none; whoever reads the table says so.
    """
    tables: list[list[str]] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        tag = name.rpartition(":")[2]
        if tag == "TABLE":
            tables.append([])
        elif tag == "FIELD" and tables:
            tables[-1].append(attributes.get("unit", ""))

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    stream.seek(0)
    with suppress(expat.ExpatError):
        parser.ParseFile(stream)
    return tables
