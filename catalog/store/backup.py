"""A whole catalog as one file, and back: PostgreSQL's own dump, of the embedded server.

The dump sees one state of the catalog, also while jobs run. A restore is made in a database beside
the empty one, and takes its place when it is complete. A client program that outlives a killed
command does no harm: a dump goes through a pipe that has ended, and a second restore begins anew.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import psycopg
import sqlalchemy as sa
from psycopg import sql

from catalog.config import parse_url
from catalog.errors import (
    BadInputError,
    ConfigurationError,
    LockedError,
    SourceUnavailableError,
    UsageError,
)
from catalog.store import embedded
from catalog.store.db import open_database
from catalog.store.embedded_layout import OWNER, READER, find_place
from catalog.store.head import head_revision, schema_revision
from catalog.writing import replace_files

_ROOM = ("No space left", "could not extend file", "could not write", "Disk quota", "too large")
#: Databases of a restore: what is made, and the empty one whose place it takes.
_MADE, _EMPTY = f"{OWNER}_restored", f"{OWNER}_empty"
#: Other servers have other roles, and other functions to be taken away from everybody.
_FORGET_READERS = (
    "DELETE FROM derived_object WHERE kind = 'reader' AND to_regrole(quote_ident(name)) IS NULL",
    "UPDATE derived_object SET definition_sha256 = '' WHERE kind = 'reader'",
)
_LOCK = "SELECT pg_try_advisory_lock(hashtext('crosslabel restore'))"


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
        If the file cannot be written: see `replace_files`.
    SourceUnavailableError
        If the disk is full, or the server ends meanwhile.
    """
    server = embedded.start(home)
    with replace_files(file) as (stream,):
        os.fchmod(stream.fileno(), 0o600)
        words = [f"--dbname={server.url}", "--format=custom", "--no-owner"]
        said = _write_to(stream, home, "pg_dump", *words)
        if said:
            raise SourceUnavailableError(
                f"{file} cannot be written: {said}", "Make space, then run the command again"
            )
    return file.stat().st_size


def restore_home(home: Path, file: Path) -> None:
    """Make the catalog of a new or empty home from a dump: entirely or not at all.

    Rights that were given to roles of one's own are not in it: such roles are the server's.

    Raises
    ------
    UsageError
        If there is no such file, or the home has a catalog or other tables already.
    BadInputError
        If the file is no dump of a catalog, or damaged (WRONG_CONTENT).
    LockedError
        If another process restores into this home.
    SourceUnavailableError
        If the disk is full.
    """
    if not file.is_file():
        raise UsageError(f"there is no file {file}", "Check the path")
    listed = _list(home, file)
    if " TABLE DATA public label_set " not in listed or " alembic_version " not in listed:
        raise _refused(file, "it holds no catalog")
    server = embedded.start(home)
    with psycopg.connect(_in_database(server.url, "postgres"), autocommit=True) as conn:
        row = conn.execute(_LOCK).fetchone()
        if row is None or not row[0]:
            raise LockedError(f"another process restores into {home}", "Try again later")
        _drop(conn, _EMPTY)
        _require_empty(home, server.url)
        with _new_database(conn, _MADE):
            url = _in_database(server.url, _MADE)
            said = _run(home, "pg_restore", f"--dbname={url}", "--no-owner", "--no-privileges",
                        "--single-transaction", "--exit-on-error", str(file))  # fmt: skip
            if said and any(words in said for words in _ROOM):
                raise SourceUnavailableError(
                    f"{file} cannot be restored into {home}: {said}",
                    "Make space; nothing was changed: run the command again",
                )
            if said:
                raise _refused(file, said)
            give_rights(url)
            _put_in_place(conn)
        _drop(conn, _EMPTY)


def give_rights(url: str) -> None:
    """Give the logins of readers their rights in a database that was copied from another server.

    Where its schema is older than this version, the next upgrade does.
    """
    from catalog.store.upgrade import upgrade_schema  # Alembic is slow to load

    parsed = parse_url(url)
    db = open_database(parsed, parsed.set(username=READER), is_embedded=True)
    try:
        with db.begin() as conn:
            found = schema_revision(conn)
            if found is not None:
                for statement in _FORGET_READERS:
                    conn.execute(sa.text(statement))
        if found == head_revision():
            upgrade_schema(db)
    finally:
        db.engine.dispose()


@contextmanager
def _new_database(conn: psycopg.Connection, name: str) -> Iterator[None]:
    """Make an empty database, in place of one that a killed command left; it goes on an error."""
    _drop(conn, name)
    conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    revoke = "REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC"
    conn.execute(sql.SQL(revoke).format(sql.Identifier(name)))
    try:
        yield
    except BaseException:
        _drop(conn, name)
        raise


def _drop(conn: psycopg.Connection, name: str) -> None:
    """Remove a database if it is there, and end what still works on it."""
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
    conn.execute(drop.format(sql.Identifier(name)))


def _put_in_place(conn: psycopg.Connection) -> None:
    """Let what was made be the catalog, in one transaction."""
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY(%s)"
    conn.execute(end, ([OWNER, _MADE],))
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    with conn.transaction():
        for old, new in ((OWNER, _EMPTY), (_MADE, OWNER)):
            conn.execute(rename.format(sql.Identifier(old), sql.Identifier(new)))


def _require_empty(home: Path, url: str) -> None:
    """Raise unless the database of a home has no table."""
    query = """SELECT c.relname, to_regclass('alembic_version') IS NOT NULL FROM pg_class c
               JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm')
               AND n.nspname !~ '^(pg_|information_schema$)' LIMIT 1"""
    with psycopg.connect(url) as conn:
        found = conn.execute(query).fetchone()
    if found is not None:
        what = "a catalog" if found[1] else f"the table {found[0]}"
        raise UsageError(
            f"the home {home} has {what} already",
            "Restore into a home that is not there yet: crosslabel --home NEW db restore",
        )


def _in_database(url: str, name: str) -> str:
    """Return the URL of another database of the embedded server."""
    return url.replace(f"/{OWNER}?", f"/{name}?")


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


def _write_to(stream: BinaryIO, home: Path, program: str, *words: str) -> str:
    """Write what a client program prints to a stream; what it says when it fails, else nothing."""
    with _started(home, program, words, subprocess.PIPE) as process:
        assert process.stdout is not None
        shutil.copyfileobj(process.stdout, stream, 1 << 20)
        return _end_of(process, program)


def _run(home: Path, program: str, *words: str) -> str:
    """Run a client program as this account; what it says when it fails, else nothing."""
    with _started(home, program, words, subprocess.DEVNULL) as process:
        return _end_of(process, program)


@contextmanager
def _started(
    home: Path, program: str, words: tuple[str, ...], stdout: int
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a client program as this account, without its settings of another server."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    command = [find_place(home).program(program), *words]
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE,
            env=environment,
        )  # fmt: skip
    except OSError as exc:
        raise ConfigurationError(f"{program} cannot be run: {exc.strerror}") from exc
    with process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def _end_of(process: subprocess.Popen[bytes], program: str) -> str:
    """Wait for the end of a program; what it says when it fails, else nothing."""
    assert process.stderr is not None
    said = _in_one_line(process.stderr.read().decode(errors="replace"))
    return "" if process.wait() == 0 else said or f"{program} ended with {process.returncode}"


def _in_one_line(text: str) -> str:
    """Return the lines of a message in one."""
    return " | ".join(line for line in text.strip().splitlines() if line)
