"""The table of what an upgrade made from the code: views, functions, triggers, comments."""

from __future__ import annotations

from sqlalchemy import Table, Text

from catalog.store.table_parts import col, metadata

derived_object = Table(
    "derived_object",
    metadata,
    col("kind", Text, primary_key=True),
    col("name", Text, primary_key=True),
    col("definition_sha256", Text),
    comment="Views, functions, triggers and comments as crosslabel db upgrade made them",
)
