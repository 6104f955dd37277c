"""Refresh an export: nothing is written where the catalog is as it was, or gives the same bytes."""

from __future__ import annotations

import glob
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa

from catalog.files.comparison import comparison_selection
from catalog.files.export import Selection
from catalog.files.query import query_selection
from catalog.store.db import Database
from jobs.engine.job import RunSummary
from jobs.engine.params import digest
from jobs.export_catalog import export
from jobs.sync.config import Values
from jobs.sync.current import catalog_state
from jobs.sync.files import SeenFiles

KIND = "export"
_LEDGER = ("job_run", "job_chunk", "job_progress")  # change with every run: always written


def refresh_export(
    db: Database, row: Values, seen: SeenFiles, *, dry_run: bool = False
) -> RunSummary:
    """Write an export again if the catalog changed since, or the file is not what was written.

    A file with other content takes the place of the old one when it is whole; one with the same
    content is left alone. ``notes`` has the files that are new.

    Raises
    ------
    UsageError
        If there is nothing of that name, or the file cannot be written.
    """
    path: Path = row["file"]
    with db.reader() as conn:
        made_from = digest([{k: str(v) for k, v in row.items()}, catalog_state(conn)])
        follows_ledger = any(t in (row["sql"] or row["content"]) for t in _LEDGER)
        if not follows_ledger and seen.are_current(path, made_from):
            return RunSummary(KIND, path.name, None, "idle")
        if dry_run:
            return RunSummary(KIND, path.name, None, "planned", chunks_left=1)
        with suppress(OSError):  # export says what is wrong
            path.parent.mkdir(parents=True, exist_ok=True)
        before = {p: _place_on_disk(p) for p in path.parent.glob(f"{glob.escape(path.name)}*")}
        summary = export(
            conn, _what(conn, row), path, recipe=row["recipe"], safe_cells=row["safe_cells"]
        )
    seen.note_written(summary.paths, made_from)
    new = [str(p) for p in summary.paths if before.get(p) != _place_on_disk(p)]
    state = "succeeded" if new else "idle"
    return RunSummary(KIND, path.name, None, state, notes={"files": new, "rows": summary.n_rows})


def _what(conn: sa.Connection, row: Values) -> str | Selection:
    """The content of an export."""
    if row["sql"]:
        return query_selection(conn, row["sql"], timeout_s=row["timeout"])
    if row["against"]:
        return comparison_selection(conn, row["content"], row["against"], row["sample"])
    return str(row["content"])


def _place_on_disk(path: Path) -> tuple[int, int]:
    """What differs between a file and one that took its place."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns
