"""Translate PostgreSQL's errors to those that people see, in one place, by SQLSTATE.

The server's codes are listed in appendix A of PostgreSQL's manual. A connection that is refused
has none (libpq gives the text only), so these are told by their words, which are English unless
the server's ``lc_messages`` says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa

from catalog.errors import (
    ConfigurationError,
    CrosslabelError,
    LockedError,
    ServerUnavailableError,
    UsageError,
)
from catalog.store.privileges import advice

_RESUME = "What was committed is safe; run the command again, or: crosslabel resume"
_SLOTS = "All its connections are in use: wait, end other sessions, or raise max_connections"
_TIME = "A time-out of the server or the role ended it: raise it there, then: crosslabel resume"
_GONE = f"The server stopped, restarts or ended this session. {_RESUME}"
_DISK = f"Make space where the server has its data and temporary files. {_RESUME}"

#: SQLSTATE, or its class of two characters, and what to do.
_GAVE_UP = {
    "08": _GONE,
    "57P01": _GONE,  # admin_shutdown
    "57P02": _GONE,  # crash_shutdown
    "57P03": "It starts, stops or recovers: try again in a minute",  # cannot_connect_now
    "57P04": "The database was dropped",
    "57P05": _TIME,  # idle_session_timeout
    "25P03": _TIME,  # idle_in_transaction_session_timeout
    "25P04": _TIME,  # transaction_timeout
    "57014": _TIME,  # statement_timeout, or cancelled by somebody
    "53100": _DISK,  # disk_full
    "53200": f"The server has no memory left: give it more, or lower work_mem. {_RESUME}",
    "53300": _SLOTS,  # too_many_connections
    "53": f"The server has reached a limit of its machine or its configuration. {_RESUME}",
    "40": f"Other sessions change the same rows. {_RESUME}",  # serialization, deadlock
    "58": "The server's disk or files fail: look at its log",
    "XX": "The server found its own data damaged, or an error of its own: look at its log",
}
#: The server refuses what this role may not do.
_FORBIDDEN = ("42501", "25006", "28")
_FULL = ("too many clients", "too many connections", "connection slots are reserved")
_PASSWORD = ("password authentication failed", "no password supplied")


def sqlstate(exc: BaseException) -> str:
    """Return the SQLSTATE of an error of SQLAlchemy or psycopg; empty where there is none."""
    return str(getattr(getattr(exc, "orig", exc), "sqlstate", None) or "")


def server_error(exc: BaseException) -> CrosslabelError | None:
    """Return what an error of the database means to people; None for faults of our own SQL.

    Parameters
    ----------
    exc : BaseException
        As SQLAlchemy wraps it, or as psycopg raises it inside COPY.

    Returns
    -------
    CrosslabelError or None
        `ServerUnavailableError` where the server gave up, `ConfigurationError` where it does not
        allow something, `LockedError` where ``lock_timeout`` ended a wait, `UsageError` for what
        the catalog's own guards refuse and for text that PostgreSQL cannot hold.
    """
    if isinstance(exc, UnicodeEncodeError):
        text = exc.object[max(exc.start - 40, 0) : exc.end + 40]
        return UsageError(f"{text!r} is not UTF-8", "Write it again in UTF-8")
    cause: Any = exc.orig if isinstance(exc, sa.exc.DBAPIError) else exc
    if isinstance(exc, sa.exc.TimeoutError):  # our own pool
        return ServerUnavailableError(f"the database server is busy: {exc}", _SLOTS)
    if not isinstance(cause, psycopg.Error):
        return None
    said = (cause.diag.message_primary or str(cause)).strip()
    code = sqlstate(cause)
    if code == "55P03":
        return LockedError(f"another session holds what is needed: {said}", "Try again later")
    if any(code.startswith(start) for start in _FORBIDDEN):
        return ConfigurationError(f"the database server refuses: {said}", advice(exc))
    if code == "P0001":  # raised by the guards of the catalog
        return UsageError(said, cause.diag.message_hint or "")
    if type(cause) is psycopg.DataError and not code:  # not the server's, whose are more exact
        return UsageError(f"a name or text cannot be one: {cause}", "Write it again")
    todo = _GAVE_UP.get(code) or _GAVE_UP.get(code[:2])
    if todo is None and not isinstance(cause, psycopg.OperationalError):
        return None
    return ServerUnavailableError(f"the database server gave up: {said}", todo or _RESUME)


def connection_error(exc: BaseException, where: str) -> CrosslabelError:
    """Return why a server cannot be connected to: full, unknown password, or no answer.

    Parameters
    ----------
    where : str
        The server as messages may name it, without password.
    """
    said = str(getattr(exc, "orig", exc)).strip()
    if is_full(exc):
        return ServerUnavailableError(f"the database {where} takes no more: {said}", _SLOTS)
    if any(words in said for words in _PASSWORD):
        return ConfigurationError(
            f"the database {where} does not let this role in: {said}",
            "Put the password into ~/.pgpass (mode 0600): HOST:PORT:DATABASE:ROLE:PASSWORD",
        )
    return ServerUnavailableError(
        f"the database {where} does not answer: {said}",
        "Is the server running, and is CROSSLABEL_DATABASE_URL right?",
    )


def is_full(exc: BaseException) -> bool:
    """Tell whether a server refused a connection because all of them are in use."""
    return sqlstate(exc) == "53300" or any(words in str(exc) for words in _FULL)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise what `server_error` says in place of the database's own errors.

    Raises
    ------
    CrosslabelError
        With the database's error as its cause.
    """
    try:
        yield
    except (sa.exc.SQLAlchemyError, psycopg.Error, UnicodeEncodeError) as exc:
        found = server_error(exc)
        if found is None:
            raise
        raise found from exc
