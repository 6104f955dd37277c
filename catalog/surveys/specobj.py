"""The catalog of all SDSS and BOSS spectra (specObj) of DR8 to DR17, read in blocks of rows.

Columns follow https://data.sdss.org/datamodel/files/SPECTRO_REDUX/specObj.html; ``ra`` and ``dec``
are the names of the table SpecObjAll in CAS. Most rows are galaxies: only rows of the classes that
are asked for are read, and never those of fibres that saw no object. Bits of ZWARNING:
https://www.sdss4.org/dr17/algorithms/bitmasks/#ZWARNING.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from catalog.fits.catalog_table import CatalogTable
from catalog.fits.cells import check_units, flag_cells, integer_cells, text_cells
from catalog.fits.checksum import verify_checksums
from catalog.fits.duplicates import find_duplicates
from catalog.fits.file import open_fits
from catalog.fits.foreign import SPECOBJ
from catalog.fits.table import Column, open_table
from catalog.records import Block, RowAudit
from catalog.surveys.release import Recognised, recognise_specobj
from catalog.surveys.sdss_keys import Names, find_columns, identity_cells, spectrum_keys
from catalog.tables.product import expecting

REQUIRED: Names = {
    "specobjid": ("id", ("specobjid",)),
    "ra": ("double", ("plug_ra", "ra")),
    "dec": ("double", ("plug_dec", "dec")),
    "plate": ("int", ("plate",)),
    "mjd": ("int", ("mjd",)),
    "fiberid": ("int", ("fiberid", "fiber")),
    "run2d": ("id", ("run2d",)),
    "class": ("text", ("class",)),
}
OPTIONAL: Names = {
    "is_primary": ("flag", ("specprimary",)),
    "zwarning": ("int", ("zwarning",)),
}
SKY, UNPLUGGED, NODATA = 1 << 0, 1 << 7, 1 << 9
#: Why rows are left out that have no class to tell: a fibre without an object, no class.
NO_OBJECT, NO_CLASS = "no object", "no class"


@dataclass(frozen=True)
class SpecObj(CatalogTable):
    """An open specObj catalog; made by `open_specobj`.

    Parameters
    ----------
    table : Table
        Its first table.
    duplicates : Duplicates
        Rows of the classes that are read that share a plate, MJD, fibre and reduction.
    columns : dict of str to Column
        Database column to column of the file.
    classes : tuple of str
        Classes of the rows that are read, such as ``STAR``; empty: any.
    left_out : mapping of str to int
        Rows that are not read, by their class, `NO_CLASS` or `NO_OBJECT`.
    """

    columns: dict[str, Column]
    classes: tuple[str, ...]
    left_out: Mapping[str, int]

    @property
    def recognised(self) -> Recognised:
        """The releases that the file can be of."""
        return recognise_specobj(self.table)

    def read(self, start: int, stop: int) -> Block:
        """Read rows ``start`` to ``stop`` (exclusive).

        Parameters
        ----------
        start, stop : int
            Row numbers from 0; ``stop`` may pass the end. Memory is about ``stop - start`` times
            the row length of the file (1.5 kB).

        Returns
        -------
        Block
            Columns as documented in `open_specobj`.
        """
        columns = self.columns
        start, stop = max(start, 0), min(stop, self.n_rows)
        rows = self.table.read(start, stop, columns.values())
        audit = RowAudit(spectrum_keys(columns, rows), start)
        audit.leave_out(_why_left_out(columns, rows, self.classes) != b"")
        out = identity_cells(columns, rows, audit)
        if "is_primary" in columns:  # what another catalog said stays where this one is silent
            out["is_primary"] = flag_cells(rows, columns["is_primary"])
        self.duplicates.reject(audit, len(rows))
        return audit.block(out)


@contextmanager
def open_specobj(
    path: str | os.PathLike[str], release: str, *, classes: tuple[str, ...] = ("STAR",)
) -> Iterator[SpecObj]:
    """Open a specObj catalog, check it, count what is left out and look for duplicate rows.

    Opening reads the file once (checksums where it has them, keys, classes); keep it open for all
    blocks.

    Parameters
    ----------
    path : path-like
        FITS file, gzip-compressed or not.
    release : str
        Data release, such as ``dr17``; the layout does not depend on it.
    classes : tuple of str
        Read rows of these classes (STAR, GALAXY, QSO); empty reads any that has an object.

    Yields
    ------
    SpecObj
        Its blocks have the columns survey_key (plate-mjd-fiber-run2d), ra, dec [deg, ICRS,
        float64], epoch [Julian year of the spectrum], specobjid [decimal text], plate, mjd,
        fiberid [int64, masked], run2d [bytes], and is_primary [bool] where the file has it.

    Raises
    ------
    BadInputError
        Where the file as a whole cannot be used.
    """
    with open_fits(path) as file:
        with expecting(file, SPECOBJ):
            table = open_table(file)
            columns = find_columns(table, REQUIRED, OPTIONAL)
        check_units(table, {name: [columns[name]] for name in ("ra", "dec")})
        verify_checksums(file, table.hdu)
        left_out: Counter[str] = Counter()

        def keys_of_wanted(rows: np.ndarray) -> np.ndarray:
            why = _why_left_out(columns, rows, classes)
            for word, n in zip(*np.unique(why[why != b""], return_counts=True), strict=True):
                left_out[word.decode("ascii", "replace")] += int(n)
            return np.where(why == b"", spectrum_keys(columns, rows), b"")

        duplicates = find_duplicates(table, list(columns.values()), keys_of_wanted)
        yield SpecObj(table, duplicates, columns, classes, dict(left_out))


def _why_left_out(
    columns: dict[str, Column], rows: np.ndarray, classes: tuple[str, ...]
) -> np.ndarray:
    """Return the reason why each row is left out, as bytes; ``b""`` where it is read."""
    found = text_cells(rows, columns["class"])
    why = np.where(found == b"", NO_CLASS.encode(), found)
    wanted = np.isin(found, [c.encode("ascii") for c in classes]) | (not classes)
    bits = integer_cells(rows, columns.get("zwarning")).filled(0)
    dark = (bits & (SKY | UNPLUGGED | NODATA)) != 0
    return np.where(dark, NO_OBJECT.encode(), np.where(wanted, b"", why))
