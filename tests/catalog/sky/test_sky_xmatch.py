"""The crossmatch against the comparison of everything with everything."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord, search_around_sky
from hypothesis import given, settings
from hypothesis import strategies as st

import catalog.sky.xmatch as xmatch_module
from catalog.sky.healpix import healpix29
from catalog.sky.vectors import offset_position
from catalog.sky.xmatch import crossmatch

RADII = [0.1, 0.5, 2.0, 2.1, 2.2, 5.0, 30.0, 3600.0]
EDGE = 1e-7  # arcsec: nearer to the radius than this, two formulas may disagree


def brute_force(left, right) -> np.ndarray:
    """All separations [arcsec], by the haversine of the angles themselves."""
    ra1, dec1, ra2, dec2 = (np.radians(a) for a in (*left, *right))
    half = np.sin((dec1[:, None] - dec2) / 2) ** 2
    half += np.cos(dec1)[:, None] * np.cos(dec2) * np.sin((ra1[:, None] - ra2) / 2) ** 2
    return np.degrees(2 * np.arcsin(np.sqrt(np.clip(half, 0, 1)))) * 3600


def pair_set(pairs) -> set[tuple[int, int]]:
    return set(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True))


# Where cells, formulas or sorting could go wrong.
CENTRES = [
    (0.0, 90.0),
    (0.0, -90.0),
    (0.0, 0.0),
    (0.0, 89.999),
    (90.0, 41.8103),  # corner of four base cells
    (45.0, 0.0),
    (0.0, 41.8103),  # corner of three
    (213.7, -63.2),
]


@st.composite
def two_lists(draw):
    """Two lists around a few centres, with repeated positions, and a radius."""
    radius = draw(st.sampled_from(RADII))
    places = draw(st.lists(st.sampled_from(CENTRES), min_size=1, max_size=3))
    seed = draw(st.integers(0, 2**32 - 1))
    sizes = draw(st.tuples(st.integers(0, 40), st.integers(0, 40)))
    rng = np.random.default_rng(seed)

    def one(n):
        centre = np.array(places)[rng.integers(len(places), size=n)].reshape(n, 2)
        spread = radius * rng.choice([0.0, 0.4, 1.0, 3.0], n)
        east, north = rng.normal(0, 1, (2, n)) * spread
        return offset_position(centre[:, 0], centre[:, 1], east, north)

    return one(sizes[0]), one(sizes[1]), radius


@settings(max_examples=200, deadline=None)
@given(two_lists())
def test_equal_to_brute_force(case):
    left, right, radius = case
    pairs = crossmatch(*left, *right, radius)
    sep = brute_force(left, right)
    wanted = set(zip(*(i.tolist() for i in np.nonzero(sep <= radius - EDGE)), strict=True))
    allowed = set(zip(*(i.tolist() for i in np.nonzero(sep <= radius + EDGE)), strict=True))
    found = pair_set(pairs)
    assert len(found) == pairs.left.size, "a pair is given twice"
    assert wanted <= found <= allowed
    np.testing.assert_allclose(pairs.sep_arcsec, sep[pairs.left, pairs.right], atol=EDGE)
    keys = list(zip(pairs.left, pairs.sep_arcsec, pairs.right, strict=True))
    assert keys == sorted(keys)


@settings(max_examples=60, deadline=None)
@given(two_lists(), st.integers(0, 2**32 - 1))
def test_sides_row_order_and_splits_change_nothing(case, seed):
    left, right, radius = case
    whole = crossmatch(*left, *right, radius)
    turned = crossmatch(*right, *left, radius)
    assert {(b, a) for a, b in pair_set(turned)} == pair_set(whole)
    assert sorted(turned.sep_arcsec) == sorted(whole.sep_arcsec)

    rng = np.random.default_rng(seed)
    by_left, by_right = rng.permutation(left[0].size), rng.permutation(right[0].size)
    shuffled = crossmatch(*(a[by_left] for a in left), *(a[by_right] for a in right), radius)
    assert {(by_left[i], by_right[j]) for i, j in pair_set(shuffled)} == pair_set(whole)

    cut = left[0].size // 2
    first = crossmatch(*(a[:cut] for a in left), *right, radius)
    second = crossmatch(*(a[cut:] for a in left), *right, radius)
    assert pair_set(first) | {(i + cut, j) for i, j in pair_set(second)} == pair_set(whole)


def test_small_blocks_change_nothing(monkeypatch):
    """Many repeated positions, written out a few candidates at a time."""
    ra, dec = np.repeat([10.0, 10.0002, 200.0], 40), np.repeat([-30.0, -30.0, 5.0], 40)
    whole = crossmatch(ra, dec, ra, dec, 2.0)
    assert whole.left.size == 80**2 + 40**2
    monkeypatch.setattr(xmatch_module, "LEFT_BLOCK", 7)
    monkeypatch.setattr(xmatch_module, "PAIR_BLOCK", 50)
    for one, other in zip(whole, crossmatch(ra, dec, ra, dec, 2.0), strict=True):
        np.testing.assert_array_equal(one, other)


def test_equal_to_astropy_on_a_random_sky():
    rng = np.random.default_rng(5)

    def sky(n):
        return rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))

    left, right = sky(20_000), sky(20_000)
    right[0][:5000], right[1][:5000] = offset_position(
        left[0][:5000], left[1][:5000], *rng.normal(0, 2, (2, 5000))
    )
    pairs = crossmatch(*left, *right, 5.0)
    i, j, sep, _ = search_around_sky(
        SkyCoord(*left, unit="deg"), SkyCoord(*right, unit="deg"), 5 * u.arcsec
    )
    assert pairs.left.size > 4000
    assert pair_set(pairs) == set(zip(i.tolist(), j.tolist(), strict=True))
    by = np.lexsort((j, i))
    ours = np.lexsort((pairs.right, pairs.left))
    np.testing.assert_allclose(pairs.sep_arcsec[ours], sep.arcsec[by], atol=1e-9)


def test_radius_is_inclusive():
    sep = crossmatch([0.0], [0.0], [0.0], [1 / 1024], 10.0).sep_arcsec[0]
    assert crossmatch([0.0], [0.0], [0.0], [1 / 1024], sep).left.size == 1
    assert crossmatch([0.0], [0.0], [0.0], [1 / 1024], np.nextafter(sep, 0)).left.size == 0


def test_given_indices_are_used():
    ra, dec = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    index = healpix29(ra, dec)
    found = crossmatch(ra, dec, ra, dec, 2.0, left_index29=index, right_index29=index)
    assert pair_set(found) == {(0, 0), (1, 1)}
    with pytest.raises(ValueError, match="HEALPix indices"):
        crossmatch(ra, dec, ra, dec, 2.0, left_index29=index[:1])


@pytest.mark.parametrize(("n_left", "n_right"), [(0, 0), (0, 3), (3, 0)])
def test_empty_lists_give_no_pairs(n_left, n_right):
    pairs = crossmatch(np.ones(n_left), np.ones(n_left), np.ones(n_right), np.ones(n_right), 2.0)
    assert [a.size for a in pairs] == [0, 0, 0]
    assert [a.dtype for a in pairs] == [np.int64, np.int64, np.float64]


def test_bad_positions_are_refused():
    with pytest.raises(ValueError, match="Row 1 is not a position"):
        crossmatch([0.0], [0.0], [1.0, np.nan], [1.0, 1.0], 2.0)
