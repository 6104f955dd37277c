"""Sync: what it does, that it does nothing twice, and what stops it."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from astropy.table import Table

from catalog.config import Settings
from catalog.errors import ExitCode
from catalog.files.identity import file_identity
from catalog.store.db import Database, advisory_lock
from catalog.store.file_fingerprints import stamp_of, write_stamps
from catalog.surveys.simulate import write_survey
from jobs.engine.job import Progress, RunSummary
from jobs.report import build
from jobs.report.build import write_report
from jobs.report.drawing import Subject
from jobs.sync.files import SeenFiles
from jobs.sync.log import SyncLog
from jobs.sync.result import StepResult, SyncResult
from jobs.sync.run import run_sync
from jobs.sync.step import Step, Work, things
from jobs.training.train import TrainParams
from tests.support.content import content_digests
from tests.support.learning import train, value
from tests.support.star_job import StarParams, star_job
from tests.support.sync_case import Case


def on_disk(folder: Path) -> dict[str, tuple[int, int]]:
    return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in sorted(folder.iterdir())}


def test_the_first_does_everything_and_the_second_nothing(case: Case) -> None:
    code, out, err = case.run()
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].startswith("sync: done, ")
    assert set(case.states().values()) == {"done"}
    made, files = content_digests(case.db), on_disk(case.out)
    assert set(files) == {"aspcap.fits", "sdss.csv", "sdss.csv.schema.json"}
    labels = Table.read(case.out / "aspcap.fits")
    assert len(labels) == value(case.db, "SELECT n_rows FROM current_label_set WHERE kind='survey'"
                                " AND name = 'aspcap/dr14'")  # fmt: skip
    code, out, err = case.run()
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].startswith("sync: nothing to do")
    assert set(case.states().values()) == {"idle"}
    assert content_digests(case.db) == made
    assert on_disk(case.out) == files
    runs = value(case.db, "SELECT count(*) FROM job_run")
    assert case.run("--quiet") == (0, "", "")
    assert value(case.db, "SELECT count(*) FROM job_run") == runs, "no run for nothing"


def test_the_log_says_what_was_done(case: Case) -> None:
    case.run()
    *steps, whole = case.log()
    rows = value(case.db, "SELECT sum(rows_written)::bigint FROM job_run")
    assert (whole["event"], whole["state"], whole["exit_code"]) == ("sync", "done", 0)
    assert whole["rows_written"] == rows == sum(step["rows_written"] for step in steps)
    assert whole["run_ids"] == [step["run_id"] for step in steps if step["run_id"]]
    assert len({line["sync"] for line in case.log()}) == 1
    assert all(line["time"].endswith("Z") for line in case.log())
    refused = value(case.db, "SELECT count(*) FROM quarantine")
    assert refused == sum(step.get("quarantined", 0) for step in steps) > 0


def test_what_is_new_and_only_that_is_done(case: Case, tmp_path: Path) -> None:
    case.run()
    files = on_disk(case.out)
    write_survey(tmp_path / "new", n_matched=24, n_apogee=60, n_sspp=50, seed=2)
    shutil.copy(tmp_path / "new" / "allStar-l31c.2.fits", tmp_path / "incoming")
    assert case.run()[0] == 0
    states = case.states()
    assert states["ingest allstar"] == states["export aspcap.fits"] == "done"
    assert states["ingest ssppout"] == states["ingest spectra"] == "idle"
    assert states["export sdss.csv"] == "idle"
    assert value(case.db, "SELECT max(edition) FROM label_set WHERE name = 'aspcap/dr14'") == 2
    now = on_disk(case.out)
    assert now["aspcap.fits"] != files.pop("aspcap.fits")
    assert {name: now[name] for name in files} == files, "the same bytes are left alone"
    assert case.run()[1].splitlines()[-1].startswith("sync: nothing to do")


def test_a_report_is_drawn_where_the_catalog_changed(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Path] = []

    def write_sky(
        conn: sa.Connection, subject: Subject, out: Path, progress: Progress
    ) -> build.ReportSummary:
        """The report with its first figures, which are quick."""
        drawn.append(out)
        parts = [("sample", "The sample", ("sky",))]
        return write_report(conn, subject, out, progress, parts)

    monkeypatch.setattr(build, "write_report", write_sky)
    case.change(("# [[reports]]\n# folder", "[[reports]]\nfolder"))
    assert case.run()[0] == 0
    page = case.out / "report" / "index.html"
    assert case.log()[-1]["files"][-1] == str(page)
    found = page.read_bytes(), on_disk(page.parent)
    assert case.run()[1].splitlines()[-1].startswith("sync: nothing to do")
    assert len(drawn) == 1
    with case.db.begin() as conn:  # a run that writes nothing of what the report shows
        conn.execute(sa.text("UPDATE job_run SET rows_written = rows_written + 1 WHERE run_id = 1"))
    case.run()
    assert case.states()["report report"] == "idle"
    assert len(drawn) == 2
    assert (page.read_bytes(), on_disk(page.parent)) == found, "it is left alone"
    (page.parent / "figures" / "sky-map.pdf").unlink()
    case.run()
    assert case.states()["report report"] == "done"
    assert (page.parent / "figures" / "sky-map.pdf").is_file()
    (page.parent / "notes.txt").write_text("mine")
    code, _, err = case.run("--quiet", "--full")
    assert code == ExitCode.USAGE
    assert re.search(r"report report: failed(?: \(\d+\.\d s\))?: ", err)
    assert "holds other things than a report" in err


def test_a_sync_that_is_stopped_gives_its_report_up(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.change(("# [[reports]]\n# folder", "[[reports]]\nfolder"))

    def stopped(
        conn: sa.Connection, subject: Subject, out: Path, progress: Progress
    ) -> build.ReportSummary:
        os.kill(os.getpid(), signal.SIGTERM)
        return write_report(conn, subject, out, progress)

    (case.out / ".report.part-old" / "report").mkdir(parents=True)
    monkeypatch.setattr(build, "write_report", stopped)
    code, out, _ = case.run()
    assert code == ExitCode.SIGTERM
    assert "report report: paused, the next sync goes on" in out
    assert not (case.out / "report").exists()
    assert not list(case.out.glob(".report*")), "what an earlier one left is gone too"


def test_predictions_follow_spectra_and_model(case: Case, tmp_path: Path) -> None:
    held = next((tmp_path / "incoming" / "spectra").rglob("spec-*.fits"))
    shutil.move(held, tmp_path)
    case.run()
    params = TrainParams("floor", "ridge", "clean", folds=2)
    train(case.db, params)
    case.change(
        ('# [[predictions]]\n# model = "default"\n# label_set = "default/all"',
         '[[predictions]]\nmodel = "floor"\nlabel_set = "floor/all"'),
    )  # fmt: skip
    case.add('[[exports]]\nfile = "out/floor.ecsv"\ncontent = "floor/all"')
    edition = "SELECT max(edition) FROM label_set WHERE name = 'floor/all'"
    assert case.run()[0] == 0
    assert value(case.db, edition) == 1
    assert len(Table.read(case.out / "floor.ecsv")) > 20
    assert case.run()[1].splitlines()[-1].startswith("sync: nothing to do")
    shutil.move(tmp_path / held.name, held)  # a spectrum comes
    assert case.run()[0] == 0
    assert value(case.db, edition) == 2
    assert case.states()["normalize for floor/all"] == "idle"  # [[normalizations]] did it
    train(case.db, params, seed=1)
    assert case.run()[0] == 0
    assert value(case.db, edition) == 3
    assert case.run()[1].splitlines()[-1].startswith("sync: nothing to do")


def test_the_shortest_budget_gets_further_every_time(case: Case) -> None:
    done = "SELECT count(*) FROM job_chunk WHERE state = 'done'"
    for chunks in range(1, 6):
        assert "sync: time is up" in case.run("--time-budget", "1 ns")[1]
        assert value(case.db, done) == chunks
    assert "sync: done" in case.run()[1]
    assert "sync: nothing to do" in case.run("--time-budget", "1 ns")[1]


def test_a_model_that_is_not_there_is_named(case: Case) -> None:
    case.add('[[predictions]]\nmodel = "defualt"\nlabel_set = "x/all"')
    code, _, err = case.run("--quiet")
    assert code == ExitCode.USAGE
    assert re.search(r"normalize for x/all: failed( \(.* s\))?: there is no model defualt", err)
    assert "predict x/all: skipped: builds on normalize for x/all" in err
    assert case.states()["export aspcap.fits"] == "done"


def test_a_dry_run_writes_nothing(case: Case) -> None:
    before = content_digests(case.db)
    code, out, err = case.run("--dry-run")
    assert (code, err) == (0, "")
    assert "crossmatch apogee-sdss: planned: after ingest allstar" in out
    assert "sync: planned" in out
    assert content_digests(case.db) == before
    assert value(case.db, "SELECT count(*) FROM file_stamp") == 0
    assert {p.name for p in case.folder.iterdir()} == {"incoming", "crosslabel.toml"}
    case.run()
    assert "sync: nothing to do" in case.run("--dry-run")[1]


def test_two_at_once(case: Case) -> None:
    with advisory_lock(case.db, "sync"):
        code, out, err = case.run("--quiet")
    assert (code, out) == (ExitCode.LOCKED, "")
    assert "another sync of this catalog is at work" in err
    (line,) = case.log()
    assert (line["event"], line["state"], line["exit_code"]) == ("sync", "locked", 75)
    assert value(case.db, "SELECT count(*) FROM job_run") == 0


def test_a_time_budget_that_is_used_up_leaves_the_rest_to_the_next(case: Case) -> None:
    code, out, err = case.run("--time-budget", "1 ns")
    assert (code, err) == (0, "")
    assert "left for the next sync" in out
    assert "sync: time is up" in out
    assert case.log()[-1]["state"] == "paused"
    assert case.run("--time-budget", "1 h")[0] == 0
    assert set(case.states().values()) <= {"done", "idle"}
    assert case.run()[1].splitlines()[-1].startswith("sync: nothing to do")


# ------------------------------------------------------------------------ steps of the tests' own


def sync(db: Database, *steps: Step) -> SyncResult:
    work = Work(db, Settings(Path("unused")), SeenFiles(db))
    return run_sync(lambda: steps, work, SyncLog(None), show=lambda result: None)


def stars(work: Work) -> RunSummary:
    return work.do(star_job(StarParams()))


def after(number: int, seconds: float) -> Callable[[Work], RunSummary]:
    """The stars, in a process that gets a signal meanwhile."""

    def run(work: Work) -> RunSummary:
        threading.Timer(seconds, os.kill, (os.getpid(), number)).start()
        return work.do(star_job(StarParams(delay_s=0.2)))

    return run


@pytest.mark.parametrize(
    ("number", "state", "code"),
    [(signal.SIGALRM, "paused", ExitCode.OK), (signal.SIGTERM, "stopped", ExitCode.SIGTERM)],
)
def test_what_stops_a_sync_pauses_the_run_and_the_next_goes_on(
    db: Database, number: int, state: str, code: ExitCode
) -> None:
    last = Step("last", stars)
    found = sync(db, Step("stars", after(number, 0.3)), last)
    assert (found.state, found.exit_code) == (state, code)
    assert [s.state for s in found.steps] == ["paused", "left"]
    written = value(db, "SELECT count(*) FROM star")
    assert 0 < written < 12
    assert found.rows_written == written
    found = sync(db, Step("stars", stars), last)
    assert (found.state, found.exit_code, found.rows_written) == ("done", 0, 12 - written)
    assert [s.state for s in found.steps] == ["done", "idle"]
    assert value(db, "SELECT count(*) FROM job_run") == 1, "the paused run went on"


def test_only_what_builds_on_a_failure_is_skipped(db: Database) -> None:
    def fail(work: Work) -> RunSummary:
        return work.do(star_job(StarParams(bad=("c1",))))

    def idle(work: Work) -> RunSummary:
        return RunSummary("nothing", "", None, "idle")

    found = sync(
        db,
        Step("bad", fail, makes=things("stars")),
        Step("child", idle, makes=things("planets"), uses=things("stars")),
        Step("other", idle),
        Step("grandchild", idle, uses=things("planets")),
    )
    assert [(s.step, s.state) for s in found.steps] == [
        ("bad", "failed"), ("child", "skipped"), ("other", "idle"), ("grandchild", "skipped"),
    ]  # fmt: skip
    assert found.steps[3].error == "builds on child"
    assert (found.state, found.exit_code) == ("failed", ExitCode.FAILED)
    assert found.rows_written == 9
    found = sync(db, Step("bad", stars, makes=things("stars")))
    assert (found.state, found.rows_written) == ("done", 3), "failed chunks are tried again"


def test_a_step_that_nobody_foresaw_to_fail_stops_no_other(db: Database, tmp_path: Path) -> None:
    def defect(work: Work) -> RunSummary:
        raise LookupError("no such thing\nin two lines")

    def in_a_chunk(work: Work) -> RunSummary:
        return work.do(star_job(StarParams(crash=("c1",))))

    def full(work: Work) -> RunSummary:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    log = tmp_path / "sync.log"
    work = Work(db, Settings(Path("unused")), SeenFiles(db))
    steps = [
        Step("defect", defect, makes=things("x")),
        Step("child", defect, uses=things("x")),
        Step("full", full),
        Step("chunk", in_a_chunk),
    ]
    found = run_sync(lambda: steps, work, SyncLog(log), show=lambda result: None)
    assert [(s.state, int(s.exit_code)) for s in found.steps] == [
        ("failed", 1), ("skipped", 0), ("failed", 69), ("failed", 1),
    ]  # fmt: skip
    assert found.steps[0].error.startswith(
        "[UNEXPECTED] LookupError: no such thing in two lines (sync/test_sync.py:"
    )
    assert found.steps[2].error == os.strerror(errno.ENOSPC)
    assert "TMPDIR" in found.steps[2].todo or "temporary files" in found.steps[2].todo
    assert found.steps[3].error.startswith("c1: [UNEXPECTED] RuntimeError: a defect met in c1")
    assert (found.exit_code, value(db, "SELECT count(*) FROM star")) == (ExitCode.UNAVAILABLE, 9)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    traced = [line["text"] for line in lines if line["event"] == "traceback"]
    assert len(traced) == 2
    assert all("Traceback (most recent call last)" in text for text in traced)
    assert [line["step"] for line in lines if line["event"] == "step"] == [s.name for s in steps]
    assert sync(db, Step("stars", stars)).exit_code == 0, "the next goes on"


def test_the_worst_exit_code_counts(db: Database) -> None:
    def locked(work: Work) -> RunSummary:
        with advisory_lock(db, "stars all stars"):
            return stars(work)

    def bad(work: Work) -> RunSummary:
        return work.do(star_job(StarParams(refuse=True)))

    shown: list[StepResult] = []
    work = Work(db, Settings(Path("unused")), SeenFiles(db))
    steps = [Step("a", locked), Step("b", bad), Step("c", locked)]
    found = run_sync(lambda: steps, work, SyncLog(None), show=shown.append)
    assert [int(s.exit_code) for s in shown] == [75, 65, 75]
    assert shown[1].error == "[TOO_MANY_BAD_ROWS] the file is bad as a whole"
    assert found.exit_code == ExitCode.BAD_INPUT


def test_where_the_server_cuts_the_connections_nothing_more_is_begun(
    db: Database, admin: sa.Engine
) -> None:
    def cut(work: Work) -> RunSummary:
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
        with admin.connect() as conn:
            conn.execute(sa.text(query), {"name": db.engine.url.database})
        return stars(work)

    found = sync(db, Step("cut", cut), Step("other", stars))
    assert [s.state for s in found.steps] == ["done", "skipped"]
    assert (found.state, found.exit_code) == ("failed", ExitCode.UNAVAILABLE)
    assert "the connection that held the lock on sync broke" in found.steps[1].error
    assert sync(db, Step("stars", stars)).state == "idle"


# ---------------------------------------------------------------------------------- files


def test_a_file_is_read_again_when_it_could_be_another(db: Database, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    seen = SeenFiles(db)
    truth = seen.identify(path)
    seen.save()
    assert value(db, "SELECT count(*) FROM file_stamp") == 0, "it may change within a tick"
    old = time.time_ns() - 10**10
    os.utime(path, ns=(old, old))
    known = path.stat()
    false = "0" * 64  # what only the table can say
    with db.begin() as conn:
        write_stamps(conn, {path: stamp_of(known, false)})
    assert SeenFiles(db).identify(path).sha256 == false, "it was not read"
    assert SeenFiles(db, trust=False).identify(path) == truth
    os.utime(path, ns=(old + 1, old + 1))
    assert SeenFiles(db).identify(path) == truth
    path.write_bytes(b"new")  # of the same size
    os.utime(path, ns=(known.st_mtime_ns, known.st_mtime_ns))  # and the same age
    assert SeenFiles(db).identify(path).sha256 == file_identity(path).sha256 != truth.sha256


def test_files_that_a_pattern_catches_by_mistake_are_refused_by_name(
    case: Case, tmp_path: Path
) -> None:
    incoming = tmp_path / "incoming"
    name = "allStar-l31c.2.fits"
    write_survey(tmp_path / "other", n_matched=24, n_apogee=60, n_sspp=50, release="dr17")
    other = next((tmp_path / "other").glob("allStar-*.fits"))
    shutil.copy(other, incoming)
    odd = [incoming / os.fsdecode(b"allStar-\xff.fits"),
           incoming / "spectra" / os.fsdecode(b"spec-\xff.fits")]  # fmt: skip
    try:
        shutil.copy(incoming / name, odd[0])
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    shutil.copy(next((incoming / "spectra").rglob("spec-*.fits")), odd[1])
    lost = [incoming / "allStar-lost.fits", incoming / "spectra" / "spec-lost.fits"]
    for link in lost:
        link.symlink_to(tmp_path / "gone")
    code, _, err = case.run("--quiet")
    assert code == ExitCode.BAD_INPUT
    assert "[BAD_RELEASE]" in err
    assert f"{other.name} is of " in err
    assert rf"[BAD_NAME] the name of {incoming}/allStar-\xff.fits is not UTF-8" in err
    assert f"[UNREADABLE] {lost[0]} is a link to nothing" in err
    states = case.states()
    assert states["ingest allstar"] == states["export aspcap.fits"] == "done"
    assert set(states.values()) <= {"done", "idle"}
    where = "SELECT params->'files' FROM label_set WHERE name = 'aspcap/dr14'"
    assert value(case.db, where) == [name]
    refused = "SELECT array_agg(reason_code ORDER BY 1) FROM quarantine WHERE item_key = ''"
    assert {"BAD_NAME", "BAD_RELEASE", "UNREADABLE"} <= set(value(case.db, refused))
    assert case.run("--quiet")[0] == ExitCode.BAD_INPUT, "until they are taken away"
    for path in (*odd, *lost, incoming / other.name):
        path.unlink()
    assert case.run()[0] == 0


def test_stamps_of_files_that_have_gone_are_forgotten(case: Case, tmp_path: Path) -> None:
    case.run()
    gone = next((tmp_path / "incoming" / "spectra").rglob("spec-*.fits"))
    there = "SELECT array_agg(path ORDER BY path) FROM file_stamp"
    away = tmp_path / "unmounted" / "file"
    with case.db.begin() as conn:
        write_stamps(conn, {gone: stamp_of(gone.stat(), "x"), away: stamp_of(gone.stat(), "x")})
    gone.unlink()
    case.run()
    paths = value(case.db, there)
    assert str(gone) not in paths
    assert str(away) in paths, "its folder is not there: a disk may be missing"


def test_stamps_are_replaced(db: Database, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    for digest in ("one", "two"):
        with db.begin() as conn:
            write_stamps(conn, {path: stamp_of(path.stat(), digest)})
    with db.reader() as conn:
        rows = conn.execute(sa.text("SELECT path, size, content_digest FROM file_stamp")).all()
    assert [tuple(row) for row in rows] == [(str(path), 7, "two")]
