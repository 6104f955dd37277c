"""Run a job chunk by chunk: the rows of a chunk and its mark commit in one transaction."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from catalog.errors import BadInputError, ChunkFailed, ExitCode, SourceUnavailableError
from catalog.store.db import Database, advisory_lock, require_schema_at_head
from jobs.engine import ledger
from jobs.engine.ledger import Chunk, Run
from jobs.engine.params import params_hash, to_dict
from jobs.engine.signals import StopFlag, stop_on_signals

WRITE_ATTEMPTS = 5
_RETRY_STATES = ("40001", "40P01")  # serialization failure, deadlock


def _nothing() -> None:
    """A job that holds nothing open."""


def _no_record(conn: sa.Connection, exc: BadInputError) -> None:
    """A job whose bad input needs no record beside the ledger's."""


def _no_rows(conn: sa.Connection, run: Run) -> int:
    """A phase of a job that has nothing to write."""
    return 0


@dataclass(frozen=True)
class Job:
    """What a job does, as callables; they share what they need through closures.

    Attributes
    ----------
    kind, target : str
        Name of the job, and what it writes: the lock is on the target.
    params : dataclass
        Frozen; stored with the run and hashed (see `jobs.engine.params`).
    plan : callable
        ``plan(conn) -> chunk keys``, on a read-only connection. Empty: nothing to do.
    compute : callable
        ``compute(conn, key) -> batch``: slow, reads only; no write transaction is open.
    write : callable
        ``write(conn, run, batch) -> rows written``: fast, in the transaction of the mark.
    begin, finish : callable
        ``begin(conn, run)`` in the transaction that opens the run, ``finish(conn, run)`` in the
        one that closes it as succeeded (publish here); both return rows written. ``finish`` may
        raise `BadInputError`: the run then ends as failed and nothing is published.
    abandon : callable
        ``abandon(conn, run)``: take away what an abandoned run left unpublished.
    refuse : callable
        ``refuse(conn, exc)``: record input that ``plan`` or ``compute`` could not use.
    close : callable
        ``close()``: give back what the job holds open, such as files; called once, at the end.
    ordered : bool
        Whether later chunks build on earlier ones: a failed chunk then ends the run.
    """

    kind: str
    target: str
    params: Any
    plan: Callable[[sa.Connection], Sequence[str]]
    compute: Callable[[sa.Connection, str], Any]
    write: Callable[[sa.Connection, Run, Any], int]
    begin: Callable[[sa.Connection, Run], int] = _no_rows
    finish: Callable[[sa.Connection, Run], int] = _no_rows
    abandon: Callable[[sa.Connection, Run], int] = _no_rows
    refuse: Callable[[sa.Connection, BadInputError], None] = _no_record
    close: Callable[[], None] = _nothing
    ordered: bool = False


@dataclass(frozen=True)
class RunSummary:
    """How a run ended."""

    kind: str
    target: str
    run_id: int | None  # None: nothing to do, or a dry run
    state: str  # succeeded, failed, paused, idle (nothing to do) or planned (dry run)
    rows_written: int = 0
    chunks_done: int = 0
    chunks_failed: int = 0
    chunks_left: int = 0
    elapsed_s: float = 0.0
    stopped_by: int | None = None  # the signal that paused it
    errors: tuple[str, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """The exit code of the command that ran it."""
        if self.state == "paused":
            return 128 + (self.stopped_by or signal.SIGTERM)
        return ExitCode.FAILED if self.state == "failed" else ExitCode.OK


Progress = Callable[[str, int, int], None]  # (job, chunks done, chunks in all)


def _silent(job: str, done: int, total: int) -> None:
    """No progress bar."""


def lock_name(kind: str, target: str) -> str:
    """The name of the lock that a living run holds."""
    return f"{kind} {target}"


def run_job(
    job: Job,
    db: Database,
    *,
    retry_failed: bool = False,
    dry_run: bool = False,
    progress: Progress = _silent,
) -> RunSummary:
    """Do, or go on with, a job; see the module's head and docs/operations.md.

    An open run with the same parameters is resumed, one with others is abandoned. After a resumed
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
    try:
        require_schema_at_head(db)
        if dry_run:
            with db.reader() as conn:
                keys = job.plan(conn)
            return RunSummary(job.kind, job.target, None, "planned", chunks_left=len(keys))
        return _run_locked(job, db, retry_failed, progress)
    except OperationalError as exc:
        raise SourceUnavailableError(
            f"the database gave up on {job.kind} {job.target}: {str(exc.orig).strip()}",
            "Nothing of the open chunk was written; run: crosslabel resume",
        ) from exc
    finally:
        job.close()


def _run_locked(job: Job, db: Database, retry_failed: bool, progress: Progress) -> RunSummary:
    """Run a job while nobody else can write its target."""
    with advisory_lock(db, lock_name(job.kind, job.target)) as lock, stop_on_signals() as stop:
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
        total = sum(ledger.counts(conn, run).values())
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
        if found is not None and found.params_hash == digest:
            ledger.take_over(conn, found)
            return found
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
    if state_of["failed"]:
        state = "failed"
    elif state_of["pending"]:
        state = "paused"
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
