"""Sessions for people's own SQL: a login that can only read, a connection each, a time limit.

What a query may do is decided by the rights of the login (`catalog.store.reader_role`), never by
its text. A session can undo its own settings, so the time limit is also enforced from here: the
clock of the caller cancels what runs too long.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from catalog.config import show_url
from catalog.errors import ConfigurationError, UsageError
from catalog.store.db import Database, connection_options
from catalog.store.server_errors import connection_error

TIMEOUT_S = 600.0
_T = TypeVar("_T")
_CLOCK = "clock of people's SQL"  # where a session keeps it
_AGAIN_S = 0.5  # between two cancels: one may meet the gap between two statements
_OPTIONS = (
    "-c default_transaction_read_only=on -c statement_timeout=600s "
    "-c lock_timeout=30s -c idle_in_transaction_session_timeout=1h"
)
_NOT_LET_IN = ("does not exist", "not permitted to log in", "pg_hba.conf", "CONNECT privilege")
_GRANT = "Run as the owner: crosslabel db grant-reader {0}"
# Who the session is, and what it could do beside reading. No row: it does not see our tables.
_RIGHTS = """
SELECT r.rolname, r.rolsuper OR r.rolcreaterole OR r.rolreplication OR r.rolbypassrls
           OR pg_has_role(c.relowner, 'MEMBER')
           OR has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') AS may_write,
       has_table_privilege(c.oid, 'SELECT') AS may_read,
       ARRAY(SELECT p.rolname::text FROM pg_roles p WHERE p.rolname LIKE 'pg\\_%'
             AND pg_has_role(p.oid, 'MEMBER') ORDER BY 1) AS powers
FROM pg_class c, pg_roles r
WHERE c.oid = to_regclass('source') AND r.rolname = session_user"""
_IDENTITY = "SELECT current_database(), 'source'::regclass::oid, pg_postmaster_start_time()"


class Clock:
    """Cancels what a connection does when its time is up, whatever the session has set.

    Parameters
    ----------
    connection : psycopg.Connection
        A connection that is used by another thread.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._running: tuple[threading.Thread, threading.Event] | None = None
        self.seconds = TIMEOUT_S

    @property
    def is_running(self) -> bool:
        """True where it counts."""
        return self._running is not None

    def start(self) -> None:
        """Begin to count, from zero."""
        self.stop()
        stopped = threading.Event()
        thread = threading.Thread(target=self._cancel_after, args=(stopped,), daemon=True)
        thread.start()
        self._running = thread, stopped

    def stop(self) -> None:
        """Stop counting."""
        if self._running is not None:
            thread, stopped = self._running
            stopped.set()
            thread.join()
            self._running = None

    def _cancel_after(self, stopped: threading.Event) -> None:
        """Wait for the time, then cancel again and again until the caller has noticed."""
        wait = self.seconds
        while not stopped.wait(wait):
            with suppress(psycopg.Error):
                self._connection.cancel_safe(timeout=5)
            wait = _AGAIN_S


@contextmanager
def people_sql(db: Database) -> Iterator[sa.Connection]:
    """Open a session for SQL that is not ours: a read-only snapshot, and closed at the end.

    `limit_time` starts the clock, which `catalog.export.query` does for every query of people.

    Yields
    ------
    Connection
        The only kind that `catalog.export.query` takes.

    Raises
    ------
    ConfigurationError
        If there is no login that can only read, or it is none.
    SourceUnavailableError
        If the server does not answer, or has no connection left.
    """
    url = db.engine.url if db.reader_url is None or db.as_owner else db.reader_url
    options = connection_options(url)
    engine = sa.create_engine(
        url,
        poolclass=sa.pool.NullPool,
        connect_args=options
        | {
            "options": f"{options['options']} {_OPTIONS}",
            "application_name": "crosslabel reader",
        },
    )
    with _opened(engine) as conn:
        if not db.as_owner:
            _require_reader(conn, db)
        clock = Clock(conn.connection.driver_connection)  # type: ignore[arg-type]
        conn.info[_CLOCK] = clock
        try:
            yield conn
        finally:
            clock.stop()


def limit_time(conn: sa.Connection, seconds: float) -> None:
    """Give a session of `people_sql` so much time from now on, by the server's clock and by ours.

    Raises
    ------
    UsageError
        If the time is none.
    """
    if not 1 <= seconds * 1000 < 2**31:  # 0 would be no limit
        raise UsageError(f"{seconds} is no time limit", "Give seconds, from 0.001 to 2 million")
    clock = conn.info.get(_CLOCK)
    if not isinstance(clock, Clock):
        raise AssertionError("people's SQL runs in sessions of people_sql only")
    conn.execute(
        sa.text("SELECT set_config('statement_timeout', :ms, true)"),
        {"ms": str(round(seconds * 1000))},
    )
    clock.seconds = seconds
    clock.start()


def timed(conn: sa.Connection, items: Iterator[_T]) -> Iterator[_T]:
    """Yield items while the clock, where it runs, counts the time of each, not of their use."""
    clock = conn.info.get(_CLOCK)
    if not isinstance(clock, Clock) or not clock.is_running:
        yield from items
        return
    done: Any = object()
    while True:
        clock.start()
        item = next(items, done)
        clock.stop()
        if item is done:
            return
        yield item


@contextmanager
def _opened(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection in a read-only transaction that sees one state of the database."""
    try:
        conn = engine.connect()
    except OperationalError as exc:
        said = str(exc.orig).strip()
        if any(words in said for words in _NOT_LET_IN):
            raise ConfigurationError(
                f"the login that reads is not let in: {said}",
                "Correct CROSSLABEL_READER_URL; for the embedded server run: crosslabel db upgrade",
            ) from None  # the cause could print a password
        where = show_url(engine.url)
        raise connection_error(exc, where) from None
    with conn:
        yield conn.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _require_reader(conn: sa.Connection, db: Database) -> None:
    """Raise unless the session can only read, and reads the database of the owner's URL."""
    found = conn.execute(sa.text(_RIGHTS)).one_or_none()
    if db.reader_url is None and (found is None or found.may_write or found.powers):
        raise ConfigurationError(
            "SQL of your own needs a login that can only read, and none is named",
            "Run crosslabel db grant-reader ROLE and set CROSSLABEL_READER_URL (the password in "
            "~/.pgpass), or give --as-owner (as_owner=True in Python) to run it with all rights",
        )
    user = conn.engine.url.username or "ROLE"
    if found is None or not found.may_read:
        raise ConfigurationError(f"the login {user} may not read the catalog", _GRANT.format(user))
    if found.may_write or found.powers:
        what = f"is a member of {', '.join(found.powers)}" if found.powers else "can write"
        raise ConfigurationError(
            f"the login {user} of CROSSLABEL_READER_URL {what}",
            "Name a login that can only read; crosslabel db grant-reader ROLE gives it the rights",
        )
    if db.reader_url is not None:
        with db.reader() as own:
            same = own.execute(sa.text(_IDENTITY)).one() == conn.execute(sa.text(_IDENTITY)).one()
        if not same:
            raise ConfigurationError(
                "CROSSLABEL_READER_URL names another database than CROSSLABEL_DATABASE_URL",
                "Correct one of them",
            )
