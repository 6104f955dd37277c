"""``crosslabel db``: the server and the schema."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from catalog.config import show_url, without_password
from catalog.errors import UsageError
from catalog.words import count
from jobs.cli.common import DryRun, Json, Quiet, database, say, say_json, settings

app = typer.Typer(help="The database: embedded server and schema.")


@app.command()
def start(quiet: Quiet = False) -> None:
    """Start the embedded PostgreSQL, unless it runs already."""
    from catalog.store import embedded

    _no_own_server("start")
    server = embedded.start(settings().home)
    say(f"PostgreSQL {server.version} runs in {server.data} (pid {server.pid})", quiet=quiet)


@app.command()
def stop(quiet: Quiet = False) -> None:
    """Stop the embedded PostgreSQL; nothing else does."""
    from catalog.store import embedded

    _no_own_server("stop")
    stopped = embedded.stop(settings().home)
    say("stopped" if stopped else "it was not running", quiet=quiet)


@app.command()
def status(as_json: Json = False) -> None:
    """Say which database it is, whether it answers, how large it is, and whether its schema is at head."""
    from catalog.store import embedded
    from catalog.store.head import head_revision, require_schema_at_head, schema_revision
    from catalog.store.homes import require_home
    from catalog.store.server_errors import translated_errors
    from catalog.store.sizes import database_facts
    from catalog.version import code_version

    where = settings()
    found: dict[str, object] = {"version": code_version(), "head": head_revision()}
    if where.database_url is None:
        with translated_errors():
            require_home(where)
            server = embedded.status(where.home)
        found |= {"server": "embedded", "home": where.home, "running": server is not None}
        if server is None:
            _show(found, as_json)
            return
        found |= {"pid": server.pid, "data": server.data}
    else:
        found |= {"server": show_url(where.database_url)}
    with database(at_head=False) as db:
        with db.reader() as conn:
            found |= database_facts(conn)
            found["schema"] = schema_revision(conn)
        _show(found, as_json)
        require_schema_at_head(db)


@app.command()
def upgrade(quiet: Quiet = False) -> None:
    """Make or upgrade the schema."""
    from catalog.store.db import connect
    from catalog.store.server_errors import translated_errors
    from catalog.store.upgrade import upgrade_schema

    where = settings()
    with translated_errors():
        db = connect(where)  # also one that is not there yet
        try:
            done = upgrade_schema(db)
        finally:
            db.engine.dispose()
    if done.before != done.after:
        text = f"schema from {done.before or 'nothing'} to {done.after}"
    elif done.remade:
        text = f"schema at {done.after}, made anew: {', '.join(done.remade)}"
    else:
        text = f"schema at {done.after} already"
    say(text, quiet=quiet)


@app.command("grant-reader")
def grant_reader(
    role: Annotated[str, typer.Argument(metavar="ROLE", help="An existing login.")],
    dry_run: DryRun = False,
) -> None:
    """Give a login the rights to read the catalog and no others, and print them as SQL."""
    from catalog.store.reader_role import add_reader, reader_statements

    with database() as db, db.begin() as conn:
        if dry_run:
            for statement in reader_statements(conn, role):
                say(f"{statement.text};")
            return
        done, left = add_reader(conn, role)
    for text in done:
        say(f"{text};")
    if left:
        say(f"-- other rights are needed for {count(len(left), 'statement')}; the owner of the "
            "database or an administrator runs:")  # fmt: skip
        for text in left:
            say(f"{text};")


@app.command()
def url(
    with_password: Annotated[
        bool, typer.Option("--with-password", help="Print the password too, if the URL has one.")
    ] = False,
) -> None:
    """Print the URL of the database, starting the embedded server where needed."""
    from catalog.store import embedded
    from catalog.store.homes import require_home

    where = settings()
    if where.database_url is not None:
        say(show_url(where.database_url, with_password=with_password))
        return
    require_home(where)
    say(embedded.start(where.home).url)


@app.command(context_settings={"ignore_unknown_options": True})
def psql(
    arguments: Annotated[
        list[str] | None, typer.Argument(help='Passed on: -c "SELECT ..."')
    ] = None,
) -> None:
    """Open psql on the database; further arguments go to psql."""
    from catalog.store import embedded
    from catalog.store.homes import require_home

    where = settings()
    environment = dict(os.environ)
    if where.database_url is not None:
        program = shutil.which("psql")
        if program is None:
            raise UsageError("there is no psql on this machine", "Install postgresql-client")
        command = [program, show_url(without_password(where.database_url), with_password=True)]
        if where.database_url.password:  # all accounts of a machine can read arguments (ps)
            environment["PGPASSWORD"] = str(where.database_url.password)
    else:
        require_home(where)
        embedded.start(where.home)
        command = embedded.psql_command(where.home)
    os.execve(command[0], [*command, *(arguments or ())], environment)


@app.command()
def dump(
    file: Annotated[
        Path, typer.Argument(help="File to write; it takes the place of one of that name.")
    ],
    quiet: Quiet = False,
) -> None:
    """Write the whole catalog of the embedded server to one file, also while jobs run."""
    from catalog.store.backup import dump_home
    from catalog.store.homes import require_home
    from catalog.store.sizes import size_text

    _no_own_server("dump")
    where = settings()
    require_home(where)
    size = dump_home(where.home, file.expanduser())
    say(f"catalog of {where.home} in {file} ({size_text(size)})", quiet=quiet)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="File that db dump wrote.")], quiet: Quiet = False
) -> None:
    """Make the catalog of a new home (--home) from a file of db dump."""
    from catalog.store.backup import restore_home

    _no_own_server("restore")
    where = settings()
    restore_home(where.home, file.expanduser())
    with database(at_head=False) as db:
        from catalog.store.head import require_schema_at_head

        say(f"catalog of {file} in {where.home}", quiet=quiet)
        require_schema_at_head(db)


@app.command("migrate-server")
def migrate_server(
    old_programs: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER",
            help="Folder of the programs (bin) of the PostgreSQL that made the home.",
        ),
    ],
    quiet: Quiet = False,
) -> None:
    """Move a home to the installed major version of PostgreSQL; the old data are kept."""
    from catalog.store import embedded
    from catalog.store.homes import require_home
    from catalog.store.migrate_server import migrate_home

    _no_own_server("migrate")
    where = settings()
    require_home(where)
    done = migrate_home(where.home, old_programs)
    version = embedded.start(where.home).version
    say(
        f"{where.home} is at PostgreSQL {version}; the old data are in {done.kept}: delete them "
        "when all is well", quiet=quiet,
    )  # fmt: skip
    if done.others:
        say(f"not copied, and only in there: the databases {', '.join(done.others)}", quiet=quiet)


@app.command()
def prune(
    older_than: Annotated[int, typer.Option(metavar="DAYS", help="Keep what is younger.", min=0)] = 365,
    quiet: Quiet = False, as_json: Json = False, dry_run: DryRun = False,
) -> None:  # fmt: skip
    """Remove what years of cron leave: old runs, replaced refusals, editions that nothing rests on."""
    from jobs.prune import prune_catalog

    with database() as db:
        done = prune_catalog(db, older_than, dry_run=dry_run)
    if as_json:
        say_json(dry_run=dry_run, **asdict(done))
        return
    would = "would remove" if dry_run else "removed"
    say(
        f"{would} {count(done.runs, 'run')} of the ledger, {count(done.refusals, 'row')} of the "
        f"quarantine, {count(len(done.editions), 'edition')} of label sets"
        + (f": {', '.join(done.editions)}" if done.editions else ""),
        quiet=quiet,
    )


def _no_own_server(verb: str) -> None:
    """Refuse to start or stop a server that is not ours."""
    url_given = settings().database_url
    if url_given is not None:
        raise UsageError(
            f"the database is on a server of yours: crosslabel does not {verb} {show_url(url_given)}",
            "Unset CROSSLABEL_DATABASE_URL, or give --home, for the embedded server",
        )


def _show(values: dict[str, object], as_json: bool) -> None:
    """Print names and values."""
    if as_json:
        say_json(**values)
        return
    for name, value in values.items():
        say(f"{name:10} {value}")
