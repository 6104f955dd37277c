"""Run the migrations on the connection handed in; for developers, on CROSSLABEL_DATABASE_URL."""

from __future__ import annotations

import os

import sqlalchemy as sa
from alembic import context

from catalog.config import make_settings
from catalog.store.db import connect
from catalog.store.schema import metadata


def without_comments() -> sa.MetaData:
    """Return the tables without comments: these are set from the code, never by a migration."""
    plain = sa.MetaData(naming_convention=metadata.naming_convention)
    for table in metadata.tables.values():
        copy = table.to_metadata(plain)
        copy.comment = None
        for column in copy.columns:
            column.comment = None
    return plain


def migrate(connection: sa.Connection) -> None:
    """Run all steps in one transaction: the schema is never between two revisions."""
    context.configure(
        connection=connection, target_metadata=without_comments(), compare_server_default=True
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    with connect(make_settings(os.environ)).engine.connect() as own:
        own.dialect.supports_comments = False  # autogenerate does not compare them either
        migrate(own)
        own.commit()
