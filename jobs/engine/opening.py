"""Open a run, or go on with one: what was planned before, and what came meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from catalog.errors import BadInputError, UnexpectedError
from catalog.store.db import Database
from jobs.engine import ledger
from jobs.engine.job import Job
from jobs.engine.ledger import Run
from jobs.engine.params import params_hash, to_dict


def open_or_resume(job: Job, db: Database) -> Run | None:
    """Return the open run with these parameters, or a new one; None where nothing is to be done."""
    digest = params_hash(job.params)
    with db.begin() as conn:
        found = ledger.open_run(conn, job.kind, job.target)
        resumed = found if found is not None and found.params_hash == digest else None
        if resumed is not None:
            ledger.take_over(conn, resumed)
        has_begun = resumed is not None and bool(ledger.chunk_keys(conn, resumed))
    if resumed is not None and has_begun:
        _append_new(job, db, resumed)
        return resumed
    keys = _plan(job, db)
    with db.begin() as conn:
        if found is not None and (resumed is None or not keys):
            job.abandon(conn, found)
            said = "run again with other parameters" if resumed is None else "nothing is to be done"
            ledger.close(conn, found, "abandoned", said)
        if not keys:
            return None
        if resumed is None:
            run = ledger.start_run(conn, job.kind, job.target, to_dict(job.params), digest, keys)
        else:  # its plan or its beginning failed
            run = resumed
            ledger.append_chunks(conn, run, keys)
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
    """Return the chunks of a job; input that cannot be used is recorded before the run ends."""
    try:
        with db.reader() as conn:
            return job.plan(conn)
    except BadInputError as exc:
        with db.begin() as conn:
            job.refuse(conn, exc)
        raise


def record_defect(job: Job, db: Database, defect: UnexpectedError) -> None:
    """Mark the run as failed that a plan, a beginning or a publication ended.

    Where none was open yet, one without chunks is entered: `retry` plans and begins it again.
    """
    digest = params_hash(job.params)
    with db.begin() as conn:
        run = ledger.open_run(conn, job.kind, job.target)
        if run is None:
            run = ledger.start_run(conn, job.kind, job.target, to_dict(job.params), digest, ())
        if run.params_hash == digest:
            ledger.close(conn, run, "failed", str(defect))
