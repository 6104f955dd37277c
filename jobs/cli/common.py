"""Common parts of commands: settings, options, the output of a run."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from catalog.errors import BadInputError, CrosslabelError
from catalog.words import count

if TYPE_CHECKING:
    from catalog.config import Settings
    from catalog.store.db import Database
    from jobs.engine.job import Job, Progress, RunSummary, Unresolved

Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print nothing on success, so that cron sends no mail."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
Format = Annotated[
    Literal["table", "csv", "json"],
    typer.Option("--format", help="How to print it; --json is short for --format json."),
]
AsOwner = Annotated[
    bool,
    typer.Option("--as-owner", help="Let --sql do whatever the role of the database URL may do."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Write nothing; print the plan.")]
MaxBad = Annotated[
    float, typer.Option(help="Fraction of bad rows or files above which the command fails.", min=0, max=1)
]  # fmt: skip

_WORDS = {
    "idle": "nothing to do", "succeeded": "done", "planned": "planned",
    "paused": "stopped; go on with: crosslabel resume",
    "failed": "some chunks failed; see crosslabel status, then: crosslabel retry",
}  # fmt: skip


class _Given:
    """The options of the command itself, before the word of the job."""

    home: Path | None = None
    database_url: str | None = None


def remember(home: Path | None, database_url: str | None) -> None:
    """Keep the options that say where the catalog is."""
    _Given.home, _Given.database_url = home, database_url


def given_options() -> tuple[Path | None, str | None]:
    """Return the options that were kept."""
    return _Given.home, _Given.database_url


def settings() -> Settings:
    """Return the settings: options, then environment, then defaults."""
    from catalog.config import make_settings

    return make_settings(os.environ, home=_Given.home, database_url=_Given.database_url)


@contextmanager
def database(
    *,
    begins: bool = False,
    at_head: bool = True,
    as_owner: bool = False,
    quiet: bool = False,
) -> Iterator[Database]:
    """Open the database of the settings, with its errors turned into messages.

    Parameters
    ----------
    begins : bool
        The command brings something in: a home that is not there becomes a catalog.
    at_head : bool
        Refuse a schema of another version.
    as_owner : bool
        Let people's own SQL run with all rights of the catalog's owner.
    quiet : bool
        Do not say that a catalog is new.
    """
    from catalog.store.homes import open_catalog_database
    from catalog.store.server_errors import translated_errors

    def tell(text: str) -> None:
        if not quiet:
            typer.echo(text, err=True)

    with translated_errors():
        where = replace(settings(), as_owner=as_owner)
        db = open_catalog_database(where, begins=begins, at_head=at_head, tell=tell)
        try:
            yield db
        finally:
            db.engine.dispose()


def say(text: str, *, quiet: bool = False) -> None:
    """Print a line for people."""
    if not quiet:
        typer.echo(text)


def complain(exc: CrosslabelError, where: str = "") -> None:
    """Print what is wrong, and what to do about it, on standard error."""
    from catalog.config import hide_passwords

    code = f" [{exc.reason_code}]" if isinstance(exc, BadInputError) else ""
    typer.echo(hide_passwords(f"error{code}: {where}{exc.reason}"), err=True)
    if exc.todo:
        typer.echo(hide_passwords(f"  what to do: {exc.todo}"), err=True)


def without_output(exc: OSError) -> CrosslabelError:
    """Send what cannot be written nowhere, so that work can go on; the error to end with."""
    from catalog.errors import SourceUnavailableError

    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
    return SourceUnavailableError(
        f"the output of this command cannot be written: {exc.strerror}",
        "Make space where it goes; what was done is in the catalog: crosslabel status",
    )


def say_json(**values: Any) -> None:
    """Print one JSON object on one line; times and ids as strings."""
    typer.echo(json.dumps(values, default=str))


def words_of(text: str | None, spell: Callable[[str], str] = str.upper) -> tuple[str, ...] | None:
    """Return words separated by commas, in capitals or otherwise; None if nothing was said."""
    if text is None:
        return None
    return tuple(spell(word.strip()) for word in text.split(",") if word.strip())


def run_and_report(
    job: Job | Unresolved,
    db: Database,
    *,
    quiet: bool = False,
    as_json: bool = False,
    dry_run: bool = False,
    retry_failed: bool = False,
) -> RunSummary:
    """Run a job, show how it ended, and exit with its code unless that is 0."""
    from jobs.engine.runner import run_job

    with progress_bar(quiet or as_json) as progress:
        summary = run_job(job, db, retry_failed=retry_failed, dry_run=dry_run, progress=progress)
    report(summary, quiet=quiet, as_json=as_json)
    return summary


def report(summary: RunSummary, *, quiet: bool, as_json: bool) -> None:
    """Show a summary; a run that did not succeed ends the command."""
    done = summary.state in ("idle", "succeeded", "planned")
    if as_json:
        say_json(
            run_id=summary.run_id, kind=summary.kind, target=summary.target, state=summary.state,
            rows_written=summary.rows_written, chunks_done=summary.chunks_done,
            chunks_failed=summary.chunks_failed, chunks_left=summary.chunks_left,
            elapsed_s=round(summary.elapsed_s, 3), errors=list(summary.errors),
            counts=dict(summary.outcome.counts),
        )  # fmt: skip
    elif not (quiet and done):
        state = summary.state
        if state == "planned" and not summary.chunks_left:
            state = "idle"
        parts = [f"{_title(summary)}: {_WORDS[state]}"]
        if summary.outcome.text:
            parts.append(summary.outcome.text)
        if state == "planned":
            parts.append(f"{count(summary.chunks_left, 'chunk')} to do")
        if state == "paused":
            parts.append(f"{count(summary.chunks_left, 'chunk')} left")
        line = ", ".join(parts)
        line += f" ({summary.elapsed_s:.1f} s)" if summary.elapsed_s else ""
        typer.echo(line, err=not done)
        for error in summary.errors[:10]:
            typer.echo(f"  {error}", err=True)
    if summary.exit_code:
        raise typer.Exit(int(summary.exit_code))


def _title(summary: RunSummary) -> str:
    """Return the job and what it writes, without saying a word twice."""
    said = summary.target.startswith(f"{summary.kind} ")
    return summary.target if said else f"{summary.kind} {summary.target}"


@contextmanager
def progress_bar(hidden: bool) -> Iterator[Progress]:
    """A progress bar on standard error, on a terminal only."""
    if hidden or not sys.stderr.isatty():
        yield lambda job, done, total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("left:"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("")

        def show(job: str, done: int, total: int) -> None:
            if bar.tasks[task].description != job:  # the time left is that of this job
                bar.reset(task)
            bar.update(task, description=job, completed=done, total=total)

        yield show
