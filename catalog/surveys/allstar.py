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

from catalog.fits.catalog_table import CatalogTable
from catalog.fits.cells import (
    check_labels,
    check_positions,
    check_units,
    error_cells,
    forget_zeros,
    integer_cells,
    position_cells,
    text_cells,
    value_cells,
)
from catalog.fits.checksum import verify_checksums
from catalog.fits.duplicates import find_duplicates
from catalog.fits.file import open_fits
from catalog.fits.foreign import ALLSTAR
from catalog.fits.table import Column, Table, native, open_table
from catalog.records import Block, RowAudit
from catalog.store.columns import ELEMENTS, LABELS
from catalog.surveys.release import Recognised, recognise_allstar
from catalog.tables.product import expecting

# Positions in allStar are 2MASS's, observed from June 1997 to February 2001 (Skrutskie et al.
# 2006, AJ 131, 1163); the epoch of a single star is not in the catalog. Middle, +- 1.8 years.
EPOCH_2MASS = 1999.3
EXTRATARG_DUPLICATE = 1 << 4
MAX_VISITS = 100_000  # what is beyond is damage
# The bits of PARAMFLAG, ELEMFLAG and the flags of single abundances that say bad, not warning.
ABUNDANCE_BAD = 0xFF

#: Labels that are columns of their own in every release; of abundances, see `_labels`.
PARAMETERS = ("teff", "logg", "m_h", "alpha_m", "fe_h")
MAIN_LABELS = ("teff", "logg", "fe_h")
#: DR10 knows [M/H] and [alpha/M] only, as METALS and ALPHAFE.
DR10_NAMES = {"alpha_m": ("alphafe",)}
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

    @property
    def recognised(self) -> Recognised:
        """The releases that the file can be of."""
        return recognise_allstar(self.table)

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
        for name in ("ra", "dec"):
            out[name] = position_cells(rows, table.require(name, "double"), name)
        check_positions(audit, out["ra"], out["dec"])
        out["pmra"], out["pmdec"] = _proper_motion(table, rows)
        out["epoch"] = np.full(len(rows), EPOCH_2MASS)
        out |= texts
        out["data_release"] = np.full(len(rows), self.release.encode("ascii"))
        for name in ("snr", "vhelio_avg", "vscatter", "j", "h", "k"):
            out[name] = value_cells(rows, table.find(name, "float"), name)
        for name in INTEGERS:
            out[name] = integer_cells(rows, table.find(name, "int"))
        out["nvisits"] = np.ma.masked_outside(out["nvisits"], 0, MAX_VISITS)
        extratarg = np.ma.MaskedArray(out["extratarg"]).filled(0)
        out["is_primary"] = (extratarg & EXTRATARG_DUPLICATE) == 0

        labels = _labels(table, rows)
        out |= labels
        names = tuple(name for name in labels if not name.endswith("_err"))
        check_labels(audit, labels, names)
        main = MAIN_LABELS if "fe_h" in labels else (*MAIN_LABELS[:2], "m_h")
        out["has_labels"] = np.all([np.isfinite(labels[n]) for n in main], axis=0)
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
        with expecting(file, ALLSTAR):
            table = open_table(file)
            columns = _columns(table)
        verify_checksums(file, table.hdu)
        key = [c for c in columns if c.name.lower() == "apstar_id"]
        duplicates = find_duplicates(table, key, lambda rows: _keys(table, release, rows))
        yield AllStar(table, duplicates, release)


def _columns(table: Table) -> list[Column]:
    """Every column that is used; fails where a needed one is absent, or of another type or unit."""
    needed: list[Column | None] = [
        *(table.require(name, "text") for name in ("apstar_id", "apogee_id")),
        *(table.require(name, "double") for name in ("ra", "dec")),
        *(table.require(_names(name), "float") for name in MAIN_LABELS[:2]),
        *(table.require(name, "int") for name in ("starflag", "aspcapflag", "extratarg")),
    ]
    if table.find(_names("m_h"), "float") is None:
        table.require(_names("fe_h"), "float")
    needed += [table.find(name, "text") for name in TEXT]
    needed += [table.find(name, "int") for name in INTEGERS]
    measured: dict[str, list[Column | None]] = {
        name: [table.find(name, "float")]
        for name in ("snr", "vhelio_avg", "vscatter", "j", "h", "k")
    }
    for name in ("ra", "dec"):
        measured[name] = [table.find(name, "double")]
    for i, name in enumerate(("pmra", "pmdec")):
        measured[name] = [table.find(str(pair[i]), "float") for pair in PROPER_MOTIONS]
    for name in PARAMETERS:
        measured[name] = [table.find(_names(name), "float"), table.find(_errors(name), "float")]
    for element in ELEMENTS:
        names = [f"{element}_{ratio}" for ratio in ("fe", "h")]
        measured[f"{element}_fe"] = [
            table.find(n, "float") for name in names for n in (name, f"{name}_err")
        ]
        needed += [table.find(f"{name}_flag", "int") for name in names]
    needed.append(table.find("fe_h_flag", "int"))
    check_units(table, measured)
    needed += [column for columns in measured.values() for column in columns]
    return [column for column in needed if column is not None]


def _names(label: str) -> tuple[str, ...]:
    """Return the names that files have for one of `PARAMETERS`, best first."""
    return (label, *LABELS[label].names, *DR10_NAMES.get(label, ()))


def _errors(label: str) -> tuple[str, ...]:
    """Return the names that files have for the error of one of `PARAMETERS`, best first."""
    return tuple(f"{name}_err" for name in _names(label))


def _keys(table: Table, release: str, rows: np.ndarray) -> np.ndarray:
    """Return survey keys, blank where APSTAR_ID is."""
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
        mu_ra, mu_dec = (
            value_cells(rows, column, name)
            for column, name in zip(columns, ("pmra", "pmdec"), strict=True)
        )
        known = np.isfinite(mu_ra) & np.isfinite(mu_dec) & np.isnan(pmra)
        if zero_is_missing:
            known &= (mu_ra != 0) | (mu_dec != 0)
        pmra[known], pmdec[known] = mu_ra[known], mu_dec[known]
    return pmra, pmdec


def _labels(table: Table, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return all labels of the release with their errors; an error without its label is null."""
    out: dict[str, np.ndarray] = {}
    for label in PARAMETERS:
        column = table.find(_names(label), "float")
        if column is not None:
            out[label] = value_cells(rows, column, label)
            out[f"{label}_err"] = error_cells(rows, table.find(_errors(label), "float"), label)
    forget_zeros(out, native(rows, table.require(_names("teff"), "float")) == 0)
    if "fe_h" in out:
        out["fe_h"][_says_bad(table, rows, "fe_h_flag")] = np.nan
    for element in ELEMENTS:
        label = f"{element}_fe"
        ratio = table.find(label, "float")
        over_h = table.find(f"{element}_h", "float")
        if ratio is not None:
            value = value_cells(rows, ratio, label)
            error = error_cells(rows, table.find(f"{label}_err", "float"), label)
        elif over_h is not None and "fe_h" in out:
            # DR12 has [X/H] only: [X/Fe] = [X/H] - [Fe/H], errors added in quadrature.
            with np.errstate(invalid="ignore"):  # infinite minus infinite: rejected by FE_H
                value = value_cells(rows, over_h, label) - out["fe_h"]
            error = error_cells(rows, table.find(f"{element}_h_err", "float"), label)
            error = np.hypot(error, out["fe_h_err"])
        else:
            continue
        for flag in (f"{label}_flag", f"{element}_h_flag"):
            value[_says_bad(table, rows, flag)] = np.nan
        out[label], out[f"{label}_err"] = value, error
    for name in [n for n in out if not n.endswith("_err")]:
        out[f"{name}_err"][np.isnan(out[name])] = np.nan
    return out


def _says_bad(table: Table, rows: np.ndarray, flag: str) -> np.ndarray:
    """Rows in which the flag of an abundance has a bit that says bad; none without such a flag."""
    bits = np.ma.MaskedArray(integer_cells(rows, table.find(flag, "int"))).filled(0)
    return np.asarray((bits & ABUNDANCE_BAD) != 0)
