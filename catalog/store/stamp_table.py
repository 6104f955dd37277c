"""The table of files as they were last seen, so that what has not changed is not read again."""

from __future__ import annotations

from sqlalchemy import BigInteger, Table, Text

from catalog.store.table_parts import col, metadata, now

file_stamp = Table(
    "file_stamp",
    metadata,
    col("path", Text, primary_key=True),
    col("size", BigInteger),
    col("mtime_ns", BigInteger),
    col("ctime_ns", BigInteger),
    col("content_digest", Text),
    now("stamped_at"),
    comment="Files that sync has read or written, with what tells whether they are still the same",
)
