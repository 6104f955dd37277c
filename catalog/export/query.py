"""A user's SELECT as something to take away: one statement, its parameters, its errors."""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa

from catalog.errors import ServerUnavailableError, UsageError
from catalog.export.selection import Selection
from catalog.store.people import TIMEOUT_S, limit_time
from catalog.store.server_errors import server_error
from catalog.version import code_version

_CANNOT = (  # errors of the query, though of a class that is mostly the server's
    psycopg.errors.ObjectNotInPrerequisiteState, psycopg.errors.CantChangeRuntimeParam,
    psycopg.errors.ProgramLimitExceeded, psycopg.errors.StatementTooComplex,
    psycopg.errors.TooManyColumns, psycopg.errors.TooManyArguments,
    psycopg.errors.ProtocolViolation,  # a query with $1, for which there is no value
)  # fmt: skip
Params = Mapping[str, Any] | Sequence[Any] | None


def filled_in(conn: sa.Connection, text: str, params: Params) -> str:
    """SQL with its parameters (``%s``, ``%(name)s``) written in, quoted by psycopg.

    Selections are texts, as cursors and files name them; what is not ours enters them here only.

    Raises
    ------
    UsageError
        If the parameters do not fit.
    """
    if params is None:
        return text
    connection: Any = conn.connection.driver_connection
    try:
        return psycopg.ClientCursor(connection).mogrify(text, params)
    except (psycopg.ProgrammingError, TypeError, KeyError) as exc:
        raise UsageError(
            f"the parameters do not fit the query: {exc}",
            "Write %s or %(name)s for each, and %% for a percent sign",
        ) from exc


def query_selection(conn: sa.Connection, query: str, *, timeout_s: float = TIMEOUT_S) -> Selection:
    """Return the rows of a SELECT, sorted by its columns from left to right.

    Parameters
    ----------
    conn : Connection
        A session of `catalog.store.people.people_sql`, whose login can only read.
    query : str
        One SELECT; a semicolon at its end is taken off.
    timeout_s : float
        Seconds from now after which whatever the session does is given up.

    Raises
    ------
    UsageError
        If there is no query, or the time is none.
    """
    text = query.rstrip(string.whitespace + ";")
    if not text:
        raise UsageError("the query is empty", "Such as: SELECT survey_key, ra, dec FROM source")
    limit_time(conn, timeout_s)
    return Selection(
        name="query",
        description="Rows of a query, sorted by its columns from left to right",
        query=text,
        order=(),
        provenance={"what": "query", "query": text, "written_by": code_version()},
        is_query=True,
    )


@contextmanager
def query_errors() -> Iterator[None]:
    """Turn what the server says about a user's query into messages.

    Raises
    ------
    UsageError
        If it is no single SELECT, names what does not exist, takes too long, or would write.
    psycopg.Error
        As it is, if the server gave up; see `catalog.store.server_errors`.
    """
    try:
        yield
    except psycopg.errors.QueryCanceled as exc:
        raise UsageError(
            "the query took too long, and was stopped",
            "Ask for less, or give it more time (--timeout; timeout_s in Python)",
        ) from exc
    except psycopg.errors.ReadOnlySqlTransaction as exc:
        raise _refused(exc, "Queries read only") from exc
    except psycopg.errors.InsufficientPrivilege as exc:
        raise _refused(
            exc,
            "Queries read the catalog's own tables and views; for what you made yourself, run as "
            "the owner: GRANT SELECT ON it TO crosslabel_reader (or the role of your readers)",
        ) from exc
    except (
        psycopg.ProgrammingError, psycopg.DataError, psycopg.InternalError,
        psycopg.NotSupportedError, *_CANNOT,
    ) as exc:  # fmt: skip
        if not isinstance(exc, _CANNOT) and isinstance(server_error(exc), ServerUnavailableError):
            raise
        todo = exc.diag.message_hint or "Give one SELECT; the tables are listed in docs/schema.md"
        raise _refused(exc, todo) from exc


def _refused(exc: psycopg.Error, todo: str) -> UsageError:
    """Return the error for a query that the server does not answer."""
    what: Any = exc.diag.message_primary or str(exc)
    return UsageError(f"the query cannot be answered: {what}", todo)
