"""One chunk: its rows and its mark commit together; what goes wrong in it becomes its reason."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import psycopg
import sqlalchemy as sa

from catalog.errors import NO_ROOM, USED_UP, BadInputError, ChunkFailed, CrosslabelError
from catalog.store.db import Database
from catalog.store.server_errors import sqlstate
from jobs.engine import ledger
from jobs.engine.defects import known_error, note_defect
from jobs.engine.job import Job
from jobs.engine.ledger import Chunk, Run

WRITE_ATTEMPTS = 5
_RETRY_STATES = ("40001", "40P01")  # serialization failure, deadlock


def do_chunk(
    job: Job, db: Database, run: Run, chunk: Chunk, check_lock: Callable[[], None]
) -> CrosslabelError | None:
    """Compute and write one chunk; return why it failed, if it did."""
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
            except (sa.exc.DBAPIError, psycopg.Error) as exc:
                if sqlstate(exc) not in _RETRY_STATES or attempt == WRITE_ATTEMPTS:
                    raise
                time.sleep(random.uniform(0, 0.05 * 2**attempt))
    except Exception as exc:
        failure = _failure_of_chunk(exc, f"{job.kind} {job.target}: {chunk.key}")
        with db.begin() as conn:
            if isinstance(failure, BadInputError):
                job.refuse(conn, failure)
            ledger.mark_failed(conn, run, chunk, str(failure), time.monotonic() - started)
        return failure
    return None


def _failure_of_chunk(exc: Exception, where: str) -> CrosslabelError:
    """Return why a chunk failed; raise what ends the run, as no other chunk would fare better."""
    known = known_error(exc)
    if known is None:
        return note_defect(exc, where)
    is_of_chunk = isinstance(known, ChunkFailed | BadInputError)
    if is_of_chunk or (isinstance(exc, OSError) and exc.errno not in (*NO_ROOM, *USED_UP)):
        return known
    if known is exc:
        raise known
    raise known from exc
