"""The engine, transactions, locks, and what errors of the server mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError

from catalog.config import Settings, parse_url, show_url
from catalog.errors import ConfigurationError, LockedError, ServerUnavailableError
from catalog.store import embedded
from catalog.store.embedded_layout import READER
from catalog.store.privileges import note_role
from catalog.store.server_errors import connection_error

MINIMUM_SERVER = 150000  # PostgreSQL 15


@dataclass(frozen=True)
class Database:
    """A PostgreSQL database; functions that touch it take a connection of it.

    Attributes
    ----------
    engine : Engine
        Connections of the role that owns the catalog, or of whatever role the URL names.
    reader_url : URL or None
        The same database under the login that people's own SQL runs as
        (`catalog.store.people.people_sql`).
    as_owner : bool
        Whether people's own SQL may run with the rights of ``engine``.
    is_embedded : bool
        Whether the server is ours, and its roles are kept by `catalog.store.upgrade`.
    """

    engine: sa.Engine
    reader_url: sa.URL | None = None
    as_owner: bool = False
    is_embedded: bool = False

    @property
    def own_readers(self) -> tuple[str, ...]:
        """The roles of our own server that can read."""
        return (READER,) if self.is_embedded else ()

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
    """Return the database of the settings; starts the embedded server where none is named.

    Raises
    ------
    SourceUnavailableError
        If the server does not answer.
    ConfigurationError
        If the server is older than PostgreSQL 15.
    """
    as_owner = settings.as_owner
    if settings.database_url is not None:
        return open_database(settings.database_url, settings.reader_url, as_owner=as_owner)
    url = parse_url(embedded.start(settings.home).url)
    return open_database(url, url.set(username=READER), as_owner=as_owner, is_embedded=True)


def open_database(
    url: sa.URL,
    reader_url: sa.URL | None = None,
    *,
    as_owner: bool = False,
    is_embedded: bool = False,
) -> Database:
    """Return a database by its URL, checked with a real query; see `Database`."""
    engine = sa.create_engine(
        url, pool_pre_ping=True, pool_size=4, connect_args=connection_options(url)
    )
    note_role(engine)
    where = show_url(url)
    try:
        with engine.connect() as conn:
            version = conn.scalar(sa.text("SELECT current_setting('server_version_num')::int"))
    except OperationalError as exc:
        raise connection_error(exc, where) from None  # the cause would print the password
    except (InterfaceError, ProgrammingError) as exc:
        raise ConfigurationError(
            f"the database URL {where} has an option that "
            f"PostgreSQL does not know: {str(exc.orig).strip()}",
            "Correct CROSSLABEL_DATABASE_URL",
        ) from None
    if version < MINIMUM_SERVER:
        raise ConfigurationError(
            f"the server is PostgreSQL {version // 10000}", "crosslabel needs PostgreSQL >= 15"
        )
    return Database(engine, reader_url, as_owner, is_embedded)


def connection_options(url: sa.URL) -> dict[str, Any]:
    """Return how all connections are made; what the URL says itself wins.

    A server whose machine or network has gone is noticed after half a minute, also while we wait
    for it; one that finds our process gone gives up the query, and with it the locks.
    """
    patience: dict[str, Any] = {
        "connect_timeout": 20,
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
    }
    said = str(url.query.get("options", ""))
    ours = "-c timezone=UTC -c client_connection_check_interval=2s"
    return {name: value for name, value in patience.items() if name not in url.query} | {
        "options": f"{ours} {said}".strip(),
        "application_name": "crosslabel",
        # A staging table may have other types under the same query text.
        "prepare_threshold": None,
    }


@dataclass(frozen=True)
class Lock:
    """A held advisory lock, on a connection of its own."""

    connection: sa.Connection
    target: str

    def check(self) -> None:
        """Stop if the lock's connection is gone, for then the lock is gone too."""
        try:
            self.connection.execute(sa.text("SELECT 1"))
        except sa.exc.DBAPIError as exc:
            raise ServerUnavailableError(
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
    except sa.exc.DBAPIError:
        conn.invalidate()


def is_locked(conn: sa.Connection, target: str) -> bool:
    """Return True where any session holds the lock on ``target``, that is where a run is alive."""
    query = f"""
        SELECT EXISTS (SELECT 1 FROM pg_locks, (SELECT {_LOCK_KEY} AS k) AS key
        WHERE locktype = 'advisory' AND granted AND objsubid = 1
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND classid::bigint = (k >> 32) & 4294967295 AND objid::bigint = k & 4294967295)"""
    return bool(conn.scalar(sa.text(query), {"target": target}))
