"""Digest the state of the catalog that an export or report is made from, as the ledger tells.

All that writes into the catalog does so in a run that counts the rows it changed; what is imported
or removed by hand shows in the number of label sets, samples, models and evaluations, and what is
refused in the quarantine.
"""

from __future__ import annotations

import sqlalchemy as sa

from catalog.version import code_version
from jobs.engine.params import digest
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


def made_from_digest(conn: sa.Connection, row: Values) -> str:
    """Return a digest of what an export or report is made from: its configuration and the catalog.

    It changes whenever rows of the catalog do; the ledger itself is left out.
    """
    state = digest([code_version(), list(conn.scalar(_STATE) or ())])
    return digest([{name: str(value) for name, value in row.items()}, state])
