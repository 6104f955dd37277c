"""Run a job chunk by chunk: the rows of a chunk and its mark commit in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace

import sqlalchemy as sa

from catalog.errors import BadInputError, CrosslabelError, ExitCode
from catalog.store.db import Database, Lock, advisory_lock
from catalog.store.head import require_schema_at_head
from jobs.engine import ledger
from jobs.engine.chunks import do_chunk
from jobs.engine.defects import known_error, note_defect
from jobs.engine.job import Job, Progress, RunSummary, Unresolved, silent
from jobs.engine.ledger import Run
from jobs.engine.opening import open_or_resume, record_defect
from jobs.engine.signals import ChunkDropped, StopFlag, stop_on_signals


def lock_name(kind: str, target: str) -> str:
    """The name of the lock that a living run holds."""
    return f"{kind} {target}"


def run_job(
    job: Job | Unresolved,
    db: Database,
    *,
    retry_failed: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
) -> RunSummary:
    """Do, or go on with, a job; see the module's head and docs/operations.md.

    The lock on the target is taken first: no input is opened without it, except in a dry run. An
    open run with the same parameters is resumed, one with others is abandoned. After a resumed
    run the plan is made again, for work that came meanwhile.

    Raises
    ------
    LockedError
        If another run holds the target.
    ConfigurationError
        If the schema is not at head.
    ServerUnavailableError
        If the server goes away or gives up; nothing of the open chunk is written.
    UnexpectedError
        If an exception comes that nobody foresaw, outside the chunks: the run is `failed`.
    ChunkDropped
        If a signal came, and what is not a chunk, such as a plan, did not end in time.
    """
    kind, target = job.kind, job.target
    try:
        with ExitStack() as held:
            if isinstance(job, Job):
                held.callback(job.close)
            if dry_run:
                require_schema_at_head(db)
                job = _resolved(job, held)
                with db.reader() as conn:
                    keys = job.plan(conn)
                return RunSummary(kind, target, None, "planned", chunks_left=len(keys))
            stop = held.enter_context(stop_on_signals())
            lock = held.enter_context(advisory_lock(db, lock_name(kind, target)))
            require_schema_at_head(db)
            job = _resolved(job, held)
            summary = _run_locked(job, db, lock, stop, retry_failed, progress)
            return _with_outcome(job, db, summary)
    except Exception as exc:
        known = known_error(exc)
        if known is exc:
            raise
        raise known or note_defect(exc, f"{kind} {target}") from exc


def _with_outcome(job: Job, db: Database, summary: RunSummary) -> RunSummary:
    """Return the summary of a run that succeeded with what it made, in what people count."""
    if summary.state != "succeeded" or summary.run_id is None:
        return summary
    with db.reader() as conn:
        return replace(summary, outcome=job.outcome(conn, summary.run_id))


def _resolved(job: Job | Unresolved, held: ExitStack) -> Job:
    """Return the job with all that it is made from; it is closed with ``held``."""
    if isinstance(job, Job):
        return job
    known = job.resolve()
    held.callback(known.close)
    return known


def abandon_run(job: Job, db: Database, run: Run) -> None:
    """Give up an open run: what it left unpublished goes, what its chunks committed stays.

    Raises
    ------
    LockedError
        If the run is alive.
    ConfigurationError
        If the schema is not at head.
    CrosslabelError
        If the run is closed.
    """
    require_schema_at_head(db)
    with advisory_lock(db, lock_name(job.kind, job.target)), db.begin() as conn:
        job.abandon(conn, run)
        ledger.close(conn, run, "abandoned", "given up by command")


def _run_locked(
    job: Job, db: Database, lock: Lock, stop: StopFlag, retry_failed: bool, progress: Progress
) -> RunSummary:
    """Run a job while nobody else can write its target."""
    try:
        summary = _run_once(job, db, lock.check, stop, retry_failed, progress)
        if summary.state == "succeeded" and summary.notes.get("resumed"):
            again = _run_once(job, db, lock.check, stop, retry_failed, progress)
            if again.state != "idle":
                return replace(
                    again,
                    rows_written=summary.rows_written + again.rows_written,
                    elapsed_s=summary.elapsed_s + again.elapsed_s,
                )
    except Exception as exc:
        if known_error(exc) is not None:
            raise
        defect = note_defect(exc, f"{job.kind} {job.target}")
        record_defect(job, db, defect)
        raise defect from exc
    return summary


def _run_once(
    job: Job,
    db: Database,
    check_lock: Callable[[], None],
    stop: StopFlag,
    retry_failed: bool,
    progress: Progress,
) -> RunSummary:
    """One pass under the lock: open or resume a run, do its chunks, close it."""
    started = time.monotonic()
    run = open_or_resume(job, db)
    if run is None:
        return RunSummary(job.kind, job.target, None, "idle")
    with db.reader() as conn:
        todo = ledger.pending(conn, run, include_failed=retry_failed)
        state_of = ledger.counts(conn, run)
    total = _size(job, db, run)
    if job.ordered and state_of["failed"] and not retry_failed:
        todo = []  # they build on the one that failed
    failures: dict[str, CrosslabelError] = {}
    position = 0
    what = f"{job.kind}: {job.unit}"
    while position < len(todo) and stop.signal is None:
        chunk = todo[position]
        progress(what, total - sum(map(job.size, (c.key for c in todo[position:]))), total)
        try:
            failure = do_chunk(job, db, run, chunk, check_lock)
        except ChunkDropped:  # rolled back: it stays pending
            break
        if failure is not None:
            failures[chunk.key] = failure
            if job.ordered:
                break
        else:
            stop.worked()
        position += 1
        if position == len(todo):  # the chunk may have appended those of the next phase
            with db.reader() as conn:
                todo = ledger.pending(conn, run, include_failed=False)
            total = _size(job, db, run)
            position = 0
    progress(what, total, total)
    return _close(job, db, run, stop, failures, started)


def _size(job: Job, db: Database, run: Run) -> int:
    """Return how much a run does in all, in the job's unit."""
    with db.reader() as conn:
        return sum(map(job.size, ledger.chunk_keys(conn, run)))


def _close(
    job: Job, db: Database, run: Run, stop: StopFlag, failures: Mapping[str, CrosslabelError],
    started: float,
) -> RunSummary:  # fmt: skip
    """Publish and close, pause, or leave the failed chunks for `retry`."""
    refusal: BadInputError | None = None
    errors = tuple(f"{key}: {failure}" for key, failure in failures.items())
    codes = {failure.exit_code for failure in failures.values()}
    with db.reader() as conn:
        state_of = ledger.counts(conn, run)
    if stop.signal is not None and state_of["pending"]:
        state = "paused"
    elif state_of["failed"]:
        state = "failed"
    else:
        state = "succeeded"
    try:
        with db.begin() as conn:
            if state == "succeeded":
                ledger.add_rows(conn, run, job.finish(conn, run))
            ledger.close(conn, run, state, "; ".join(errors[:3]) or None)
    except BadInputError as exc:
        refusal = exc
    if refusal is not None:
        with db.begin() as conn:
            job.abandon(conn, run)
            ledger.close(conn, run, "abandoned", str(refusal))
        raise refusal
    with db.reader() as conn:
        rows = conn.scalar(
            sa.text("SELECT rows_written FROM job_run WHERE run_id = :r"), {"r": run.run_id}
        )
    return RunSummary(
        job.kind, job.target, run.run_id, state, rows, state_of["done"],
        state_of["failed"], state_of["pending"], time.monotonic() - started,
        stop.signal if state == "paused" else None, errors,
        codes.pop() if len(codes) == 1 else ExitCode.FAILED, {"resumed": run.resumed},
    )  # fmt: skip
