"""Name the product that a FITS file is, where its reader lacks a column or table in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from catalog.errors import BadInputError
from catalog.files.magic import Foreign
from catalog.fits.file import FitsFile
from catalog.fits.foreign import column_names, foreign_kind, telescope
from catalog.store.columns import LABELS
from catalog.tables.columns import fold

SPECTRUM = Foreign("an optical spectrum", "Ingest it with: crosslabel ingest spectra FILE")
LABEL_TABLE = Foreign(
    "a table of labels",
    "Ingest it with: crosslabel ingest labels FILE --survey SURVEY --name NAME",
)
_LACKING = ("MISSING_COLUMN", "NO_TABLE_HDU", "BAD_DTYPE")
_LABEL_NAMES = frozenset(fold(n) for label, entry in LABELS.items() for n in (label, *entry.names))


def product_of(file: FitsFile) -> Foreign | None:
    """Return which product a FITS file is by its headers; None where it is none that is known."""
    kind = foreign_kind(file)
    if kind is not None:
        return kind
    columns = column_names(file)
    if {"FLUX", "LOGLAM"} <= columns or telescope(file) == "LAMOST":
        return SPECTRUM
    return LABEL_TABLE if any(fold(name) in _LABEL_NAMES for name in columns) else None


@contextmanager
def expecting(file: FitsFile, wanted: Foreign) -> Iterator[None]:
    """Turn the error about a column or table that is missing into one that names the product.

    Parameters
    ----------
    file : FitsFile
        The file that is read inside.
    wanted : Foreign
        The product that its reader is for.

    Raises
    ------
    BadInputError
        OTHER_PRODUCT, with the command that reads the file, where it is known to be another
        product; else the reader's own error.
    """
    try:
        yield
    except BadInputError as exc:
        kind = product_of(file) if exc.reason_code in _LACKING else None
        if kind is None or kind is wanted:
            raise
        raise BadInputError(
            "OTHER_PRODUCT",
            f"{file.path} is {kind.what}, not {wanted.what}",
            kind.todo.replace("FILE", file.path.name),
        ) from exc
