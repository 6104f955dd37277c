"""The catalog that a command works on: one that is there, or a new one that it may begin.

A new embedded home is made, with its schema, by the first command that brings something into a
catalog. To every other command a home that is not there is a mistake: in a name, or in a place.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from catalog.config import Settings
from catalog.errors import ConfigurationError
from catalog.store.db import Database, connect
from catalog.store.embedded_layout import MIGRATED, find_place
from catalog.store.head import require_schema_at_head, schema_revision


def has_catalog(home: Path) -> bool:
    """Return True if there is the data folder of an embedded server."""
    try:
        if not home.exists():
            return False
        data = find_place(home).data
        return data.exists() or data.with_name(MIGRATED).exists()
    except (PermissionError, ConfigurationError):
        return False


def require_home(settings: Settings) -> None:
    """Raise unless the home of the settings is there, or a database is named by its URL.

    Raises
    ------
    ConfigurationError
        With the homes that there are, and how one is made.
    """
    if settings.database_url is not None:
        return
    find_place(settings.home)  # a folder that cannot be reached says so
    if has_catalog(settings.home):
        return
    others = [str(home) for home in settings.other_homes if has_catalog(home)]
    meant = f"Did you mean --home {' or --home '.join(others)}? " if others else ""
    raise ConfigurationError(
        f"there is no catalog in {settings.home}",
        f"{meant}A new one is made by the first command that brings something in: crosslabel "
        "ingest, fetch, sync",
    )


def open_catalog_database(
    settings: Settings,
    *,
    begins: bool = False,
    at_head: bool = True,
    tell: Callable[[str], None] = lambda text: None,
) -> Database:
    """Return the database of the settings, its server started where it is embedded.

    Parameters
    ----------
    settings : Settings
    begins : bool
        A home that is not there, or empty, becomes a catalog. A database by its URL does not:
        it may be somebody else's.
    at_head : bool
        Refuse a schema that this code was not written for.
    tell : callable
        Hears of a new catalog.

    Raises
    ------
    ConfigurationError
        If there is no catalog, or it is not at head; the message names it.
    SourceUnavailableError
        If the server does not answer.
    """
    if not begins:
        require_home(settings)
    db = connect(settings)
    try:
        if begins and settings.database_url is None:
            _begin(db, settings, tell)
        if at_head:
            _require_schema(db, settings)
    except BaseException:
        db.engine.dispose()
        raise
    return db


def _begin(db: Database, settings: Settings, tell: Callable[[str], None]) -> None:
    """Make the schema of a new home; one that has any is left as it is."""
    with db.reader() as conn:
        found = schema_revision(conn)
    if found is None:
        from catalog.store.upgrade import upgrade_schema  # Alembic is slow to load

        made = upgrade_schema(db)
        if made.before is None:
            tell(f"new catalog in {settings.home}")


def _require_schema(db: Database, settings: Settings) -> None:
    """Raise unless the schema is at head, with a command that names this catalog."""
    try:
        require_schema_at_head(db)
    except ConfigurationError as exc:
        raise ConfigurationError(
            f"{settings.place}: {exc.reason}",
            exc.todo.replace("crosslabel db", f"crosslabel {settings.options}db"),
        ) from None
