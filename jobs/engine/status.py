"""List runs as the ledger has them, and tell by their locks which are alive."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from catalog.store.db import is_locked
from jobs.engine.runner import lock_name


def runs_with_life(conn: sa.Connection, last: int) -> list[dict[str, Any]]:
    """Open runs and the newest closed ones, oldest first.

    A run that the ledger calls running but whose lock nobody holds has lost its process; its state
    is given as ``interrupted``. Each run has ``errors``: of the run, or of its failed chunks.
    """
    query = sa.text(
        "SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY state IN "
        "('running', 'paused', 'failed') ORDER BY run_id DESC) AS age FROM job_progress) r "
        "WHERE state IN ('running', 'paused', 'failed') OR age <= :last ORDER BY run_id"
    )
    runs = []
    for row in conn.execute(query, {"last": last}).mappings().all():
        run = {k: v for k, v in row.items() if k != "age"}
        if run["state"] == "running" and not is_locked(conn, lock_name(run["kind"], run["target"])):
            run["state"] = "interrupted"
        run["errors"] = _errors(conn, run)
        runs.append(run)
    return runs


def count_closed(conn: sa.Connection) -> int:
    """Return the number of closed runs in the ledger."""
    query = "SELECT count(*) FROM job_run WHERE state NOT IN ('running', 'paused', 'failed')"
    return conn.scalar(sa.text(query)) or 0


def _errors(conn: sa.Connection, run: dict[str, Any]) -> list[str]:
    """Return the first few reasons why a run or its chunks failed."""
    query = sa.text(
        "SELECT chunk_key || ': ' || error FROM job_chunk "
        "WHERE run_id = :r AND state = 'failed' ORDER BY ordinal LIMIT 5"
    )
    of_chunks = [text for (text,) in conn.execute(query, {"r": run["run_id"]})]
    return of_chunks or ([run["error"]] if run["error"] else [])
