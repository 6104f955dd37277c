"""The crossmatch in the database: equal to brute force, incremental, resumable, in any chunks."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.sky.vectors import offset_position, separation_arcsec
from catalog.store.db import Database
from catalog.surveys.allstar import open_allstar
from catalog.surveys.sspp import open_sspp
from jobs.crossmatch.crossmatch import CrossmatchParams, crossmatch_job
from jobs.engine.job import RunSummary
from jobs.engine.runner import run_job
from tests.support.source_rows import put_sources, stored_pairs

PARAMS = CrossmatchParams("apogee/dr14", "sdss", 2.0)
N_LEFT, N_RIGHT = 60, 120


def match(db: Database, **changes: object) -> RunSummary:
    return run_job(crossmatch_job(replace(PARAMS, **changes), db), db)


def left_keys(n: int = N_LEFT) -> list[str]:
    return [f"dr14/{i}" for i in range(n)]


def right_keys(n: int = N_RIGHT) -> list[str]:
    return [str(i) for i in range(n)]


@pytest.fixture
def sky() -> tuple[np.ndarray, ...]:
    """Stars all over the sky, at the poles and at RA 0, with one or two spectra around each."""
    rng = np.random.default_rng(11)
    ra, dec = rng.uniform(0, 360, N_LEFT), np.degrees(np.arcsin(rng.uniform(-1, 1, N_LEFT)))
    dec[:6] = [90, -90, 89.9999, -89.9999, 89.9995, 0]
    ra[6:10], dec[6:9] = [0, 359.9999, 0.0001, 180], 0
    around = np.arange(N_RIGHT) % N_LEFT
    east, north = rng.normal(0, 1, (2, N_RIGHT))
    return ra, dec, *offset_position(ra[around], dec[around], east, north)


@pytest.fixture
def filled(db: Database, sky) -> Database:
    put_sources(db, "apogee", left_keys(), *sky[:2])
    put_sources(db, "sdss", right_keys(), *sky[2:])
    # Another release and another survey at the same places must not be matched.
    put_sources(db, "apogee", ["dr17/0"], sky[0][:1], sky[1][:1])
    put_sources(db, "lamost", ["1"], sky[2][:1], sky[3][:1])
    return db


def brute_force(ra1, dec1, ra2, dec2, radius=2.0) -> dict[tuple[str, str], float]:
    sep = separation_arcsec(*(a[:, None] for a in (ra1, dec1)), ra2[None], dec2[None])
    near = zip(*np.nonzero(sep <= radius), strict=True)
    return {(f"dr14/{i}", str(j)): float(sep[i, j]) for i, j in near}


def test_all_pairs_are_found_and_a_second_run_has_nothing_to_do(filled, sky):
    expected = brute_force(*sky)
    first = match(filled)
    assert stored_pairs(filled) == expected
    assert len(expected) > 60
    assert first.state == "succeeded"
    assert first.rows_written == 1 + len(expected)  # the configuration, and its pairs
    second = match(filled)
    assert (second.state, second.rows_written, second.run_id) == ("idle", 0, None)


@pytest.mark.parametrize("order", [0, 5])
def test_the_grain_of_the_chunks_changes_nothing(filled, sky, order):
    match(filled)
    before = stored_pairs(filled)
    other = match(filled, chunk_order=order)
    assert other.chunks_done > 0
    assert other.rows_written == 0
    assert stored_pairs(filled) == before
    assert match(filled, chunk_order=order).state == "idle"


def test_changes_on_either_side_are_followed(filled, sky):
    """New, moved and removed sources: the table ends as if it had been made at once."""
    match(filled)
    ra1, dec1, ra2, dec2 = (a.copy() for a in sky)

    # A new source on the right, beside a star that had its pairs already.
    ra2, dec2 = np.append(ra2, ra1[20]), np.append(dec2, dec1[20] + 1 / 3600)
    put_sources(filled, "sdss", [str(N_RIGHT)], ra2[-1:], dec2[-1:])
    step = match(filled)
    assert stored_pairs(filled) == brute_force(ra1, dec1, ra2, dec2)
    assert step.rows_written == 1
    assert step.chunks_done <= 9

    # A new source on the left.
    ra1, dec1 = np.append(ra1, ra2[30]), np.append(dec1, dec2[30])
    put_sources(filled, "apogee", [f"dr14/{N_LEFT}"], ra1[-1:], dec1[-1:])
    match(filled)
    assert stored_pairs(filled) == brute_force(ra1, dec1, ra2, dec2)

    # Sources that move: a little, to another star far away, and out of reach.
    ra1[21:22], dec1[21:22] = offset_position(ra1[21:22], dec1[21:22], 0.3, 0.0)
    ra2[40], dec2[40] = ra1[7], dec1[7]
    ra1[22], dec1[22] = 77.7, -33.3
    put_sources(filled, "apogee", left_keys(N_LEFT + 1), ra1, dec1)
    put_sources(filled, "sdss", right_keys(N_RIGHT + 1), ra2, dec2)
    match(filled)
    assert stored_pairs(filled) == brute_force(ra1, dec1, ra2, dec2)

    # Removed sources; the pairs of a source keep it from being deleted before they are.
    for survey, key in (("apogee", f"dr14/{N_LEFT}"), ("sdss", str(N_RIGHT))):
        with filled.begin() as conn:
            conn.execute(
                sa.text(
                    "WITH s AS (SELECT source_id FROM source WHERE survey = :s AND survey_key = :k)"
                    ", m AS (DELETE FROM match USING s WHERE source_id IN (left_id, right_id)) "
                    "SELECT 1"
                ),
                {"s": survey, "k": key},
            )
            conn.execute(
                sa.text("DELETE FROM source WHERE survey = :s AND survey_key = :k"),
                {"s": survey, "k": key},
            )
    assert match(filled).rows_written == 0
    assert stored_pairs(filled) == brute_force(*(a[:-1] for a in (ra1, dec1, ra2, dec2)))
    assert match(filled).state == "idle"


def test_there_and_back_at_another_grain(filled, sky):
    """Coverage of order 2 must not outlive the pairs that a run at order 4 replaced."""
    match(filled, chunk_order=2)
    original = stored_pairs(filled)
    put_sources(filled, "sdss", ["50"], [200.0], [0.0])
    match(filled, chunk_order=4)
    assert stored_pairs(filled) != original
    put_sources(filled, "sdss", ["50"], sky[2][50:51], sky[3][50:51])
    match(filled, chunk_order=2)
    assert stored_pairs(filled) == original


@pytest.mark.parametrize("done_before", [1, 7])
def test_an_interrupted_run_is_resumed_where_it_stopped(filled, sky, done_before):
    """The process ends in the middle of a chunk; what it had committed is not done again."""

    class Killed(BaseException):
        """Stands for the end of the process."""

    job = crossmatch_job(PARAMS, filled)
    calls: list[str] = []

    def compute(conn, key):
        if len(calls) == done_before:
            raise Killed
        calls.append(key)
        return job.compute(conn, key)

    with pytest.raises(Killed):
        run_job(replace(job, compute=compute), filled)
    assert len(stored_pairs(filled)) < len(brute_force(*sky))
    # Meanwhile a source arrives in a pixel that was done already, and the grain is changed.
    put_sources(filled, "sdss", ["new"], sky[0][30:31], sky[1][30:31])
    summary = match(filled, chunk_order=3)
    assert summary.state == "succeeded"
    expected = brute_force(*sky) | {("dr14/30", "new"): 0.0}
    assert stored_pairs(filled).keys() == expected.keys()
    assert match(filled, chunk_order=3).state == "idle"


def test_two_radii_are_two_crossmatches(filled, sky):
    match(filled)
    match(filled, radius_arcsec=0.5)
    with filled.reader() as conn:
        counts = conn.execute(
            sa.text(
                "SELECT radius_arcsec, count(*), max(sep_arcsec) FROM crossmatch "
                "JOIN match USING (crossmatch_id) GROUP BY 1 ORDER BY 1"
            )
        ).all()
    assert [n for _, n, _ in counts] == [len(brute_force(*sky, r)) for r in (0.5, 2.0)]
    assert all(sep <= radius for radius, _, sep in counts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"left": "apogee/dr99"}, "no sources of apogee/dr99.*apogee/dr14"),
        ({"right": "gaia"}, "no sources of gaia"),
        ({"radius_arcsec": 0.0}, "radius"),
        ({"radius_arcsec": -1.0}, "radius"),
        ({"chunk_order": 17}, "order 17"),
        ({"chunk_order": -1}, "order -1"),
    ],
)
def test_what_cannot_be_matched_is_refused(filled, changes, message):
    with pytest.raises(UsageError, match=message):
        match(filled, **changes)


@pytest.mark.kit
def test_pairs_of_the_survey_kit(kit, db, tmp_path):
    """Every pair within 2 arcsec that the kit's truth knows, and no other."""
    pd = pytest.importorskip("pandas")
    subprocess.run(
        [
            sys.executable, kit / "tools" / "make_survey.py", tmp_path, "--seed", "3",
            "--matched", "120", "--apogee", "1500", "--sspp", "2500", "--no-spectra", "--slim",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    with open_allstar(tmp_path / "allStar-l31c.2.fits", "dr14") as stars:
        left = stars.read(0, stars.n_rows).columns
    with open_sspp(tmp_path / "ssppOut-dr12.fits", "dr12") as spectra:
        right = spectra.read(0, spectra.n_rows).columns
    for survey, rows in (("apogee", left), ("sdss", right)):
        keys = [k.decode() for k in rows["survey_key"].tolist()]
        put_sources(db, survey, keys, rows["ra"], rows["dec"])
    match(db)
    star = dict(zip(left["survey_key"].tolist(), left["apogee_id"].tolist(), strict=True))
    objid = dict(zip(right["survey_key"].tolist(), right["specobjid"].tolist(), strict=True))
    found = {(star[a.encode()].decode(), objid[b.encode()].decode()) for a, b in stored_pairs(db)}
    truth = pd.read_parquet(tmp_path / "truth.parquet")
    truth = truth[truth.within_radius]
    wanted = set(zip(truth.apogee_id, truth.specobjid, strict=True))
    print({"wanted": len(wanted), "found": len(found), "missing": len(wanted - found),
           "extra": len(found - wanted)})  # fmt: skip
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert len(wanted) == summary["pairs_within_2_arcsec"]["all"]
    assert found == wanted
