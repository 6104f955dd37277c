"""Directions as unit vectors: separations, offsets and proper motion without special places.

All positions are ICRS in degrees. Nothing here treats the poles or right ascension 0/360 apart:
every formula works on unit vectors, where those places are like any other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

ARCSEC_PER_RADIAN = 180.0 * 3600.0 / np.pi

Floats = NDArray[np.float64]


def unit_vectors(ra: ArrayLike, dec: ArrayLike) -> Floats:
    """Turn positions into unit vectors.

    Parameters
    ----------
    ra, dec : array_like, shape (n,)
        ICRS position [deg]; any right ascension, also outside 0 to 360.

    Returns
    -------
    ndarray, shape (n, 3)
        x towards (0, 0), y towards (90, 0), z towards the north pole.
    """
    # The remainder is exact, so that 0 and 360 give the same bits.
    lon = np.radians(np.mod(np.atleast_1d(np.asarray(ra, dtype=np.float64)), 360.0))
    lat = np.radians(np.atleast_1d(np.asarray(dec, dtype=np.float64)))
    vectors = np.empty((*np.broadcast_shapes(lon.shape, lat.shape), 3))
    vectors[..., 0] = np.cos(lat) * np.cos(lon)
    vectors[..., 1] = np.cos(lat) * np.sin(lon)
    vectors[..., 2] = np.sin(lat)
    return vectors


def positions(vectors: Floats) -> tuple[Floats, Floats]:
    """Turn vectors of any length back into positions.

    Parameters
    ----------
    vectors : ndarray, shape (n, 3)
        Directions; the length does not matter.

    Returns
    -------
    ra, dec : ndarray, shape (n,)
        ICRS position [deg], right ascension in [0, 360).
    """
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    ra = np.mod(np.degrees(np.arctan2(y, x)), 360.0)
    # A tiny negative angle rounds up to 360 itself.
    return np.where(ra == 360.0, 0.0, ra), np.degrees(np.arctan2(z, np.hypot(x, y)))


def vector_separation_arcsec(left: Floats, right: Floats) -> Floats:
    """Return the great-circle separation of pairs of unit vectors.

    Twice the arc tangent of |a - b| / |a + b| (Kahan): full precision from identical to opposite
    directions, and the same bits when the two sides are exchanged.

    Parameters
    ----------
    left, right : ndarray, shape (n, 3)
        Unit vectors.

    Returns
    -------
    ndarray, shape (n,)
        Separation [arcsec].
    """
    apart = left - right
    along = left + right
    chord = np.sqrt(np.einsum("...i,...i->...", apart, apart))
    span = np.sqrt(np.einsum("...i,...i->...", along, along))
    return np.asarray(2.0 * ARCSEC_PER_RADIAN * np.arctan2(chord, span))


def separation_arcsec(ra1: ArrayLike, dec1: ArrayLike, ra2: ArrayLike, dec2: ArrayLike) -> Floats:
    """Return the great-circle separation, pair by pair.

    Good to 1e-9 arcsec everywhere, which is the rounding of a right ascension in float64.

    Parameters
    ----------
    ra1, dec1, ra2, dec2 : array_like, shape (n,)
        ICRS positions [deg].

    Returns
    -------
    ndarray, shape (n,)
        Separation [arcsec].
    """
    return vector_separation_arcsec(unit_vectors(ra1, dec1), unit_vectors(ra2, dec2))


def _east_north(ra: ArrayLike, dec: ArrayLike) -> tuple[Floats, Floats]:
    """Give the unit vectors towards east and north at each position."""
    lon = np.radians(np.mod(np.atleast_1d(np.asarray(ra, dtype=np.float64)), 360.0))
    lat = np.radians(np.atleast_1d(np.asarray(dec, dtype=np.float64)))
    zero = np.zeros(np.broadcast_shapes(lon.shape, lat.shape))
    east = np.stack([zero - np.sin(lon), zero + np.cos(lon), zero], axis=-1)
    north = np.stack(
        [-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), zero + np.cos(lat)], axis=-1
    )
    return east, north


def offset_position(
    ra: ArrayLike, dec: ArrayLike, east_arcsec: ArrayLike, north_arcsec: ArrayLike
) -> tuple[Floats, Floats]:
    """Move along a great circle.

    Parameters
    ----------
    ra, dec : array_like, shape (n,)
        Start [deg].
    east_arcsec, north_arcsec : array_like, shape (n,)
        Length of the arc towards east (already times cos dec) and north [arcsec]; the arc leaves
        in their direction and is as long as both together.

    Returns
    -------
    ra, dec : ndarray, shape (n,)
        End [deg].
    """
    east, north = _east_north(ra, dec)
    step_e = np.asarray(east_arcsec, dtype=np.float64)[..., None] / ARCSEC_PER_RADIAN
    step_n = np.asarray(north_arcsec, dtype=np.float64)[..., None] / ARCSEC_PER_RADIAN
    arc = np.hypot(step_e, step_n)
    # sin(arc) / arc by way of sinc, which is 1 where nothing moves.
    tangent = (step_e * east + step_n * north) * np.sinc(arc / np.pi)
    return positions(np.cos(arc) * unit_vectors(ra, dec) + tangent)


def offsets_arcsec(
    ra: ArrayLike, dec: ArrayLike, to_ra: ArrayLike, to_dec: ArrayLike
) -> tuple[Floats, Floats]:
    """Return the offsets of other positions from a position: the inverse of `offset_position`.

    Parameters
    ----------
    ra, dec : array_like, shape (n,)
        Seen from here [deg].
    to_ra, to_dec : array_like, shape (n,)
        Seen position [deg].

    Returns
    -------
    east, north : ndarray, shape (n,)
        Arc towards east and north [arcsec]; together as long as the separation.
    """
    east, north = _east_north(ra, dec)
    start, end = unit_vectors(ra, dec), unit_vectors(to_ra, to_dec)
    # The difference, not the end itself: its rounding does not grow with 1 / separation.
    along_e = np.einsum("...i,...i->...", end - start, east)
    along_n = np.einsum("...i,...i->...", end - start, north)
    length = np.hypot(along_e, along_n)
    arc = vector_separation_arcsec(start, end)
    scale = np.divide(arc, length, out=np.zeros_like(arc), where=length > 0)
    return along_e * scale, along_n * scale


def propagate_position(
    ra: ArrayLike, dec: ArrayLike, pmra: ArrayLike, pmdec: ArrayLike, years: ArrayLike
) -> tuple[Floats, Floats]:
    """Carry positions to another epoch at constant angular speed on a great circle.

    Radial velocity is left out: over 20 years it moves a star at 10 pc that recedes at 100 km/s
    by 0.004 arcsec for each arcsec/yr of proper motion.

    Parameters
    ----------
    ra, dec : array_like, shape (n,)
        Position at its own epoch [deg].
    pmra, pmdec : array_like, shape (n,)
        Proper motion [mas/yr]; ``pmra`` includes cos dec. NaN means unknown: such a position
        stays where it is.
    years : array_like, shape (n,)
        Target epoch minus own epoch [Julian years].

    Returns
    -------
    ra, dec : ndarray, shape (n,)
        Position at the target epoch [deg].
    """
    step = np.asarray(years, dtype=np.float64) / 1000.0
    east = np.nan_to_num(np.asarray(pmra, dtype=np.float64) * step, nan=0.0)
    north = np.nan_to_num(np.asarray(pmdec, dtype=np.float64) * step, nan=0.0)
    return offset_position(ra, dec, east, north)
