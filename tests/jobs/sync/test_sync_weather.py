"""Bad weather: what is down, full, half written or killed leaves a catalog that the next mends."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from astropy.io import fits
from astropy.table import Table
from astropy.utils.diff import report_diff_values

from catalog.archive.places import SpectrumKey, catalog_places, spectrum_places
from catalog.errors import ExitCode
from catalog.store.db import Database
from catalog.surveys.simulate import NAMES
from tests.conftest import ROOT, cloned, full_disk, libpq_url
from tests.support.archive_server import Archive, serve
from tests.support.content import content_digests
from tests.support.learning import value
from tests.support.processes import Started, command
from tests.support.sync_case import Case

ALLSTAR = catalog_places("apogee", "dr14")[0]
FETCH = ('paths = ["incoming/allStar-*.fits"]', "fetch = true")


@pytest.fixture
def archive(case: Case, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    """An archive with the survey's allStar and spectra, which the configuration names."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    incoming = case.folder / "incoming"
    content = {ALLSTAR: (incoming / NAMES["dr14"]).read_bytes()}
    for path in sorted(incoming.rglob("spec-*.fits")):
        plate, mjd, fiber = (int(x) for x in path.stem.split("-")[1:])
        key = SpectrumKey(plate, mjd, fiber, str(fits.getval(path, "RUN2D")))
        content[spectrum_places(key, "dr17")[0]] = path.read_bytes()
    with serve(Archive(files=content)) as running:
        case.change(
            ("# [archive]\n", "[archive]\n"),
            ('# url = "https://data.sdss.org/sas"', f'url = "{running.url}/sas"'),
        )
        yield running


def test_a_source_that_is_down_holds_up_only_what_builds_on_it(
    case: Case, archive: Archive
) -> None:
    case.change(FETCH)
    archive.faults[ALLSTAR] = ["429:3600"]
    code, _, err = case.run("--quiet")
    assert code == ExitCode.UNAVAILABLE
    states = case.states()
    assert states["fetch allstar"] == "failed"
    assert {n for n, s in states.items() if s == "skipped"} == {
        "ingest allstar", "crossmatch apogee-sdss", "sample clean", "export aspcap.fits",
    }  # fmt: skip
    assert states["ingest ssppout"] == states["ingest spectra"] == states["export sdss.csv"]
    assert states["ingest ssppout"] == "done"
    assert "error: ingest allstar: skipped: builds on fetch allstar" in err
    assert "error: sync: failed" not in err
    assert err.splitlines()[-1].startswith("sync: failed, ")
    assert case.run()[0] == 0  # it is up again
    assert case.states()["sample clean"] == "done"
    before = len(archive.log)
    assert "sync: nothing to do" in case.run()[1]
    assert [entry[1] for entry in archive.log[before:]] == ["HEAD"]


def test_spectra_that_a_sample_lacks_are_fetched(case: Case, archive: Archive) -> None:
    (case.folder / "incoming" / "spectra").rename(case.folder / "elsewhere")
    (case.folder / "incoming" / "spectra").mkdir()
    case.change(('# fetch_spectra = "dr17"', 'fetch_spectra = "dr17"'))
    assert case.run()[0] == 0
    assert case.states()["sample clean with them"] == "done"
    accepted = value(case.db, "SELECT count(*) FROM star_link")
    assert accepted > 10
    assert value(case.db, "SELECT count(*) FROM normalized_spectrum") >= accepted
    before = len(archive.log)
    assert "sync: nothing to do" in case.run()[1]
    assert len(archive.log) == before


def test_a_folder_that_is_not_there_is_named(case: Case) -> None:
    case.change(("incoming/spectra", "mnt/spectra"))
    code, _, err = case.run("--quiet")
    assert code == ExitCode.UNAVAILABLE
    assert f"ingest spectra: failed: there is no {case.folder}/mnt/spectra" in err
    assert case.states()["ingest allstar"] == "done"


def test_a_path_that_cannot_be_looked_at_is_named(case: Case) -> None:
    case.change(("incoming/spectra", "x" * 300))
    code, _, err = case.run("--quiet")
    assert code == ExitCode.UNAVAILABLE
    assert f"{'x' * 300} cannot be read: File name too long" in err


def test_a_full_disk_leaves_the_old_export(case: Case) -> None:
    case.out.mkdir()
    (case.out / "aspcap.fits").write_bytes(b"what was there")
    with full_disk(10_000):
        code, _, err = case.run("--quiet")
    assert code == ExitCode.UNAVAILABLE
    assert "export aspcap.fits: failed" in err
    assert f"{case.out}/aspcap.fits cannot be written: " in err
    assert (case.out / "aspcap.fits").read_bytes() == b"what was there"
    assert {p.name for p in case.out.iterdir()} == {
        "aspcap.fits", "sdss.csv", "sdss.csv.schema.json",
    }  # fmt: skip
    assert case.run()[0] == 0
    assert case.states()["export aspcap.fits"] == "done"
    assert case.states()["export sdss.csv"] == "idle"


def test_a_full_disk_leaves_the_log_whole_and_the_work_goes_on(case: Case) -> None:
    with full_disk(1000):
        code, _, err = case.run("--quiet")
    assert code == ExitCode.UNAVAILABLE
    assert f"log: failed: the log {case.folder}/sync.log cannot be written" in err
    assert 0 < len(case.log()) < 8  # every line is JSON
    assert value(case.db, "SELECT count(*) FROM sample_member") > 0
    assert case.run()[0] == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_output_that_cannot_be_written_does_not_stop_the_work(
    case: Case, options: list[str]
) -> None:
    words = ["--database-url", libpq_url(case.db.engine.url), "sync", "--config", str(case.config)]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", "from jobs.cli import main; main()", *words, *options],
            env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=full, stderr=subprocess.PIPE,
            text=True, timeout=90, check=False,
        )  # fmt: skip
    assert ended.returncode == ExitCode.UNAVAILABLE
    assert ended.stderr.startswith("error: the output of this command cannot be written: No space")
    assert len(ended.stderr.splitlines()) == 2
    assert case.log()[-1]["state"] == "done"


def test_a_log_that_cannot_be_written_is_said_before_anything_is_done(case: Case) -> None:
    case.change(('log = "sync.log"', 'log = "nowhere/sync.log"'))
    code, _, err = case.run()
    assert code == ExitCode.CONFIG
    assert f"the log {case.folder}/nowhere/sync.log cannot be written: No such file" in err
    assert value(case.db, "SELECT count(*) FROM job_run") == 0


def test_a_line_that_a_power_cut_left_does_not_swallow_the_next(case: Case) -> None:
    (case.folder / "sync.log").write_text('{"time": "2026-')
    case.run()
    first, second, *_ = (case.folder / "sync.log").read_text().splitlines()
    assert first == '{"time": "2026-'
    assert json.loads(second)["step"] == "ingest allstar"


def test_half_written_exports_are_written_again(case: Case) -> None:
    case.run()
    good = (case.out / "aspcap.fits").read_bytes()
    (case.out / "aspcap.fits").write_bytes(good[:3000])
    (case.out / "aspcap.fits.part").write_bytes(b"left by a crash")
    (case.out / "sdss.csv.schema.json").unlink()
    assert case.run()[0] == 0
    assert (case.out / "aspcap.fits").read_bytes() == good
    assert {p.name for p in case.out.iterdir()} == {
        "aspcap.fits", "sdss.csv", "sdss.csv.schema.json",
    }  # fmt: skip


def start(case: Case, db: Database) -> Started:
    return command("--database-url", libpq_url(db.engine.url), "sync", "--config", case.config)


def kill_when(process: Started, db: Database, runs: int) -> int:
    """Kill -9 as soon as the ledger has so many runs; the number it has then."""
    query = sa.text("SELECT count(*) FROM job_run")
    deadline = time.monotonic() + 90
    with db.engine.connect() as conn:
        while (found := conn.scalar(query)) < runs:
            conn.rollback()
            assert process.returncode is None, process.output()
            assert time.monotonic() < deadline, "it does not get anywhere"
            time.sleep(0.002)
    process.kill()
    assert process.returncode == -signal.SIGKILL
    process.close()
    return int(found)


def test_killed_twice_it_ends_like_one_that_never_was(
    case: Case,
    server_url: sa.URL,
    admin: sa.Engine,
    template: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with cloned(server_url, admin, template) as other, monkeypatch.context() as environ:
        environ.setenv("CROSSLABEL_READER_URL", libpq_url(other.reader_url))
        process = start(case, other)
        out = process.wait(90)
        assert process.returncode == 0, out
        process.close()
        expected = content_digests(other)
    rows = (case.out / "sdss.csv").read_bytes()
    labels = Table.read(case.out / "aspcap.fits")
    shutil.rmtree(case.out)
    for runs in (2, 5):
        kill_when(start(case, case.db), case.db, runs)
        assert content_digests(case.db) != expected
    assert case.run()[0] == 0
    assert content_digests(case.db) == expected
    assert (case.out / "sdss.csv").read_bytes() == rows
    assert report_diff_values(Table.read(case.out / "aspcap.fits"), labels, io.StringIO())
    assert "sync: nothing to do" in case.run()[1]
