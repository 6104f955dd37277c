"""The subject of a report, and the parts that its sections give to the page.

Every section is a module with one function ``draw(conn, subject) -> list[Drawing | Missing]``:
``conn`` reads one snapshot of the catalog for the whole report, and what comes back stands on the
page in that order. Sections gather numbers in one function and draw them in another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import sqlalchemy as sa
from matplotlib.figure import Figure

#: A number is set to the right; None is shown as a dash.
Cell = str | int | float | None


@dataclass(frozen=True)
class Table:
    """A table with what must be known to read it.

    Parameters
    ----------
    name : str
        Anchor on the page, in lower case with dashes.
    title : str
        Its caption.
    head : tuple of str
        Headings of the columns; the first column heads the rows.
    rows : tuple of tuples
        As many cells each as there are headings.
    note : str
        Sentences that stand below it.
    """

    name: str
    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        if any(len(row) != len(self.head) for row in self.rows):
            raise ValueError(f"The rows of the table {self.name} are not as long as its head.")


@dataclass(frozen=True)
class Subject:
    """The subject of a report: names that were found in the catalog.

    Parameters
    ----------
    sample : str
        Name of the sample.
    reference : str
        Label set that the others are compared with, as ``name@edition``.
    compared : str or None
        The optical survey's label set, as ``name@edition``; None where the catalog has none.
    models : tuple of str
        Models trained on the sample, as ``name@edition``, in the order of the page.
    seed : int
        Of the random choice of points and spectra.
    """

    sample: str
    reference: str
    compared: str | None
    models: tuple[str, ...]
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure with its words.

    Parameters
    ----------
    name : str
        Stem of its files, in lower case with dashes: ``sky-map``.
    title : str
        Heading on the page.
    caption : str
        In plain words what is shown, of how many stars, in which units, and what there is to see.
    figure : Figure
        What is drawn, made without pyplot.
    """

    name: str
    title: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Missing:
    """A figure that the catalog has no data for.

    Parameters
    ----------
    name, title : str
        As they would be if there were one.
    reason : str
        What is missing, and which command makes it.
    """

    name: str
    title: str
    reason: str


class Section(Protocol):
    """A module that draws: its function `draw`."""

    def draw(self, conn: sa.Connection, subject: Subject) -> Sequence[Drawing | Missing]:
        """Draw the figures of the section, in order."""
