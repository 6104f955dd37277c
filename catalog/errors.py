"""The errors that people see: each says what is wrong, what to do, and how the command exits.

Exit codes follow the contract of docs/operations.md (sysexits.h where it has a word for it).
"""

from __future__ import annotations

import errno
import os
import tempfile
from enum import IntEnum

#: What the system says where a disk is full, or a file would grow beyond what it allows.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: What it says where no such file can be: the path is wrong, or none at all.
WRONG_PATH = (
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL
)  # fmt: skip
NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
#: What it says where the machine, or the account's share of it, is used up.
USED_UP = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)


class ExitCode(IntEnum):
    """Exit codes of commands, for cron, systemd and shell scripts."""

    OK = 0  # done, or nothing to do
    FAILED = 1  # some chunks failed
    USAGE = 2
    BAD_INPUT = 65  # bad input beyond the allowed threshold
    UNAVAILABLE = 69  # a source or server cannot be reached
    LOCKED = 75  # another run holds the target: try later
    CONFIG = 78  # schema not at head, or bad configuration
    SIGINT = 130
    SIGTERM = 143


class CrosslabelError(Exception):
    """Base of all errors that end a command with one clear message.

    Parameters
    ----------
    reason : str
        What is wrong and where: file, row, name.
    todo : str
        What the reader can do about it; may be empty.
    """

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, reason: str, todo: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.todo = todo

    def __str__(self) -> str:
        return f"{self.reason}. {self.todo}" if self.todo else self.reason


class UsageError(CrosslabelError):
    """The command cannot mean anything as it was given, such as a name that does not exist."""

    exit_code = ExitCode.USAGE


class BadInputError(CrosslabelError):
    """A file, or an item in it, that must not enter the catalog.

    Parameters
    ----------
    reason_code : str
        One of the codes in ``docs/operations.md``, such as ``TRUNCATED`` or ``BAD_GRID``;
        it goes to the quarantine table as it is.
    reason, todo : str
        As in `CrosslabelError`.
    """

    exit_code = ExitCode.BAD_INPUT

    def __init__(self, reason_code: str, reason: str, todo: str = "") -> None:
        super().__init__(reason, todo)
        self.reason_code = reason_code

    def __str__(self) -> str:
        return f"[{self.reason_code}] {super().__str__()}"


class SourceUnavailableError(CrosslabelError):
    """An archive or a database server does not answer; the same command may work later."""

    exit_code = ExitCode.UNAVAILABLE


class ServerUnavailableError(SourceUnavailableError):
    """The database server does not answer, gave up or is full: nothing else can be done either."""


class LockedError(CrosslabelError):
    """Another run is writing the same target."""

    exit_code = ExitCode.LOCKED


class ConfigurationError(CrosslabelError):
    """The database schema or a setting does not fit this version of crosslabel."""

    exit_code = ExitCode.CONFIG


class UnexpectedError(CrosslabelError):
    """A fault of crosslabel itself; its traceback is in the log."""


class ChunkFailed(CrosslabelError):  # noqa: N818 - the ledger's own word for a mark
    """One chunk of a job cannot be done; the run goes on with the others."""


def system_error(exc: OSError) -> CrosslabelError:
    """Return the error that says what the operating system did not do, by its number.

    Parameters
    ----------
    exc : OSError
        What no reader or writer of files has turned into something more exact. Errors of sockets
        and of HTTP, such as a loop of redirections, are `OSError` too; they have no number.

    Returns
    -------
    CrosslabelError
        `UsageError` for a path that cannot be, else `SourceUnavailableError`.
    """
    what = exc.strerror or str(exc) or type(exc).__name__
    said = f"{os.fsdecode(exc.filename)}: {what}" if isinstance(exc.filename, str | bytes) else what
    if exc.errno in NO_ROOM:
        where = "" if exc.filename else f", also for temporary files ({_temporary_folder()})"
        return SourceUnavailableError(said, f"Make space{where}, then run the command again")
    if exc.filename is None and "temporary directory" in said:  # it tried to write into each
        return SourceUnavailableError(said, "Make space there, or name a folder with TMPDIR")
    if exc.errno in WRONG_PATH and exc.filename is not None:
        return UsageError(said, "Check the path")
    if exc.errno in NOT_ALLOWED:
        return SourceUnavailableError(said, "Look at the permissions of the file and its folder")
    if exc.errno in USED_UP:
        return SourceUnavailableError(said, "Close what else runs, or raise its limits (ulimit)")
    if exc.errno == errno.EIO:
        return SourceUnavailableError(said, "Look at its disk (dmesg), or copy the file again")
    return SourceUnavailableError(said, "Look at the disk or the network, then try again")


def _temporary_folder() -> str:
    """Return the folder of temporary files, as far as one can be had."""
    try:
        return tempfile.gettempdir()
    except OSError:
        return "TMPDIR"


def cannot_write(what: str, exc: OSError) -> CrosslabelError:
    """The error where the system does not let something be written: no room, or a wrong place.

    Parameters
    ----------
    what : str
        Such as the path.
    exc : OSError
        What the system said.
    """
    said = f"{what} cannot be written: {exc.strerror or exc}"
    if exc.errno in (None, *NO_ROOM):  # None: NumPy says only that less was written than asked
        return SourceUnavailableError(said, "Make space, then run the command again")
    return UsageError(said, "Is the folder there, and writable?")
