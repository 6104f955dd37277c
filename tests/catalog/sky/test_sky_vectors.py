"""Separations, offsets and proper motion, also where formulas in angles break."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord, angular_separation

from catalog.sky.vectors import (
    offset_position,
    offsets_arcsec,
    positions,
    propagate_position,
    separation_arcsec,
    unit_vectors,
)

# Position, position, separation [arcsec] known without a formula.
KNOWN = [
    ((10.0, 20.0), (10.0, 20.0), 0.0),
    ((0.0, 0.0), (360.0, 0.0), 0.0),
    ((-1.0, 5.0), (359.0, 5.0), 0.0),
    ((359.9999, 0.0), (0.0001, 0.0), 0.72),
    ((0.0, 90.0), (123.0, 90.0), 0.0),
    ((0.0, 89.9999), (180.0, 89.9999), 0.72),
    ((77.0, -89.9999), (257.0, -89.9999), 0.72),
    ((50.0, 30.0), (50.0, 30.0 + 1e-9), 3.6e-6),
    ((50.0, 0.0), (50.0 + 1e-9, 0.0), 3.6e-6),
    ((0.0, -90.0), (0.0, 90.0), 180 * 3600.0),
    ((30.0, 40.0), (210.0, -40.0), 180 * 3600.0),
    ((0.0, 0.0), (90.0, 0.0), 90 * 3600.0),
]


@pytest.mark.parametrize(("here", "there", "expected"), KNOWN)
def test_known_separations_to_a_nanoarcsecond(here, there, expected):
    assert separation_arcsec(*here, *there)[0] == pytest.approx(expected, rel=1e-12, abs=1e-9)


def test_cos_dec_counts():
    """At declination 60 two positions 2 arcsec apart in right ascension are 1 arcsec apart."""
    assert separation_arcsec(100.0, 60.0, 100.0 + 2 / 3600, 60.0)[0] == pytest.approx(1.0, rel=1e-9)


def test_separation_agrees_with_astropy_and_is_symmetric():
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0, 360, 2000), np.degrees(np.arcsin(rng.uniform(-1, 1, 2000)))
    near_ra = ra + 10 ** rng.uniform(-8, 2, 2000)
    near_dec = np.clip(dec + rng.normal(0, 1, 2000) * 10 ** rng.uniform(-8, 1, 2000), -90, 90)
    ours = separation_arcsec(ra, dec, near_ra, near_dec)
    theirs = np.degrees(angular_separation(*np.radians([ra, dec, near_ra, near_dec]))) * 3600
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(ours, separation_arcsec(near_ra, near_dec, ra, dec))


def test_positions_undo_unit_vectors():
    rng = np.random.default_rng(2)
    ra, dec = rng.uniform(0, 360, 1000), np.degrees(np.arcsin(rng.uniform(-1, 1, 1000)))
    back = positions(unit_vectors(ra, dec))
    assert separation_arcsec(ra, dec, *back).max() < 1e-9
    ra, _ = positions(np.array([[1.0, -1e-300, 0.0]]))
    assert ra[0] == 0.0


@pytest.mark.parametrize("dec", [0.0, 60.0, -89.9999, 89.99999, 90.0])
def test_offsets_are_undone_and_as_long_as_asked(dec):
    rng = np.random.default_rng(3)
    ra = np.full(200, 359.99999)
    east, north = rng.normal(0, 1, 200), rng.normal(0, 1, 200)
    end = offset_position(ra, np.full(200, dec), east, north)
    arc = separation_arcsec(ra, np.full(200, dec), *end)
    np.testing.assert_allclose(arc, np.hypot(east, north), atol=1e-9)
    back = offsets_arcsec(ra, np.full(200, dec), *end)
    np.testing.assert_allclose(back, [east, north], atol=1e-8)


def test_no_offset_stays():
    assert offset_position(12.5, -7.25, 0.0, 0.0)[0][0] == pytest.approx(12.5, abs=1e-12)
    assert offsets_arcsec(12.5, -7.25, 12.5, -7.25) == (0.0, 0.0)


def test_proper_motion_agrees_with_astropy():
    """Barnard's star: the fastest; astropy moves it in three dimensions."""
    ra, dec, pmra, pmdec = 269.4520769586, 4.6933649666, -801.551, 10362.394
    star = SkyCoord(
        ra * u.deg,
        dec * u.deg,
        pm_ra_cosdec=pmra * u.mas / u.yr,
        pm_dec=pmdec * u.mas / u.yr,
        distance=1.8267 * u.pc,
        radial_velocity=0 * u.km / u.s,
        obstime="J2016",
    )
    expected = star.apply_space_motion(dt=-16 * u.yr)
    moved = propagate_position(ra, dec, pmra, pmdec, -16.0)
    assert separation_arcsec(*moved, expected.ra.deg, expected.dec.deg)[0] < 1e-3


def test_unknown_proper_motion_stays_and_the_pole_is_crossed():
    ra, dec = propagate_position([10.0, 10.0], [5.0, 90 - 1 / 3600], [np.nan, 0], [np.nan, 200], 10)
    assert (ra[0], dec[0]) == pytest.approx((10.0, 5.0), abs=1e-12)
    assert (ra[1], dec[1]) == pytest.approx((190.0, 90 - 1 / 3600), abs=1e-9)
