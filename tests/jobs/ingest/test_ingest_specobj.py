"""specObj in the catalog: one source per spectrum, whatever came first, and on to the archive."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from astropy.io import fits
from sqlalchemy.engine import URL

from catalog.archive.places import spectrum_places
from catalog.errors import BadInputError, UsageError
from catalog.store.db import Database
from catalog.surveys.simulate import NAMES, write_survey
from catalog.surveys.specobjid import pack_specobjid
from jobs.crossmatch.crossmatch import CrossmatchParams, crossmatch_job
from jobs.engine.runner import run_job
from jobs.fetch.spectra import wanted_spectra
from jobs.ingest.catalogs import ingest_catalog
from jobs.ingest.specobj import ingest_specobj
from jobs.ingest.spectra import SpectraParams, ingest_spectra_job
from jobs.samples.select import SampleParams, sample_job
from tests.conftest import Cli, cloned
from tests.support.content import content_digests
from tests.support.specobj_file import specobj_rows, write_specobj


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated survey, and a specObj of its spectra with BOSS's and others' beside them."""
    folder = tmp_path_factory.mktemp("survey")
    write_survey(folder, n_matched=12, n_apogee=60, n_sspp=40, seed=3)
    with fits.open(folder / "ssppOut-dr12.fits") as hdus:
        known = [
            {"plate": int(r["PLATE"]), "mjd": int(r["MJD"]), "fiberid": int(r["FIBER"]),
             "run2d": r["RUN2D"].strip(), "ra": r["PLUG_RA"] + 1e-9, "dec": r["PLUG_DEC"],
             "primary": i % 2}
            for i, r in enumerate(hdus[1].data)
        ]  # fmt: skip
    with fits.open(folder / NAMES["dr14"]) as hdus:
        star = hdus[1].data[0]
    boss = {"plate": 8954, "mjd": 57453, "run2d": "v5_13_2", "ra": star["RA"], "dec": star["DEC"]}
    galaxy = {"class": "GALAXY", "ra": star["RA"], "dec": star["DEC"]}
    write_specobj(folder / "specObj-dr17.fits", specobj_rows(*known, boss, galaxy, galaxy))
    return folder


def rows_of(db: Database, query: str) -> list:
    with db.reader() as conn:
        return list(conn.execute(sa.text(query)))


DETAILS = """SELECT survey_key, ra, dec, healpix29, epoch, d.specobjid::text, d.plate, d.run2d,
    d.in_sspp, d.bv, d.sspp_flag FROM source JOIN sdss_spectrum d USING (source_id) ORDER BY 1"""


def test_a_second_run_writes_nothing(cli: Cli, db: Database, survey: Path) -> None:
    words = ("ingest", "specobj", survey / "specObj-dr17.fits", "--release", "dr17")
    code, out, _ = cli(*words, "--dry-run")
    assert (code, len(rows_of(db, "SELECT 1 FROM source"))) == (0, 0)
    assert "1 chunk to do" in out
    code, out, err = cli(*words)
    assert (code, err) == (0, "")
    assert "left out: 2 of class GALAXY" in out
    assert "41 SDSS spectra known" in out
    code, out, _ = cli(*words)
    assert (code, out) == (0, "ingest specobj specobj/dr17: nothing to do\n")
    code, out, _ = cli(*words, "--classes", "all", "--json")
    left_out, summary = map(json.loads, out.splitlines())
    assert (code, left_out, summary["rows_written"]) == (0, {"left_out": {}}, 4)
    assert cli("ingest", "specobj", survey / "nothing.fits", "--release", "dr17")[0] == 2
    code, _, err = cli(*words, "--classes", "PLANET")
    assert (code, "no class 'PLANET'" in err) == (2, True)


def test_ids_are_exact(db: Database, survey: Path) -> None:
    ingest_specobj(db, [survey / "specObj-dr17.fits"], "dr17")
    found = rows_of(db, "SELECT plate, mjd, fiberid, run2d, specobjid::text FROM sdss_spectrum")
    assert all(int(row[4]) == pack_specobjid(*row[:4]) for row in found)
    assert max(int(row[4]) for row in found) > 2**63


def test_the_order_of_ingests_does_not_matter(
    db: Database, survey: Path, server_url: URL, admin: sa.Engine, template: str
) -> None:
    """SSPP's position and columns stay, a spectrum's pixels stay, and nothing is there twice."""

    def specobj(to: Database) -> None:
        ingest_specobj(to, [survey / "specObj-dr17.fits"], "dr17")

    def sspp(to: Database) -> None:
        ingest_catalog(to, "sspp", [survey / "ssppOut-dr12.fits"], "dr12")

    def spectra(to: Database) -> None:
        run_job(ingest_spectra_job(SpectraParams((str(survey / "spectra"),), 1), to), to)

    found = []
    for order in ((sspp, spectra, specobj), (specobj, sspp, spectra), (spectra, specobj, sspp)):
        with cloned(server_url, admin, template) as to:
            for step in order:
                step(to)
            found.append(rows_of(to, DETAILS))
            n_spectra = rows_of(to, "SELECT count(*) FROM spectrum_blob")[0][0]
    assert found[0] == found[1] == found[2]
    assert sum(row.in_sspp is True for row in found[0]) == 40
    assert sum(row.bv is not None for row in found[0]) > 0
    assert n_spectra > 0
    with fits.open(survey / "ssppOut-dr12.fits") as hdus:
        assert {row.ra for row in found[0] if row.in_sspp} == set(hdus[1].data["PLUG_RA"])


def test_a_star_that_only_boss_saw_is_matched_and_asked_for(db: Database, survey: Path) -> None:
    ingest_catalog(db, "apogee", [survey / NAMES["dr14"]], "dr14")
    ingest_specobj(db, [survey / "specObj-dr17.fits"], "dr17")
    run_job(crossmatch_job(CrossmatchParams(), db), db)
    run_job(sample_job(SampleParams("clean"), db), db)
    reasons = dict(
        rows_of(db, "SELECT survey_key, reason FROM sample_member JOIN source ON "
                    "source_id = right_id WHERE survey_key LIKE '%-v5_13_2'")
    )  # fmt: skip
    assert list(reasons.values()) == ["NO_SPECTRUM"]
    with db.reader() as conn:
        wanted = wanted_spectra(conn, "clean", "dr17")
    boss = [w.key for w in wanted if w.key.run2d == "v5_13_2"]
    assert len(boss) == 1 < len(wanted)
    assert spectrum_places(boss[0], "dr17")[0].startswith("dr17/eboss/spectro/redux/v5_13_2/")


def test_interrupted_twice_it_ends_like_one_that_never_was(
    db: Database, survey: Path, server_url: URL, admin: sa.Engine, template: str
) -> None:
    class PowerCut(BaseException):
        """Ends the process in the middle."""

    def cut_after(chunks: int) -> Callable[[str, int, int], None]:
        def progress(job: str, done: int, total: int) -> None:
            if done == 7 * chunks:
                raise PowerCut

        return progress

    path = survey / "specObj-dr17.fits"
    with cloned(server_url, admin, template) as to:
        ingest_specobj(to, [path], "dr17")
        expected = content_digests(to)
    for chunks in (2, 4):
        with pytest.raises(PowerCut):
            ingest_specobj(db, [path], "dr17", rows_per_chunk=7, progress=cut_after(chunks))
    assert content_digests(db) != expected
    summary, _ = ingest_specobj(db, [path], "dr17", rows_per_chunk=7)
    assert (summary.state, summary.chunks_done) == ("succeeded", 7)
    assert content_digests(db) == expected
    summary, left_out = ingest_specobj(db, [path], "dr17")
    assert (summary.state, left_out) == ("idle", {})


def test_bad_rows_are_counted_among_those_asked_for(db: Database, tmp_path: Path) -> None:
    bad = {"ra": np.nan}
    rows = specobj_rows({}, {}, {}, bad, *[{"class": "GALAXY"}] * 30, {"class": "GALAXY"} | bad)
    path = write_specobj(tmp_path / "specObj.fits", rows)
    with pytest.raises(BadInputError, match=r"1 of 4 rows of .* is bad"):
        ingest_specobj(db, [path], "dr17")
    assert rows_of(db, "SELECT item_key, reason_code FROM quarantine") == [
        ("row 3 266-51602-4-26", "BAD_COORD")
    ]
    assert rows_of(db, "SELECT count(*) FROM source") == [(3,)]
    summary, left_out = ingest_specobj(db, [path], "dr17", max_bad=0.3)
    assert (summary.state, left_out) == ("succeeded", {"of class GALAXY": 31})


def test_rows_that_nobody_asks_for_any_more_are_not_bad(db: Database, tmp_path: Path) -> None:
    bad = {"ra": np.nan}
    rows = specobj_rows(*[{}] * 9, bad, *[{"class": "GALAXY"} | bad] * 5)
    path = write_specobj(tmp_path / "specObj.fits", rows)
    with pytest.raises(BadInputError, match=r"6 of 15 rows of .* are bad"):
        ingest_specobj(db, [path], "dr17", classes=("ALL",), rows_per_chunk=4)
    summary, _ = ingest_specobj(db, [path], "dr17", rows_per_chunk=4)
    assert summary.state == "succeeded"
    assert rows_of(db, "SELECT item_key, attempts FROM quarantine") == [
        ("row 9 266-51602-10-26", 2)
    ]


def test_a_file_that_is_no_catalog_is_refused(db: Database, tmp_path: Path) -> None:
    path = tmp_path / "specObj.fits"
    path.write_text("<html>Not found</html>")
    with pytest.raises(BadInputError, match=r"\[(NOT_FITS|HTML_BODY)\]"):
        ingest_specobj(db, [path], "dr17")
    assert len(rows_of(db, "SELECT 1 FROM quarantine WHERE item_key = ''")) == 1
    with pytest.raises(UsageError, match="no class"):
        ingest_specobj(db, [path], "dr17", classes=())
