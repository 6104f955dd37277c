"""HEALPix cells in the nested scheme: one 64-bit index per position, coarser ones by a shift.

The index at order 29 (cells of 0.4 milliarcsec) is stored with every source. The cell at any
coarser order k is ``index >> 2 * (29 - k)``, so one column serves as join key, search index and
unit of work. See Gorski et al. 2005, ApJ 622, 759.

cdshealpix loads Astropy's coordinates, a third of a command's start, so it is imported where it is
used: a start that finds the lock taken ends without it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from catalog.sky.vectors import ARCSEC_PER_RADIAN

MAX_ORDER = 29

# The narrowest cell of order k measures CELL_WIDTH / 2**k radians from an edge to the opposite
# one. Cells are narrowest in the polar caps beside the meridians 0, 90, 180, 270 deg, towards the
# pole. There, on ring i of N = 2**k, one ring is sqrt(2/3) / N along the meridian and the slanted
# edge also runs sqrt(2/3) * (pi / 2) / N across it; the area is (pi / 3) / N**2. Area over the
# length of the slanted edge gives (pi / 3) / sqrt(2/3 * (1 + pi**2 / 4)) = 0.6888, and cells of
# coarse orders are wider (0.84 at order 0). One percent is left for rounding.
CELL_WIDTH = 0.682

Integers = NDArray[np.int64]


def check_positions(ra: ArrayLike, dec: ArrayLike) -> tuple[NDArray[np.float64], ...]:
    """Refuse what is not a position on the sky.

    Parameters
    ----------
    ra, dec : array_like, shape (n,)
        ICRS position [deg].

    Returns
    -------
    ra, dec : ndarray, shape (n,)
        The same as native float64.

    Raises
    ------
    ValueError
        If lengths differ, or if any value is not finite or a declination lies outside -90 to 90;
        the message names the first such row.
    """
    ra, dec = (np.atleast_1d(np.asarray(a, dtype=np.float64)) for a in (ra, dec))
    if ra.shape != dec.shape or ra.ndim != 1:
        raise ValueError(f"ra and dec must be two lists of one length, not {ra.shape}, {dec.shape}")
    bad = ~(np.isfinite(ra) & (np.abs(dec) <= 90.0))
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"Row {row} is not a position: ra = {ra[row]}, dec = {dec[row]}; both must be finite "
            f"degrees and dec between -90 and 90 ({int(bad.sum())} such rows)"
        )
    return ra, dec


def healpix29(ra: ArrayLike, dec: ArrayLike) -> Integers:
    """Return the nested HEALPix index at order 29.

    Parameters
    ----------
    ra, dec : array_like, shape (n,)
        ICRS position [deg].

    Returns
    -------
    ndarray of int64, shape (n,)
        Index in [0, 12 * 4**29), which fits a signed 64-bit integer.

    Raises
    ------
    ValueError
        As `check_positions`.
    """
    from astropy import units as u
    from astropy.coordinates import Latitude, Longitude
    from cdshealpix.nested import lonlat_to_healpix

    ra, dec = check_positions(ra, dec)
    lon = Longitude(np.mod(ra, 360.0), u.deg, copy=False)
    index = lonlat_to_healpix(lon, Latitude(dec, u.deg, copy=False), MAX_ORDER)
    return np.asarray(index, np.int64)


def coarsen(index29: ArrayLike, order: int) -> Integers:
    """Return cells of a coarser order that hold cells of order 29.

    Parameters
    ----------
    index29 : array_like of int64, shape (n,)
        Nested index at order 29.
    order : int
        Order wanted, 0 to 29.

    Returns
    -------
    ndarray of int64, shape (n,)
        Nested index at ``order``.

    Raises
    ------
    ValueError
        If there is no such order.
    """
    _check_order(order)
    return np.asarray(index29, dtype=np.int64) >> 2 * (MAX_ORDER - order)


def neighbours(index: ArrayLike, order: int) -> Integers:
    """Each cell with all cells that touch it.

    Parameters
    ----------
    index : array_like of int64, shape (n,)
        Nested index at ``order``.
    order : int
        Order, 0 to 29.

    Returns
    -------
    ndarray of int64, shape (n, 9)
        The cell itself (column 4) and its neighbours; -1 where a corner of three base cells
        leaves a cell with seven or, at order 0, six of them.

    Raises
    ------
    ValueError
        If there is no such order.
    """
    from cdshealpix import nested

    _check_order(order)
    cells = np.atleast_1d(np.asarray(index)).astype(np.uint64)
    return np.asarray(nested.neighbours(cells, order), dtype=np.int64)


def border(index: int, order: int, finer: int) -> Integers:
    """Return cells of a finer order that touch a cell from outside.

    Parameters
    ----------
    index : int
        Nested index of the cell at ``order``.
    order, finer : int
        Order of the cell and of its border, 0 to 29.

    Returns
    -------
    ndarray of int64, shape (n,)
        Nested indices at ``finer``, sorted: 4 * 2**(finer - order) along the edges and up to four
        at the corners.

    Raises
    ------
    ValueError
        If there is no such order.
    """
    from cdshealpix import nested

    _check_order(order)
    _check_order(finer)
    edges, corners = nested.external_neighbours(
        np.array([index], dtype=np.uint64), order, finer - order
    )
    cells = np.concatenate([edges[0].astype(np.int64), corners[0].astype(np.int64)])
    return np.unique(cells[cells >= 0])


def order_for_radius(radius_arcsec: float) -> int:
    """Finest order at which a cell and its neighbours hold all that lies within a radius.

    A point beyond the neighbours of a cell is farther from the cell than the narrowest
    neighbour is wide, so the order may rise until `CELL_WIDTH` / 2**order reaches the radius.

    Parameters
    ----------
    radius_arcsec : float
        Search radius [arcsec], up to 0.682 rad = 39 deg.

    Returns
    -------
    int
        Order, 0 to 29. For example 16 up to 2.146 arcsec and 15 up to 4.293 arcsec.

    Raises
    ------
    ValueError
        If the radius is not positive or too large.
    """
    radius = radius_arcsec / ARCSEC_PER_RADIAN
    if not 0.0 < radius <= CELL_WIDTH:
        limit = CELL_WIDTH * ARCSEC_PER_RADIAN
        raise ValueError(
            f"The radius must lie above 0 and up to {limit:.0f} arcsec, not {radius_arcsec}"
        )
    return min(MAX_ORDER, int(np.floor(np.log2(CELL_WIDTH / radius))))


def _check_order(order: int) -> None:
    """Refuse an order that HEALPix does not have."""
    if not 0 <= order <= MAX_ORDER:
        raise ValueError(f"A HEALPix order lies between 0 and {MAX_ORDER}, not {order}")
