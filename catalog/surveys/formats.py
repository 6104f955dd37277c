"""The catalogs that `jobs.ingest.catalogs` can read: what differs between them is data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import sqlalchemy as sa

from catalog.fits.duplicates import Duplicates
from catalog.flags import ASPCAPFLAG, SSPP_FLAG, sspp_flag_bits
from catalog.records import Block
from catalog.store.schema import apogee_star, sdss_spectrum
from catalog.surveys.allstar import open_allstar
from catalog.surveys.release import Recognised
from catalog.surveys.specobj import open_specobj
from catalog.surveys.sspp import open_sspp


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
    """Description of a survey's catalog: its reader, and the tables that it fills.

    Attributes
    ----------
    survey : str
        Survey of the sources.
    open : callable
        ``open(path, release)``: a context manager that gives the open file.
    detail : Table
        The table 1:1 with ``source`` that holds the survey's own columns.
    detail_columns : tuple of str
        Those of them that the format knows.
    named_by : str, optional
        Column of ``detail`` that says that this catalog has the source.
    with_stars : bool
        Whether the rows name their star.
    yields_to_sspp : bool
        Whether positions that SSPP gave stay as they are.
    """

    survey: str
    open: Callable[[Path, str], AbstractContextManager[CatalogFile]]
    detail: sa.Table
    detail_columns: tuple[str, ...]
    named_by: str | None = None
    with_stars: bool = False
    yields_to_sspp: bool = False


@dataclass(frozen=True, kw_only=True)
class LabelFormat(Format):
    """A catalog that also has labels: its label set is ``<label_set>/<release>``."""

    label_set: str
    flags: Callable[[Mapping[str, np.ndarray]], np.ndarray]
    flag_bits: dict[int, tuple[str, str]]
    description: str


def _plain_columns(table: sa.Table, *leave_out: str) -> tuple[str, ...]:
    """Return the columns of a detail table that come from the file."""
    return tuple(c.name for c in table.columns if c.name not in ("source_id", *leave_out))


FORMATS = {
    "apogee": LabelFormat(
        survey="apogee",
        label_set="aspcap",
        open=open_allstar,
        detail=apogee_star,
        detail_columns=_plain_columns(apogee_star),
        flags=lambda c: np.ma.MaskedArray(c["aspcapflag"]).filled(0).astype(np.int64),
        flag_bits=ASPCAPFLAG,
        description="ASPCAP labels of APOGEE stars, as published in allStar",
        with_stars=True,
    ),
    "sspp": LabelFormat(
        survey="sdss",
        label_set="sspp",
        open=open_sspp,
        detail=sdss_spectrum,
        detail_columns=_plain_columns(sdss_spectrum),
        named_by="in_sspp",
        flags=lambda c: sspp_flag_bits(c["sspp_flag"]),
        flag_bits=SSPP_FLAG,
        description="SSPP labels of SDSS spectra, as published in ssppOut",
    ),
}


def specobj_format(classes: tuple[str, ...]) -> Format:
    """The catalog of all SDSS spectra, read where they are of some classes (none named: any)."""
    return Format(
        survey="sdss",
        open=partial(open_specobj, classes=classes),
        detail=sdss_spectrum,
        detail_columns=("specobjid", "plate", "mjd", "fiberid", "run2d", "is_primary"),
        named_by="in_specobj",
        yields_to_sspp=True,
    )


def find_format(name: str) -> Format:
    """Return the format of that name, whether it has labels or not."""
    return specobj_format(("STAR",)) if name == "specobj" else FORMATS[name]
