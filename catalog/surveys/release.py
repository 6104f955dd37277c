"""The data releases that a catalog file can be of, as its rows, columns, cards or name say.

One version of a file can stand for several releases: DR15 has no allStar of its own but DR14's
(l31c.2), and ssppOut has not changed after DR12. What is inside counts more than the name, which
people change. Versions: https://www.sdss4.org/dr17/irspec/catalogs/ and `catalog.archive.places`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from catalog.errors import BadInputError
from catalog.fits.file import open_fits
from catalog.fits.table import Table, open_table
from catalog.surveys.registry import find_catalog
from catalog.tables.product import expecting

Releases = frozenset[str]
_RELEASE = re.compile(r"dr\d{1,2}")
_CARDS = ("RELEASE", "DATAREL")
_LOOKED_AT = 100  # rows in which a version is looked for


def _dr(*numbers: int) -> Releases:
    """Return the names of some releases."""
    return frozenset(f"dr{n}" for n in numbers)


#: What stands in file names, ids and version columns of allStar.
_ASPCAP = {
    "v304": _dr(10), "v402": _dr(11), "v603": _dr(12), "l25_6d": _dr(12), "l30e": _dr(13),
    "l31c": _dr(14, 15), "l33": _dr(16), "synspec": _dr(17), "apstar-r5": _dr(12),
    "apstar-r6": _dr(13), "apstar-r8": _dr(14, 15), "apstar-r12": _dr(16), "asstar-r12": _dr(16),
    "apstar-dr17": _dr(17), "asstar-dr17": _dr(17),
}  # fmt: skip
_VERSION_COLUMNS = ("results_version", "aspcap_version", "aspcap_id", "file")
#: Columns that only some releases have.
_ALLSTAR_COLUMNS = {
    "gaiaedr3_source_id": _dr(17), "gaia_source_id": _dr(16), "targ_pmra": _dr(17),
    "reduction_id": _dr(10, 11, 12, 13, 14, 15), "pmra": _dr(10, 11, 12, 13, 14, 15),
}  # fmt: skip
_SSPP = {"dr9": _dr(8, 9), "dr10": _dr(10, 11), "dr12": _dr(12, 13, 14, 15, 16, 17)}
_SPECOBJ = {f"dr{n}": _dr(14, 15) if n == 14 else _dr(n) for n in range(8, 18)}


@dataclass(frozen=True)
class Recognised:
    """The releases that a file can be of, and the evidence.

    Attributes
    ----------
    releases : frozenset of str
        Those that it can be of; empty where it does not say.
    why : str
        By what it was recognised, in words.
    """

    releases: Releases = frozenset()
    why: str = ""

    def check(self, path: Path, release: str) -> None:
        """Raise unless the file can be of a release.

        Names that are no releases of SDSS, such as ``mine``, contradict nothing.

        Raises
        ------
        BadInputError
            BAD_RELEASE.
        """
        if not self.releases or not _RELEASE.fullmatch(release) or release in self.releases:
            return
        known = sorted(self.releases, key=lambda name: int(name[2:]))
        many = len(known) > 2
        words = f"one of {known[0]} to {known[-1]}" if many else " or ".join(known)
        right = "the right release" if many else f"--release {known[0]}"
        raise BadInputError(
            "BAD_RELEASE",
            f"{path} is of {words} ({self.why}), not of {release}",
            f"Give {right}; or --as-release, if it is to count as {release}",
        )


def recognise_allstar(table: Table) -> Recognised:
    """Return the releases that an open allStar catalog can be of."""
    return _first(_cards(table), _versions(table), _columns(table), _name(table, _ASPCAP))


def recognise_sspp(table: Table) -> Recognised:
    """Return the releases that an open ssppOut catalog can be of."""
    return _first(_cards(table), _name(table, _SSPP))


def recognise_specobj(table: Table) -> Recognised:
    """Return the releases that an open specObj catalog can be of."""
    return _first(_cards(table), _name(table, _SPECOBJ))


def recognise(path: str | os.PathLike[str], kind: str) -> Recognised:
    """Return the releases that a catalog file can be of.

    Parameters
    ----------
    path : path-like
        The file.
    kind : str
        Of the catalog that it is taken for; see `catalog.surveys.registry`.

    Raises
    ------
    BadInputError, UsageError, SourceUnavailableError
        Where it cannot be opened: see `open_fits` and `open_table`.
    """
    _, catalog = find_catalog(kind)
    if catalog.recognise is None:
        return Recognised()
    with ExitStack() as stack:
        file = stack.enter_context(open_fits(path))
        if catalog.foreign is not None:
            stack.enter_context(expecting(file, catalog.foreign.load()))
        found: Recognised = catalog.recognise.load()(open_table(file))
        return found


def _first(*evidence: Iterator[Recognised]) -> Recognised:
    """Return the first evidence there is."""
    return next((found for each in evidence for found in each), Recognised())


def _cards(table: Table) -> Iterator[Recognised]:
    """Look into the cards of the primary header and of the table's."""
    for header in (table.file.hdus[0].header, table.hdu.header):
        for card in _CARDS:
            release = str(header.get(card, "")).strip().lower()
            if _RELEASE.fullmatch(release):
                yield Recognised(frozenset([release]), f"its card {card} says so")


def _versions(table: Table) -> Iterator[Recognised]:
    """Look into the columns that name the version of the reduction."""
    for name in _VERSION_COLUMNS:
        column = table.columns.get(name)
        if column is None or column.code != "A" or column.repeat == 0:
            continue
        cells = table.read(0, _LOOKED_AT, [column])[column.name]
        for cell in np.unique(cells).tolist():
            text = cell.decode("ascii", "replace")
            for token, releases in _ASPCAP.items():
                if _stands_in(token, text):
                    yield Recognised(releases, f"{column.name} is {text.strip()!r}")


def _columns(table: Table) -> Iterator[Recognised]:
    """Look for columns that only some releases have."""
    for name, releases in _ALLSTAR_COLUMNS.items():
        if name in table.columns:
            yield Recognised(releases, f"it has the column {table.columns[name].name}")


def _name(table: Table, tokens: Mapping[str, Releases]) -> Iterator[Recognised]:
    """Look into the file's name."""
    name = table.file.path.name
    for token, releases in tokens.items():
        if _stands_in(token, name):
            yield Recognised(releases, "its name says so")


def _stands_in(token: str, text: str) -> bool:
    """Return whether a version is part of a text, and no part of a longer word."""
    return re.search(rf"(?<![a-z0-9]){re.escape(token)}(?![a-z0-9])", text.lower()) is not None
