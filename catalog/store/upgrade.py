"""Bring the database to the schema of this version: migrate its tables, remake what is derived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import OperationalError, ProgrammingError

from catalog.errors import ConfigurationError, LockedError
from catalog.store.db import Database
from catalog.store.derived import remake, stale_objects
from catalog.store.head import head_revision, require_known, schema_revision

LOCK_SECONDS = 60  # how long an upgrade waits for readers of what it changes
_TAKEN = (
    psycopg.errors.DuplicateTable,
    psycopg.errors.DuplicateObject,
    psycopg.errors.DuplicateFunction,
)


@dataclass(frozen=True)
class Upgrade:
    """The result of an upgrade: revisions before and after, and the objects that it made anew."""

    before: str | None
    after: str
    remade: tuple[str, ...] = ()


def alembic_config(connection: sa.Connection | None = None) -> Config:
    """Return the migrations of this installation, run on the connection that is handed in."""
    config = Config()
    config.set_main_option("script_location", "migrations:")
    config.attributes["connection"] = connection
    return config


def upgrade_schema(db: Database) -> Upgrade:
    """Bring the schema to head in one transaction; does nothing where it is.

    Until the transaction commits, other sessions see the old views, functions and triggers, or
    wait; there is no moment without the triggers that keep what is published.

    Raises
    ------
    ConfigurationError
        If the database is another program's, of a newer crosslabel or of one before the first
        release, or if views of people depend on what has to be made anew.
    LockedError
        If other sessions use what has to be changed for longer than a minute.
    """
    with db.reader() as conn:  # at head already: no lock is taken
        found = schema_revision(conn)
        if found == head_revision() and not stale_objects(conn, db.own_readers):
            return Upgrade(found, found)
    try:
        with db.begin() as conn:
            return _upgrade(conn, db.own_readers)
    except OperationalError as exc:
        if not isinstance(exc.orig, psycopg.errors.LockNotAvailable):
            raise
        raise LockedError(
            "other sessions use the tables or views that the upgrade has to change",
            "Try again when they have ended; nothing was changed",
        ) from exc


def _upgrade(conn: sa.Connection, readers: Sequence[str]) -> Upgrade:
    """Migrate and remake in an open transaction."""
    # the second of two waits for the first, and finds nothing to do
    conn.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('crosslabel schema'))"))
    conn.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
    before = schema_revision(conn)
    if before is not None:
        require_known(before)
    try:
        if before != head_revision():
            command.upgrade(alembic_config(conn), "head")
    except ProgrammingError as exc:
        if not isinstance(exc.orig, _TAKEN):
            raise
        raise ConfigurationError(
            f"the database has tables of another program: {exc.orig.diag.message_primary}",
            "Give crosslabel a database of its own",
        ) from exc
    for role in readers:
        query = sa.text("SELECT 1 FROM pg_roles WHERE rolname = :role")
        if conn.scalar(query, {"role": role}) is None:
            conn.exec_driver_sql(f'CREATE ROLE "{role}" LOGIN')
    return Upgrade(before, head_revision(), tuple(remake(conn, readers)))
