"""The command line: parse, call, print, exit code. Everything else is in the jobs.

Heavy parts are imported inside the commands that use them, so that ``crosslabel --help``, cron
ingestion and ``status`` start fast and without JAX.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from catalog.errors import CrosslabelError, UsageError
from jobs.cli import (
    database,
    fetch,
    find,
    ingest,
    learn,
    ledger,
    models,
    report,
    results,
    selections,
    sync,
)
from jobs.cli.common import complain, remember, without_output
from jobs.cli.error_log import tracebacks_in_file, wants_tracebacks
from jobs.cli.help import complete_help

# The order of the work, in which help lists the commands.
ORDER = (
    "simulate", "fetch", "ingest", "crossmatch", "sample", "normalize", "train", "predict", "label",
    "find", "compare", "evaluate", "explain", "scan", "model", "export", "report", "sync", "status", "resume", "retry", "abandon", "db",
)  # fmt: skip


class Group(TyperGroup):
    """Commands that show their help, and exit with 0, where no word follows."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Return what follows the options; without any word print the help and end."""
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)


class InOrder(Group):
    """The commands in the order of the work."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        complete_help(self)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands, those without a place at the end."""
        place = {name: i for i, name in enumerate(ORDER)}
        return sorted(super().list_commands(ctx), key=lambda name: place.get(name, len(ORDER)))


app = typer.Typer(
    name="crosslabel",
    cls=InOrder,
    help="Put two surveys' opinions of the same stars side by side and learn one from the other.",
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(database.app, name="db", cls=Group)
app.add_typer(fetch.app, name="fetch", cls=Group)
app.add_typer(ingest.app, name="ingest", cls=Group)
app.add_typer(selections.sample_app, name="sample", cls=Group)
app.add_typer(results.labels_app, name="label", cls=Group)
app.add_typer(models.app, name="model", cls=Group)
for module in (ingest, selections, learn, results, find, models, ledger, sync, report):
    module.register(app)


def _show_version(asked: bool) -> None:
    """Print the version that runs, as exports and runs name it."""
    if asked:
        from catalog.version import code_version

        typer.echo(f"crosslabel {code_version()}")
        raise typer.Exit


@app.callback()
def _options(
    home: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder of the embedded server [CROSSLABEL_HOME]."),
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="A PostgreSQL >= 15 server of your own [CROSSLABEL_DATABASE_URL]."
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    remember(home, database_url)


def main() -> None:
    """Run the command ``crosslabel``: whatever happens ends in a line and an exit code."""
    # libraries' remarks, such as on folders for their caches, would become cron's mail
    logging.getLogger().addHandler(logging.NullHandler())
    shows = wants_tracebacks()
    with tracebacks_in_file(also_shown=shows):
        try:
            _check_encoding(sys.argv[1:])
            app()
        except CrosslabelError as exc:
            _end(exc)
        except Exception as exc:
            if shows:
                raise
            from jobs.engine.defects import known_error, note_defect

            _end(known_error(exc) or note_defect(exc, "the command"))


def _end(exc: CrosslabelError) -> NoReturn:
    """Say what is wrong, and exit with its code."""
    try:
        complain(exc)
    except OSError as broken:
        without_output(broken)
    sys.exit(int(exc.exit_code))


def _check_encoding(arguments: list[str]) -> None:
    """Refuse arguments that the database could not hold, such as names of files in Latin-1."""
    for text in arguments:
        try:
            text.encode()
        except UnicodeEncodeError as exc:
            raise UsageError(f"{text!r} is not UTF-8", "Rename it, or write it in UTF-8") from exc
