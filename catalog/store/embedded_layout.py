"""Find the folders of an embedded server and the account that it runs as.

PostgreSQL refuses to run as root, so root's server runs as an unprivileged account; what that
account cannot reach (a closed home, a closed virtual environment) is put where it can.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from catalog.errors import NO_ROOM, ConfigurationError, CrosslabelError, SourceUnavailableError
from catalog.store.programs import ROOT_STATE, SAFE_PATH, find_programs, others_can_enter

ACCOUNT = "crosslabel"  # who the server runs as when the command runs as root
OWNER = "crosslabel"  # role and database inside the server
READER = "crosslabel_reader"  # role inside the server that people's own SQL runs as
MIGRATED = "pgdata.migrated"  # complete, and on its way to the place of an older one
NEW_HOME = "an empty home takes 60 MB"
_ANOTHER = "give another home with --home or CROSSLABEL_HOME"
SOCKET_LIMIT = 80  # a socket's path may have 103 bytes (macOS), its name included


@dataclass(frozen=True)
class Place:
    """Folders of one embedded server, and the account that it runs as (None: ours)."""

    home: Path
    data: Path
    sockets: Path
    log: Path
    lock: Path
    account: pwd.struct_passwd | None
    programs: Path | None = None  # of another PostgreSQL than the installed one

    @property
    def url(self) -> str:
        """The libpq URL of the catalog; it says the port, as PGPORT would change it."""
        host = quote(str(self.sockets), safe="")
        return f"postgresql://{OWNER}@/{OWNER}?host={host}&port=5432"

    def program(self, name: str) -> str:
        """Return the path of one of the server's programs, which its account can run."""
        return str((self.programs or find_programs(self.account)) / name)


def find_place(home: Path, *, create: bool = False) -> Place:
    """Find the parts; as root, put them where the server's account can reach them."""
    home = home.resolve()
    if not _can_look_at(home):
        raise ConfigurationError(
            f"the home folder {home} cannot be reached: Permission denied",
            "Give another with --home or CROSSLABEL_HOME",
        )
    as_root = os.geteuid() == 0
    if create:
        _make_folder(home, open_to_all=as_root)
    root = _state_folder(home) if as_root else home
    moving = root / MIGRATED
    account = _server_account(moving if moving.exists() else root / "pgdata") if as_root else None
    sockets = root / "run"
    if len(os.fsencode(sockets)) > SOCKET_LIMIT or not SAFE_PATH.fullmatch(str(sockets)):
        short = hashlib.sha256(os.fsencode(root)).hexdigest()[:12]
        sockets = ROOT_STATE / short if as_root else Path(f"/tmp/crosslabel-{os.geteuid()}-{short}")
    if create:
        _make_folder(root, open_to_all=as_root)
        make_socket_folder(sockets, account)
    return Place(
        home=home,
        data=root / "pgdata",
        sockets=sockets,
        log=root / "postgres.log",
        lock=root / ".lock",
        account=account,
    )


def _state_folder(home: Path) -> Path:
    """Return the folder in which root's server of ``home`` keeps its files; one there stays."""
    elsewhere = ROOT_STATE / f"home-{hashlib.sha256(os.fsencode(home)).hexdigest()[:12]}"
    for made in (home, elsewhere):
        if (made / "pgdata").exists() or (made / MIGRATED).exists():
            return made
    return home if others_can_enter(home) else elsewhere


def _can_look_at(path: Path) -> bool:
    """Return True where we may pass through all folders above ``path``."""
    try:
        path.exists()
    except PermissionError:
        return False
    return True


def _make_folder(folder: Path, *, open_to_all: bool) -> None:
    """Make a folder and those above it; ones that root makes let the server's account through."""
    missing = [p for p in (folder, *folder.parents) if not p.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if open_to_all:  # whatever the umask says
            for made in missing:
                made.chmod(0o755)
    except OSError as exc:
        raise cannot_make(f"the home folder {folder}", exc) from exc


def cannot_make(what: str, exc: OSError) -> CrosslabelError:
    """Return the error where a part of a home cannot be made: no room, or not allowed."""
    said = f"{what} cannot be made: {exc.strerror}"
    if exc.errno in NO_ROOM:
        return SourceUnavailableError(said, f"Make space there ({NEW_HOME}), or {_ANOTHER}")
    return ConfigurationError(said, _ANOTHER[0].upper() + _ANOTHER[1:])


def make_socket_folder(sockets: Path, account: pwd.struct_passwd | None) -> None:
    """Make the folder that only the server's account may enter; trust none that others made."""
    owner = account.pw_uid if account else os.geteuid()
    try:
        if account:
            _make_folder(sockets.parent, open_to_all=True)
        sockets.mkdir(mode=0o700, exist_ok=True)
        found = sockets.lstat()
        if account and found.st_uid == os.geteuid() and stat.S_ISDIR(found.st_mode):
            os.chown(sockets, account.pw_uid, account.pw_gid, follow_symlinks=False)
            found = sockets.lstat()
    except OSError as exc:
        raise cannot_make(f"the folder {sockets}", exc) from exc
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner:
        raise ConfigurationError(
            f"{sockets} belongs to another account",
            "Work as that account, or give another home with --home or CROSSLABEL_HOME",
        )


def _server_account(data: Path) -> pwd.struct_passwd:
    """Return the unprivileged account of the server when we are root (PostgreSQL refuses root).

    The owner of a data folder that is there already, so that root can help a user's own server.
    """
    if data.exists() and data.stat().st_uid != 0:
        try:
            return pwd.getpwuid(data.stat().st_uid)
        except KeyError:
            raise ConfigurationError(
                f"{data} belongs to the unknown account {data.stat().st_uid}",
                "Give it to an account that exists (chown -R), or give another --home",
            ) from None
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


def run_program(place: Place, program: str, *args: object) -> subprocess.CompletedProcess[str]:
    """Run one of the server's programs as its account."""
    return run_as_account(place, [place.program(program), *(str(a) for a in args)])


def run_as_account(place: Place, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command as the server's account, in a session of its own, without our environment."""
    who: dict[str, object] = {}
    if place.account:
        who = {"user": place.account.pw_uid, "group": place.account.pw_gid, "extra_groups": []}
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"},
        umask=0o077,
        start_new_session=True,  # a Ctrl-C in our terminal must not reach the server
        check=False,
        **who,  # type: ignore[call-overload]
    )
    return done
