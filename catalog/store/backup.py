"""A whole catalog as one file, and back: PostgreSQL's own dump, of the embedded server.

The dump sees one state of the catalog, also while jobs run. A restore is one transaction.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import sqlalchemy as sa

from catalog.config import Settings, parse_url
from catalog.errors import (
    BadInputError,
    ConfigurationError,
    SourceUnavailableError,
    UsageError,
    cannot_write,
)
from catalog.store import embedded
from catalog.store.db import connect, open_database
from catalog.store.derived_table import derived_object
from catalog.store.head import head_revision, schema_revision
from catalog.store.place import find_place

_ROOM = ("No space left", "could not extend file", "could not write", "Disk quota", "too large")


def dump_home(home: Path, file: Path) -> int:
    """Write the catalog of a home to ``file``, which appears whole; its size in bytes.

    Parameters
    ----------
    home : Path
        Home of an embedded server, which is started where needed.
    file : Path
        Takes the place of what has this name.

    Raises
    ------
    CrosslabelError
        If the file cannot be written (`cannot_write`).
    SourceUnavailableError
        If the disk is full, or the server ends meanwhile.
    """
    server = embedded.start(home)
    partial = file.with_name(file.name + ".part")
    try:
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as exc:
        raise cannot_write(str(file), exc) from exc
    try:
        done = _run(home, "pg_dump", f"--dbname={server.url}", "--format=custom", "--no-owner",
                    f"--file={partial}")  # fmt: skip
        if done:
            raise SourceUnavailableError(
                f"{file} cannot be written: {done}", "Make space, then run the command again"
            )
        partial.replace(file)
        return file.stat().st_size
    except OSError as exc:
        raise cannot_write(str(file), exc) from exc
    finally:
        partial.unlink(missing_ok=True)


def restore_home(home: Path, file: Path) -> None:
    """Make the catalog of a new or empty home from a dump, in one transaction.

    Rights that were given to roles of one's own are not in it: such roles are the server's.

    Raises
    ------
    UsageError
        If there is no such file, or the home has a catalog already.
    BadInputError
        If the file is no dump of a catalog, or damaged (WRONG_CONTENT).
    SourceUnavailableError
        If the disk is full.
    """
    if not file.is_file():
        raise UsageError(f"there is no file {file}", "Check the path")
    listed = _list(home, file)
    if " TABLE DATA public label_set " not in listed or " alembic_version " not in listed:
        raise _refused(file, "it holds no catalog")
    server = embedded.start(home)
    db = open_database(parse_url(server.url))
    try:
        with db.reader() as conn:
            if schema_revision(conn) is not None:
                raise UsageError(
                    f"the home {home} has a catalog already",
                    "Restore into a home that is not there yet: crosslabel --home NEW db restore",
                )
    finally:
        db.engine.dispose()
    said = _run(home, "pg_restore", f"--dbname={server.url}", "--no-owner", "--no-privileges",
                "--single-transaction", "--exit-on-error", str(file))  # fmt: skip
    if said and any(words in said for words in _ROOM):
        raise SourceUnavailableError(
            f"{file} cannot be restored into {home}: {said}",
            "Make space; nothing was changed: run the command again",
        )
    if said:
        raise _refused(file, said)
    _give_rights(home)


def _give_rights(home: Path) -> None:
    """Give the login of readers its rights; where the schema is older, the next upgrade does."""
    from catalog.store.upgrade import upgrade_schema  # Alembic is slow to load

    db = connect(Settings(home))
    try:
        with db.begin() as conn:
            conn.execute(sa.delete(derived_object).where(derived_object.c.kind == "reader"))
            found = schema_revision(conn)
        if found == head_revision():
            upgrade_schema(db)
    finally:
        db.engine.dispose()


def _list(home: Path, file: Path) -> str:
    """Return what is in a dump, as `pg_restore --list` shows it."""
    done = subprocess.run(
        [find_place(home).program("pg_restore"), "--list", str(file)],
        capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    if done.returncode:
        raise _refused(file, _in_one_line(done.stderr))
    return done.stdout


def _refused(file: Path, why: str) -> BadInputError:
    """Return the error about a file that cannot be restored."""
    return BadInputError(
        "WRONG_CONTENT", f"{file} cannot be restored: {why}", "Use a file of: crosslabel db dump"
    )


def _run(home: Path, program: str, *words: str) -> str:
    """Run a client program as this account; what it says when it fails, else nothing."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    try:
        done = subprocess.run(
            [find_place(home).program(program), *words],
            capture_output=True, text=True, errors="replace", check=False, env=environment,
        )  # fmt: skip
    except OSError as exc:
        raise ConfigurationError(f"{program} cannot be run: {exc.strerror}") from exc
    if done.returncode == 0:
        return ""
    return _in_one_line(done.stderr) or f"{program} ended with {done.returncode}"


def _in_one_line(text: str) -> str:
    """Return the lines of a message in one."""
    return " | ".join(line for line in text.strip().splitlines() if line)
