"""The columns of the labels in `stellar_label`: an upgrade adds those of new entries of `LABELS`.

The migrations hold the columns that the table was made with. A new label is an entry of the
vocabulary and nothing else: its two columns may be NULL, so that adding them rewrites no row.
Columns of labels that the code no longer has stay, with their values.
"""

from __future__ import annotations

import hashlib

import sqlalchemy as sa

from catalog.store.columns import LABELS, error_of


def _add_columns() -> str:
    """Return the statement that adds the columns that are not there."""
    names = [name for label in LABELS for name in (label, error_of(label))]
    added = ", ".join(f"ADD COLUMN IF NOT EXISTS {name} REAL" for name in names)
    return f"ALTER TABLE stellar_label {added}"


def label_columns_digest() -> str:
    """Return a digest of the columns, by which an upgrade knows whether any is to be added."""
    return hashlib.sha256(_add_columns().encode()).hexdigest()


def add_label_columns(conn: sa.Connection) -> None:
    """Add the columns of labels that are not there."""
    conn.exec_driver_sql(_add_columns())
