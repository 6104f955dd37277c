"""The SEGUE stellar parameter catalog (ssppOut) of DR9 to DR12, read in blocks of rows.

Columns follow https://data.sdss.org/datamodel/files/SSPP_REDUX/ssppOut.html; the names without
underscores are those of the table sppParams in CAS. Everything missing is -9999 in these files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from catalog.fits.catalog_table import CatalogTable
from catalog.fits.cells import (
    check_labels,
    check_units,
    error_cells,
    forget_zeros,
    integer_cells,
    text_cells,
    value_cells,
)
from catalog.fits.checksum import verify_checksums
from catalog.fits.duplicates import find_duplicates
from catalog.fits.file import open_fits
from catalog.fits.foreign import SSPP
from catalog.fits.table import Column, native, open_table
from catalog.records import Block, RowAudit
from catalog.surveys.release import Recognised, recognise_sspp
from catalog.surveys.sdss_keys import Names, find_columns, identity_cells, spectrum_keys
from catalog.tables.product import expecting

REQUIRED: Names = {
    "specobjid": ("id", ("specobjid",)),
    "ra": ("double", ("plug_ra",)),
    "dec": ("double", ("plug_dec",)),
    "plate": ("int", ("plate",)),
    "mjd": ("int", ("mjd",)),
    "fiberid": ("int", ("fiber", "fiberid")),
    "run2d": ("id", ("run2d",)),
    "sspp_flag": ("text", ("flag",)),
    "teff": ("float", ("teff_adop", "teffadop")),
    "logg": ("float", ("logg_adop", "loggadop")),
    "fe_h": ("float", ("feh_adop", "fehadop")),
}
OPTIONAL: Names = {
    "alpha_m": ("float", ("afe",)),
    "teff_err": ("float", ("teff_adop_unc", "teffadopunc")),
    "logg_err": ("float", ("logg_adop_unc", "loggadopunc")),
    "fe_h_err": ("float", ("feh_adop_unc", "fehadopunc")),
    "alpha_m_err": ("float", ("afe_unc", "afeunc")),
    "bv": ("float", ("bv",)),
    "v_mag": ("float", ("v_mag", "vmag")),
    "g_mag": ("float", ("g_mag", "gmag")),
    "snr_sspp": ("float", ("snr",)),
    "rv_adop": ("float", ("rv_adop", "rvadop")),
    "rv_adop_err": ("float", ("rv_adop_unc", "rvadopunc")),
    "zwarning": ("int", ("zwarning",)),
    "is_primary": ("int", ("specprimary",)),
    "spectype": ("text", ("spectype_subclass", "spectypesubclass", "spectype_hammer")),
}
LABELS = ("teff", "logg", "fe_h", "alpha_m")
MAIN_LABELS = LABELS[:3]
MEASUREMENTS = ("bv", "v_mag", "g_mag", "snr_sspp", "rv_adop")
KEY = ("plate", "mjd", "fiberid", "run2d")


@dataclass(frozen=True)
class Sspp(CatalogTable):
    """An open ssppOut catalog; made by `open_sspp`.

    Parameters
    ----------
    table : Table
        Its first table.
    duplicates : Duplicates
        Rows that share a plate, MJD, fibre and reduction.
    columns : dict of str to Column
        Database column to column of the file.
    release : str
        Data release in lower case, such as ``dr12``.
    """

    columns: dict[str, Column]
    release: str

    @property
    def recognised(self) -> Recognised:
        """The releases that the file can be of."""
        return recognise_sspp(self.table)

    def read(self, start: int, stop: int) -> Block:
        """Read rows ``start`` to ``stop`` (exclusive).

        Parameters
        ----------
        start, stop : int
            Row numbers from 0; ``stop`` may pass the end. Memory is about ``stop - start`` times
            the row length of the file (1.2 kB).

        Returns
        -------
        Block
            Columns as documented in `open_sspp`.
        """
        columns = self.columns
        start, stop = max(start, 0), min(stop, self.n_rows)
        rows = self.table.read(start, stop, columns.values())
        audit = RowAudit(spectrum_keys(columns, rows), start)
        out = identity_cells(columns, rows, audit)
        out["sspp_flag"] = text_cells(rows, columns["sspp_flag"], audit)
        out["spectype"] = text_cells(rows, columns.get("spectype"), audit)
        for name in MEASUREMENTS:
            out[name] = value_cells(rows, columns.get(name), name)
        out["rv_adop_err"] = error_cells(rows, columns.get("rv_adop_err"), "rv_adop")
        out["zwarning"] = integer_cells(rows, columns.get("zwarning"))
        # A file without SPECPRIMARY does not tell: every row counts as primary.
        primary = integer_cells(rows, columns.get("is_primary"))
        out["is_primary"] = primary.filled(1) > 0
        for name in LABELS:
            out[name] = value_cells(rows, columns.get(name), name)
        forget_zeros(out, native(rows, columns["teff"]) == 0)
        for name in LABELS:
            error = error_cells(rows, columns.get(f"{name}_err"), name)
            error[np.isnan(out[name])] = np.nan
            out[f"{name}_err"] = error
        check_labels(audit, out, LABELS)
        out["has_labels"] = np.all([np.isfinite(out[n]) for n in MAIN_LABELS], axis=0)
        self.duplicates.reject(audit, len(rows))
        return audit.block(out)


@contextmanager
def open_sspp(path: str | os.PathLike[str], release: str) -> Iterator[Sspp]:
    """Open an ssppOut catalog, check it and look for duplicate rows.

    Opening reads the file once (checksums where it has them, keys); keep it open for all blocks.

    Parameters
    ----------
    path : path-like
        FITS file, gzip-compressed or not.
    release : str
        Data release, such as ``dr12``.

    Yields
    ------
    Sspp
        Its blocks have the columns survey_key (plate-mjd-fiber-run2d), ra, dec [deg, ICRS,
        float64], epoch [Julian year of the spectrum; the imaging that gave the position is
        usually older by a few years], specobjid [decimal text], plate, mjd, fiberid [int64], run2d,
        sspp_flag (FLAG), spectype [bytes], bv, v_mag, g_mag [mag], snr_sspp, rv_adop, rv_adop_err
        [km/s], zwarning [int64, masked], is_primary and has_labels [bool], and as float32 teff [K],
        logg, fe_h, alpha_m [dex] with their errors ``_err``.

    Raises
    ------
    BadInputError
        Where the file as a whole cannot be used.
    """
    with open_fits(path) as file:
        with expecting(file, SSPP):
            table = open_table(file)
            columns = find_columns(table, REQUIRED, OPTIONAL)
        for name in ("ra", "dec", *LABELS, *MEASUREMENTS):
            check_units(table, {name: [columns.get(name), columns.get(f"{name}_err")]})
        verify_checksums(file, table.hdu)
        key = [columns[name] for name in KEY]
        duplicates = find_duplicates(table, key, lambda rows: spectrum_keys(columns, rows))
        yield Sspp(table, duplicates, columns, release.lower())
