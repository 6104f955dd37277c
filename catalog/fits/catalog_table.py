"""Base of the open catalogs of all surveys."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from catalog.fits.duplicates import Duplicates
from catalog.fits.table import Table


@dataclass(frozen=True)
class CatalogTable:
    """A catalog whose rows are read from a table of a FITS file.

    Attributes
    ----------
    table : Table
        The open table.
    duplicates : Duplicates
        Rows that share a key.
    """

    table: Table
    duplicates: Duplicates

    @property
    def n_rows(self) -> int:
        """Rows in the file, whatever becomes of them."""
        return self.table.n_rows

    @property
    def simulated(self) -> bool:
        """True where the file is marked as simulated."""
        return self.table.file.simulated

    def beside(self, duplicates: Duplicates) -> Self:
        """Return the same file with duplicates that were found beside other files."""
        return replace(self, duplicates=duplicates)
