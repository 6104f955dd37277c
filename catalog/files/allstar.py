"""APOGEE's allStar catalogs of DR12, DR14, DR16 and DR17, read by column name in blocks of rows.

Columns follow https://data.sdss.org/datamodel/files/APOGEE_ASPCAP/APRED_VERS/ASPCAP_VERS/allStar.html
and its counterparts of other releases. Sentinels become null here: -9999 (DR12 to DR16), NaN
(DR17), magnitudes of 99 and proper motions of exactly zero (DR17). So does an abundance whose own
flag says bad (bits 0 to 7, https://www.sdss4.org/dr17/irspec/apogee-bitmasks/); releases mostly
blank these themselves. Abundances with warnings stay: in DR12 every [C/Fe] has one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from catalog.files.block import Block, RowAudit
from catalog.files.catalogtable import CatalogTable
from catalog.files.cells import (
    FAINTEST_MAGNITUDE,
    FASTEST_KMS,
    check_labels,
    check_positions,
    error_cells,
    finite_cells,
    float_cells,
    integer_cells,
    text_cells,
)
from catalog.files.checksum import verify_checksums
from catalog.files.duplicates import find_duplicates
from catalog.files.fits import open_fits
from catalog.files.fitstable import Column, Table, native, open_table

# Positions in allStar are 2MASS's, observed from June 1997 to February 2001 (Skrutskie et al.
# 2006, AJ 131, 1163); the epoch of a single star is not in the catalog. Middle, +- 1.8 years.
EPOCH_2MASS = 1999.3
EXTRATARG_DUPLICATE = 1 << 4
# The bits of PARAMFLAG, ELEMFLAG and the flags of single abundances that say bad, not warning.
ABUNDANCE_BAD = 0xFF

# fmt: off
ELEMENTS = (
    "c", "ci", "n", "o", "na", "mg", "al", "si", "p", "s", "k", "ca", "ti", "tiii", "v", "cr",
    "mn", "co", "ni", "cu", "ge", "ce", "rb", "y", "nd", "yb",
)
# fmt: on
# Database column: accepted names in the file. DR12 calls the overall abundances PARAM_*.
PARAMETERS: dict[str, tuple[str, ...]] = {
    "teff": ("teff",),
    "logg": ("logg",),
    "m_h": ("m_h", "param_m_h"),
    "alpha_m": ("alpha_m", "param_alpha_m"),
    "fe_h": ("fe_h",),
}
MAIN_LABELS = ("teff", "logg", "fe_h")
TEXT = ("apogee_id", "target_id", "apstar_id", "telescope", "field")
INTEGERS = ("nvisits", "starflag", "aspcapflag", "extratarg")
# Best first, row by row: (mu_alpha * cos(dec), mu_delta, whether 0, 0 means missing). The last
# pair occurs where a DR12 table was joined to another one and TOPCAT renamed PMRA.
PROPER_MOTIONS = (
    ("gaiaedr3_pmra", "gaiaedr3_pmdec", True),
    ("gaia_pmra", "gaia_pmdec", True),
    ("targ_pmra", "targ_pmdec", True),
    ("pmra", "pmdec", False),
    ("pmra_2", "pmdec", False),
)


@dataclass(frozen=True)
class AllStar(CatalogTable):
    """An open allStar catalog; made by `open_allstar`.

    Parameters
    ----------
    table : Table
        Its first table.
    duplicates : Duplicates
        Rows that share an APSTAR_ID.
    release : str
        Data release in lower case, such as ``dr14``.
    """

    release: str

    def read(self, start: int, stop: int) -> Block:
        """Read rows ``start`` to ``stop`` (exclusive).

        Parameters
        ----------
        start, stop : int
            Row numbers from 0; ``stop`` may pass the end. Memory is about ``stop - start`` times
            the row length of the file (4 to 8 kB).

        Returns
        -------
        Block
            Columns as documented in `open_allstar`.
        """
        table = self.table
        start, stop = max(start, 0), min(stop, table.n_rows)
        rows = table.read(start, stop, _columns(table))
        audit = RowAudit(_keys(table, self.release, rows), start)

        out: dict[str, np.ndarray] = {"survey_key": audit.keys}
        texts = {name: text_cells(rows, table.find(name, "text"), audit) for name in TEXT}
        audit.reject(texts["apstar_id"] == b"", "BAD_ID", "APSTAR_ID is blank")
        audit.reject(texts["apogee_id"] == b"", "BAD_ID", "APOGEE_ID is blank")
        out["ra"] = native(rows, table.require("ra", "double"))
        out["dec"] = native(rows, table.require("dec", "double"))
        check_positions(audit, out["ra"], out["dec"])
        out["pmra"], out["pmdec"] = _proper_motion(table, rows)
        out["epoch"] = np.full(len(rows), EPOCH_2MASS)
        out |= texts
        out["data_release"] = np.full(len(rows), self.release.encode("ascii"))
        out["snr"] = finite_cells(rows, table.find("snr", "float"))
        for name in ("vhelio_avg", "vscatter"):
            out[name] = finite_cells(rows, table.find(name, "float"), missing_from=FASTEST_KMS)
        for name in INTEGERS:
            out[name] = integer_cells(rows, table.find(name, "int"))
        for band in "jhk":
            column = table.find(band, "float")
            out[band] = finite_cells(rows, column, missing_from=FAINTEST_MAGNITUDE)
        extratarg = np.ma.MaskedArray(out["extratarg"]).filled(0)
        out["is_primary"] = (extratarg & EXTRATARG_DUPLICATE) == 0

        labels = _labels(table, rows)
        out |= labels
        names = tuple(name for name in labels if not name.endswith("_err"))
        check_labels(audit, labels, names)
        out["has_labels"] = np.all([np.isfinite(labels[n]) for n in MAIN_LABELS], axis=0)
        self.duplicates.reject(audit, len(rows))
        return audit.block(out)


@contextmanager
def open_allstar(path: str | os.PathLike[str], release: str) -> Iterator[AllStar]:
    """Open an allStar catalog, check it and look for duplicate rows.

    Opening reads the file once (checksums where it has them, keys); keep it open for all blocks.

    Parameters
    ----------
    path : path-like
        FITS file, gzip-compressed or not.
    release : str
        Data release, such as ``dr14``; part of the survey key.

    Yields
    ------
    AllStar
        Its blocks have the columns survey_key (release/APSTAR_ID), ra, dec [deg, ICRS, float64],
        pmra (including cos dec), pmdec [mas/yr], epoch [Julian year], apogee_id, target_id,
        apstar_id, telescope, field, data_release [bytes], snr, vhelio_avg, vscatter [km/s],
        nvisits, starflag, aspcapflag, extratarg [int64, masked], j, h, k [mag], is_primary and
        has_labels [bool], and labels as float32: teff [K], logg, m_h, alpha_m, fe_h, the elements
        x_fe [dex] that the release has, each with its error in a column with ``_err``.

    Raises
    ------
    BadInputError
        Where the file as a whole cannot be used.
    """
    release = release.lower()
    with open_fits(path) as file:
        table = open_table(file)
        columns = _columns(table)
        verify_checksums(file, table.hdu)
        key = [c for c in columns if c.name.lower() == "apstar_id"]
        duplicates = find_duplicates(table, key, lambda rows: _keys(table, release, rows))
        yield AllStar(table, duplicates, release)


def _columns(table: Table) -> list[Column]:
    """Every column that is used; fails where a needed one is absent or of another type."""
    needed: list[Column | None] = [
        *(table.require(name, "text") for name in ("apstar_id", "apogee_id")),
        *(table.require(name, "double") for name in ("ra", "dec")),
        *(table.require(PARAMETERS[name], "float") for name in MAIN_LABELS),
        *(table.require(name, "int") for name in ("starflag", "aspcapflag", "extratarg")),
    ]
    needed += [table.find(name, "text") for name in TEXT]
    needed += [table.find(name, "int") for name in INTEGERS]
    floats = ["snr", "vhelio_avg", "vscatter", "j", "h", "k"]
    floats += [name for pair in PROPER_MOTIONS for name in pair[:2]]
    for names in PARAMETERS.values():
        floats += [suffixed for name in names for suffixed in (name, f"{name}_err")]
    for element in ELEMENTS:
        for ratio in ("fe", "h"):
            floats += [f"{element}_{ratio}", f"{element}_{ratio}_err"]
            needed.append(table.find(f"{element}_{ratio}_flag", "int"))
    needed.append(table.find("fe_h_flag", "int"))
    needed += [table.find(name, "float") for name in floats]
    return [column for column in needed if column is not None]


def _keys(table: Table, release: str, rows: np.ndarray) -> np.ndarray:
    """Survey keys, blank where APSTAR_ID is."""
    ids = text_cells(rows, table.require("apstar_id", "text"))
    return np.where(ids == b"", b"", np.strings.add(f"{release}/".encode("ascii"), ids))


def _proper_motion(table: Table, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take the best known proper motion of each row, in mas/yr."""
    pmra = np.full(len(rows), np.nan, "f4")
    pmdec = pmra.copy()
    for name_ra, name_dec, zero_is_missing in PROPER_MOTIONS:
        columns = table.find(name_ra, "float"), table.find(name_dec, "float")
        if None in columns:
            continue
        mu_ra, mu_dec = (finite_cells(rows, column) for column in columns)
        known = np.isfinite(mu_ra) & np.isfinite(mu_dec) & np.isnan(pmra)
        if zero_is_missing:
            known &= (mu_ra != 0) | (mu_dec != 0)
        pmra[known], pmdec[known] = mu_ra[known], mu_dec[known]
    return pmra, pmdec


def _labels(table: Table, rows: np.ndarray) -> dict[str, np.ndarray]:
    """All labels of the release with their errors; an error without its label is null."""
    out: dict[str, np.ndarray] = {}
    for label, names in PARAMETERS.items():
        if table.find(names, "float") is not None:
            out[label] = float_cells(rows, table.find(names, "float"))
            errors = tuple(f"{name}_err" for name in names)
            out[f"{label}_err"] = error_cells(rows, table.find(errors, "float"))
    out["fe_h"][_says_bad(table, rows, "fe_h_flag")] = np.nan
    for element in ELEMENTS:
        ratio = table.find(f"{element}_fe", "float")
        over_h = table.find(f"{element}_h", "float")
        if ratio is not None:
            value = float_cells(rows, ratio)
            error = error_cells(rows, table.find(f"{element}_fe_err", "float"))
        elif over_h is not None:
            # DR12 has [X/H] only: [X/Fe] = [X/H] - [Fe/H], errors added in quadrature.
            with np.errstate(invalid="ignore"):  # infinite minus infinite: rejected by FE_H
                value = float_cells(rows, over_h) - out["fe_h"]
            error = error_cells(rows, table.find(f"{element}_h_err", "float"))
            error = np.hypot(error, out["fe_h_err"])
        else:
            continue
        for flag in (f"{element}_fe_flag", f"{element}_h_flag"):
            value[_says_bad(table, rows, flag)] = np.nan
        out[f"{element}_fe"], out[f"{element}_fe_err"] = value, error
    for name in [n for n in out if not n.endswith("_err")]:
        out[f"{name}_err"][np.isnan(out[name])] = np.nan
    return out


def _says_bad(table: Table, rows: np.ndarray, flag: str) -> np.ndarray:
    """Rows in which the flag of an abundance has a bit that says bad; none without such a flag."""
    bits = np.ma.MaskedArray(integer_cells(rows, table.find(flag, "int"))).filled(0)
    return (bits & ABUNDANCE_BAD) != 0
