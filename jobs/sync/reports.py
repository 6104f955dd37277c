"""Refresh a report: drawn again where the catalog changed, put into its place where it is other."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from catalog.store.db import Database
from jobs.engine.job import RunSummary
from jobs.engine.signals import stopped_by
from jobs.sync.current import made_from_digest
from jobs.sync.files import SeenFiles
from jobs.sync.rows import Values

KIND = "report"


class _StoppedError(Exception):
    """A signal came, or the time is up."""


def refresh_report(
    db: Database, row: Values, seen: SeenFiles, *, dry_run: bool = False
) -> RunSummary:
    """Write a report again if the catalog changed since, or its files are not what was written.

    One with the same content is left alone. ``notes`` has the page where it is new. Where a sync
    is to stop, the report is given up: the older one stays, and the next sync draws it anew.

    Raises
    ------
    UsageError
        If the catalog has nothing to report on, or the folder cannot be written.
    """
    folder: Path = row["folder"]
    with db.reader() as conn:
        made_from = made_from_digest(conn, row)
        page = folder.resolve() / "index.html"
        if seen.are_current(page, made_from):
            return RunSummary(KIND, folder.name, None, "idle")
        if dry_run:
            return RunSummary(KIND, folder.name, None, "planned", chunks_left=1)
        from jobs.report.build import write_report  # slow to load
        from jobs.report.subject import find_subject

        with suppress(OSError):  # the report says what is wrong
            folder.parent.mkdir(parents=True, exist_ok=True)
        subject = find_subject(conn, row["sample"], row["reference"], row["models"], row["seed"])
        try:
            made = write_report(conn, subject, folder, _go_on)
        except _StoppedError:
            return RunSummary(KIND, folder.name, None, "paused", stopped_by=stopped_by())
    seen.note_written([path for path in page.parent.rglob("*") if path.is_file()], made_from)
    missing = f"without {', '.join(made.missing)}" if made.missing else ""
    notes = {"files": [str(made.page)] if made.is_new else [], "note": missing}
    return RunSummary(KIND, folder.name, None, "succeeded" if made.is_new else "idle", notes=notes)


def _go_on(what: str, done: int, total: int) -> None:
    """Between the parts of a report: go on, unless the sync is to stop."""
    if stopped_by() is not None:
        raise _StoppedError
