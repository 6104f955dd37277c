"""Run the migrations on the connection handed in; for developers, on CROSSLABEL_DATABASE_URL."""

from __future__ import annotations

import os

from alembic import context

from catalog.config import make_settings
from catalog.store.db import connect
from catalog.store.schema import metadata


def migrate(connection) -> None:
    """All steps in one transaction: the schema is never between two revisions."""
    context.configure(connection=connection, target_metadata=metadata, compare_server_default=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    with connect(make_settings(os.environ)).engine.connect() as own:
        migrate(own)
        own.commit()
