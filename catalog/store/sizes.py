"""Read a database's version, role and sizes."""

from __future__ import annotations

import sqlalchemy as sa

_FACTS = """
    SELECT current_setting('server_version') AS postgresql, current_user AS role,
           current_database() AS database, pg_database_size(current_database()) AS size"""
# Tables with their indexes and large values; those of Optuna and of people count too.
_LARGEST = """
    SELECT c.relname, pg_total_relation_size(c.oid) AS size
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND pg_total_relation_size(c.oid) >= 1048576
    ORDER BY size DESC, c.relname LIMIT 5"""


def database_facts(conn: sa.Connection) -> dict[str, object]:
    """Return server version, role, database and sizes, as `crosslabel db status` shows them.

    Returns
    -------
    dict
        ``postgresql`` (its version), ``role``, ``database``, ``size`` such as ``1.2 GB``, and
        ``largest``: up to five tables of 1 MB or more with their sizes.
    """
    facts = conn.execute(sa.text(_FACTS)).mappings().one()
    largest = [f"{row.relname} {size_text(row.size)}" for row in conn.execute(sa.text(_LARGEST))]
    return {**facts, "size": size_text(facts["size"]), "largest": ", ".join(largest) or "none"}


def size_text(n_bytes: float) -> str:
    """Return a number of bytes in MB or GB, such as ``12.3 MB``."""
    return f"{n_bytes / 1e9:,.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:,.1f} MB"
