"""Read the keys of SDSS spectra from catalogs: plate, MJD, fibre, reduction and specObjID.

ssppOut and specObj store the same identifiers as padded text or as numbers, signed or unsigned.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from catalog.fits.cells import check_positions, integer_cells, position_cells, text_cells
from catalog.fits.table import Column, Kind, Table, native
from catalog.records import RowAudit
from catalog.surveys.specobjid import parse_ids, run2d_code, unpack_specobjid

MJD_J2000 = 51_544.5
JULIAN_YEAR = 365.25

#: Database column -> what it must hold, and its accepted names, best first.
Names = Mapping[str, tuple[Kind, tuple[str, ...]]]


def find_columns(table: Table, required: Names, optional: Names) -> dict[str, Column]:
    """Find the columns of a catalog.

    Parameters
    ----------
    table : Table
        Its table.
    required, optional : mapping
        By the names of the database.

    Raises
    ------
    BadInputError
        MISSING_COLUMN or BAD_DTYPE.
    """
    columns = {name: table.require(names, kind) for name, (kind, names) in required.items()}
    for name, (kind, names) in optional.items():
        if (column := table.find(names, kind)) is not None:
            columns[name] = column
    return columns


def identity_cells(
    columns: Mapping[str, Column], rows: np.ndarray, audit: RowAudit
) -> dict[str, np.ndarray]:
    """Read which spectra rows are of, and where their fibres pointed.

    Parameters
    ----------
    columns : mapping of str to Column
        Those of plate, mjd, fiberid, run2d, specobjid, ra and dec.
    rows : numpy.ndarray
        Rows as stored, shape (n,).
    audit : RowAudit
        Of these rows, by `spectrum_keys`; takes what is wrong with them.

    Returns
    -------
    dict of str to numpy.ndarray
        survey_key, run2d, specobjid [bytes], plate, mjd, fiberid [int64, masked], ra, dec [deg],
        epoch [Julian year].
    """
    out: dict[str, np.ndarray] = {"survey_key": audit.keys}
    out["run2d"] = id_cells(rows, columns["run2d"], audit)
    out |= {name: integer_cells(rows, columns[name]) for name in ("plate", "mjd", "fiberid")}
    audit.reject(audit.keys == b"", "BAD_ID", "PLATE, MJD, the fibre or RUN2D is missing")
    out["specobjid"] = check_specobjid(rows, columns["specobjid"], out, audit)
    out |= {name: position_cells(rows, columns[name], name) for name in ("ra", "dec")}
    check_positions(audit, out["ra"], out["dec"])
    out["epoch"] = epoch_of(out["mjd"])
    return out


def epoch_of(mjd: np.ndarray) -> np.ndarray:
    """Return Julian years of Modified Julian Dates.

    Parameters
    ----------
    mjd : numpy.ndarray
        Days, shape (n,).
    """
    return 2000.0 + (np.asarray(mjd) - MJD_J2000) / JULIAN_YEAR


def id_cells(rows: np.ndarray, column: Column, audit: RowAudit | None = None) -> np.ndarray:
    """Give an identifier as text, whether the file stores text or a number.

    Parameters
    ----------
    rows, column, audit
        As in `catalog.fits.cells.text_cells`.

    Returns
    -------
    numpy.ndarray
        Byte strings, shape (n,); ``b""`` is no identifier.
    """
    if column.code == "A":
        return text_cells(rows, column, audit)
    values = native(rows, column)
    if isinstance(values, np.ma.MaskedArray):
        return np.where(np.ma.getmaskarray(values), b"", values.data.astype("S21"))
    return values.astype("S21")


def spectrum_keys(columns: Mapping[str, Column], rows: np.ndarray) -> np.ndarray:
    """Make the keys plate-mjd-fiber-run2d, without padding.

    Parameters
    ----------
    columns : dict of str to Column
        Those of plate, mjd, fiberid and run2d.
    rows : numpy.ndarray
        Rows as stored, shape (n,).

    Returns
    -------
    numpy.ndarray
        Byte strings, shape (n,); ``b""`` where a part is missing or impossible.
    """
    key = np.full(len(rows), b"", "S1")
    usable = np.ones(len(rows), bool)
    for name in ("plate", "mjd", "fiberid"):
        numbers = integer_cells(rows, columns[name])
        usable &= ~np.ma.getmaskarray(numbers) & (numbers.data > 0) & (numbers.data < 1 << 31)
        key = np.strings.add(np.strings.add(key, numbers.data.astype("S21")), b"-")
    run2d = id_cells(rows, columns["run2d"])
    return np.where(usable & (run2d != b""), np.strings.add(key, run2d), b"")


def check_specobjid(
    rows: np.ndarray, column: Column, out: dict[str, np.ndarray], audit: RowAudit
) -> np.ndarray:
    """Give SPECOBJID as canonical decimal text.

    Parameters
    ----------
    rows, column : numpy.ndarray, Column
        Rows as stored, shape (n,), and the column of the id.
    out : dict of str to numpy.ndarray
        What the rows say of plate, mjd, fiberid and run2d, as `catalog.fits.cells` gives it.
    audit : RowAudit
        Takes BAD_ID for ids that are none, or that disagree with their row.

    Returns
    -------
    numpy.ndarray
        Byte strings, shape (n,).
    """
    text = id_cells(rows, column)
    if column.code == "K" and (values := native(rows, column)).dtype == np.int64:
        # Some versions store the unsigned number in a signed column.
        unsigned = np.ma.getdata(values).view(np.uint64)
        text = np.where(text == b"", b"", unsigned.astype("S21"))
    ids, good = parse_ids(text)
    audit.reject(
        ~good,
        "BAD_ID",
        lambda i: f"SPECOBJID {bytes(text[i])!r} is no unsigned 64-bit number",
    )
    plate, mjd, fiberid, code = unpack_specobjid(ids)
    agree = (plate == out["plate"].data) & (mjd == out["mjd"].data)
    agree &= fiberid == out["fiberid"].data
    for name in np.unique(out["run2d"]):
        number = run2d_code(name.decode("ascii", "replace"))
        if number is not None:
            agree &= (code == number) | (out["run2d"] != name)
    audit.reject(
        good & ~agree,
        "BAD_ID",
        lambda i: (
            f"SPECOBJID {ids[i]} means plate {plate[i]}, MJD {mjd[i]}, fibre {fiberid[i]}, "
            f"reduction {code[i]}: not what the row says"
        ),
    )
    return ids.astype("S20")
