"""What the open catalogs of all surveys have in common."""

from __future__ import annotations

from dataclasses import dataclass

from catalog.files.fitstable import Table


@dataclass(frozen=True)
class CatalogTable:
    """A catalog whose rows are read from a table of a FITS file.

    Attributes
    ----------
    table : Table
        The open table.
    """

    table: Table

    @property
    def n_rows(self) -> int:
        """Rows in the file, whatever becomes of them."""
        return self.table.n_rows

    @property
    def simulated(self) -> bool:
        """Whether the file says that nobody observed this."""
        return self.table.file.simulated
