"""`fetch` from a loopback archive into the database: outcomes, second runs, faults, lists."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from astropy.io import fits

from catalog.archive.places import SpectrumKey, catalog_places, spectrum_places
from catalog.archive.session import RefusedError
from catalog.errors import BadInputError, SourceUnavailableError
from catalog.store.db import Database
from catalog.surveys.simulate import NAMES, write_survey
from jobs.crossmatch.crossmatch import CrossmatchParams, crossmatch_job
from jobs.engine.job import RunSummary
from jobs.engine.runner import run_job
from jobs.fetch.catalogs import FetchCatalogParams, fetch_catalog_job
from jobs.fetch.labels import FetchLabelsParams, fetch_labels_job
from jobs.fetch.positions import FetchPositionsParams, fetch_positions_job
from jobs.fetch.spectra import FetchSpectraParams, fetch_spectra_job, wanted_spectra
from jobs.ingest.catalogs import ingest_catalog
from jobs.ingest.specobj import ingest_specobj
from jobs.ingest.spectra import SpectraParams, ingest_spectra_job
from jobs.samples.select import SampleParams, sample_job
from tests.conftest import ROOT, Cli, cloned, libpq_url
from tests.support.archive_server import Archive, serve
from tests.support.specobj_file import specobj_rows, write_specobj

N_STARS = 12
ALLSTAR = catalog_places("apogee", "dr14")[0]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    write_survey(folder, n_matched=N_STARS, n_apogee=40, n_sspp=40)
    return folder


@pytest.fixture(scope="session")
def catalogs(server_url: sa.URL, admin: sa.Engine, template: str, files: Path) -> Iterator[str]:
    """Catalogs and a sample, without any spectrum."""
    with cloned(server_url, admin, template) as db:
        ingest_catalog(db, "apogee", [files / NAMES["dr14"]], "dr14")
        ingest_catalog(db, "sspp", [files / "ssppOut-dr12.fits"], "dr12")
        run_job(crossmatch_job(CrossmatchParams(), db), db)
        make_sample(db)
        db.engine.dispose()
        yield str(db.engine.url.database)


@pytest.fixture
def lacking(server_url: sa.URL, admin: sa.Engine, catalogs: str) -> Iterator[Database]:
    """A database whose sample ``clean`` lacks all its spectra."""
    with cloned(server_url, admin, catalogs) as db:
        yield db


@pytest.fixture
def archive(files: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    """An archive that has what the survey has: SEGUE's lite spectra in DR17, allStar in DR14."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    content = {ALLSTAR: (files / NAMES["dr14"]).read_bytes()}
    for path in sorted(files.rglob("spec-*.fits")):
        content[place_of(path)] = path.read_bytes()
    with serve(Archive(files=content)) as running:
        yield running


def place_of(path: Path, release: str = "dr17") -> str:
    plate, mjd, fiber = (int(x) for x in path.stem.split("-")[1:])
    run2d = str(fits.getval(path, "RUN2D"))
    return spectrum_places(SpectrumKey(plate, mjd, fiber, run2d), release)[0]


def make_sample(db: Database) -> RunSummary:
    return run_job(sample_job(SampleParams("clean", "clean"), db), db)


def fetch_spectra(db: Database, archive: Archive, to: Path, **options: object) -> RunSummary:
    given = {"backoff_s": 0.01, "archive_url": f"{archive.url}/sas", "max_bad": 1.0} | options
    params = FetchSpectraParams("clean", "dr17", str(to), **given)  # type: ignore[arg-type]
    return run_job(fetch_spectra_job(params, db), db)


def outcomes(db: Database) -> dict[str, tuple[str, str | None, int]]:
    query = (
        "SELECT survey_key, outcome, reason_code, attempts FROM fetch_outcome "
        "JOIN source USING (source_id) WHERE kind = 'spectrum'"
    )
    with db.reader() as conn:
        return {row[0]: tuple(row[1:]) for row in conn.execute(sa.text(query))}  # type: ignore[misc]


def wanted(db: Database) -> list[SpectrumKey]:
    with db.reader() as conn:
        return [w.key for w in wanted_spectra(conn, "clean", "dr17")]


def place(key: SpectrumKey, n: int = 0) -> str:
    return spectrum_places(key, "dr17")[n]


def test_spectra_of_a_sample_and_a_second_run(
    lacking: Database, archive: Archive, tmp_path: Path
) -> None:
    keys = wanted(lacking)
    assert len(keys) >= N_STARS
    first = fetch_spectra(lacking, archive, tmp_path)
    assert (first.state, first.rows_written) == ("succeeded", len(keys))
    assert outcomes(lacking) == {str(k): ("matched", None, 1) for k in keys}
    assert archive.most_busy <= 4
    asked = len(archive.log)
    assert fetch_spectra(lacking, archive, tmp_path).state == "idle"
    assert len(archive.log) == asked
    run_job(ingest_spectra_job(SpectraParams((str(tmp_path),)), lacking), lacking)
    make_sample(lacking)
    with lacking.reader() as conn:
        reasons = set(conn.scalars(sa.text("SELECT reason FROM sample_member")))
    assert None in reasons  # accepted
    assert "NO_SPECTRUM" not in reasons
    assert wanted(lacking) == []


def test_a_file_that_was_lost_is_fetched_again(
    lacking: Database, archive: Archive, tmp_path: Path
) -> None:
    fetch_spectra(lacking, archive, tmp_path)
    lost = wanted(lacking)[3]
    (tmp_path / place(lost)).unlink()
    assert fetch_spectra(lacking, archive, tmp_path).rows_written == 1
    assert outcomes(lacking)[str(lost)] == ("matched", None, 2)
    assert (tmp_path / place(lost)).exists()


def test_faults_and_what_is_recorded_of_them(
    lacking: Database, archive: Archive, tmp_path: Path
) -> None:
    """Every fault the archive can play on one spectrum, beside what was recorded (pytest -s)."""
    keys = wanted(lacking)
    whole = archive.files[place(keys[9])]
    archive.files[place(keys[9])] = whole[:-2880]  # damaged in the archive itself
    plan: list[tuple[list[str], tuple[str, str | None]]] = [
        (["404"], ("matched", None)),  # found at the second place
        (["429:0", "500"], ("matched", None)),
        (["cut", "cut"], ("matched", None)),
        (["slow"], ("matched", None)),
        (["html"], ("failed", "HTML_BODY")),
        (["html as fits"], ("failed", "HTML_BODY")),
        ([f"wrong file:{place(keys[0])}"], ("failed", "WRONG_CONTENT")),
        (["500"] * 5, ("failed", "UNREACHABLE")),
        (["404"] * 3, ("none", None)),
        ([], ("failed", "TRUNCATED")),
    ]
    archive.files[place(keys[0], 1)] = archive.files[place(keys[0])]
    for key, (faults, _) in zip(keys, plan, strict=False):
        archive.faults[place(key)] = list(faults)
    del archive.files[place(keys[8])]
    summary = fetch_spectra(lacking, archive, tmp_path)
    assert summary.state == "succeeded"
    found = outcomes(lacking)
    for key, (faults, expected) in zip(keys, plan, strict=False):
        answers = " ".join(status for *_, status in archive.asked(place(key).rsplit("/", 1)[-1]))
        recorded = " ".join(map(str, found[str(key)][:2]))
        print(f"{' '.join(faults):24.24} {answers:40.40} {recorded}")
        assert found[str(key)][:2] == expected, faults
    assert all(found[str(k)][0] == "matched" for k in keys[len(plan) :])
    files = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert len(files) == sum(o == "matched" for o, *_ in found.values())
    with lacking.reader() as conn:
        detail = conn.scalar(
            sa.text("SELECT detail FROM fetch_outcome f JOIN source USING (source_id) "
                    "WHERE survey_key = :k AND f.kind = 'spectrum'"), {"k": str(keys[0])},
        )  # fmt: skip
    assert detail == "found at place 2 of the list"
    # the next run asks for what failed, not for what is not there
    archive.files[place(keys[9])] = whole
    again = fetch_spectra(lacking, archive, tmp_path)
    assert again.rows_written == 5
    assert found[str(keys[8])] == outcomes(lacking)[str(keys[8])] == ("none", None, 1)
    assert all(o == "matched" for k, (o, *_) in outcomes(lacking).items() if k != str(keys[8]))
    archive.files[place(keys[8])] = archive.files[place(keys[0])]  # still not the right one
    assert fetch_spectra(lacking, archive, tmp_path).state == "idle"
    archive.faults.clear()
    assert fetch_spectra(lacking, archive, tmp_path, again=True).rows_written == 1
    assert outcomes(lacking)[str(keys[8])] == ("failed", "WRONG_CONTENT", 2)


def test_too_many_failures_fail_the_command_and_keep_what_came(
    lacking: Database, archive: Archive, tmp_path: Path
) -> None:
    keys = wanted(lacking)
    for key in keys[:3]:
        archive.faults[place(key)] = ["html"]
    with pytest.raises(BadInputError, match=rf"3 of {len(keys)} could not be fetched"):
        fetch_spectra(lacking, archive, tmp_path, max_bad=0.1)
    assert sum(o == "matched" for o, *_ in outcomes(lacking).values()) == len(keys) - 3
    assert fetch_spectra(lacking, archive, tmp_path, max_bad=0.1).state == "succeeded"
    assert all(o == "matched" for o, *_ in outcomes(lacking).values())


def test_an_archive_that_is_down_or_refuses_stops_and_resumes(
    lacking: Database, archive: Archive, tmp_path: Path
) -> None:
    keys = wanted(lacking)
    archive.faults[place(keys[6])] = ["403"]
    with pytest.raises(RefusedError, match="answers 403"):
        fetch_spectra(lacking, archive, tmp_path, files_per_chunk=5)
    assert len(outcomes(lacking)) == 5
    url, archive.url = archive.url, "http://127.0.0.1:9"
    with pytest.raises(SourceUnavailableError, match="cannot be reached"):
        fetch_spectra(lacking, archive, tmp_path, files_per_chunk=5)
    assert len(outcomes(lacking)) == 10  # four of that chunk lay there already
    assert outcomes(lacking)[str(keys[6])][:2] == ("failed", "UNREACHABLE")
    archive.url = url
    before = len(archive.log)
    assert fetch_spectra(lacking, archive, tmp_path, files_per_chunk=5).state == "succeeded"
    assert outcomes(lacking).keys() == {str(k) for k in keys}
    assert {o for o, *_ in outcomes(lacking).values()} == {"matched"}
    assert not [e for e in archive.log[before:] if e[2] == f"/sas/{place(keys[0])}"]


def start(db: Database, *words: object) -> subprocess.Popen[str]:
    """The command in a process of its own; addresses are in the environment."""
    command = [sys.executable, "-c", "from jobs.cli import main; main()", "--database-url"]
    return subprocess.Popen(
        [*command, libpq_url(db.engine.url), *map(str, words)], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def test_a_night_that_was_cut_short_goes_on_in_the_morning(
    lacking: Database, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROSSLABEL_ARCHIVE_URL", f"{archive.url}/sas")
    keys = wanted(lacking)
    for key in keys:
        archive.faults[place(key)] = ["slow", "slow"]
    words = ("fetch", "spectra", "--sample", "clean", "--to", tmp_path)
    with start(lacking, *words) as process:
        until = time.monotonic() + 60
        while len(archive.log) < 6 and time.monotonic() < until:
            time.sleep(0.01)
        process.kill()
        process.communicate(timeout=60)
    assert outcomes(lacking) == {}  # outcomes commit with their chunk
    before = len(archive.log)
    with start(lacking, "resume") as process:
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    assert {o for o, *_ in outcomes(lacking).values()} == {"matched"}
    assert outcomes(lacking).keys() == {str(k) for k in keys}
    again = archive.log[before:]
    assert len(again) < len(keys)  # what lay there whole was not sent again
    for key in keys:
        assert (tmp_path / place(key)).read_bytes() == archive.files[place(key)]
    assert not list(tmp_path.rglob("*.part*"))


def fetch_catalog(db: Database, archive: Archive, to: Path, **options: object) -> RunSummary:
    given = {"backoff_s": 0.01, "archive_url": f"{archive.url}/sas"} | options
    params = FetchCatalogParams("apogee", "dr14", str(to), **given)  # type: ignore[arg-type]
    return run_job(fetch_catalog_job(params, db), db)


def test_a_catalog_file_in_slices_and_a_second_run(
    db: Database, archive: Archive, tmp_path: Path, files: Path
) -> None:
    archive.faults[ALLSTAR] = ["slow", "slow", "cut", "500"]
    summary = fetch_catalog(db, archive, tmp_path, slice_s=0.05)
    assert summary.state == "succeeded"
    assert summary.chunks_done > 1
    assert (tmp_path / ALLSTAR).read_bytes() == (files / NAMES["dr14"]).read_bytes()
    with db.reader() as conn:
        row = conn.execute(sa.text("SELECT * FROM fetched_file")).one()
    assert (row.size, row.sha1 is None) == (len(archive.files[ALLSTAR]), False)
    assert fetch_catalog(db, archive, tmp_path).state == "idle"
    assert archive.log[-1][1] == "HEAD"  # that was all it took
    # the archive has a new version
    old = (tmp_path / ALLSTAR).read_bytes()
    with fits.open(tmp_path / ALLSTAR) as hdus:
        hdus[1].data["TEFF"][0] += 10
        hdus.writeto(files.parent / "new.fits", overwrite=True)
    archive.files[ALLSTAR] = (files.parent / "new.fits").read_bytes()
    assert fetch_catalog(db, archive, tmp_path).rows_written == 1
    assert (tmp_path / ALLSTAR).read_bytes() == archive.files[ALLSTAR] != old


@pytest.mark.parametrize("fault", ["checksum", "html as fits", "wrong file", "truncated"])
def test_a_catalog_file_that_is_not_right_is_not_kept(
    db: Database, archive: Archive, tmp_path: Path, fault: str
) -> None:
    good = archive.files[ALLSTAR]
    spectrum = next(p for p in archive.files if "spec-" in p)
    if fault == "checksum":
        archive.lies[ALLSTAR] = "0" * 40
    elif fault == "truncated":
        archive.files[ALLSTAR] = good[:-2880]
    else:
        archive.faults[ALLSTAR] = [f"wrong file:{spectrum}" if fault == "wrong file" else fault]
    archive.lies.setdefault(ALLSTAR, "")  # no list helps against the others
    summary = fetch_catalog(db, archive, tmp_path)
    assert (summary.state, summary.exit_code) == ("failed", 65)
    code = {"checksum": "CHECKSUM", "html as fits": "HTML_BODY", "truncated": "TRUNCATED"}
    assert f"[{code.get(fault, '')}" in summary.errors[0]
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
    archive.lies.clear()
    archive.files[ALLSTAR] = good
    params = FetchCatalogParams(
        "apogee", "dr14", str(tmp_path), backoff_s=0.01, archive_url=f"{archive.url}/sas"
    )
    assert run_job(fetch_catalog_job(params, db), db, retry_failed=True).state == "succeeded"
    assert (tmp_path / ALLSTAR).read_bytes() == good


def test_spec_obj_comes_whole_and_is_read(db: Database, archive: Archive, tmp_path: Path) -> None:
    place = catalog_places("specobj", "dr17")[0]
    made = write_specobj(tmp_path / "specObj.fits", specobj_rows(*[{}] * 40, {"class": "QSO"}))
    archive.files[place] = made.read_bytes()
    archive.faults[place] = ["cut", "500"]
    params = FetchCatalogParams(
        "specobj", "dr17", str(tmp_path), backoff_s=0.01, archive_url=f"{archive.url}/sas"
    )
    assert run_job(fetch_catalog_job(params, db), db).state == "succeeded"
    summary, left_out = ingest_specobj(db, [tmp_path / place], "dr17")
    assert (summary.rows_written, left_out) == (80, {"of class QSO": 1})


def fetch_positions(db: Database, archive: Archive, **options: object) -> RunSummary:
    given = {"skyserver_url": archive.url, "interval_s": 0.0, "backoff_s": 0.01, "max_bad": 1.0}
    params = FetchPositionsParams("apogee/dr14", "dr17", **(given | options))  # type: ignore[arg-type]
    return run_job(fetch_positions_job(params, db), db)


def test_positions_where_no_bulk_file_is_wanted(
    db: Database, archive: Archive, files: Path
) -> None:
    """What the service finds, the ordinary crossmatch pairs; every star has an outcome."""
    ingest_catalog(db, "apogee", [files / NAMES["dr14"]], "dr14")
    sspp = fits.getdata(files / "ssppOut-dr12.fits", 1)
    archive.spectra = [
        (int(r["PLATE"]), int(r["MJD"]), int(r["FIBER"]), r["RUN2D"].strip(),
         float(r["PLUG_RA"]), float(r["PLUG_DEC"])) for r in sspp
    ]  # fmt: skip
    archive.spectra.append((8954, 57453, 900, "v5_13_2", 1.0, 85.0))  # nobody asks for it
    archive.faults["query"] = ["html", "500"]
    first = fetch_positions(db, archive, stars_per_chunk=15)
    assert first.state == "succeeded"
    query = "SELECT outcome, reason_code, count(*) FROM fetch_outcome GROUP BY 1, 2"
    with db.reader() as conn:
        found = {tuple(r[:2]): r[2] for r in conn.execute(sa.text(query))}
        n_stars = conn.scalar(sa.text("SELECT count(*) FROM apogee_star WHERE is_primary"))
    assert found["failed", "HTML_BODY"] == 15
    assert sum(found.values()) == n_stars
    fetch_positions(db, archive)
    run_job(crossmatch_job(CrossmatchParams(), db), db)
    with db.reader() as conn:
        count = "SELECT outcome, count(*) FROM fetch_outcome GROUP BY 1"
        states = {row[0]: row[1] for row in conn.execute(sa.text(count))}
        matched, pairs = conn.execute(sa.text(
            "SELECT count(DISTINCT left_id), count(*) FROM match JOIN apogee_star a "
            "ON a.source_id = left_id WHERE is_primary")).one()  # fmt: skip
        ids = conn.scalars(sa.text("SELECT specobjid::text FROM sdss_spectrum")).all()
    assert set(states) == {"matched", "none"}
    assert states["matched"] == matched >= N_STARS
    assert len(ids) == len(set(ids)) <= pairs
    assert fetch_positions(db, archive).state == "idle"
    begin, before = time.monotonic(), len(archive.log)
    slowly = fetch_positions(db, archive, radius_arcsec=1.0, interval_s=0.1, stars_per_chunk=8)
    assert slowly.chunks_done > 1
    assert time.monotonic() - begin >= 0.1 * (len(archive.log) - before - 1) > 0


def test_a_spectrum_that_the_catalog_refuses_is_the_fault_of_one_star(
    db: Database, archive: Archive, files: Path
) -> None:
    """The others of the query are entered; once the fault is gone, the star is asked for again."""
    ingest_catalog(db, "apogee", [files / NAMES["dr14"]], "dr14")
    sspp = fits.getdata(files / "ssppOut-dr12.fits", 1)
    archive.spectra = [
        (int(r["PLATE"]), int(r["MJD"]), int(r["FIBER"]), r["RUN2D"].strip(),
         float(r["PLUG_RA"]), float(r["PLUG_DEC"])) for r in sspp
    ]  # fmt: skip
    fetch_positions(db, archive)
    known = "SELECT survey_key FROM source WHERE survey = 'sdss' ORDER BY 1"
    with db.begin() as conn:
        keys = conn.scalars(sa.text(known)).all()
        conn.execute(sa.text("DELETE FROM source WHERE survey = 'sdss'"))
        conn.execute(sa.text("DELETE FROM fetch_outcome"))
        check = f"ALTER TABLE source ADD CONSTRAINT planted CHECK (survey_key <> '{keys[3]}')"
        conn.execute(sa.text(check))
    assert fetch_positions(db, archive).state == "succeeded"
    with db.begin() as conn:
        assert conn.scalars(sa.text(known)).all() == [key for key in keys if key != keys[3]]
        query = "SELECT reason_code, detail FROM fetch_outcome WHERE outcome = 'failed'"
        failures = conn.execute(sa.text(query)).all()
        assert {code for code, _ in failures} == {"UNEXPECTED"}
        assert all('constraint "planted"' in detail for _, detail in failures)
        conn.execute(sa.text("ALTER TABLE source DROP CONSTRAINT planted"))
    assert fetch_positions(db, archive).state == "succeeded"
    with db.reader() as conn:
        assert conn.scalars(sa.text(known)).all() == keys


def test_labels_are_topped_up_from_the_query_service(
    lacking: Database, archive: Archive, files: Path, tmp_path: Path
) -> None:
    """As if these spectra had come in by position: what sppParams says becomes a label set."""
    sspp = fits.getdata(files / "ssppOut-dr12.fits", 1)
    rows = [{name: row[name] for name in sspp.names} for row in sspp]
    for row in rows:
        row |= {n: str(row[n]).strip() for n in ("SPECOBJID", "RUN2D", "FLAG")}
        row["SPECTYPE_SUBCLASS"] = "K1"
    archive.sspp, absent = rows[1:], rows[0]
    with lacking.begin() as conn:
        conn.execute(sa.text("UPDATE sdss_spectrum SET in_sspp = NULL"))
        plates = conn.scalars(sa.text("SELECT DISTINCT plate FROM sdss_spectrum ORDER BY 1")).all()
    archive.faults["query"] = ["html", "500", "wrong plate"]
    params = FetchLabelsParams(
        "dr17", str(tmp_path), 1.0, skyserver_url=archive.url, interval_s=0.0, backoff_s=0.01
    )
    first = run_job(fetch_labels_job(params, lacking), lacking)
    assert (first.state, first.chunks_done, first.rows_written) == (
        "succeeded", len(plates), len(rows),
    )  # fmt: skip
    query = (
        "SELECT coalesce(reason_code, outcome), array_agg(DISTINCT plate) FROM fetch_outcome f "
        "JOIN sdss_spectrum USING (source_id) WHERE f.kind = 'sspp' GROUP BY 1"
    )
    with lacking.reader() as conn:
        found = {row[0]: row[1] for row in conn.execute(sa.text(query))}
    assert found["HTML_BODY"] == [plates[0]]
    assert found["WRONG_CONTENT"] == [plates[1]]
    run_job(fetch_labels_job(params, lacking), lacking)
    with lacking.reader() as conn:
        found = {row[0]: row[1] for row in conn.execute(sa.text(query))}
    assert found["none"] == [absent["PLATE"]]
    assert found.keys() == {"matched", "none"}
    assert run_job(fetch_labels_job(params, lacking), lacking).state == "idle"
    made = sorted(tmp_path.rglob("*.fits"))
    assert len(made) == len(plates)
    with pytest.raises(BadInputError, match=r"is of dr17 \(its card RELEASE says so\)"):
        ingest_catalog(lacking, "sspp", made, "dr12")
    ingest_catalog(lacking, "sspp", made, "dr17")
    same = (
        "SELECT count(*) FILTER (WHERE (a.teff, a.logg_err, a.fe_h) = (b.teff, b.logg_err, b.fe_h))"
        ", count(*) FROM stellar_label a JOIN current_label_set x ON x.label_set_id = "
        "a.label_set_id AND x.name = 'sspp/dr12' LEFT JOIN (SELECT l.* FROM stellar_label l JOIN "
        "current_label_set y USING (label_set_id) WHERE y.name = 'sspp/dr17') b USING (source_id)"
    )
    with lacking.reader() as conn:
        equal, of = conn.execute(sa.text(same)).one()
        lost = conn.scalar(
            sa.text("SELECT count(*) FROM sdss_spectrum WHERE specobjid = :i"),
            {"i": int(absent["SPECOBJID"])},
        )
    assert lost == 1
    assert of - equal == (absent["TEFF_ADOP"] > 0)


@pytest.fixture
def cli(
    lacking: Database, archive: Archive, command_line: Cli, monkeypatch: pytest.MonkeyPatch
) -> Cli:
    """The command line on a catalog that lacks spectra: exit code, output, errors."""
    monkeypatch.setenv("CROSSLABEL_ARCHIVE_URL", f"{archive.url}/sas/")
    monkeypatch.setenv("CROSSLABEL_SKYSERVER_URL", archive.url)
    return partial(command_line, lacking.engine.url)


def test_the_command_line(cli: Cli, lacking: Database, archive: Archive, tmp_path: Path) -> None:
    n = len(wanted(lacking))
    code, out, _ = cli("fetch", "spectra", "--to", tmp_path, "--dry-run")
    assert (code, "fetch spectra clean dr17: planned" in out, archive.log) == (0, True, [])
    code, out, _ = cli("fetch", "spectra", "--to", tmp_path)
    assert code == 0
    assert f"{n} found, 0 not in the archive, 0 failed, of {n}" in out
    code, out, _ = cli("fetch", "spectra", "--to", tmp_path, "--json")
    assert json.loads(out.splitlines()[0])["state"] == "idle"
    code, out, _ = cli("fetch", "apogee", "--release", "DR14", "--to", tmp_path)
    assert (code, str(tmp_path / ALLSTAR) in out) == (0, True)
    code, out, _ = cli("fetch", "labels", "--to", tmp_path)  # ssppOut describes all of them
    assert (code, "nothing to do" in out) == (0, True)
    code, out, err = cli("fetch", "apogee", "--release", "dr14", "--to", tmp_path, "--quiet")
    assert (code, out, err) == (0, "", "")
    code, _, err = cli("fetch", "apogee", "--release", "dr18")
    assert (code, "Known: dr12, dr13" in err) == (2, True)
    code, _, err = cli("fetch", "sspp", "--to", tmp_path)
    assert (code, "has none of dr12/sdss/sspp/ssppOut-dr12.fits" in err) == (69, True)
    code, _, err = cli("fetch", "spectra", "--sample", "nothing")
    assert (code, "there is no sample nothing" in err) == (2, True)


def test_lists_instead_of_downloads(
    cli: Cli, lacking: Database, archive: Archive, tmp_path: Path
) -> None:
    keys, out_file = wanted(lacking), tmp_path / "list.txt"
    code, out, _ = cli("fetch", "spectra", "--list", out_file)
    assert (code, f"{len(keys)} files" in out, "--cut-dirs=1" in out) == (0, True, True)
    assert out_file.read_text().splitlines() == [f"{archive.url}/sas/{place(k)}" for k in keys]
    code, out, _ = cli("fetch", "apogee", "--release", "dr14", "--list", out_file, "--rsync")
    assert (code, f"--files-from={out_file}" in out) == (0, True)
    assert out_file.read_text() == f"{ALLSTAR}\n"
    code, _, err = cli("fetch", "spectra", "--list", tmp_path / "no" / "list.txt")
    assert (code, "cannot be written" in err) == (1, True)
    code, _, err = cli("fetch", "apogee", "--release", "dr14", "--rsync")
    assert (code, "--rsync goes with --list" in err) == (2, True)
    assert archive.log == []
