"""Tell by the ledger whether the input of a sample changed since it was selected.

All that writes into the catalog does so in a run that counts the rows it changed; what is imported
or removed by hand shows in the number of label sets, samples, models and evaluations, and what is
refused in the quarantine.
"""

from __future__ import annotations

import sqlalchemy as sa

from catalog.version import code_version
from jobs.engine.params import digest, params_hash
from jobs.select_sample import SampleParams
from jobs.sync.rows import Values

_STATE = sa.text(
    """
SELECT (SELECT ARRAY[coalesce(sum(rows_written), 0)::bigint, coalesce(max(run_id), 0)]
        FROM job_run WHERE rows_written > 0)
    || (SELECT ARRAY[count(*), coalesce(max(label_set_id), 0)] FROM label_set
        WHERE status = 'complete')
    || (SELECT ARRAY[count(*), coalesce(max(model_id), 0)] FROM model WHERE status = 'complete')
    || (SELECT ARRAY[count(*), coalesce(max(sample_id), 0)] FROM sample)
    || (SELECT ARRAY[count(*), coalesce(max(evaluation_id), 0)] FROM evaluation)
    || (SELECT ARRAY[count(*), coalesce(sum(attempts), 0)::bigint] FROM quarantine)"""
)

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


def made_from_digest(conn: sa.Connection, row: Values) -> str:
    """A digest of what an export or report is made from: its configuration and the catalog.

    It changes whenever rows of the catalog do; the ledger itself is left out.
    """
    state = digest([code_version(), list(conn.scalar(_STATE) or ())])
    return digest([{name: str(value) for name, value in row.items()}, state])


def sample_is_current(conn: sa.Connection, params: SampleParams) -> bool:
    """Return True where a sample, selected again, would not change."""
    bare = [name.partition("@")[0] for name in (params.reference_labels, params.compared_labels)]
    given = {
        "name": params.name, "params_hash": params_hash(params), "code_version": code_version(),
        "label_sets": bare,
    }  # fmt: skip
    return bool(conn.scalar(_SAMPLE, given))
