"""Exceptions that nobody foresaw: the traceback goes to the log, a short line to people.

The log is the standard library's, under the name ``crosslabel``; the command line says in which
file its records go (`jobs.cli.error_log`), and a sync writes them into its own log too.
"""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

import psycopg
import sqlalchemy as sa

from catalog.errors import CrosslabelError, UnexpectedError, system_error
from catalog.store.server_errors import server_error
from jobs.engine.extras import missing_extra

LOG = logging.getLogger("crosslabel")
CODE = "UNEXPECTED"  # stands where bad input has its reason code
_LONGEST = 200  # characters of a detail


def known_error(exc: Exception) -> CrosslabelError | None:
    """Return the error with a message that an exception stands for; None if nobody foresaw it."""
    if isinstance(exc, CrosslabelError):
        return exc
    if isinstance(exc, sa.exc.SQLAlchemyError | psycopg.Error | UnicodeEncodeError):
        return server_error(exc)
    if isinstance(exc, ModuleNotFoundError):
        return missing_extra(exc)
    return system_error(exc) if isinstance(exc, OSError) else None


def note_defect(exc: Exception, where: str) -> UnexpectedError:
    """Write a traceback into the log.

    Parameters
    ----------
    where : str
        What was being done, such as the job and its chunk.

    Returns
    -------
    UnexpectedError
        Says in one line what happened and in which line of code.
    """
    LOG.error("%s: %s", where, detail_of(exc), exc_info=exc)
    return UnexpectedError(f"[{CODE}] {detail_of(exc)}", "Its traceback is in the log")


def detail_of(exc: BaseException) -> str:
    """Return type, message and place of an exception in one line."""
    cause = exc.orig if isinstance(exc, sa.exc.DBAPIError) and exc.orig else exc
    words = " ".join(str(cause).split())
    said = f"{type(cause).__name__}: {words}" if words else type(cause).__name__
    if len(said) > _LONGEST:
        said = said[: _LONGEST - 3] + "..."
    frames = traceback.extract_tb(exc.__traceback__)
    own = [f for f in frames if "site-packages" not in f.filename] or frames
    place = f" ({'/'.join(Path(own[-1].filename).parts[-2:])}:{own[-1].lineno})" if own else ""
    return said.encode(errors="backslashreplace").decode() + place
