"""Tell whether a sample, selected again, would be what it is, as the ledger and its counts tell."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from catalog.version import code_version
from jobs.engine.params import params_hash

# The last time that the sample was selected by these rules, and whatever could change it since.
_SAMPLE = sa.text(
    """
WITH made AS (
    SELECT run_id, started_at FROM job_run
    WHERE kind = 'sample' AND target = :name AND state = 'succeeded'
      AND params_hash = :params_hash AND code_version = :code_version
    ORDER BY run_id DESC LIMIT 1)
SELECT EXISTS (SELECT FROM made)
   AND EXISTS (SELECT FROM sample WHERE name = :name)
   AND NOT EXISTS (
    SELECT FROM job_run r, made WHERE r.rows_written > 0 AND r.run_id <> made.run_id
      AND (r.kind LIKE 'ingest %' OR r.kind IN ('crossmatch', 'fetch positions')
           OR r.kind = 'sample' AND r.target = :name)
      AND coalesce(r.finished_at, now()) >= made.started_at)
   AND NOT EXISTS (
    SELECT FROM label_set l, made WHERE l.name = ANY(:label_sets) AND l.status = 'complete'
      AND l.published_at >= made.started_at)"""
)


def sample_is_current(conn: sa.Connection, params: Any, label_sets: dict[str, str | None]) -> bool:
    """Return True if nothing that a sample is selected from has changed since it was.

    Parameters
    ----------
    params : SampleParams
        As the sample is to be selected.
    label_sets : dict
        ``reference`` and ``compared``: the editions that it would be selected by.
    """
    bare = [name.partition("@")[0] for name in (params.reference_labels, params.compared_labels)]
    given = {
        "name": params.name, "params_hash": params_hash(params), "code_version": code_version(),
        "label_sets": bare,
    }  # fmt: skip
    if not conn.scalar(_SAMPLE, given):
        return False
    query = sa.text("SELECT counts -> 'labels' FROM sample WHERE name = :name")
    return bool(conn.scalar(query, {"name": params.name}) == label_sets)  # none was removed
