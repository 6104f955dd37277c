"""Remove what years of scheduled runs leave behind and nobody needs: see `prune_catalog`."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from catalog.errors import LockedError
from catalog.store.db import Database
from catalog.store.labels import LabelSet, list_label_sets
from catalog.store.removal import count_evaluations, rests_on
from jobs.training.remove import remove_label_set

# Closed runs, save the newest of each job and target (with which the next run compares itself, and
# from which samples tell what they rest on), and those that editions and models came from.
_OLD_RUNS = """
    SELECT r.run_id FROM job_run r
    WHERE r.state IN ('succeeded', 'abandoned')
      AND coalesce(r.finished_at, r.started_at) < now() - make_interval(days => :days)
      AND NOT EXISTS (SELECT FROM label_set l WHERE l.run_id = r.run_id
                      AND NOT l.label_set_id = ANY(:gone))
      AND NOT EXISTS (SELECT FROM model m WHERE m.run_id = r.run_id)
      AND EXISTS (SELECT FROM job_run n WHERE n.kind = r.kind AND n.target = r.target
                  AND n.state = 'succeeded' AND n.run_id > r.run_id)"""
# Refusals of files from which nothing is in the catalog, and in whose place another has come.
_OLD_REFUSALS = """
    FROM quarantine q USING input_file f
    WHERE q.input_file_id = f.input_file_id
      AND q.first_seen < now() - make_interval(days => :days)
      AND NOT EXISTS (SELECT FROM label_set_file x WHERE x.input_file_id = f.input_file_id)
      AND NOT EXISTS (SELECT FROM spectrum_blob b WHERE b.input_file_id = f.input_file_id)
      AND EXISTS (SELECT FROM input_file n WHERE n.path = f.path AND n.kind = f.kind
                  AND n.input_file_id > f.input_file_id)"""


@dataclass(frozen=True)
class Pruned:
    """Numbers of the things that were removed, or would be.

    Attributes
    ----------
    runs, refusals : int
        Rows of the ledger and of the quarantine.
    editions : tuple of str
        Editions of label sets.
    """

    runs: int
    refusals: int
    editions: tuple[str, ...]


def prune_catalog(db: Database, days: int, *, dry_run: bool = False) -> Pruned:
    """Remove what is older than some days and nothing needs.

    - Editions of label sets that a newer edition has replaced, and on which no model, sample or
      stored evaluation rests. The newest edition of every set stays, and so do out-of-fold labels,
      which belong to their model.
    - Rows of the quarantine about files that were replaced.
    - Closed runs of the ledger, save the newest of each job and target and those that made what is
      there. Open runs stay, however old.

    Parameters
    ----------
    db : Database
    days : int
        What is younger stays.
    dry_run : bool
        Only count.

    Raises
    ------
    LockedError
        If a run is making editions of a set that is to be pruned.
    """
    with db.reader() as conn:
        editions = _old_editions(conn, days)
        gone = [edition.label_set_id for edition in editions]
        runs, refusals = _count(conn, days, gone)
    old = [edition.full_name for edition in editions]
    if dry_run:
        return Pruned(runs, refusals, tuple(old))
    busy = []
    for name in old:
        try:
            remove_label_set(db, name)
        except LockedError:
            busy.append(name)
    with db.begin() as conn:
        refusals = conn.execute(sa.text(f"DELETE {_OLD_REFUSALS}"), {"days": days}).rowcount
        runs = conn.execute(
            sa.text(f"DELETE FROM job_run WHERE run_id IN ({_OLD_RUNS})"),
            {"days": days, "gone": []},
        ).rowcount
    return Pruned(runs, refusals, tuple(name for name in old if name not in busy))


def _old_editions(conn: sa.Connection, days: int) -> list[LabelSet]:
    """Return replaced editions on which nothing rests, the oldest of each set first."""
    newest = {edition.name: edition.edition for edition in list_label_sets(conn)}
    query = """
        SELECT label_set_id FROM label_set WHERE status = 'complete' AND kind <> 'out_of_fold'
        AND published_at < now() - make_interval(days => :days)"""
    old = set(conn.scalars(sa.text(query), {"days": days}))
    found = [
        edition
        for edition in list_label_sets(conn, all_editions=True)
        if edition.label_set_id in old
        and edition.edition < newest[edition.name]
        and not rests_on(conn, edition)
        and not count_evaluations(conn, edition)
    ]
    return sorted(found, key=lambda edition: (edition.name, edition.edition))


def _count(conn: sa.Connection, days: int, gone: list[int]) -> tuple[int, int]:
    """Return the numbers of runs and of refusals that are to go, once some editions are gone."""
    query = sa.text(f"SELECT count(*) FROM ({_OLD_RUNS}) x")
    runs = conn.scalar(query, {"days": days, "gone": gone})
    rows = _OLD_REFUSALS.replace(" USING ", ", ", 1)
    refusals = conn.scalar(sa.text(f"SELECT count(*) {rows}"), {"days": days})
    return runs or 0, refusals or 0
