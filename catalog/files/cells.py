"""From the cells of a survey's table to the catalog's values: sentinels, text, positions, limits.

Sentinels (-9999, 99.999, ...) become null here and nowhere else.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from catalog.files.block import RowAudit
from catalog.files.fitstable import Column, native

# Surveys write -9999, -9999.99 or -9998 (TheCannon's and SSPP's float32 conversions differ).
MISSING_BELOW = -9990.0
FAINTEST_MAGNITUDE = 90.0
FASTEST_KMS = 99_999.0

# What no star can have. Values outside are damage, not sentinels: hottest known stars have about
# 2e5 K, white dwarfs log g below 10; abundances beyond 10 dex are beyond every model grid.
LABEL_LIMITS: dict[str, tuple[float, float]] = {"teff": (500.0, 300_000.0), "logg": (-5.0, 12.0)}
ABUNDANCE_LIMITS = (-10.0, 10.0)


def float_cells(rows: np.ndarray, column: Column | None) -> np.ndarray:
    """Single-precision values with sentinels as NaN; infinities are kept.

    Parameters
    ----------
    rows : numpy.ndarray
        Rows as stored, shape (n,).
    column : Column or None
        None gives NaN in every row.

    Returns
    -------
    numpy.ndarray
        float32, shape (n,).
    """
    if column is None:
        return np.full(len(rows), np.nan, "f4")
    with np.errstate(over="ignore"):  # beyond float32 means infinite, which labels report
        values = native(rows, column).astype("f4")
    # Minus infinity is damage, which the checks of labels report; it is not a sentinel.
    values[(values <= MISSING_BELOW) & (values > -np.inf)] = np.nan
    return values


def finite_cells(
    rows: np.ndarray, column: Column | None, *, missing_from: float = np.inf
) -> np.ndarray:
    """As `float_cells`, with everything non-finite, or at least ``missing_from``, as NaN."""
    values = float_cells(rows, column)
    values[~np.isfinite(values) | (values >= missing_from)] = np.nan
    return values


def error_cells(rows: np.ndarray, column: Column | None) -> np.ndarray:
    """As `float_cells` for errors: what is negative or not finite is NaN."""
    values = finite_cells(rows, column)
    values[values < 0] = np.nan
    return values


def integer_cells(rows: np.ndarray, column: Column | None) -> np.ma.MaskedArray:
    """64-bit integers of any stored width; -9999 and TNULL are masked.

    Parameters
    ----------
    rows, column : numpy.ndarray, Column or None
        As in `float_cells`.

    Returns
    -------
    numpy.ma.MaskedArray
        int64, shape (n,).
    """
    if column is None:
        return np.ma.MaskedArray(np.zeros(len(rows), np.int64), np.ones(len(rows), bool))
    values = np.ma.MaskedArray(native(rows, column))
    hidden = np.ma.getmaskarray(values) | (values.data == -9999)
    hidden |= ~(np.abs(values.data) < 2.0**63)  # scaled to what no integer holds, or to NaN
    return np.ma.MaskedArray(np.where(hidden, 0, values.data).astype(np.int64), hidden)


def flag_cells(rows: np.ndarray, column: Column) -> np.ndarray:
    """Logicals, whether stored as such or as integers; what is not known is false."""
    values = native(rows, column)
    if column.code == "L":
        return (values == ord("T")) | (values == 1)  # some writers store the number
    return np.ma.MaskedArray(values).filled(0) > 0


def text_cells(
    rows: np.ndarray, column: Column | None, audit: RowAudit | None = None
) -> np.ndarray:
    """Text without its padding, on either side.

    Parameters
    ----------
    rows, column : numpy.ndarray, Column or None
        As in `float_cells`.
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
        Degrees, shape (n,). RA outside 0 to 360 is rejected, not wrapped.
    """
    good = (ra >= 0) & (ra < 360) & (dec >= -90) & (dec <= 90)
    audit.reject(~good, "BAD_COORD", lambda i: f"RA {ra[i]}, Dec {dec[i]} (degrees) is no position")


def check_labels(audit: RowAudit, columns: dict[str, np.ndarray], labels: tuple[str, ...]) -> None:
    """Reject rows with a label that is infinite or that no star can have.

    Parameters
    ----------
    audit : RowAudit
        Takes BAD_VALUE.
    columns : dict of str to numpy.ndarray
        Values by label name, float32, shape (n,); NaN is null and passes.
    labels : tuple of str
        Which columns to check.
    """
    for name in labels:
        values = columns[name]
        low, high = LABEL_LIMITS.get(name, ABUNDANCE_LIMITS)
        outside = (values < low) | (values > high)
        audit.reject(outside, "BAD_VALUE", partial(_impossible, name, values))


def _impossible(name: str, values: np.ndarray, i: int) -> str:
    """Say which value of a label cannot be."""
    return f"{name} is {values[i]}"
