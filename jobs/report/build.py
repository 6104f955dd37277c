"""Make a report: draw, write, and put the folder in its place when it is whole."""

from __future__ import annotations

import fcntl
import filecmp
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import sqlalchemy as sa

from catalog.errors import UsageError, cannot_write
from catalog.files.opening import open_input
from catalog.version import code_version
from jobs.engine.job import Progress, silent
from jobs.report.drawing import Drawing, Missing, Section, Subject
from jobs.report.facts import count_tables
from jobs.report.origin import citations, simulated_words
from jobs.report.page import GENERATOR, Content, Part, make_item, render_figure, render_page
from jobs.report.result import read_result
from jobs.report.sources import source_tables

#: The parts of the page: anchor, heading, and the modules that draw its figures, in order.
PARTS = (
    ("sample", "The sample", ("sky", "distributions", "offsets", "differences")),
    ("figures-spectra", "The spectra", ("continua", "spectra")),
    ("training", "The models and their training", ("training", "scaled_labels", "dependence")),
    ("agreement", "Agreement with the reference", ("agreement", "flagged", "learning")),
)
Parts = Sequence[tuple[str, str, Sequence[str]]]
PAGE, FIGURES = "index.html", "figures"


@dataclass(frozen=True)
class ReportSummary:
    """The page, the names of its figures and of those that are missing, and whether it is new."""

    page: Path
    figures: tuple[str, ...]
    missing: tuple[str, ...]
    is_new: bool


def write_report(
    conn: sa.Connection,
    subject: Subject,
    out: Path,
    progress: Progress = silent,
    parts: Parts = PARTS,
) -> ReportSummary:
    """Write the page and its figures to a folder; the same catalog always gives the same bytes.

    All is written to a folder beside it first. An older report is replaced when the new one is
    whole and other than it; until then, and whatever fails, it stays.

    Parameters
    ----------
    conn : Connection
        A repeatable-read transaction (``Database.reader``): all numbers are of one moment.
    subject : Subject
        From `jobs.report.subject.find_subject`.
    out : Path
        The folder: a new or empty one, or that of an older report.
    progress : callable, optional
        Told what is drawn, how many parts are done, and of how many.
    parts : sequence
        As `PARTS`: what is drawn.

    Raises
    ------
    UsageError
        If the folder holds anything else, or cannot be written.
    SourceUnavailableError
        If the disk is full.
    """
    out = out.resolve()
    check_folder(out)
    try:
        with scratch_folder(out) as scratch:
            new = scratch / "report"
            (new / FIGURES).mkdir(parents=True)
            summary = _write(conn, subject, new, progress, parts)
            is_new = not _same_files(new, out)
            if is_new:
                _swap(new, out, scratch / "old")
    except OSError as exc:
        raise cannot_write(f"the report {out}", exc) from exc
    return ReportSummary(out / PAGE, *summary, is_new)


def check_folder(out: Path) -> None:
    """Refuse to replace anything but a report.

    Raises
    ------
    UsageError
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"{out} is there and no folder", "Name a folder for the report")
    entries = {path.name for path in out.iterdir()}
    page = out / PAGE
    ours = False
    if page.is_file():
        with open_input(page) as stream:
            ours = f'content="{GENERATOR}"'.encode() in stream.read(2000)
    figures = out / FIGURES
    drawn = list(figures.iterdir()) if figures.is_dir() else []
    if entries and not (
        ours and entries <= {PAGE, FIGURES} and all(p.suffix in (".png", ".pdf") for p in drawn)
    ):
        raise UsageError(
            f"{out} holds other things than a report",
            "Name a new folder: it is replaced as a whole",
        )


def _same_files(one: Path, other: Path) -> bool:
    """Return True where two folders hold the same files with the same content."""
    names = {path.relative_to(one) for path in one.rglob("*") if path.is_file()}
    if names != {path.relative_to(other) for path in other.rglob("*") if path.is_file()}:
        return False
    return all(filecmp.cmp(one / name, other / name, shallow=False) for name in names)


def _swap(new: Path, out: Path, old: Path) -> None:
    """Put the new folder in the place of the old one, which comes back if that fails."""
    if not out.exists():
        new.rename(out)
        return
    out.rename(old)
    try:
        new.rename(out)
    except OSError:
        old.rename(out)
        raise


def _write(
    conn: sa.Connection,
    subject: Subject,
    folder: Path,
    progress: Progress,
    parts: Parts,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Draw all parts and write page and figures; names of the figures, and of those missing."""
    simulated = simulated_words(conn, subject)
    drawn: list[str] = []
    missing: list[str] = []
    made = []
    total = sum(len(modules) for _, _, modules in parts)
    done = 0
    for anchor, heading, modules in parts:
        items = []
        for name in modules:
            progress(f"report, {heading.lower()}: parts", done, total)
            section: Section = import_module(f"jobs.report.figures.{name}")
            for found in section.draw(conn, subject):
                png = _write_figure(found, folder / FIGURES, simulated)
                items.append(make_item(found, png))
                (missing if isinstance(found, Missing) else drawn).append(found.name)
            done += 1
        made.append(Part(anchor, heading, tuple(items)))
    content = Content(
        subject=subject,
        simulated=simulated,
        result=read_result(conn, subject),
        counts=count_tables(conn, subject),
        parts=made,
        sources=source_tables(conn, subject),
        cite=citations(subject, code_version(), simulated=simulated),
        version=code_version(),
    )
    (folder / PAGE).write_text(render_page(content), encoding="utf-8")
    return tuple(drawn), tuple(missing)


def _write_figure(found: Drawing | Missing, folder: Path, simulated: str) -> bytes:
    """Write the files of a figure; the PNG's bytes."""
    if isinstance(found, Missing):
        return b""
    stamp = f"Simulated data: {simulated}" if simulated else ""
    png = render_figure(found, "png", stamp)
    (folder / f"{found.name}.png").write_bytes(png)
    (folder / f"{found.name}.pdf").write_bytes(render_figure(found, "pdf", stamp))
    found.figure.clear()  # its arrays are not needed any more
    return png


@contextmanager
def scratch_folder(out: Path) -> Iterator[Path]:
    """Make a folder beside ``out`` that is gone at the end, and clear those without a process.

    Raises
    ------
    OSError
        If the system does not allow that.
    """
    prefix = f".{out.name}.part-"
    for left in out.parent.glob(f"{glob.escape(prefix)}*"):
        handle = _lock(left)
        if handle is not None:
            shutil.rmtree(left, ignore_errors=True)
            os.close(handle)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=prefix) as folder:
        handle = _lock(Path(folder))
        try:
            yield Path(folder)
        finally:
            if handle is not None:
                os.close(handle)


def _lock(folder: Path) -> int | None:
    """Lock a folder as long as this process lives; None where another holds it, or none can."""
    handle = None
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # some file systems have no locks
        if handle is not None:
            os.close(handle)
        return None
    return handle
