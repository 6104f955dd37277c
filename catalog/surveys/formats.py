"""Find the reader of a file: of a catalog by its kind, of a spectrum by its content."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import sqlalchemy as sa

from catalog.errors import BadInputError
from catalog.fits.duplicates import Duplicates
from catalog.fits.file import open_fits
from catalog.fits.foreign import refuse_foreign
from catalog.records import Block
from catalog.store.schema import metadata
from catalog.surveys.registry import find_catalog, spectrum_formats
from catalog.surveys.release import Recognised
from catalog.surveys.spectrum import SpectrumFile
from catalog.surveys.survey import Catalog, SpectrumFormat, Survey


class CatalogFile(Protocol):
    """An open catalog of any format."""

    @property
    def n_rows(self) -> int:
        """Rows in the file, good and bad."""

    @property
    def simulated(self) -> bool:
        """True where the file is marked as simulated."""

    @property
    def recognised(self) -> Recognised:
        """The releases that the file can be of."""

    @property
    def duplicates(self) -> Duplicates:
        """Rows that share a key."""

    def beside(self, duplicates: Duplicates) -> Self:
        """Return the same file with duplicates that were found beside other files."""

    def read(self, start: int, stop: int) -> Block:
        """Read a range of rows."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """The record of a catalog with its readers and tables at hand.

    Attributes
    ----------
    survey : Survey
        Survey of the sources.
    catalog : Catalog
        What the record says of the catalog.
    open : callable
        ``open(path, release)``: a context manager that gives the open file.
    detail : Table or None
        The table 1:1 with ``source`` that holds the survey's own columns.
    detail_columns : tuple of str
        Those of them that the catalog has.
    """

    survey: Survey
    catalog: Catalog
    open: Callable[[Path, str], AbstractContextManager[CatalogFile]]
    detail: sa.Table | None
    detail_columns: tuple[str, ...]

    def flags(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the flag bits of the labels of rows, int64 of shape (n,)."""
        if self.catalog.flags is None:
            return np.zeros(len(columns["survey_key"]), np.int64)
        return np.asarray(self.catalog.flags.load()(columns))

    @property
    def flag_bits(self) -> dict[int, tuple[str, str]]:
        """Bit of the flags -> (name, meaning)."""
        return {} if self.catalog.flag_bits is None else dict(self.catalog.flag_bits.load())


def find_format(kind: str, **options: Any) -> Format:
    """Return how the catalogs of a kind are read; options are those of its reader.

    Raises
    ------
    KeyError
        If there is no such kind.
    """
    survey, catalog = find_catalog(kind)
    detail = None if survey.detail is None else metadata.tables[survey.detail.table]
    known = () if detail is None else tuple(c.name for c in detail.columns)
    columns = catalog.columns or tuple(name for name in known if name != "source_id")
    reader = catalog.open.load()
    return Format(
        survey=survey, catalog=catalog, open=partial(reader, **options) if options else reader,
        detail=detail, detail_columns=columns,
    )  # fmt: skip


def spectrum_format(path: str | os.PathLike[str]) -> tuple[Survey, SpectrumFormat]:
    """Return the survey and the layout of a spectrum, as the content of its file tells.

    Raises
    ------
    BadInputError
        The codes of `open_fits`, and OTHER_PRODUCT for files that are known to be something else.
    """
    with open_fits(path) as file:
        refuse_foreign(file)
        for survey, layout in spectrum_formats():
            if layout.recognise is None or layout.recognise.load()(file):
                return survey, layout
    raise BadInputError(
        "OTHER_PRODUCT", f"{path} is no spectrum of a survey that is known", "Take it away"
    )


def read_spectrum_file(path: str | os.PathLike[str]) -> SpectrumFile:
    """Read the spectrum in a file, whichever survey's layout it has.

    Raises
    ------
    BadInputError
        If it is damaged, or not what its name says.
    """
    _, layout = spectrum_format(path)
    found: SpectrumFile = layout.read.load()(path)
    return found
