"""Run a job chunk by chunk: the rows of a chunk and its mark commit in one transaction."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from catalog.errors import BadInputError, ChunkFailed, SourceUnavailableError
from catalog.store.db import Database, Lock, advisory_lock
from catalog.store.head import require_schema_at_head
from jobs.engine import ledger
from jobs.engine.job import Job, Progress, RunSummary, Unresolved, silent
from jobs.engine.ledger import Chunk, Run
from jobs.engine.params import params_hash, to_dict
from jobs.engine.signals import StopFlag, stop_on_signals

WRITE_ATTEMPTS = 5
_RETRY_STATES = ("40001", "40P01")  # serialization failure, deadlock


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
    SourceUnavailableError
        If the server goes away; nothing of the open chunk is written.
    """
    kind, target = job.kind, job.target
    try:
        with ExitStack() as held:
            if isinstance(job, Job):
                held.callback(job.close)
            require_schema_at_head(db)
            if dry_run:
                job = _resolved(job, held)
                with db.reader() as conn:
                    keys = job.plan(conn)
                return RunSummary(kind, target, None, "planned", chunks_left=len(keys))
            stop = held.enter_context(stop_on_signals())
            lock = held.enter_context(advisory_lock(db, lock_name(kind, target)))
            job = _resolved(job, held)
            summary = _run_locked(job, db, lock, stop, retry_failed, progress)
            return _with_outcome(job, db, summary)
    except OperationalError as exc:
        raise SourceUnavailableError(
            f"the database gave up on {kind} {target}: {str(exc.orig).strip()}",
            "Nothing of the open chunk was written; run: crosslabel resume",
        ) from exc


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
    summary = _run_once(job, db, lock.check, stop, retry_failed, progress)
    if summary.state == "succeeded" and summary.notes.get("resumed"):
        again = _run_once(job, db, lock.check, stop, retry_failed, progress)
        if again.state != "idle":
            return replace(
                again,
                rows_written=summary.rows_written + again.rows_written,
                elapsed_s=summary.elapsed_s + again.elapsed_s,
            )
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
    run = _open_or_resume(job, db)
    if run is None:
        return RunSummary(job.kind, job.target, None, "idle")
    with db.reader() as conn:
        todo = ledger.pending(conn, run, include_failed=retry_failed)
        state_of = ledger.counts(conn, run)
    total = sum(state_of.values())
    if job.ordered and state_of["failed"] and not retry_failed:
        todo = []  # they build on the one that failed
    errors: list[str] = []
    position = 0
    while position < len(todo) and stop.signal is None:
        chunk = todo[position]
        progress(job.kind, total - (len(todo) - position), total)
        error = _do_chunk(job, db, run, chunk, check_lock)
        if error:
            errors.append(f"{chunk.key}: {error}")
            if job.ordered:
                break
        else:
            stop.worked()
        position += 1
        if position == len(todo):  # the chunk may have appended those of the next phase
            with db.reader() as conn:
                todo = ledger.pending(conn, run, include_failed=False)
                total = sum(ledger.counts(conn, run).values())
            position = 0
    progress(job.kind, total, total)
    return _close(job, db, run, stop, errors, started)


def _open_or_resume(job: Job, db: Database) -> Run | None:
    """The open run with these parameters, or a new one; None where there is nothing to do."""
    digest = params_hash(job.params)
    with db.begin() as conn:
        found = ledger.open_run(conn, job.kind, job.target)
        resumed = found if found is not None and found.params_hash == digest else None
        if resumed is not None:
            ledger.take_over(conn, resumed)
    if resumed is not None:
        _append_new(job, db, resumed)
        return resumed
    keys = _plan(job, db)
    with db.begin() as conn:
        if found is not None:
            job.abandon(conn, found)
            ledger.close(conn, found, "abandoned", "run again with other parameters")
        if not keys:
            return None
        run = ledger.start_run(conn, job.kind, job.target, to_dict(job.params), digest, keys)
        ledger.add_rows(conn, run, job.begin(conn, run))
        return run


def _append_new(job: Job, db: Database, run: Run) -> None:
    """Chunks for what came since the run began, so that one that failed does not hold it up."""
    if job.ordered:
        return
    with db.reader() as conn:
        if ledger.pending(conn, run, include_failed=False):
            return
        known = ledger.chunk_keys(conn, run)
    new = [key for key in _plan(job, db) if key not in known]
    if new:
        with db.begin() as conn:
            ledger.append_chunks(conn, run, new)


def _plan(job: Job, db: Database) -> Sequence[str]:
    """The chunks of a job; input that cannot be used is recorded before the run ends."""
    try:
        with db.reader() as conn:
            return job.plan(conn)
    except BadInputError as exc:
        with db.begin() as conn:
            job.refuse(conn, exc)
        raise


def _do_chunk(
    job: Job, db: Database, run: Run, chunk: Chunk, check_lock: Callable[[], None]
) -> str | None:
    """Compute and write one chunk; returns the reason if it failed."""
    started = time.monotonic()
    try:
        with db.reader() as conn:
            batch = job.compute(conn, chunk.key)
        check_lock()
        for attempt in range(1, WRITE_ATTEMPTS + 1):
            try:
                with db.begin() as conn:
                    rows = job.write(conn, run, batch)
                    ledger.mark_done(conn, run, chunk, rows, time.monotonic() - started)
                return None
            except OperationalError as exc:
                state = getattr(exc.orig, "sqlstate", None)
                if state not in _RETRY_STATES or attempt == WRITE_ATTEMPTS:
                    raise
                time.sleep(random.uniform(0, 0.05 * 2**attempt))
    except (ChunkFailed, BadInputError) as exc:
        with db.begin() as conn:
            if isinstance(exc, BadInputError):
                job.refuse(conn, exc)
            ledger.mark_failed(conn, run, chunk, str(exc), time.monotonic() - started)
        return str(exc)
    return None


def _close(
    job: Job, db: Database, run: Run, stop: StopFlag, errors: list[str], started: float
) -> RunSummary:
    """Publish and close, pause, or leave the failed chunks for `retry`."""
    refusal: BadInputError | None = None
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
        stop.signal if state == "paused" else None, tuple(errors), {"resumed": run.resumed},
    )  # fmt: skip
