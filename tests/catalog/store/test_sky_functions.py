"""The SQL functions ``cone`` and ``nearest``: exact at every place of the sky, by the index."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import open_catalog
from catalog.sky.healpix import healpix29
from catalog.sky.vectors import offset_position, separation_arcsec
from catalog.store.sky_functions import CELL_RADIUS
from tests.conftest import cloned, libpq_url
from tests.support import factories

SURVEYS = ("apogee", "lamost", "sdss")
#: The poles, the seam of right ascension, corners of HEALPix base cells, and common places.
PLACES = [
    (0.0, 0.0), (359.99999, 12.0), (0.00001, -33.0), (123.0, 90.0), (77.0, -90.0), (45.0, 89.99),
    (45.0, 41.8103149), (90.0, -41.8103149), (0.0, 41.8103149), (315.0, 0.0), (250.3, -20.7),
]  # fmt: skip


@pytest.fixture(scope="module")
def sky(server_url, admin, template):
    """Three surveys of 3,000 sources each, a third of them crowded around `PLACES`."""
    rng = np.random.default_rng(7)
    with cloned(server_url, admin, template) as db:
        for survey in SURVEYS:
            ra = rng.uniform(0, 360, 2000)
            dec = np.degrees(np.arcsin(rng.uniform(-1, 1, 2000)))
            near = np.array(PLACES)[rng.integers(0, len(PLACES), 1000)]
            arc, angle = 10 ** rng.uniform(-2, 4, 1000), rng.uniform(0, 2 * np.pi, 1000)
            crowd = offset_position(*near.T, arc * np.sin(angle), arc * np.cos(angle))
            ra, dec = np.r_[ra, crowd[0]], np.clip(np.r_[dec, crowd[1]], -90, 90)
            with db.begin() as conn:
                keys = [f"{survey[0]}{i}" for i in range(3000)]
                factories.add_sources(conn, survey, keys, ra=ra, dec=dec)
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.exec_driver_sql("ANALYZE")
        yield db


@pytest.fixture(scope="module")
def sources(sky):
    """Survey, key and position of all sources."""
    with sky.reader() as conn:
        found = conn.execute(sa.text("SELECT survey, survey_key, ra, dec FROM source")).all()
    return tuple(np.array(column) for column in zip(*found, strict=True))


def ask(db, query: str, **values) -> list[sa.Row]:
    with db.reader() as conn:
        return list(conn.execute(sa.text(query), values))


@pytest.mark.parametrize("survey", [None, "lamost"])
@pytest.mark.parametrize("radius", [0.05, 3.0, 300.0, 9000.0, 150000.0, 648000.0])
def test_cones_are_those_of_brute_force_and_of_the_reader(sky, sources, radius, survey):
    seen = 0
    with open_catalog(libpq_url(sky.engine.url)) as cat:
        for ra, dec in PLACES if radius < 1e5 else PLACES[:3]:
            found = ask(
                sky, "SELECT * FROM cone(:ra, :dec, :radius, :survey) ORDER BY 1, 2, 3",
                ra=ra, dec=dec, radius=radius, survey=survey,
            )  # fmt: skip
            sep = separation_arcsec(ra, dec, sources[2], sources[3])
            inside = (sep <= radius) & ((survey is None) | (sources[0] == survey))
            keys = zip(*(s[inside] for s in sources[:2]), strict=True)
            wanted = dict(zip(keys, sep[inside], strict=True))
            assert {(r.survey, r.survey_key) for r in found} == wanted.keys()
            np.testing.assert_allclose(
                [r.distance_arcsec for r in found],
                [wanted[r.survey, r.survey_key] for r in found], rtol=1e-9, atol=1e-7,
            )  # fmt: skip
            table = cat.cone(ra, dec, radius_arcsec=radius, survey=survey, limit=None)
            assert table["survey_key"].tolist() == [r.survey_key for r in found]
            assert table["distance_arcsec"].tolist() == [r.distance_arcsec for r in found]
            seen += len(found)
    assert seen


@pytest.mark.parametrize("place", PLACES)
def test_nearest_are_those_of_brute_force(sky, sources, place):
    sep = separation_arcsec(*place, sources[2], sources[3])
    for n, survey, within in ((1, None, None), (5, "sdss", None), (40, None, 2000.0), (7, "x", 1)):
        chosen = (sources[0] == survey) if survey else np.ones(sep.size, bool)
        wanted = np.sort(sep[chosen & (sep <= (within or 648000.0))])[:n]
        found = ask(
            sky, "SELECT * FROM nearest(:ra, :dec, :n, :within, :survey)",
            ra=place[0], dec=place[1], n=n, within=within, survey=survey,
        )  # fmt: skip
        distances = [r.distance_arcsec for r in found]
        np.testing.assert_allclose(distances, wanted, rtol=1e-9, atol=1e-7)
        assert survey is None or {r.survey for r in found} <= {survey}
    [one] = ask(sky, "SELECT * FROM nearest(:ra, :dec)", ra=place[0], dec=place[1])
    assert one.distance_arcsec == pytest.approx(sep.min(), abs=1e-7)
    assert len(ask(sky, "SELECT FROM nearest(1, 2, 10000)")) == 9000


def test_the_index_is_used(sky):
    [(plan,)] = ask(sky, "EXPLAIN (FORMAT JSON) SELECT * FROM cone(250.3, -20.7, 60)")
    scans = list(scans_of(plan[0]["Plan"]))
    others = [s for s in scans if s.get("Relation Name") == "source" and "Index Name" not in s]
    assert not others, json.dumps(plan, indent=1)
    [search] = [s for s in scans if "healpix29" in s.get("Index Cond", "")]
    assert search["Index Name"] == "ix_source_survey_healpix29"
    assert "survey = " in search["Index Cond"]


def scans_of(node: dict):
    """All nodes of a plan that read a table."""
    if "Relation Name" in node or "Index Name" in node:
        yield node
    for child in node.get("Plans", ()):
        yield from scans_of(child)


@settings(deadline=None, max_examples=60)
@given(
    ra=st.floats(-720, 720),
    sin_dec=st.floats(-1, 1),
    radius=st.floats(-4, 5.5),
    seed=st.integers(0),
)
def test_ranges_hold_all_of_the_cone(sky, ra, sin_dec, radius, seed):
    rng = np.random.default_rng(seed)
    dec, arcsec = np.degrees(np.arcsin(sin_dec)), 10.0**radius
    arc = arcsec * np.r_[np.ones(200), np.sqrt(rng.random(200)), 0]
    angle = rng.uniform(0, 2 * np.pi, arc.size)
    points = offset_position(
        np.full(arc.size, ra), np.full(arc.size, dec), arc * np.sin(angle), arc * np.cos(angle)
    )
    cells = healpix29(points[0], np.clip(points[1], -90, 90))
    ranges = np.array(
        ask(sky, "SELECT * FROM healpix_ranges(:ra, :dec, :r)", ra=ra, dec=dec, r=arcsec), np.int64
    )
    at = np.searchsorted(ranges[:, 0], cells, side="right") - 1
    assert (at >= 0).all()
    assert (cells <= ranges[at, 1]).all()
    assert len(ranges) <= 40


def test_no_cell_is_wider_than_its_limit():
    """`max_pixrad` of healpix_cxx: from the centre of the widest cell to its corner."""
    n = 2.0 ** np.arange(30)
    centre, corner = 2 / 3, 1 - (1 - 1 / n) ** 2 / 3
    height = np.sqrt((1 - centre**2) * (1 - corner**2))
    farthest = np.arccos(np.clip(centre * corner + height * np.cos(np.pi / 4 / n), -1, 1))
    assert (farthest * n)[:20].max() < CELL_RADIUS  # beyond, arccos has no digits left
    assert (farthest * n)[0] == pytest.approx(0.841068670567930)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("cone(1, 91, 1)", "ra 1, dec 91 is not a position"),
        ("cone('NaN', 0, 1)", "ra NaN, dec 0 is not a position"),
        ("cone(0, '-infinity', 1)", "is not a position"),
        ("cone(NULL, 0, 1)", "is not a position"),
        ("cone(0, 0, -1)", "-1 is not a radius"),
        ("cone(0, 0, 'NaN')", "NaN is not a radius"),
        ("cone(0, 0, 648001)", "648001 is not a radius"),
        ("nearest(0, 0, 0)", "0 is not a number of sources"),
        ("nearest(0, 95)", "is not a position"),
        ("nearest(0, 0, 1, -3)", "-3 is not a radius"),
    ],
)
def test_what_is_no_position_radius_or_number_is_refused(db, call, message):
    with pytest.raises(sa.exc.DBAPIError, match=message):
        ask(db, f"SELECT * FROM {call}")
