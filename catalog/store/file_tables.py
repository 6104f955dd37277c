"""The tables of what was fetched from the archive, and of files as they were last seen.

The ledger says which run did what; these say what is known of each star, whoever asked.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Integer, Table, Text

from catalog.store.table_parts import col, metadata, now, opt, ref

fetched_file = Table(
    "fetched_file",
    metadata,
    col("path", Text, primary_key=True),
    col("url", Text),
    col("kind", Text),
    col("release", Text),
    col("size", BigInteger),
    col("sha256", Text),
    opt("remote_version", Text),
    opt("sha1", Text),
    now("fetched_at"),
    comment="Catalog files that were downloaded from the archive",
)

fetch_outcome = Table(
    "fetch_outcome",
    metadata,
    ref("source_id", "source.source_id", cascade=True, primary_key=True),
    col("kind", Text, primary_key=True),
    col("release", Text, primary_key=True),
    col("outcome", Text),
    opt("reason_code", Text),
    opt("detail", Text),
    opt("url", Text),
    opt("path", Text),
    col("attempts", Integer, server_default="1"),
    now("fetched_at"),
    CheckConstraint("outcome IN ('matched','none','failed')", name="outcome"),
    CheckConstraint("(outcome = 'failed') = (reason_code IS NOT NULL)", name="reason_code"),
    comment="What became of every source that the archive was asked about",
)

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
