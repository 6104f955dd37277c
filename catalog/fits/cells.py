"""From the cells of a survey's table to the catalog's values: units, sentinels, text, positions.

What stands for no value is listed in `catalog.files.missing`, what units say is read by
`catalog.files.units`; here both are applied to columns of FITS tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np

from catalog.files.missing import NO_INTEGER, is_missing, is_missing_error, quantity_of
from catalog.files.units import Scale, scale_to
from catalog.fits.table import Column, Table, native
from catalog.records import RowAudit
from catalog.store.columns import LABELS


def scale_of(column: Column, name: str, where: str = "") -> Scale:
    """Return what makes a column's numbers the catalog's.

    Parameters
    ----------
    column : Column
        Of a FITS table.
    name : str
        Column of the database, or that whose error this is.
    where : str
        File, for the message.

    Raises
    ------
    BadInputError
        BAD_UNIT.
    """
    if name in ("ra", "dec"):
        wanted = "deg"
    elif not (wanted := quantity_of(name).measured_in):
        return Scale()
    where = f"column {column.name} of {where}" if where else f"column {column.name}"
    return scale_to(column.unit, wanted, where, right_ascension=name == "ra")


def check_units(table: Table, columns: Mapping[str, Iterable[Column | None]]) -> None:
    """Raise unless the units of columns are known and fit; done before any row is read.

    Parameters
    ----------
    columns : mapping
        By what they hold: a column of the database whose values or errors they are.

    Raises
    ------
    BadInputError
        BAD_UNIT.
    """
    for name, some in columns.items():
        for column in some:
            if column is not None:
                scale_of(column, name, str(table.file.path))


def value_cells(rows: np.ndarray, column: Column | None, name: str) -> np.ndarray:
    """Return the values of a label or measurement, null where the file has none.

    Parameters
    ----------
    rows : numpy.ndarray
        Rows as stored, shape (n,).
    column : Column or None
        None gives NaN in every row.
    name : str
        Column of the database: see `catalog.files.missing.quantity_of`.

    Returns
    -------
    numpy.ndarray
        float32, shape (n,), in the catalog's unit; NaN is null. Labels keep what is infinite or
        impossible, which `check_labels` reports; of other measurements it is null.
    """
    if column is None:
        return np.full(len(rows), np.nan, "f4")
    numbers, scale = native(rows, column), scale_of(column, name)
    missing = is_missing(numbers, name, scale)
    with np.errstate(over="ignore"):  # beyond float32 means infinite
        values = np.where(missing, np.nan, scale.value(numbers)).astype("f4")
    if name not in LABELS:
        low, high = quantity_of(name).limits
        values[(values < low) | (values > high)] = np.nan
    return values


def error_cells(rows: np.ndarray, column: Column | None, name: str) -> np.ndarray:
    """Return the errors of a label or measurement as `value_cells` does; what is none is NaN."""
    if column is None:
        return np.full(len(rows), np.nan, "f4")
    numbers, scale = native(rows, column), scale_of(column, name)
    missing = is_missing_error(numbers, name, scale)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(missing, np.nan, scale.error(numbers)).astype("f4")


def position_cells(rows: np.ndarray, column: Column, name: str) -> np.ndarray:
    """Return right ascensions or declinations (``name``: ra, dec) in degrees, float64.

    A right ascension of exactly 360 is 0: a program rounded 359.99999... up.
    """
    degrees = scale_of(column, name).value(native(rows, column))
    return np.where(degrees == 360, 0.0, degrees) if name == "ra" else degrees


def forget_zeros(labels: dict[str, np.ndarray], teff_is_zero: np.ndarray) -> None:
    """Make labels null that are exactly 0 in rows whose Teff is 0: nothing was measured there.

    Parameters
    ----------
    labels : dict of str to numpy.ndarray
        By label, shape (n,); changed in place.
    teff_is_zero : numpy.ndarray
        bool, shape (n,): the Teff that the file has is 0.
    """
    for name in LABELS.keys() & labels.keys():
        labels[name][teff_is_zero & (labels[name] == 0)] = np.nan


def integer_cells(rows: np.ndarray, column: Column | None) -> np.ma.MaskedArray:
    """64-bit integers of any stored width; -9999 and TNULL are masked.

    Parameters
    ----------
    rows, column : numpy.ndarray, Column or None
        As in `value_cells`.

    Returns
    -------
    numpy.ma.MaskedArray
        int64, shape (n,).
    """
    if column is None:
        return np.ma.MaskedArray(np.zeros(len(rows), np.int64), np.ones(len(rows), bool))
    values = np.ma.MaskedArray(native(rows, column))
    hidden = np.ma.getmaskarray(values) | (values.data == NO_INTEGER)
    hidden |= ~(np.abs(values.data) < 2.0**63)  # scaled to what no integer holds, or to NaN
    return np.ma.MaskedArray(np.where(hidden, 0, values.data).astype(np.int64), hidden)


def flag_cells(rows: np.ndarray, column: Column) -> np.ndarray:
    """Logicals, whether stored as such or as integers; what is not known is false."""
    values = native(rows, column)
    if column.code == "L":
        true: np.ndarray = (values == ord("T")) | (values == 1)  # some writers store the number
        return true
    return np.asarray(np.ma.MaskedArray(values).filled(0) > 0)


def text_cells(
    rows: np.ndarray, column: Column | None, audit: RowAudit | None = None
) -> np.ndarray:
    """Return text without its padding, on either side.

    Parameters
    ----------
    rows, column : numpy.ndarray, Column or None
        As in `value_cells`.
    audit : RowAudit, optional
        Rows with a byte outside printable ASCII (FITS standard 4.0, section 7.3.3) are rejected
        here as BAD_TEXT: PostgreSQL refuses NUL, and other bytes have no stated encoding.

    Returns
    -------
    numpy.ndarray
        Byte strings, shape (n,).
    """
    if column is None:
        return np.full(len(rows), b"", "S1")
    text = np.ascontiguousarray(np.strings.strip(rows[column.name]))
    if audit is not None and text.itemsize:
        cells = text.view(np.uint8).reshape(len(text), text.itemsize)
        # NumPy ends a byte string at its last byte that is not NUL.
        inside = np.arange(cells.shape[1]) < np.strings.str_len(text)[:, None]
        odd = inside & ((cells < 32) | (cells > 126))
        audit.reject(
            np.logical_or.reduce(odd, axis=1),
            "BAD_TEXT",
            f"{column.name} has a byte that is not printable ASCII",
        )
    return text


def check_positions(audit: RowAudit, ra: np.ndarray, dec: np.ndarray) -> None:
    """Reject rows whose position is not on the sphere.

    Parameters
    ----------
    audit : RowAudit
        Takes BAD_COORD.
    ra, dec : numpy.ndarray
        Degrees, shape (n,). RA outside [0, 360) is rejected, not wrapped.
    """
    good = (ra >= 0) & (ra < 360) & (dec >= -90) & (dec <= 90)
    audit.reject(~good, "BAD_COORD", lambda i: f"RA {ra[i]}, Dec {dec[i]} (degrees) is no position")


def check_labels(audit: RowAudit, columns: dict[str, np.ndarray], labels: Iterable[str]) -> None:
    """Reject rows with a label that is infinite or that no star can have.

    Parameters
    ----------
    audit : RowAudit
        Takes BAD_VALUE.
    columns : dict of str to numpy.ndarray
        Values by label name, float32, shape (n,); NaN is null and passes.
    labels : iterable of str
        Which columns to check.
    """
    for name in labels:
        values = columns[name]
        low, high = LABELS[name].limits
        audit.reject(
            (values < low) | (values > high), "BAD_VALUE", partial(_impossible, name, values)
        )


def _impossible(name: str, values: np.ndarray, i: int) -> str:
    """Say which value of a label cannot be."""
    return f"{name} is {values[i]:g} {LABELS[name].unit}, which no star has"
