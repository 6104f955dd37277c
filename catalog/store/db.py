"""The engine, transactions, locks, and the check that the schema is at head."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
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
_UPGRADE = "Run: crosslabel db upgrade"
_TAKEN = (
    psycopg.errors.DuplicateTable,
    psycopg.errors.DuplicateObject,
    psycopg.errors.DuplicateFunction,
)
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


def alembic_config(connection: sa.Connection | None = None) -> Config:
    """The migrations of this installation, run on the connection that is handed in."""
    import migrations

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.attributes["connection"] = connection
    return config


@cache
def head_revision() -> str:
    """The newest migration of this installation."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    assert head is not None
    return head


def schema_revision(conn: sa.Connection) -> str | None:
    """The migration that the database is at; None for an empty database."""
    return MigrationContext.configure(conn).get_current_revision()


def require_schema_at_head(db: Database) -> None:
    """Stop unless the database has exactly the schema that this code was written for.

    Raises
    ------
    ConfigurationError
        With the command that mends it.
    """
    with db.reader() as conn:
        found = schema_revision(conn)
    if found is None:
        raise ConfigurationError("the database has no crosslabel schema yet", _UPGRADE)
    if found != head_revision():
        _require_known(found)
        raise _not_at_head(found, _UPGRADE)


def _require_known(revision: str) -> None:
    """Refuse a schema that no migration of this installation made."""
    known = {s.revision for s in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    if revision not in known:
        raise _not_at_head(revision, "Update crosslabel: the schema is newer than it")


def _not_at_head(revision: str, todo: str) -> ConfigurationError:
    """What is said of a schema that this code was not written for."""
    return ConfigurationError(
        f"the schema is at {revision}, this version needs {head_revision()}", todo
    )


def upgrade_schema(db: Database) -> tuple[str | None, str | None]:
    """Bring the schema to head in one transaction; the revisions before and after.

    Raises
    ------
    ConfigurationError
        If the database is another program's, or of a newer crosslabel.
    """
    with db.begin() as conn:  # the second of two waits for the first, and finds nothing to do
        conn.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('crosslabel schema'))"))
        before = schema_revision(conn)
        if before is not None:
            _require_known(before)
        try:
            command.upgrade(alembic_config(conn), "head")
        except ProgrammingError as exc:
            if not isinstance(exc.orig, _TAKEN):
                raise
            raise ConfigurationError(
                f"the database has tables of another program: {exc.orig.diag.message_primary}",
                "Give crosslabel a database of its own",
            ) from exc
        return before, schema_revision(conn)


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
