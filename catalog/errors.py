"""The errors that people see: each says what is wrong, what to do, and how the command exits.

Exit codes follow the contract of docs/operations.md (sysexits.h where it has a word for it).
"""

from __future__ import annotations

import errno
from enum import IntEnum

#: What the system says where a disk is full, or a file would grow beyond what it allows.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class ExitCode(IntEnum):
    """What a finished command tells cron, systemd and shell scripts."""

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


class LockedError(CrosslabelError):
    """Another run is writing the same target."""

    exit_code = ExitCode.LOCKED


class ConfigurationError(CrosslabelError):
    """The database schema or a setting does not fit this version of crosslabel."""

    exit_code = ExitCode.CONFIG


class ChunkFailed(CrosslabelError):  # noqa: N818 - the ledger's own word for a mark
    """One chunk of a job cannot be done; the run goes on with the others."""


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
