"""The engine: a chunk's rows and its mark commit together, whatever happens in between."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from catalog.errors import (
    BadInputError,
    ConfigurationError,
    CrosslabelError,
    ExitCode,
    LockedError,
    SourceUnavailableError,
    UnexpectedError,
)
from catalog.store import labels
from catalog.store.db import Database, advisory_lock, is_locked
from jobs.engine import ledger
from jobs.engine.job import Job, RunSummary, Unresolved
from jobs.engine.params import NOT_HASHED, digest, from_dict, params_hash, to_dict
from jobs.engine.runner import run_job
from tests.support.star_job import StarParams, star_job

SUPPORT = Path(__file__).resolve().parents[3] / "tests" / "support"
LOCK = "stars all stars"


def one(db: Database, query: str) -> Any:
    with db.reader() as conn:
        return conn.scalar(sa.text(query))


def stars(db: Database) -> int:
    return one(db, "SELECT count(*) FROM star")


def chunk_states(db: Database) -> str:
    """States of the newest run's chunks in order, by their first letters."""
    return one(db, "SELECT string_agg(left(state, 1), '' ORDER BY ordinal) FROM job_chunk "
                   "WHERE run_id = (SELECT max(run_id) FROM job_run)")  # fmt: skip


def run_states(db: Database) -> list[str]:
    with db.reader() as conn:
        return list(conn.execute(sa.text("SELECT state FROM job_run ORDER BY run_id")).scalars())


def run(db: Database, job: Job | None = None, **params: Any) -> RunSummary:
    return run_job(job or star_job(StarParams(**params)), db)


def changed(job: Job, **callables: Callable[..., Any]) -> Job:
    return dataclasses.replace(job, **callables)


# --------------------------------------------------------------------------- one process


def test_a_run_does_its_chunks_and_a_second_has_nothing_to_do(db: Database) -> None:
    first = run(db)
    assert (first.state, first.rows_written, first.chunks_done) == ("succeeded", 12, 4)
    assert (first.chunks_failed, first.chunks_left, first.exit_code) == (0, 0, ExitCode.OK)
    assert stars(db) == 12
    assert chunk_states(db) == "dddd"
    assert one(db, "SELECT rows_written FROM job_run") == 12
    assert one(db, "SELECT finished_at >= started_at FROM job_run")
    second = run(db)
    assert (second.state, second.run_id, second.rows_written) == ("idle", None, 0)
    assert second.exit_code == ExitCode.OK
    assert run_states(db) == ["succeeded"]


def test_new_work_is_a_new_run(db: Database) -> None:
    run(db)
    more = run(db, chunks=5)
    assert (more.chunks_done, more.rows_written) == (1, 3)
    assert run_states(db) == ["succeeded", "succeeded"]


def test_an_empty_chunk_is_done_with_no_rows(db: Database) -> None:
    summary = run(db, empty=("c1",))
    assert (summary.state, summary.rows_written) == ("succeeded", 9)
    assert chunk_states(db) == "dddd"
    assert one(db, "SELECT rows_written FROM job_chunk WHERE chunk_key = 'c1'") == 0


def test_a_dry_run_writes_nothing(db: Database) -> None:
    summary = run_job(star_job(StarParams()), db, dry_run=True)
    assert (summary.state, summary.chunks_left, summary.exit_code) == ("planned", 4, ExitCode.OK)
    assert (stars(db), run_states(db)) == (0, [])


def test_progress_is_told(db: Database) -> None:
    told: list[tuple[str, int, int]] = []
    run_job(star_job(StarParams()), db, progress=lambda *x: told.append(x))
    assert told == [("stars: chunks", n, 4) for n in range(5)]


def test_progress_counts_what_the_job_counts(db: Database) -> None:
    told: list[tuple[str, int, int]] = []
    job = star_job(StarParams(bad=("c1",)))
    sized = dataclasses.replace(job, unit="stars", size=lambda key: int(key[1:]) * 10)
    run_job(sized, db, progress=lambda *x: told.append(x))
    assert told == [("stars: stars", n, 60) for n in (0, 0, 10, 30, 60)]


def test_a_defect_in_a_chunk_is_a_failed_chunk(
    db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    summary = run(db, crash=("c2",))
    assert (summary.state, summary.exit_code) == ("failed", ExitCode.FAILED)
    assert (stars(db), chunk_states(db), run_states(db)) == (9, "ddfd", ["failed"])
    (error,) = summary.errors
    found = "c2: [UNEXPECTED] RuntimeError: a defect met in c2 (support/star_job.py:"
    assert error.startswith(found)
    assert one(db, "SELECT error FROM job_chunk WHERE state = 'failed'") == error[4:]
    (record,) = caplog.records
    assert (record.name, record.getMessage()[:23]) == ("crosslabel", "stars all stars: c2: Ru")
    assert "Traceback" in (caplog.text)
    assert "def compute" not in error
    with db.reader() as conn:
        assert not is_locked(conn, LOCK), "nobody works on it"
    summary = run_job(star_job(StarParams()), db, retry_failed=True)
    assert (summary.state, summary.chunks_done, summary.notes["resumed"]) == ("succeeded", 4, True)
    assert (stars(db), chunk_states(db), run_states(db)) == (12, "dddd", ["succeeded"])


@pytest.mark.parametrize("where", ["plan", "begin", "finish"])
@pytest.mark.parametrize("retry", [False, True])
def test_a_defect_outside_the_chunks_ends_the_run_which_can_be_gone_on_with(
    db: Database, where: str, retry: bool
) -> None:
    job = star_job(StarParams(edition="net"))

    def defect(*args: Any) -> Any:
        raise KeyError(f"met in {where}")

    with pytest.raises(UnexpectedError, match=rf"KeyError: 'met in {where}' \(.*:\d+\)") as caught:
        run(db, changed(job, **{where: defect}))
    assert caught.value.exit_code == ExitCode.FAILED
    assert run_states(db) == ["failed"]
    assert one(db, "SELECT error LIKE '[UNEXPECTED] KeyError%' FROM job_run")
    assert stars(db) == (12 if where == "finish" else 0)
    with pytest.raises(UnexpectedError):
        run(db, changed(job, **{where: defect}))
    assert run_states(db) == ["failed"]
    summary = run_job(job, db, retry_failed=retry)
    assert summary.state == "succeeded"
    assert (stars(db), chunk_states(db), run_states(db)) == (12, "dddd", ["succeeded"])
    with db.reader() as conn:
        assert labels.find_label_set(conn, "net").edition == 1


def test_a_run_whose_plan_failed_and_that_has_nothing_to_do_is_closed(db: Database) -> None:
    job = star_job(StarParams())
    with pytest.raises(UnexpectedError):
        run(db, changed(job, plan=lambda conn: [][0]))
    assert run(db, changed(job, plan=lambda conn: [])).state == "idle"
    assert run_states(db) == ["abandoned"]


def test_a_defect_while_inputs_are_opened_leaves_no_run(db: Database) -> None:
    def resolve() -> Job:
        raise ValueError("inputs")

    with pytest.raises(UnexpectedError, match=r"ValueError: inputs"):
        run_job(Unresolved("stars", "all stars", resolve), db)
    assert run_states(db) == []
    with db.reader() as conn:
        assert not is_locked(conn, LOCK)


@pytest.mark.parametrize(
    ("number", "states", "code"),
    [
        (errno.EIO, "dfdd", ExitCode.UNAVAILABLE),
        (errno.ENAMETOOLONG, "dfdd", ExitCode.USAGE),
        (errno.ENOSPC, "dppp", ExitCode.UNAVAILABLE),
    ],
)
def test_what_the_system_refuses_is_of_a_chunk_unless_none_would_fare_better(
    db: Database, number: int, states: str, code: ExitCode
) -> None:
    job = star_job(StarParams())

    def compute(conn: sa.Connection, chunk: str) -> list[str]:
        if chunk == "c1":
            raise OSError(number, os.strerror(number), "some.fits")
        return job.compute(conn, chunk)

    broken = changed(job, compute=compute)
    if number == errno.ENOSPC:
        with pytest.raises(SourceUnavailableError, match=r"some.fits: No space.* Make space"):
            run(db, broken)
    else:
        summary = run(db, broken)
        assert summary.exit_code == code
        assert summary.errors[0].startswith(f"c1: some.fits: {os.strerror(number)}. ")
    assert chunk_states(db) == states
    assert run_job(job, db, retry_failed=True).state == "succeeded"


def test_a_resumed_run_goes_on_to_the_work_that_came_meanwhile(db: Database) -> None:
    run(db, bad=("c3",))
    with db.begin() as conn:  # what the first chunk wrote goes away: it is new work again
        conn.execute(sa.text("DELETE FROM star WHERE star_key LIKE 'c0 %'"))
    summary = run_job(star_job(StarParams()), db, retry_failed=True)
    assert stars(db) == 12
    assert run_states(db) == ["succeeded", "succeeded"]
    assert (summary.state, summary.rows_written) == ("succeeded", 12 + 3)


def test_a_failed_chunk_does_not_hold_up_the_others(db: Database) -> None:
    summary = run(db, bad=("c1",), edition="net")
    assert (summary.state, summary.exit_code) == ("failed", ExitCode.FAILED)
    assert (summary.chunks_done, summary.chunks_failed, summary.chunks_left) == (3, 1, 0)
    assert summary.errors == ("c1: the input of c1 is damaged. Mend it",)
    assert (stars(db), chunk_states(db)) == (9, "dfdd")
    assert "is damaged" in one(db, "SELECT error FROM job_chunk WHERE state = 'failed'")
    assert one(db, "SELECT status FROM label_set") == "building", "nothing is published"


def test_only_a_retry_does_failed_chunks_again(db: Database) -> None:
    run(db, bad=("c1", "c2"))
    again = run(db)
    assert (again.state, again.chunks_failed) == ("failed", 2)
    assert one(db, "SELECT max(attempts) FROM job_chunk") == 1
    mended = run_job(star_job(StarParams()), db, retry_failed=True)
    assert (mended.state, mended.chunks_done) == ("succeeded", 4)
    assert (stars(db), chunk_states(db)) == (12, "dddd")
    assert one(db, "SELECT attempts FROM job_chunk WHERE chunk_key = 'c1'") == 2
    assert one(db, "SELECT count(error) FROM job_chunk") == 0


def test_a_failed_chunk_does_not_hold_up_new_work(db: Database) -> None:
    run(db, bad=("c1",))
    job = star_job(StarParams())
    more = changed(job, plan=lambda conn: [*job.plan(conn), "c7"])  # it came meanwhile
    summary = run(db, more)
    assert (summary.state, summary.chunks_done, summary.chunks_failed) == ("failed", 4, 1)
    assert stars(db) == 9 + 3
    assert run(db, more).chunks_done == 4, "it is appended once"


def test_a_failed_chunk_ends_an_ordered_run(db: Database) -> None:
    summary = run(db, bad=("c1",), ordered=True)
    assert (summary.state, summary.exit_code) == ("failed", ExitCode.FAILED)
    assert (stars(db), chunk_states(db)) == (3, "dfpp")
    assert run(db, ordered=True).state == "failed", "the others build on the one that failed"
    assert (stars(db), chunk_states(db)) == (3, "dfpp")
    assert run_job(star_job(StarParams(ordered=True)), db, retry_failed=True).state == "succeeded"
    assert stars(db) == 12


def test_bad_input_in_a_chunk_is_a_failed_chunk(db: Database) -> None:
    def compute(conn: sa.Connection, chunk: str) -> list[str]:
        raise BadInputError("TRUNCATED", f"the file of {chunk} ends early")

    summary = run(db, changed(star_job(StarParams(chunks=1)), compute=compute))
    assert summary.errors == ("c0: [TRUNCATED] the file of c0 ends early",)
    assert summary.exit_code == ExitCode.BAD_INPUT


def test_rows_of_a_write_that_fails_are_rolled_back(db: Database) -> None:
    job = star_job(StarParams())

    def write(conn: sa.Connection, r: ledger.Run, batch: list[str]) -> int:
        rows = job.write(conn, r, batch)
        if batch[-1] == "c1":
            raise RuntimeError("between the rows and the mark")
        return rows

    assert "between the rows" in run(db, changed(job, write=write)).errors[0]
    assert (stars(db), chunk_states(db)) == (9, "dfdd")


def test_other_parameters_abandon_the_open_run(db: Database) -> None:
    run(db, bad=("c1",), edition="net")
    with db.reader() as conn:
        left = labels.building_edition(conn, 1)
    summary = run(db, edition="net", stars=4)
    assert summary.state == "succeeded"
    assert run_states(db) == ["abandoned", "succeeded"]
    assert one(db, f"SELECT count(*) FROM label_set WHERE label_set_id = {left}") == 0
    with db.reader() as conn:
        assert labels.find_label_set(conn, "net").edition == 1
        assert ledger.open_runs(conn) == []


def test_parameters_that_change_nothing_resume_the_open_run(db: Database) -> None:
    run(db, bad=("c1",))
    summary = run_job(star_job(StarParams(delay_s=0.001)), db, retry_failed=True)
    assert (summary.state, run_states(db)) == ("succeeded", ["succeeded"])


def test_bad_input_at_the_end_publishes_nothing(db: Database) -> None:
    with pytest.raises(BadInputError, match=r"bad as a whole") as caught:
        run(db, edition="net", refuse=True)
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    assert run_states(db) == ["abandoned"]
    assert "bad as a whole" in one(db, "SELECT error FROM job_run")
    assert one(db, "SELECT count(*) FROM label_set") == 0


def test_rows_of_every_phase_are_counted(db: Database) -> None:
    job = changed(star_job(StarParams()), begin=lambda c, r: 100, finish=lambda c, r: 1000)
    assert run(db, job).rows_written == 1112
    assert one(db, "SELECT rows_written FROM job_run") == 1112


def test_a_chunk_may_append_those_of_the_next_phase(db: Database) -> None:
    job = star_job(StarParams(chunks=2))

    def write(conn: sa.Connection, r: ledger.Run, batch: list[str]) -> int:
        if batch[-1] == "c1":
            ledger.append_chunks(conn, r, ["d0", "d1"])
        return job.write(conn, r, batch)

    summary = run(db, changed(job, write=write))
    assert (summary.state, summary.chunks_done, summary.rows_written) == ("succeeded", 4, 12)
    assert (stars(db), chunk_states(db)) == (12, "dddd")


@pytest.mark.parametrize("how", ["succeeds", "fails", "crashes", "is planned", "is locked out"])
def test_a_job_is_closed_once_however_it_ends(db: Database, how: str) -> None:
    closed: list[bool] = []
    params = StarParams(bad=("c1",) * (how == "fails"), crash=("c1",) * (how == "crashes"))
    job = changed(star_job(params), close=lambda: closed.append(True))
    if how == "is locked out":
        with advisory_lock(db, LOCK), pytest.raises(LockedError):
            run(db, job)
    else:
        run_job(job, db, dry_run=how == "is planned")
    assert closed == [True]


def test_a_database_that_is_not_at_head_is_left_alone(db: Database) -> None:
    with db.begin() as conn:
        conn.execute(sa.text("UPDATE alembic_version SET version_num = 'older'"))
    with pytest.raises(ConfigurationError, match=r"schema is at older"):
        run(db)
    assert (stars(db), run_states(db)) == (0, [])


# --------------------------------------------------------------------------- the ledger


@pytest.fixture
def open_run(db: Database) -> ledger.Run:
    """A run of two chunks, the first of them done."""
    with db.begin() as conn:
        made = ledger.start_run(conn, "k", "t", {}, "0", ["a", "b"])
        ledger.mark_done(conn, made, ledger.Chunk("a", 0), 1, 0.1)
    return made


def test_a_chunk_is_marked_done_once(db: Database, open_run: ledger.Run) -> None:
    chunk = ledger.Chunk("a", 0)
    with pytest.raises(CrosslabelError, match=r"chunk a .* done already"), db.begin() as conn:
        ledger.mark_done(conn, open_run, chunk, 1, 0.1)
    with pytest.raises(CrosslabelError, match=r"done already"), db.begin() as conn:
        ledger.mark_failed(conn, open_run, chunk, "late", 0.1)
    assert one(db, "SELECT rows_written FROM job_run") == 1


def test_a_closed_run_stays_closed(db: Database, open_run: ledger.Run) -> None:
    with db.begin() as conn:
        ledger.close(conn, open_run, "succeeded")
    for move in (
        lambda c: ledger.take_over(c, open_run),
        lambda c: ledger.close(c, open_run, "failed"),
    ):
        with db.engine.connect() as conn, pytest.raises(CrosslabelError, match=r"is closed"):
            move(conn)


def test_there_is_one_open_run_per_target(db: Database, open_run: ledger.Run) -> None:
    with pytest.raises(IntegrityError, match=r"uq_job_run_open"), db.begin() as conn:
        ledger.start_run(conn, "k", "t", {}, "1", [])
    with db.begin() as conn:
        ledger.start_run(conn, "k", "other", {}, "1", [])
        ledger.close(conn, open_run, "abandoned")
        ledger.start_run(conn, "k", "t", {}, "1", [])


def test_taking_a_run_over_forgets_how_it_ended(db: Database, open_run: ledger.Run) -> None:
    with db.begin() as conn:
        ledger.close(conn, open_run, "failed", "why")
        ledger.take_over(conn, open_run)
    with db.reader() as conn:
        row = conn.execute(sa.text("SELECT state, error, finished_at, pid FROM job_run")).one()
    assert tuple(row) == ("running", None, None, os.getpid())


# --------------------------------------------------------------------------- parameters


@dataclasses.dataclass(frozen=True)
class One:
    name: str
    radius: float = 2.0
    labels: tuple[str, ...] = ("teff",)
    nested: tuple[tuple[str, int], ...] = (("a", 1),)
    path: str = dataclasses.field(default="", metadata=NOT_HASHED)


@dataclasses.dataclass(frozen=True)
class Other:
    nested: tuple[tuple[str, int], ...]
    labels: tuple[str, ...]
    radius: float
    name: str


def test_the_hash_holds_what_changes_the_answer_and_nothing_else() -> None:
    base = One("x")
    assert params_hash(base) == params_hash(One("x", path="/elsewhere"))
    assert params_hash(base) == params_hash(Other((("a", 1),), ("teff",), 2.0, "x"))
    for change in ({"name": "y"}, {"radius": 3.0}, {"labels": ("teff", "logg")}, {"nested": ()}):
        assert params_hash(dataclasses.replace(base, **change)) != params_hash(base)
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert params_hash(base) == "daf377aea5953b8f237cb1b3ccfc0f01"


def test_stored_parameters_give_the_record_back() -> None:
    record = One("x", 1.5, ("teff", "logg"), (("a", 1), ("b", 2)), "/p")
    stored = json.loads(json.dumps(to_dict(record)))
    assert from_dict(One, stored) == record
    assert from_dict(One, stored | {"of a later version": 1}) == record


# --------------------------------------------------------------------------- the server


def test_a_serialization_failure_is_tried_again(db: Database) -> None:
    job = star_job(StarParams(chunks=1))
    attempts = []

    def write(conn: sa.Connection, r: ledger.Run, batch: list[str]) -> int:
        attempts.append(batch)
        conn.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        rows = job.write(conn, r, batch)
        if len(attempts) < 3:  # somebody else changes the row that the mark is about to change
            with db.begin() as other:
                other.execute(sa.text("UPDATE job_chunk SET elapsed_s = 1"))
        return rows

    summary = run(db, changed(job, write=write))
    assert len(attempts) == 3
    assert (summary.state, summary.rows_written, stars(db)) == ("succeeded", 3, 3)
    assert one(db, "SELECT attempts FROM job_chunk") == 1


def test_a_serialization_failure_that_does_not_end(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.engine.chunks.WRITE_ATTEMPTS", 3)
    job = star_job(StarParams(chunks=1))

    def write(conn: sa.Connection, r: ledger.Run, batch: list[str]) -> int:
        conn.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        rows = job.write(conn, r, batch)
        with db.begin() as other:
            other.execute(sa.text("UPDATE job_chunk SET elapsed_s = 1"))
        return rows

    with pytest.raises(SourceUnavailableError, match=r"serialize.*crosslabel resume") as caught:
        run(db, changed(job, write=write))
    assert caught.value.exit_code == ExitCode.UNAVAILABLE
    assert (stars(db), chunk_states(db), run_states(db)) == (0, "p", ["running"])
    assert run(db, chunks=1).state == "succeeded"


TERMINATE = {
    "the lock's": "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    "the reader's": "SELECT pg_terminate_backend(pg_backend_pid())",
}


@pytest.mark.parametrize("whose", TERMINATE)
def test_a_connection_that_breaks_while_computing(db: Database, whose: str) -> None:
    job = star_job(StarParams())

    def compute(conn: sa.Connection, chunk: str) -> list[str]:
        if chunk == "c2":
            conn.execute(sa.text(TERMINATE[whose]))
        return job.compute(conn, chunk)

    with pytest.raises(SourceUnavailableError, match=r"crosslabel resume") as caught:
        run(db, changed(job, compute=compute))
    assert caught.value.exit_code == ExitCode.UNAVAILABLE
    assert (stars(db), chunk_states(db)) == (6, "ddpp")
    with db.reader() as conn:
        assert not is_locked(conn, LOCK)
    assert run(db).state == "succeeded"
    assert stars(db) == 12


def test_a_connection_that_breaks_while_writing(db: Database) -> None:
    job = star_job(StarParams())

    def write(conn: sa.Connection, r: ledger.Run, batch: list[str]) -> int:
        rows = job.write(conn, r, batch)
        if batch[-1] == "c1":
            conn.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return rows

    with pytest.raises(SourceUnavailableError):
        run(db, changed(job, write=write))
    assert (stars(db), chunk_states(db)) == (3, "dppp")
    assert run(db).state == "succeeded"


def test_locks_of_different_targets_are_apart(db: Database) -> None:
    with advisory_lock(db, "one"), advisory_lock(db, "two"), db.reader() as conn:
        assert is_locked(conn, "one")
        assert is_locked(conn, "two")
        assert not is_locked(conn, "three")
    with db.reader() as conn:
        assert not is_locked(conn, "one")
