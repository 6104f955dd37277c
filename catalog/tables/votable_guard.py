"""Refuse VOTables that make their reader fetch other files or addresses, or define entities.

The data of a table may be a ``STREAM`` whose ``href`` is any URL, ``file:`` among them (VOTable
1.4, section 5.4); astropy follows it. A table of labels is one file.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO
from xml.parsers import expat

from catalog.errors import BadInputError


def refuse_references(path: Path, stream: BinaryIO) -> None:
    """Raise unless the data of a VOTable are in the file itself; the stream is at its start then.

    Raises
    ------
    BadInputError
        WRONG_CONTENT, where data are elsewhere or an entity is defined. What is no XML passes:
        whoever reads the table says so.
    """

    def refuse(what: str) -> None:
        raise BadInputError(
            "WRONG_CONTENT", f"{path} {what}", "Write the table again with its data in the file"
        )

    def start(name: str, attributes: dict[str, str]) -> None:
        if name.rpartition(":")[2] == "STREAM" and "href" in attributes:
            refuse(f"keeps its data elsewhere: {attributes['href'][:100]}")

    def entity(*_: Any) -> None:
        refuse("defines XML entities")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EntityDeclHandler = entity
    with suppress(expat.ExpatError):
        parser.ParseFile(stream)
    stream.seek(0)
