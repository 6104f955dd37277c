"""The command that does everything that a configuration asks for: sync."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catalog.errors import ExitCode
from catalog.words import count
from jobs.cli.common import (
    AsOwner,
    DryRun,
    Json,
    Quiet,
    given_options,
    progress_bar,
    say,
    say_json,
    without_output,
)
from jobs.cli.error_log import put_into

if TYPE_CHECKING:
    from catalog.config import Settings
    from catalog.errors import CrosslabelError
    from jobs.sync.config import Config
    from jobs.sync.result import StepResult, SyncResult

_WORDS = {"done": "done", "idle": "nothing to do", "planned": "planned", "stopped": "stopped",
          "failed": "failed", "skipped": "skipped", "left": "left for the next sync",
          "paused": "paused, the next sync goes on"}  # fmt: skip


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("sync")(sync)


def sync(
    config: Annotated[Path, typer.Option(help="TOML file; --example prints one.")] = Path("crosslabel.toml"),
    time_budget: Annotated[str | None, typer.Option(help="Time after which nothing new is begun, such as '2 h'; that of the file by default.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Read every file and write every export again, also where they look as they did.")] = False,
    example: Annotated[bool, typer.Option("--example", help="Print a configuration in which every key is explained, and do nothing.")] = False,
    as_owner: AsOwner = False, quiet: Quiet = False, as_json: Json = False, dry_run: DryRun = False,
) -> None:  # fmt: skip
    """Bring the catalog up to date: read, match, select, fetch, normalize, predict, export, report.

    Made for cron. What is there already is not done again, and what an
    interrupted sync left is gone on with. A step that fails stops only those
    that build on it.
    """
    from jobs.sync.config import example_text

    if example:
        typer.echo(example_text(), nl=False)
        return
    from jobs.sync.config import budget_s, read_config

    wanted = read_config(config)
    seconds = wanted.time_budget_s if time_budget is None else budget_s(time_budget)
    unsaid: list[CrosslabelError] = []

    def show(result: StepResult | SyncResult) -> None:
        try:
            _show(result, quiet, as_json)
        except OSError as exc:  # such as a full disk: the work goes on
            unsaid.append(without_output(exc))

    settings = replace(_settings(wanted), as_owner=as_owner)
    result = _run(wanted, settings, seconds, full, quiet or as_json, dry_run, show)
    show(result)
    if unsaid and not result.exit_code:
        raise unsaid[0]
    if result.exit_code:
        raise typer.Exit(int(result.exit_code))


def _run(
    config: Config,
    settings: Settings,
    seconds: float | None,
    full: bool,
    quiet: bool,
    dry_run: bool,
    show: Callable[[StepResult], None],
) -> SyncResult:
    """Open log and catalog, and do all steps."""
    from catalog.store.homes import open_catalog_database
    from jobs.engine.defects import known_error, note_defect
    from jobs.sync.files import SeenFiles
    from jobs.sync.log import SyncLog, log_refusal
    from jobs.sync.run import run_sync
    from jobs.sync.step import Step, Work

    def steps() -> list[Step]:
        from jobs.sync.steps import make_steps

        return make_steps(config)

    def tell(text: str) -> None:
        if not quiet:
            typer.echo(text, err=True)

    put_into(settings.home)
    log = SyncLog(None if dry_run else config.log)
    try:
        with progress_bar(quiet) as progress:
            if dry_run:
                _require_home(settings, config)
            db = open_catalog_database(settings, begins=not dry_run, tell=tell)
            try:
                work = Work(db, settings, SeenFiles(db, trust=not full), dry_run, progress)
                return run_sync(steps, work, log, time_budget_s=seconds, show=show)
            finally:
                db.engine.dispose()
    except Exception as exc:
        error = known_error(exc) or note_defect(exc, "sync")
        log_refusal(log, error)
        if error is exc:
            raise
        raise error from exc


def _require_home(settings: Settings, config: Config) -> None:
    """Raise where there is no catalog for a dry run, with what it looked for."""
    from catalog.errors import ConfigurationError
    from catalog.store.homes import has_catalog, require_home
    from jobs.sync.sources import sources_told

    try:
        require_home(settings)
    except ConfigurationError as exc:
        if has_catalog(settings.home):
            raise
        told = ", ".join(sources_told(config))
        looked = f"It looked for the sources {told}" if told else "No source of it has paths"
        raise ConfigurationError(
            exc.reason,
            f"{exc.todo}; a dry run makes none. {looked}",
        ) from None


def _settings(config: Config) -> Settings:
    """Return the places of catalog and archive: options, environment, the file, defaults."""
    from catalog.config import make_settings

    home, database_url = given_options()
    told = dict(config.settings)
    where = ("CROSSLABEL_HOME", "CROSSLABEL_DATABASE_URL")
    if any(os.environ.get(name) for name in where):  # they say it together
        for name in (*where, "CROSSLABEL_READER_URL"):
            told.pop(name, None)
    told |= {name: value for name, value in os.environ.items() if value}
    return make_settings(told, home=home, database_url=database_url)


def _show(result: StepResult | SyncResult, quiet: bool, as_json: bool) -> None:
    """Show how a step, or the whole, ended."""
    from jobs.sync.result import StepResult, summary_json
    from jobs.sync.result import as_json as json_of

    if isinstance(result, StepResult):
        if as_json:
            say_json(event="step", **json_of(result))
        else:
            _say_step(result, quiet)
    elif as_json:
        say_json(event="sync", **summary_json(result))
    else:
        _say_end(result, quiet)


def _say_step(result: StepResult, quiet: bool) -> None:
    """The line of a step; what is wrong goes to standard error, also when quiet."""
    line = f"{result.step}: {_WORDS[result.state]}"
    if result.outcome:
        line += f", {result.outcome}"
    if result.quarantined:
        line += f", {result.quarantined:,} in quarantine"
    if result.files:
        line += f", new: {', '.join(Path(f).name for f in result.files)}"
    line += f" ({result.elapsed_s:.1f} s)" if result.elapsed_s >= 0.05 else ""
    wrong = result.state in ("failed", "skipped") or result.exit_code == ExitCode.BAD_INPUT
    for what in (result.error, result.note):
        line += f": {what}" if what else ""
    if wrong:
        line += f". {result.todo}" if result.todo else ""
        typer.echo(f"error: {line}", err=True)
    else:
        say(line, quiet=quiet)


def _say_end(result: SyncResult, quiet: bool) -> None:
    """The summary line."""
    states = [s.state for s in result.steps]
    word = "time is up" if result.state == "paused" else _WORDS[result.state]
    parts = [word]
    if done := states.count("done"):
        parts.append(f"{count(done, 'step')} of {len(states):,}")
    if result.files:
        parts.append(f"{count(len(result.files), 'file')} new")
    for state, words in (
        ("failed", "failed"),
        ("skipped", "skipped"),
        ("left", "left for the next sync"),
    ):
        if n := states.count(state):
            parts.append(f"{count(n, 'step')} {words}")
    line = f"sync: {', '.join(parts)} ({result.elapsed_s:.1f} s)"
    bad = bool(result.exit_code)
    if bad or not quiet:
        typer.echo(line, err=bad)
