"""The engine, transactions, locks, and what errors of the server mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError

from catalog.config import Settings, parse_url
from catalog.errors import (
    ConfigurationError,
    LockedError,
    SourceUnavailableError,
    UsageError,
)
from catalog.store import embedded

MINIMUM_SERVER = 150000  # PostgreSQL 15
_FORBIDDEN = (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)


@dataclass(frozen=True)
class Database:
    """A PostgreSQL database; functions that touch it take a connection of it."""

    engine: sa.Engine

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """One write transaction: everything in it commits, or nothing."""
        with self.engine.begin() as conn:
            yield conn

    @contextmanager
    def reader(self) -> Iterator[sa.Connection]:
        """A read-only transaction that sees one state of the database throughout."""
        with self.engine.connect().execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        ) as conn:
            yield conn


def connect(settings: Settings) -> Database:
    """The database of the settings; starts the embedded server where none is named.

    Raises
    ------
    SourceUnavailableError
        If the server does not answer.
    ConfigurationError
        If the server is older than PostgreSQL 15.
    """
    url = settings.database_url or parse_url(embedded.start(settings.home).url)
    return open_database(url)


def open_database(url: sa.URL) -> Database:
    """A database by its URL, checked with a real query."""
    engine = sa.create_engine(
        url,
        pool_pre_ping=True,
        pool_size=4,
        connect_args={
            "options": "-c timezone=UTC",
            "application_name": "crosslabel",
            # A staging table may have other types under the same query text.
            "prepare_threshold": None,
        },
    )
    try:
        with engine.connect() as conn:
            version = conn.scalar(sa.text("SELECT current_setting('server_version_num')::int"))
    except OperationalError as exc:
        raise SourceUnavailableError(
            f"the database {url.render_as_string(hide_password=True)} does not answer: "
            f"{str(exc.orig).strip()}",
            "Is the server running, and is CROSSLABEL_DATABASE_URL right?",
        ) from None  # the cause would print the password
    except (InterfaceError, ProgrammingError) as exc:
        raise ConfigurationError(
            f"the database URL {url.render_as_string(hide_password=True)} has an option that "
            f"PostgreSQL does not know: {str(exc.orig).strip()}",
            "Correct CROSSLABEL_DATABASE_URL",
        ) from None
    if version < MINIMUM_SERVER:
        raise ConfigurationError(
            f"the server is PostgreSQL {version // 10000}", "crosslabel needs PostgreSQL >= 15"
        )
    return Database(engine)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn what the server says into messages: gone or full, not allowed, or an unknown name."""
    try:
        yield
    except OperationalError as exc:
        raise SourceUnavailableError(
            f"the database server gave up: {str(exc.orig).strip()}",
            "What was committed is safe; run the command again, or: crosslabel resume",
        ) from exc
    except UnicodeEncodeError as exc:
        text = exc.object[max(exc.start - 40, 0) : exc.end + 40]
        raise UsageError(f"{text!r} is not UTF-8", "Write it again in UTF-8") from exc
    except sa.exc.DBAPIError as exc:
        if type(exc.orig) is psycopg.DataError:  # not the server's, whose errors are more exact
            raise UsageError(f"a name or text cannot be one: {exc.orig}", "Write it again") from exc
        if isinstance(exc.orig, psycopg.errors.RaiseException):
            diagnosis = exc.orig.diag
            raise UsageError(diagnosis.message_primary or "", diagnosis.message_hint or "") from exc
        if isinstance(exc.orig, _FORBIDDEN):
            raise ConfigurationError(
                f"the database server refuses: {exc.orig.diag.message_primary}",
                "Connect as the role that owns the catalog's tables, where it may write",
            ) from exc
        raise


@dataclass(frozen=True)
class Lock:
    """A held advisory lock, on a connection of its own."""

    connection: sa.Connection
    target: str

    def check(self) -> None:
        """Stop if the lock's connection is gone, for then the lock is gone too."""
        try:
            self.connection.execute(sa.text("SELECT 1"))
        except OperationalError as exc:
            raise SourceUnavailableError(
                f"the connection that held the lock on {self.target} broke",
                "Nothing of the open chunk was written; run: crosslabel resume",
            ) from exc


_LOCK_KEY = "hashtextextended('crosslabel ' || :target, 0)"


@contextmanager
def advisory_lock(db: Database, target: str) -> Iterator[Lock]:
    """Hold the lock on what a job writes; the server drops it when the process dies.

    Raises
    ------
    LockedError
        If another session holds it.
    """
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        if not conn.scalar(
            sa.text(f"SELECT pg_try_advisory_lock({_LOCK_KEY})"), {"target": target}
        ):
            raise LockedError(
                f"another run is writing {target}", "Try again later; crosslabel status shows it"
            )
        try:
            yield Lock(conn, target)
        finally:
            if not conn.invalidated and not conn.closed:
                _unlock(conn, target)


def _unlock(conn: sa.Connection, target: str) -> None:
    """Give the lock back; a broken connection has done so already."""
    try:
        conn.execute(sa.text(f"SELECT pg_advisory_unlock({_LOCK_KEY})"), {"target": target})
    except OperationalError:
        conn.invalidate()


def is_locked(conn: sa.Connection, target: str) -> bool:
    """Whether any session holds the lock on ``target``: whether a run on it is alive."""
    query = f"""
        SELECT EXISTS (SELECT 1 FROM pg_locks, (SELECT {_LOCK_KEY} AS k) AS key
        WHERE locktype = 'advisory' AND granted AND objsubid = 1
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND classid::bigint = (k >> 32) & 4294967295 AND objid::bigint = k & 4294967295)"""
    return bool(conn.scalar(sa.text(query), {"target": target}))
