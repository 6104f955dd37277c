"""Match an APOGEE-sized with an SDSS-sized catalog from database to database.

Three ways on one server: the job `crosslabel crossmatch` runs; one SQL join on declination zones;
and astropy between the same bulk reads and writes. All must give the pairs of the job before any
time is printed.

Usage: python -m benchmarks.crossmatch [FOLDER with an allStar and an ssppOut file | N_LEFT N_RIGHT]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from astropy import units as u
from astropy.coordinates import SkyCoord, search_around_sky

from benchmarks.common import fresh_server, print_ratios, rest, simulated_survey
from catalog.sky.healpix import healpix29
from catalog.store import schema
from catalog.store.bulk import copy_in, fetch_arrays
from catalog.store.db import Database
from catalog.surveys.allstar import open_allstar
from catalog.surveys.sspp import open_sspp
from jobs.crossmatch.crossmatch import CrossmatchParams, crossmatch_job
from jobs.crossmatch.pixels import load_catalog
from jobs.engine.runner import run_job

RADIUS = 2.0  # arcsec
RUNS = 3
PAIRS = np.dtype([("left_id", "i8"), ("right_id", "i8")])

# Zones of one radius in declination. Right ascensions are compared within what the radius spans
# there (all of them at the poles); rows are entered again one turn on for the other side of 0.
ZONES = """
CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS
SELECT source_id, ra + turn AS ra, dec, floor(dec * 3600 / :radius)::int AS zone,
       cosd(dec) * cosd(ra) AS x, cosd(dec) * sind(ra) AS y, sind(dec) AS z,
       CASE WHEN abs(dec) < 89 THEN :radius / 3600 / cosd(dec) * 1.001 ELSE 180 END AS reach
FROM source, unnest(CAST(:turns AS float8[])) AS turn
WHERE survey = :survey AND (turn = 0 OR ra + turn BETWEEN -181 AND 541 AND abs(dec) > 88
                            OR ra + turn BETWEEN -1 AND 361)
"""
JOIN = """
INSERT INTO match (crossmatch_id, left_id, right_id, sep_arcsec)
SELECT DISTINCT CAST(:id AS bigint), left_id, right_id, sep FROM (
    SELECT l.source_id AS left_id, r.source_id AS right_id, 3600 * 2 * degrees(asin(
           sqrt((l.x - r.x) ^ 2 + (l.y - r.y) ^ 2 + (l.z - r.z) ^ 2) / 2)) AS sep
    FROM left_zone l, generate_series(-1, 1) step, right_zone r
    WHERE r.zone = l.zone + step AND r.ra BETWEEN l.ra - l.reach AND l.ra + l.reach
) candidate WHERE sep <= :radius
"""


def fill(db: Database, folder: Path) -> None:
    """Put the positions of both catalogs into the table of sources."""
    for survey, pattern, opener, release in (
        ("apogee", "allStar*.fits", open_allstar, "dr14"),
        ("sdss", "ssppOut*.fits", open_sspp, "dr12"),
    ):
        with opener(next(folder.glob(pattern)), release) as table, db.begin() as conn:
            for start in range(0, table.n_rows, 50_000):
                rows = table.read(start, start + 50_000).columns
                names = ("survey_key", "ra", "dec")
                columns = {name: rows[name] for name in names}
                columns["survey"] = np.full(rows["ra"].size, survey.encode())
                columns["healpix29"] = healpix29(rows["ra"], rows["dec"])
                copy_in(conn, schema.source.name, columns)
    rest(db)


def forget(db: Database) -> None:
    """Empty the tables of the crossmatch."""
    with db.begin() as conn:
        conn.execute(sa.text("TRUNCATE match, match_coverage"))
        conn.execute(sa.text("DELETE FROM crossmatch"))


def enter(conn: sa.Connection) -> int:
    """Enter the configuration that the rivals write to."""
    values = {"left_spec": "apogee/dr14", "right_spec": "sdss", "radius_arcsec": RADIUS}
    row = schema.crossmatch.insert().values(**values).returning(schema.crossmatch.c.crossmatch_id)
    return int(conn.execute(row).scalar_one())


def by_crosslabel(db: Database) -> None:
    run_job(crossmatch_job(CrossmatchParams("apogee/dr14", "sdss", RADIUS), db), db)


def by_sql(db: Database) -> None:
    with db.begin() as conn:
        conn.execute(sa.text("SET LOCAL work_mem = '256MB'"))
        for name, survey, turns in (
            ("left_zone", "apogee", [0]),
            ("right_zone", "sdss", [-360, 0, 360]),
        ):
            values = {"survey": survey, "turns": turns, "radius": RADIUS}
            conn.execute(sa.text(ZONES.format(name=name)), values)
        conn.execute(sa.text("CREATE INDEX ON right_zone (zone, ra)"))
        conn.execute(sa.text("ANALYZE left_zone, right_zone"))
        conn.execute(sa.text(JOIN), {"id": enter(conn), "radius": RADIUS})


def by_astropy(db: Database) -> None:
    with db.begin() as conn:
        left, right = load_catalog(conn, "apogee/dr14"), load_catalog(conn, "sdss")
        i, j, sep, _ = search_around_sky(
            SkyCoord(left.ra, left.dec, unit="deg"),
            SkyCoord(right.ra, right.dec, unit="deg"),
            RADIUS * u.arcsec,
        )
        columns = {
            "crossmatch_id": np.full(i.size, enter(conn)),
            "left_id": left.source_id[i],
            "right_id": right.source_id[j],
            "sep_arcsec": sep.arcsec,
        }
        copy_in(conn, schema.match.name, columns)


def stored_pairs(db: Database) -> np.ndarray:
    with db.reader() as conn:
        return np.sort(
            np.rec.fromarrays(
                fetch_arrays(conn, "SELECT left_id, right_id FROM match", PAIRS).values(),
                dtype=PAIRS,
            )
        )


def timed(match: Callable[[Database], None], db: Database) -> float:
    start = time.perf_counter()
    match(db)
    return time.perf_counter() - start


def compare(db: Database) -> None:
    """Check the pairs of all ways, then print their times."""
    rivals = {
        "crosslabel crossmatch": by_crosslabel,
        "SQL zone join": by_sql,
        "astropy, COPY in and out": by_astropy,
    }
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    ours = np.empty(0, PAIRS)
    for run in range(RUNS):
        for name, match in rivals.items():
            forget(db)
            seconds[name].append(timed(match, db))
            found = stored_pairs(db)
            if name == "crosslabel crossmatch" and run == 0:
                ours = found
                again = timed(match, db)
            if not np.array_equal(found, ours):
                sys.exit(f"{name}: {found.size} pairs, not the {ours.size} of crosslabel")
    print(f"{ours.size:,} pairs within {RADIUS} arcsec, the same in all; best of {RUNS} runs")
    best = {name: min(values) for name, values in seconds.items()}
    print_ratios(best | {"crosslabel, nothing new": again}, "crosslabel crossmatch")


def main() -> None:
    """Fill a fresh database from a simulated survey, or from a folder, and compare."""
    words = sys.argv[1:]
    sizes = [int(word) for word in words if word.isdigit()] or [160_000, 500_000]
    given = [Path(word) for word in words if not word.isdigit()]
    survey = nullcontext(given[0]) if given else simulated_survey(*sizes)
    with survey as folder, fresh_server() as server, server.database("crossmatch") as db:
        fill(db, folder)
        compare(db)


if __name__ == "__main__":
    main()
