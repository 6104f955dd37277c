"""The one place where what files write for "no value" becomes null: sentinels and words.

A sentinel belongs to its quantity: -9.99 is no [Fe/H], but a radial velocity; 9999.99 is no proper
motion, but an effective temperature. So a number that many surveys write counts only where it lies
outside the limits of the quantity, and those inside the limits are listed with it: for labels in
`catalog.store.columns.LABELS`, for other measurements in `MEASURED`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from catalog.files.units import Scale
from catalog.store.columns import LABELS

#: Texts, in lower case and without blanks around, that stand for no value.
WORDS = frozenset({
    "", "-", "--", "---", "----", ".", "..", "...", "\u2026", "*", "**", "?", "\\n", "nan", "-nan",
    "+nan", "nan+0j", "null", "<null>", "(null)", "none", "na", "<na>", "#n/a", "n/a", "n.a.",
    "n/d", "nd", "nil", "nat", "masked", "missing", "undef", "undefined", "unknown", "indef",
    "b''", 'b""', "''", '""',
})  # fmt: skip

#: All nines, of either sign: 9.99, 99, 99.9, ..., 9999.99, 999999999. (9 and 9.9 are values.)
_NINES = [float("9" * n + "." + "9" * m) for n in range(1, 11) for m in range(5) if n > 1 or m > 1]
# 1e20 is NumPy's fill value, 1e30 VizieR's and ESO's, -999999488 that of UKIDSS and VISTA in single
# precision, -1.6375e30 HEALPix's; then the ends of integers and of floats.
_OTHERS = [1e20, 1e30, 1.6375e30, 999_999_488.0, 999_999_500.0, 32_768.0, 32_767.0, 2.0**31,
           2.0**31 - 1, 2.0**63, float(np.finfo("f4").max), float(np.finfo("f8").max)]  # fmt: skip
with np.errstate(over="ignore"):
    _EVERYWHERE = np.unique(np.array([s * x for x in _NINES + _OTHERS for s in (-1, 1)], "f4"))
_EVERYWHERE = _EVERYWHERE[np.isfinite(_EVERYWHERE)]
#: Surveys write -9999, -9999.99 or -9998 (TheCannon's and SSPP's float32 conversions differ).
MISSING_BELOW = -9990.0
#: How catalogs of SDSS leave an integer out where FITS's TNULL is not used.
NO_INTEGER = -9999


@dataclass(frozen=True)
class Quantity:
    """Limits, unit and sentinels of a measured quantity.

    Attributes
    ----------
    limits : tuple of float
        What lies outside is no measurement.
    missing : tuple of float
        Numbers within the limits that stand for no value.
    measured_in : str
        Unit in Astropy's spelling; empty: none is read.
    """

    limits: tuple[float, float]
    missing: tuple[float, ...] = ()
    measured_in: str = ""


_VELOCITY = Quantity((-9990.0, 99_998.9), (9999.0, 9999.9, 9999.99), "km/s")
_MAGNITUDE = Quantity((-9.0, 89.9), (), "mag")
# Barnard's star, the fastest, moves 10,393 mas/yr.
_MOTION = Quantity((-9990.0, 20_000.0), (9999.0, 9999.9, 9999.99), "mas/yr")
_SNR = Quantity((-90.0, 1e7))
#: Columns of catalogs that are no labels.
MEASURED: dict[str, Quantity] = {
    "pmra": _MOTION, "pmdec": _MOTION, "vhelio_avg": _VELOCITY, "vscatter": _VELOCITY,
    "rv_adop": _VELOCITY, "j": _MAGNITUDE, "h": _MAGNITUDE, "k": _MAGNITUDE, "bv": _MAGNITUDE,
    "v_mag": _MAGNITUDE, "g_mag": _MAGNITUDE, "snr": _SNR, "snr_sspp": _SNR,
}  # fmt: skip


def quantity_of(name: str) -> Quantity:
    """Return what a column of the database can be: a label or another measurement."""
    if name in LABELS:
        label = LABELS[name]
        return Quantity(label.limits, label.missing, label.measured_in)
    return MEASURED[name]


def is_word(text: str) -> bool:
    """Return whether a text stands for no value."""
    return text.strip().lower() in WORDS


def is_missing(numbers: np.ndarray, name: str, scale: Scale) -> np.ndarray:
    """Return which numbers of a column stand for no value.

    Parameters
    ----------
    numbers : numpy.ndarray
        As the file has them, shape (n,).
    name : str
        Column of the database: see `quantity_of`.
    scale : Scale
        What makes them the catalog's.

    Returns
    -------
    numpy.ndarray
        bool, shape (n,); infinities are damage, not sentinels.
    """
    quantity = quantity_of(name)
    low, high = quantity.limits
    with np.errstate(over="ignore", invalid="ignore"):
        single = np.asarray(numbers).astype("f4")
        values = scale.value(numbers)
        common = np.isin(single, _EVERYWHERE) | (single <= MISSING_BELOW)
        missing = np.isnan(values) | (common & ((values < low) | (values > high)))
        missing |= np.isin(single, np.array(quantity.missing, "f4"))
    found: np.ndarray = missing & ~np.isinf(numbers)
    return found


def is_missing_error(numbers: np.ndarray, name: str, scale: Scale) -> np.ndarray:
    """Return which errors of a column stand for no value, as `is_missing` does.

    An error that is negative, not finite, or all nines and wider than all that the quantity can be,
    is none.
    """
    quantity = quantity_of(name)
    width = quantity.limits[1] - quantity.limits[0]
    with np.errstate(over="ignore", invalid="ignore"):
        single = np.asarray(numbers).astype("f4")
        missing: np.ndarray = ~np.isfinite(numbers) | (numbers < 0)
        missing |= np.isin(single, _EVERYWHERE) & (scale.error(numbers) > width)
        missing |= np.isin(single, np.array([m for m in quantity.missing if m > 0], "f4"))
    return missing
