"""The check that the database has the schema that this code was written for."""

from __future__ import annotations

import re

import sqlalchemy as sa

from catalog.errors import ConfigurationError
from catalog.store.db import Database
from catalog.store.derived import stale_objects

#: Revisions of the tables, oldest first (a test compares them with `migrations/versions`).
REVISIONS = ("2026_12_01_tables",)
_UPGRADE = "Run: crosslabel db upgrade"
_UNRELEASED = re.compile(r"000\d")  # how the revisions were called before the first release


def head_revision() -> str:
    """Return the newest revision of this installation."""
    return REVISIONS[-1]


def schema_revision(conn: sa.Connection) -> str | None:
    """Return the revision that the database is at; None for an empty database."""
    if conn.scalar(sa.text("SELECT to_regclass('alembic_version')")) is None:
        return None
    found = conn.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return None if found is None else str(found)


def require_known(revision: str) -> None:
    """Raise unless a migration of this installation made the schema.

    Raises
    ------
    ConfigurationError
        If the revision is of a version before the first release, or of a newer one.
    """
    if _UNRELEASED.fullmatch(revision):
        raise _not_at_head(
            revision,
            "It was made by a version from before the first release: make a new home (--home) or "
            "database and ingest again; models go along as files (crosslabel models export, with "
            "the old version)",
        )
    if revision not in REVISIONS:
        raise _not_at_head(revision, "Update crosslabel: the schema is newer than it")


def require_schema_at_head(db: Database) -> None:
    """Raise unless the database has exactly the schema that this code was written for.

    Tables are known by their revision; views, functions, triggers and comments by the digest of
    what made them, and by being there.

    Raises
    ------
    ConfigurationError
        With the command that mends it.
    """
    with db.reader() as conn:
        found = schema_revision(conn)
        if found is None:
            raise ConfigurationError("the database has no crosslabel schema yet", _UPGRADE)
        require_known(found)
        if found != head_revision():
            raise _not_at_head(found, _UPGRADE)
        stale = stale_objects(conn, db.own_readers)
    if stale:
        more = f" and {len(stale) - 3} more" if len(stale) > 3 else ""
        raise ConfigurationError(
            f"the schema has objects of another version: {', '.join(stale[:3])}{more}",
            _UPGRADE,
        )


def _not_at_head(revision: str, todo: str) -> ConfigurationError:
    """Return what is said of a schema that this code was not written for."""
    return ConfigurationError(
        f"the schema is at {revision}, this version needs {head_revision()}", todo
    )
