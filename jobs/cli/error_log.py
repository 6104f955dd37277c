"""Write tracebacks to a file in the home, so that a command's own output stays one line."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

NAME = "errors.log"
LONGEST = 5_000_000  # bytes, after which the file becomes errors.log.1


class ErrorLog(logging.Handler):
    """Appends records with their tracebacks to a file, which is made when the first one comes.

    Attributes
    ----------
    path : Path or None
        The file; None as long as nothing was written.
    folder : Path or None
        Where it is made; None: the home that options and environment name.
    """

    folder: Path | None = None

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.setFormatter(logging.Formatter("%(message)s"))
        self.path: Path | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, into the home or, where that cannot be, the folder of temporary files."""
        from catalog.config import hide_passwords

        now = datetime.now(UTC)
        words = " ".join(_command())
        what = hide_passwords(self.format(record))
        text = f"{now:%Y-%m-%dT%H:%M:%SZ} pid {os.getpid()} {words}\n{what}\n\n"
        for path in _places():
            try:
                _append(path, text.encode(errors="backslashreplace"))
            except OSError:
                continue
            self.path = path
            return


@contextlib.contextmanager
def tracebacks_in_file(*, also_shown: bool) -> Iterator[None]:
    """Write tracebacks of the log ``crosslabel`` into a file, and say in the end which it is.

    Parameters
    ----------
    also_shown : bool
        Print them to standard error, too.
    """
    log, kept = logging.getLogger("crosslabel"), ErrorLog()
    shown = logging.StreamHandler(sys.stderr) if also_shown else logging.NullHandler()
    for handler in (kept, shown):
        log.addHandler(handler)
    log.propagate = False
    try:
        yield
    finally:
        for handler in (kept, shown):
            log.removeHandler(handler)
        if kept.path is not None:
            with contextlib.suppress(OSError):
                print(f"  traceback: {kept.path}", file=sys.stderr)


def put_into(folder: Path) -> None:
    """Name the folder of the file, where the command reads its home from a configuration."""
    ErrorLog.folder = folder


def wants_tracebacks() -> bool:
    """Tell whether ``CROSSLABEL_DEBUG`` asks to show unforeseen exceptions, not only to log them."""
    return os.environ.get("CROSSLABEL_DEBUG", "") not in ("", "0")


def _command() -> list[str]:
    """Return the words of the command, without what could hold a password."""
    shown = [a for a in sys.argv[1:] if "://" not in a]
    return ["crosslabel", *shown]


def _places() -> Iterator[Path]:
    """Give the files that could be written, the best one first."""
    from catalog.errors import CrosslabelError
    from jobs.cli.common import settings

    with contextlib.suppress(CrosslabelError):
        yield (ErrorLog.folder or settings().home) / NAME
    with contextlib.suppress(OSError):
        yield Path(tempfile.gettempdir()) / f"crosslabel-{os.geteuid()}-{NAME}"


def _append(path: Path, text: bytes) -> None:
    """Write at the end of a file that is ours alone; no link is followed."""
    with contextlib.suppress(FileNotFoundError):
        if path.lstat().st_size > LONGEST:
            path.replace(path.with_name(f"{path.name}.1"))
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    handle = os.open(path, flags, 0o600)
    try:
        if os.fstat(handle).st_uid != os.geteuid():
            raise PermissionError(f"{path} belongs to another account")
        while text:
            text = text[os.write(handle, text) :]
    finally:
        os.close(handle)
