"""Recognise files that are not FITS by their first bytes, and say what to do with them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from catalog.errors import BadInputError

HEAD_BYTES = 512
NOT_YET = "Files of this kind are not read; take it away, or name the files that are to be read"


class Foreign(NamedTuple):
    """A kind of file that is not read.

    Attributes
    ----------
    what : str
        What it is, with its article.
    todo : str
        What to do with it.
    """

    what: str
    todo: str


_BYTES: tuple[tuple[int, bytes, Foreign], ...] = (
    (0, b"PK\x03\x04", Foreign("a zip archive", "Unzip it, and give the files in it")),
    (0, b"\xfd7zXZ\0", Foreign("a file compressed by xz", "Unpack it: unxz FILE")),
    (0, b"\x1f\x9d", Foreign("a file compressed by compress", "Unpack it: uncompress FILE")),
    (0, b"\x1f\x8b", Foreign("a file that gzip compressed twice", "Unpack it once: gunzip FILE")),
    (0, b"BZh", Foreign("a file compressed by bzip2", "Unpack it: bunzip2 FILE")),
    (0, b"7z\xbc\xaf", Foreign("a 7z archive", "Unpack it, and give the files in it")),
    (257, b"ustar", Foreign("a tar archive", "Unpack it: tar -xf FILE")),
    (0, b"\x89HDF", Foreign("an HDF5 file", NOT_YET)),
    (0, b"PAR1", Foreign("a Parquet file", "Is it a table of labels? crosslabel ingest labels")),
    (0, b"%PDF", Foreign("a PDF", "Take it away")),
)  # fmt: skip
_HTML = re.compile(rb"\s*<(!doctype html|html|head|body)", re.I)
_XML = re.compile(rb"\s*<(\?xml|votable)", re.I)
PAGE = Foreign("a web page", "The archive answered with a page, not a file: download it again")
XML = Foreign("an XML file", "Is it a table of labels (VOTable)? crosslabel ingest labels")
TEXT = Foreign(
    "no FITS file, and by its name a table of text",
    "If it is a table of labels: crosslabel ingest labels FILE --survey SURVEY --name NAME",
)
_TEXT_SUFFIXES = (".csv", ".tsv", ".ecsv", ".txt", ".dat")
UNKNOWN = Foreign(
    "no FITS file", "It may be an error page of the archive: look at it, then download it again"
)


def not_fits(path: Path, head: bytes) -> BadInputError:
    """Return the error for a file that is no FITS file, from its first `HEAD_BYTES` bytes."""
    kind = next((k for at, magic, k in _BYTES if head[at : at + len(magic)] == magic), None)
    if kind is None:
        other = TEXT if path.suffix.lower() in _TEXT_SUFFIXES else UNKNOWN
        kind = PAGE if _HTML.match(head) else XML if _XML.match(head) else other
    return BadInputError("NOT_FITS", f"{path} is {kind.what}", kind.todo.replace("FILE", path.name))
