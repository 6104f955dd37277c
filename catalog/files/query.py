"""A user's SELECT as something to take away: one statement that can only read, within a time."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.files.export import Selection
from catalog.version import code_version

TIMEOUT_S = 600
_READER = "pg_read_all_data"  # a role of PostgreSQL itself: SELECT on all tables, nothing else
# What would take other rights in the middle of a query, or could hide in a text that is run.
_ESCAPES = re.compile(
    r'\b(?:set_config|query_to_xml\w*|ts_stat|ts_rewrite)\b|\bU&(?=")', re.IGNORECASE
)
_TOO_MUCH = (
    psycopg.errors.ProgramLimitExceeded, psycopg.errors.StatementTooComplex,
    psycopg.errors.TooManyColumns, psycopg.errors.TooManyArguments,
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
    """The rows of a SELECT, sorted by its columns from left to right.

    From here on the transaction reads with the rights of PostgreSQL's role ``pg_read_all_data``,
    where the session may take it.

    Parameters
    ----------
    conn : Connection
        A read-only transaction (``Database.reader``); the server refuses whatever would write.
    query : str
        One SELECT; a semicolon at its end is taken off.
    timeout_s : float
        Seconds after which the server gives up a statement.

    Raises
    ------
    UsageError
        If there is no query, it could take other rights, or the time is none.
    """
    text = query.rstrip(string.whitespace + ";")
    refuse_escapes(text)
    if not text:
        raise UsageError("the query is empty", "Such as: SELECT survey_key, ra, dec FROM source")
    read_as_reader(conn, timeout_s)
    return Selection(
        name="query",
        description="Rows of a query, sorted by its columns from left to right",
        query=text,
        order=(),
        provenance={"what": "query", "query": text, "written_by": code_version()},
        is_query=True,
    )


def refuse_escapes(text: str) -> None:
    """Refuse SQL of a user that could give the session's own rights back to itself.

    The embedded server's session may do everything; ``SET LOCAL ROLE`` binds it only as long as
    nobody sets the role again.

    Raises
    ------
    UsageError
    """
    if found := _ESCAPES.search(text):
        raise UsageError(f"a query must not have {found[0]}", "Queries read tables and views only")


def read_as_reader(conn: sa.Connection, timeout_s: float = TIMEOUT_S) -> None:
    """Go on with the reader's rights in this transaction, within a time; see `query_selection`."""
    if not 1 <= timeout_s * 1000 < 2**31:  # 0 would be no limit
        raise UsageError(f"{timeout_s} is no time limit", "Give seconds, from 0.001 to 2 million")
    conn.execute(
        sa.text("SELECT set_config('statement_timeout', :ms, true)"),
        {"ms": str(round(timeout_s * 1000))},
    )
    member = "SET" if conn.dialect.server_version_info >= (16,) else "MEMBER"  # type: ignore[operator]
    if conn.scalar(sa.text(f"SELECT pg_has_role('{_READER}', '{member}')")):
        conn.execute(sa.text(f"SET LOCAL ROLE {_READER}"))


@contextmanager
def query_errors() -> Iterator[None]:
    """Turn what the server says about a user's query into messages.

    Raises
    ------
    UsageError
        If it is no single SELECT, names what does not exist, takes too long, or would write.
    psycopg.OperationalError
        If the server gave up; see `catalog.store.server_errors`.
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
        raise _refused(exc, "Queries read tables and views only") from exc
    except (
        psycopg.ProgrammingError, psycopg.DataError, psycopg.InternalError,
        psycopg.NotSupportedError, *_TOO_MUCH,
    ) as exc:  # fmt: skip
        todo = exc.diag.message_hint or "Give one SELECT; the tables are listed in docs/schema.md"
        raise _refused(exc, todo) from exc


def _refused(exc: psycopg.Error, todo: str) -> UsageError:
    """What is said of a query that the server does not answer."""
    what: Any = exc.diag.message_primary or str(exc)
    return UsageError(f"the query cannot be answered: {what}", todo)
