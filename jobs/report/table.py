"""A table of the page: words and numbers, before they are HTML."""

from __future__ import annotations

from dataclasses import dataclass

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
