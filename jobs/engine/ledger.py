"""The ledger: runs and chunks in the database, and the legal moves between their states.

No chunk is ever stored as "running": a chunk is pending, done or failed, and its rows and its mark
commit together. Whether a run is alive is told by its lock, which the server drops with the
process.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from catalog.errors import CrosslabelError
from catalog.store.schema import job_chunk, job_run
from catalog.version import code_version

OPEN = ("running", "paused", "failed")


@dataclass(frozen=True)
class Run:
    """One execution of a job with fixed parameters."""

    run_id: int
    kind: str
    target: str
    params: dict[str, Any]
    params_hash: str
    resumed: bool = False


@dataclass(frozen=True)
class Chunk:
    """One part of a run."""

    key: str
    ordinal: int


def open_run(conn: sa.Connection, kind: str, target: str) -> Run | None:
    """Return the run on ``target`` that has neither succeeded nor been abandoned."""
    row = conn.execute(
        sa.select(job_run).where(
            job_run.c.kind == kind, job_run.c.target == target, job_run.c.state.in_(OPEN)
        )
    ).first()
    return None if row is None else _run(row)


def open_runs(conn: sa.Connection) -> list[Run]:
    """Return all runs that can be resumed, oldest first."""
    query = sa.select(job_run).where(job_run.c.state.in_(OPEN)).order_by(job_run.c.run_id)
    return [_run(row) for row in conn.execute(query)]


def _run(row: sa.Row[Any]) -> Run:
    """Return a row of the ledger as a record."""
    return Run(row.run_id, row.kind, row.target, row.params, row.params_hash, resumed=True)


def start_run(
    conn: sa.Connection,
    kind: str,
    target: str,
    params: dict[str, Any],
    params_hash: str,
    chunks: Sequence[str],
) -> Run:
    """Enter a new run and all its chunks."""
    run_id = conn.execute(
        job_run.insert()
        .values(
            kind=kind, target=target, params=params, params_hash=params_hash, state="running",
            code_version=code_version(), host=socket.gethostname(), pid=os.getpid(),
        )
        .returning(job_run.c.run_id)
    ).scalar_one()  # fmt: skip
    if chunks:
        conn.execute(
            job_chunk.insert(),
            [{"run_id": run_id, "chunk_key": k, "ordinal": i} for i, k in enumerate(chunks)],
        )
    return Run(run_id, kind, target, params, params_hash)


def take_over(conn: sa.Connection, run: Run) -> None:
    """Mark that this process now works on a run that another one left."""
    _move(
        conn, run, OPEN, state="running", error=None, finished_at=None,
        host=socket.gethostname(), pid=os.getpid(),
    )  # fmt: skip


def pending(conn: sa.Connection, run: Run, *, include_failed: bool) -> list[Chunk]:
    """Return the chunks still to do, in order."""
    states = ("pending", "failed") if include_failed else ("pending",)
    query = (
        sa.select(job_chunk.c.chunk_key, job_chunk.c.ordinal)
        .where(job_chunk.c.run_id == run.run_id, job_chunk.c.state.in_(states))
        .order_by(job_chunk.c.ordinal)
    )
    return [Chunk(*row) for row in conn.execute(query)]


def counts(conn: sa.Connection, run: Run) -> dict[str, int]:
    """Return the number of chunks by state."""
    query = (
        sa.select(job_chunk.c.state, sa.func.count())
        .where(job_chunk.c.run_id == run.run_id)
        .group_by(job_chunk.c.state)
    )
    found: dict[str, int] = {row[0]: row[1] for row in conn.execute(query)}
    return {state: found.get(state, 0) for state in ("pending", "done", "failed")}


def chunk_keys(conn: sa.Connection, run: Run) -> set[str]:
    """Return the keys of all chunks of a run."""
    query = sa.select(job_chunk.c.chunk_key).where(job_chunk.c.run_id == run.run_id)
    return set(conn.scalars(query))


def append_chunks(conn: sa.Connection, run: Run, keys: Sequence[str]) -> None:
    """Add the chunks of the next phase, in the transaction that ends the one before."""
    last = conn.scalar(
        sa.select(sa.func.max(job_chunk.c.ordinal)).where(job_chunk.c.run_id == run.run_id)
    )
    first = 0 if last is None else last + 1
    conn.execute(
        job_chunk.insert(),
        [{"run_id": run.run_id, "chunk_key": k, "ordinal": first + i} for i, k in enumerate(keys)],
    )


def mark_done(conn: sa.Connection, run: Run, chunk: Chunk, rows: int, elapsed_s: float) -> None:
    """Mark a chunk done in the transaction that wrote its rows."""
    _mark(conn, run, chunk, state="done", rows_written=rows, elapsed_s=elapsed_s, error=None)
    add_rows(conn, run, rows)


def add_rows(conn: sa.Connection, run: Run, rows: int) -> None:
    """Count rows that the run wrote, in the transaction that wrote them."""
    conn.execute(
        job_run.update()
        .where(job_run.c.run_id == run.run_id)
        .values(rows_written=job_run.c.rows_written + rows, heartbeat_at=sa.func.now())
    )


def mark_failed(conn: sa.Connection, run: Run, chunk: Chunk, error: str, elapsed_s: float) -> None:
    """Mark that a chunk cannot be done."""
    _mark(conn, run, chunk, state="failed", error=error, elapsed_s=elapsed_s)


def _mark(conn: sa.Connection, run: Run, chunk: Chunk, **values: Any) -> None:
    """Move a chunk out of pending or failed; anything else means a second executor."""
    done = conn.execute(
        job_chunk.update()
        .where(
            job_chunk.c.run_id == run.run_id,
            job_chunk.c.chunk_key == chunk.key,
            job_chunk.c.state != "done",
        )
        .values(attempts=job_chunk.c.attempts + 1, finished_at=sa.func.now(), **values)
    )
    if done.rowcount != 1:
        raise CrosslabelError(
            f"chunk {chunk.key} of run {run.run_id} is done already: another process works on it"
        )


def close(conn: sa.Connection, run: Run, state: str, error: str | None = None) -> None:
    """End a run, or leave it to be resumed: succeeded, failed, paused or abandoned."""
    finished = None if state == "paused" else sa.func.now()
    _move(conn, run, OPEN, state=state, error=error, finished_at=finished)


def _move(conn: sa.Connection, run: Run, legal: tuple[str, ...], **values: Any) -> None:
    """Change a run's state; raise if it is in none of the legal ones."""
    done = conn.execute(
        job_run.update()
        .where(job_run.c.run_id == run.run_id, job_run.c.state.in_(legal))
        .values(heartbeat_at=sa.func.now(), **values)
    )
    if done.rowcount != 1:
        raise CrosslabelError(f"run {run.run_id} is closed and cannot become {values['state']}")
