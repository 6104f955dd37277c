"""Do the steps of a sync one after the other; a failed one stops only what builds on it."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import sqlalchemy as sa

from catalog.errors import (
    BadInputError,
    CrosslabelError,
    ExitCode,
    LockedError,
)
from catalog.store.db import Database, Lock, advisory_lock
from jobs.engine.defects import known_error, note_defect
from jobs.engine.job import RunSummary
from jobs.engine.signals import ChunkDropped, StopFlag, stop_on_signals
from jobs.engine.watchdog import ENDING
from jobs.sync.log import SyncLog, sync_name, time_stamp, tracebacks_in
from jobs.sync.result import SEVERITY, StepResult, SyncResult, as_json, summary_json
from jobs.sync.step import Step, Work

TARGET = "sync"


def run_sync(
    make_steps: Callable[[], Sequence[Step]],
    work: Work,
    log: SyncLog,
    *,
    time_budget_s: float | None = None,
    show: Callable[[StepResult], None],
) -> SyncResult:
    """Do all steps, in order.

    Parameters
    ----------
    make_steps : callable
        Called when no other sync is at work: `jobs.sync.steps.make_steps`, whose import loads what
        all jobs need.
    work : Work
    log : SyncLog
        Gets a line for each step and one at the end; nothing in a dry run.
    time_budget_s : float, optional
        After this time the open chunk is finished and its run pauses, as after SIGTERM [s]; one
        chunk or step is done in any case.
    show : callable
        Called with every result as it comes.

    Raises
    ------
    LockedError
        If another sync works on the catalog.
    """
    started = time.monotonic()
    sync = sync_name()
    results: list[StepResult] = []
    log_code = ExitCode.OK

    def tell(result: StepResult) -> None:
        nonlocal log_code
        results.append(result)
        show(result)
        try:
            if not work.dry_run and log_code == ExitCode.OK:
                log.write(time=time_stamp(), sync=sync, event="step", **as_json(result))
        except CrosslabelError as exc:  # the work goes on without it
            log_code = exc.exit_code
            show(StepResult("log", "failed", exit_code=log_code, error=exc.reason, todo=exc.todo))

    with (
        stop_on_signals() as stop,
        _only_sync(work.db) as lock,
        _alarm(time_budget_s),
        tracebacks_in(SyncLog(None) if work.dry_run else log, sync),
    ):
        gone: CrosslabelError | None = None
        steps = make_steps()
        for i, step in enumerate(steps):
            gone = gone or _lost(lock)
            if gone is not None:
                tell(StepResult(step.name, "skipped", exit_code=gone.exit_code, error=gone.reason))
            else:
                tell(_do(step, _before(steps, i, results), work, stop))
                if results[-1].state == "done":
                    stop.worked()
    codes = [r.exit_code for r in results]
    if stop.signal in ENDING:
        codes.append(ExitCode(128 + stop.signal))
    code = max((*codes, log_code), key=SEVERITY.index)
    end = SyncResult(_state(results, code), tuple(results), time.monotonic() - started, code)
    if not work.dry_run and log_code == ExitCode.OK:
        log.write(time=time_stamp(), sync=sync, event="sync", **summary_json(end))
    return end


@contextmanager
def _only_sync(db: Database) -> Iterator[Lock]:
    """Be the only sync of a catalog."""
    try:
        with advisory_lock(db, TARGET) as lock:
            yield lock
    except LockedError as exc:
        raise LockedError(
            "another sync of this catalog is at work",
            "Nothing: it goes on; crosslabel status shows it",
        ) from exc


@contextmanager
def _alarm(after_s: float | None) -> Iterator[None]:
    """Let SIGALRM come after a time; inside `stop_on_signals`, which takes it."""
    if after_s is not None:  # 0 would be no timer, and the system's clock ends somewhere
        signal.setitimer(signal.ITIMER_REAL, min(max(after_s, 1e-6), 1e9))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _before(steps: Sequence[Step], i: int, results: Sequence[StepResult]) -> list[StepResult]:
    """Return the results of the steps that the i-th one builds on."""
    return [r for s, r in zip(steps[:i], results, strict=True) if s.makes & steps[i].uses]


def _lost(lock: Lock) -> CrosslabelError | None:
    """Return the error where the database, and the lock with it, has gone; else None."""
    try:
        lock.check()
    except CrosslabelError as exc:
        return exc
    return None


def _do(step: Step, before: Sequence[StepResult], work: Work, stop: StopFlag) -> StepResult:
    """Do one step, or say why not."""
    bad = [r.step for r in before if r.state in ("failed", "skipped")]
    if bad:
        return StepResult(step.name, "skipped", error=f"builds on {', '.join(bad)}")
    if stop.signal is not None or any(r.state in ("paused", "left") for r in before):
        return StepResult(step.name, "left")
    planned = [r.step for r in before if r.state == "planned"]
    if planned:  # what is to be done depends on what these will have written
        return StepResult(step.name, "planned", note=f"after {', '.join(planned)}")
    started = time.monotonic()
    try:
        rows, refused = _rows_of_runs(work.db), _quarantined(work.db)
        try:
            done = _result(step, step.run(work))
        except ChunkDropped:  # it came between chunks, or the step has none
            done = StepResult(step.name, "paused")
        except Exception as exc:
            done = _failure(step, known_error(exc) or note_defect(exc, f"sync: {step.name}"))
        if not work.dry_run:
            work.seen.save()
        done = replace(
            done,
            rows_written=_rows_written(work.db, rows),
            quarantined=_quarantined(work.db) - refused,
        )
    except Exception as exc:  # most likely the database has gone
        done = _failure(step, known_error(exc) or note_defect(exc, f"sync: {step.name}"))
    return replace(done, elapsed_s=time.monotonic() - started)


def _failure(step: Step, exc: CrosslabelError) -> StepResult:
    """Return an error as the result of a step, in one line."""
    code = f"[{exc.reason_code}] " if isinstance(exc, BadInputError) else ""
    said = " ".join(f"{code}{exc.reason}".split())
    return StepResult(step.name, "failed", exit_code=exc.exit_code, error=said, todo=exc.todo)


def _result(step: Step, summary: RunSummary) -> StepResult:
    """Return the summary of a job as the result of a step."""
    nothing = summary.state == "planned" and not summary.chunks_left
    state = {"succeeded": "done"}.get(summary.state, "idle" if nothing else summary.state)
    code = ExitCode(summary.exit_code) if state == "failed" else ExitCode.OK
    refused = summary.notes.get("refused", ())
    if refused and state in ("done", "idle"):  # what builds on the others goes on
        code = ExitCode.BAD_INPUT
    if state == "paused" and summary.stopped_by != signal.SIGALRM:
        code = ExitCode(summary.exit_code)
    return StepResult(
        step.name, state, summary.kind, summary.target, summary.run_id,
        files=tuple(summary.notes.get("files", ())), exit_code=code,
        error="; ".join((*refused, *summary.errors)[:3]),
        todo=_todo(state, refused),
        note=summary.notes.get("note", ""), outcome=summary.outcome.text,
    )  # fmt: skip


def _todo(state: str, refused: Sequence[str]) -> str:
    """Return what to do about the errors of a step."""
    if state == "failed":
        return "crosslabel status shows all"
    return "The others are in; correct the paths, or rename the file" if refused else ""


def _state(results: Sequence[StepResult], code: ExitCode) -> str:
    """Return the state in which a sync ended."""
    states = {r.state for r in results}
    if code in (ExitCode.SIGINT, ExitCode.SIGTERM):
        return "stopped"
    if code != ExitCode.OK:
        return "failed"
    if states & {"paused", "left"}:
        return "paused"
    if "planned" in states:
        return "planned"
    wrote = any(r.rows_written or r.files for r in results)
    return "done" if wrote else "idle"


def _rows_of_runs(db: Database) -> dict[int, int]:
    """Return rows that each run of the ledger has written."""
    with db.reader() as conn:
        return dict(conn.execute(sa.text("SELECT run_id, rows_written FROM job_run")).all())


def _rows_written(db: Database, before: dict[int, int]) -> int:
    """Return rows that runs of this process have written since."""
    query = sa.text("SELECT run_id, rows_written FROM job_run WHERE host = :host AND pid = :pid")
    with db.reader() as conn:
        ours = conn.execute(query, {"host": socket.gethostname(), "pid": os.getpid()})
        return sum(rows - before.get(run_id, 0) for run_id, rows in ours)


def _quarantined(db: Database) -> int:
    """Return rows and files that were ever refused."""
    with db.reader() as conn:
        return conn.scalar(sa.text("SELECT count(*) FROM quarantine")) or 0
