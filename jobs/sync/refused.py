"""Files that a pattern catches by mistake: each is refused by name, and the others are ingested."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from catalog.errors import BadInputError, UsageError
from catalog.files.opening import require_file
from catalog.surveys.find import has_text_name, shown_name
from catalog.surveys.release import recognise
from jobs.engine.job import RunSummary

OTHER_RELEASE = "BAD_RELEASE"


def usable_files(
    files: Sequence[Path], kind: str, release: str, ingest: Callable[[list[Path]], RunSummary]
) -> RunSummary:
    """Ingest the files of a catalog that can be of it, and tell which were refused.

    Parameters
    ----------
    files : sequence of Path
        What the patterns of a source fit.
    kind, release : str
        Of the catalog; see `catalog.surveys.release.recognise`.
    ingest : callable
        ``ingest(files)``: raises `BadInputError` with `OTHER_RELEASE` where one of several is of
        another release, and has recorded that one then.

    Returns
    -------
    RunSummary
        With what was refused, and why, in ``notes["refused"]``.

    Raises
    ------
    BadInputError
        If no file is left.
    """
    wrong_of = {path: _wrong_entry(path) for path in files}
    refused = [wrong for wrong in wrong_of.values() if wrong is not None]
    left = [path for path, wrong in wrong_of.items() if wrong is None]
    if refused and not left:
        raise refused[0]
    while True:
        try:
            summary = ingest(left)
        except BadInputError as exc:
            wrong = exc.reason_code == OTHER_RELEASE and _first_wrong(left, kind, release)
            if not wrong or len(left) == 1:
                raise
            left.remove(wrong)
            refused.append(exc)
            continue
        if not refused:
            return summary
        said = tuple(f"[{exc.reason_code}] {exc.reason}" for exc in refused)
        return replace(summary, notes={**summary.notes, "refused": said})


def _wrong_entry(path: Path) -> BadInputError | None:
    """Return the error about a file whose name no table can hold, or that is none; else None."""
    if not has_text_name(path):
        return BadInputError(
            "BAD_NAME", f"the name of {shown_name(path)} is not UTF-8", "Rename it"
        )
    try:
        require_file(path)
    except UsageError as exc:
        return BadInputError("UNREADABLE", exc.reason, exc.todo)
    return None


def _first_wrong(files: Sequence[Path], kind: str, release: str) -> Path | None:
    """Return the first file that is of another release."""
    for path in files:
        try:
            recognise(path, kind).check(path, release)
        except BadInputError:
            return path
    return None
