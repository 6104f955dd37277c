"""The catalogs that `jobs.ingest_catalog` can read: what differs between them is data."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import sqlalchemy as sa

from catalog.files.allstar import open_allstar
from catalog.files.block import Block
from catalog.files.sspp import open_sspp
from catalog.flags import ASPCAPFLAG, SSPP_FLAG, sspp_flag_bits
from catalog.store.schema import apogee_star, sdss_spectrum


class CatalogFile(Protocol):
    """An open catalog of any format."""

    @property
    def n_rows(self) -> int:
        """Rows in the file, good and bad."""

    @property
    def simulated(self) -> bool:
        """Whether the file says that nobody observed this."""

    def read(self, start: int, stop: int) -> Block:
        """Read a range of rows."""


@dataclass(frozen=True)
class Format:
    """How one survey's catalog enters the database."""

    survey: str
    label_set: str  # the label set is <label_set>/<release>
    open: Callable[[Path, str], AbstractContextManager[CatalogFile]]
    detail: sa.Table
    detail_columns: tuple[str, ...]
    flags: Callable[[dict[str, np.ndarray]], np.ndarray]
    flag_bits: dict[int, tuple[str, str]]
    description: str
    with_stars: bool = False


def _plain_columns(table: sa.Table, *leave_out: str) -> tuple[str, ...]:
    """The columns of a detail table that come from the file."""
    return tuple(c.name for c in table.columns if c.name not in ("source_id", *leave_out))


FORMATS = {
    "apogee": Format(
        "apogee", "aspcap", open_allstar, apogee_star, _plain_columns(apogee_star),
        lambda c: np.ma.MaskedArray(c["aspcapflag"]).filled(0).astype(np.int64), ASPCAPFLAG,
        "ASPCAP labels of APOGEE stars, as published in allStar", with_stars=True,
    ),
    "sspp": Format(
        "sdss", "sspp", open_sspp, sdss_spectrum, _plain_columns(sdss_spectrum),
        lambda c: sspp_flag_bits(c["sspp_flag"]), SSPP_FLAG,
        "SSPP labels of SDSS spectra, as published in ssppOut",
    ),
}  # fmt: skip
