"""Refresh an export: nothing is written where the catalog is as it was, or gives the same bytes."""

from __future__ import annotations

import glob
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa

from catalog.export.comparison import comparison_selection
from catalog.export.query import query_selection
from catalog.export.selection import Selection
from catalog.store.db import Database
from catalog.store.people import people_sql
from catalog.words import count
from jobs.engine.job import RunSummary
from jobs.export.spectra import INDEX, export_spectra
from jobs.export.tables import export
from jobs.sync.current import made_from_digest
from jobs.sync.files import SeenFiles
from jobs.sync.rows import SPECTRA, Values

KIND = "export"
_LEDGER = ("job_run", "job_chunk", "job_progress")  # change with every run: always written


def refresh_export(
    db: Database, row: Values, seen: SeenFiles, *, dry_run: bool = False
) -> RunSummary:
    """Write an export again if the catalog changed since, or the file is not what was written.

    A file with other content takes the place of the old one when it is whole; one with the same
    content is left alone. Of a folder of spectra the index is looked at. ``notes`` has the files
    that are new.

    Raises
    ------
    UsageError
        If there is nothing of that name, or the file cannot be written.
    """
    path: Path = row["file"]
    is_folder = row["content"] == SPECTRA
    main = path / INDEX if is_folder else path
    with people_sql(db) if row["sql"] else db.reader() as conn:
        made_from = made_from_digest(conn, row)
        follows_ledger = any(t in (row["sql"] or row["content"]) for t in _LEDGER)
        if not follows_ledger and seen.are_current(main, made_from):
            return RunSummary(KIND, path.name, None, "idle")
        if dry_run:
            return RunSummary(KIND, path.name, None, "planned", chunks_left=1)
        with suppress(OSError):  # export says what is wrong
            path.parent.mkdir(parents=True, exist_ok=True)
        before = {p: _place_on_disk(p) for p in main.parent.glob(f"{glob.escape(main.name)}*")}
        if is_folder:
            spectra = export_spectra(conn, path, sample=row["sample"], recipe=row["recipe"])
            rows, written = spectra.n_spectra, spectra.n_written
            paths: tuple[Path, ...] = (main,)
        else:
            options = {"recipe": row["recipe"], "safe_cells": row["safe_cells"]}
            summary = export(conn, _what(conn, row), path, **options)
            rows, written, paths = summary.n_rows, 0, summary.paths
    seen.note_written(paths, made_from)
    new = [str(p) for p in paths if before.get(p) != _place_on_disk(p)]
    notes = {
        "files": new,
        "rows": rows,
        "note": f"{count(written, 'spectrum')} new" if written else "",
    }
    return RunSummary(KIND, path.name, None, "succeeded" if new or written else "idle", notes=notes)


def _what(conn: sa.Connection, row: Values) -> str | Selection:
    """The content of an export."""
    if row["sql"]:
        return query_selection(conn, row["sql"], timeout_s=row["timeout"])
    if row["against"]:
        return comparison_selection(conn, row["content"], row["against"], row["sample"])
    return str(row["content"])


def _place_on_disk(path: Path) -> tuple[int, int]:
    """Return the identity of a file on disk, which differs for a file that took its place."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns
