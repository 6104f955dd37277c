"""Make a report: find what it is about, draw, and put the folder in its place when it is whole."""

from __future__ import annotations

import filecmp
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.store.labels import find_label_set
from catalog.store.samples import Sample, find_sample, list_samples
from catalog.version import code_version
from jobs.engine.job import Progress, silent
from jobs.list_models import list_models
from jobs.model_rows import find_model
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


def find_subject(
    conn: sa.Connection,
    sample: str | None = None,
    reference: str | None = None,
    models: Sequence[str] = (),
    seed: int = 0,
) -> Subject:
    """Find what a report is about.

    Parameters
    ----------
    conn : Connection
        Open connection.
    sample : str, optional
        The newest sample on which a model was trained, or the newest of all, if not given.
    reference : str, optional
        Label set to compare with; that of the sample, if not given.
    models : sequence of str
        Models trained on the sample; all of them, in their newest editions, if not given.
    seed : int
        Of everything random.

    Raises
    ------
    UsageError
        If there is no such thing, or a model was trained on another sample.
    """
    chosen = _newest_sample(conn) if sample is None else find_sample(conn, sample)
    labels = (chosen.counts or {}).get("labels") or {}
    named = reference or labels.get("reference") or chosen.params["reference_labels"]
    compared = labels.get("compared")
    found = find_label_set(conn, named).full_name
    return Subject(
        sample=chosen.name,
        reference=found,
        compared=compared if compared and compared != found else None,
        models=_models(conn, chosen, models),
        seed=seed,
    )


def _newest_sample(conn: sa.Connection) -> Sample:
    """The newest sample on which a model was trained, or the newest of all."""
    samples = sorted(list_samples(conn), key=lambda s: (s.created_at, s.sample_id), reverse=True)
    if not samples:
        raise UsageError("there is no sample to report on", "Run: crosslabel sample create")
    used = {line.sample for line in list_models(conn)}
    return next((s for s in samples if s.name in used), samples[0])


def _models(conn: sa.Connection, sample: Sample, names: Sequence[str]) -> tuple[str, ...]:
    """The models of a sample with their editions: those named, or all."""
    lines = list_models(conn, all_editions=bool(names))
    mine = [line.full_name for line in lines if line.sample == sample.name]
    if not names:
        return tuple(mine)
    wanted = []
    for name in names:
        found = find_model(conn, name)
        full_name = f"{found.name}@{found.edition}"
        if full_name not in mine:
            raise UsageError(
                f"the model {full_name} was not trained on the sample {sample.name}",
                f"Models of this sample: {', '.join(mine) or 'none; run crosslabel train'}",
            )
        wanted.append(full_name)
    return tuple(dict.fromkeys(wanted))


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
        From `find_subject`.
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
    """
    out = out.resolve()
    check_folder(out)
    try:
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.part-") as scratch:
            new = Path(scratch) / "report"
            (new / FIGURES).mkdir(parents=True)
            summary = _write(conn, subject, new, progress, parts)
            is_new = not _same_files(new, out)
            if is_new:
                _swap(new, out, Path(scratch) / "old")
    except OSError as exc:
        raise UsageError(
            f"the report cannot be written to {out}: {exc.strerror or exc}",
            "Is the folder above it there, writable, and is there space?",
        ) from exc
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
    ours = page.is_file() and f'content="{GENERATOR}"'.encode() in page.read_bytes()[:2000]
    figures = out / FIGURES
    held = list(figures.iterdir()) if figures.is_dir() else []
    if entries and not (
        ours and entries <= {PAGE, FIGURES} and all(p.suffix in (".png", ".pdf") for p in held)
    ):
        raise UsageError(
            f"{out} holds other things than a report",
            "Name a new folder: it is replaced as a whole",
        )


def _same_files(one: Path, other: Path) -> bool:
    """Whether two folders hold the same files with the same content."""
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
            progress(f"report: {heading.lower()}", done, total)
            section: Section = import_module(f"jobs.report.{name}")
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
