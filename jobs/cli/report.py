"""The command report: a page with figures and tables, for people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from catalog.words import count
from jobs.cli.common import Json, Quiet, database, progress_bar, say, say_json


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("report")(report)


def report(
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of the report: index.html, and figures as PNG and PDF.")],
    sample: Annotated[str | None, typer.Option(help="Sample to report on; the newest that a model was trained on, if not given.")] = None,
    reference: Annotated[str | None, typer.Option(metavar="LABEL-SET", help="Label set to compare with; that of the sample, if not given.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="Model trained on the sample; repeatable. All of them, if not given.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice of points and of the bootstrap.")] = 0,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Write a page with the figures, counts, comparison and provenance of a sample.

    The page holds everything it needs and can be sent as one file. An older
    report in the same folder is replaced when the new one is whole.
    """
    from jobs.report.build import check_folder, write_report
    from jobs.report.subject import find_subject

    check_folder(to.resolve())
    with database() as db, db.reader() as conn, progress_bar(quiet or as_json) as progress:
        subject = find_subject(conn, sample, reference, model or (), seed)
        made = write_report(conn, subject, to, progress)
    if as_json:
        say_json(page=made.page, figures=made.figures, missing=made.missing)
        return
    words = f"{count(len(made.figures), 'figure')} in {made.page}"
    if made.missing:
        words += f"; {len(made.missing)} without data, the page says why: {', '.join(made.missing)}"
    say(words, quiet=quiet)
