"""Comments on tables, views, functions and columns, from the code that defines these."""

from __future__ import annotations

import hashlib
import json

import sqlalchemy as sa
from psycopg import sql

from catalog.store import functions, views
from catalog.store import immutability_triggers as triggers
from catalog.store.columns import VOCABULARY
from catalog.store.schema import metadata

_FOUND = """
SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, c.oid::regclass::text,
       obj_description(c.oid, 'pg_class')
FROM pg_class c WHERE c.oid IN (SELECT to_regclass(n) FROM unnest(CAST(:names AS text[])) AS n)
UNION ALL
SELECT 'COLUMN', a.attname || ' ' || c.oid::regclass::text, col_description(c.oid, a.attnum)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.oid IN (SELECT to_regclass(n) FROM unnest(CAST(:names AS text[])) AS n)
  AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'FUNCTION', n, obj_description(to_regprocedure(n), 'pg_proc')
FROM unnest(CAST(:signatures AS text[])) AS n"""


def comments_digest() -> str:
    """Return a digest of all comments."""
    columns = {name: meaning.comment for name, meaning in VOCABULARY.items()}
    everything = [columns, _of_relations(), _of_functions()]
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()


def set_comments(conn: sa.Connection) -> None:
    """Set every comment that is not yet as the code has it."""
    relations, signatures = _of_relations(), _of_functions()
    names = {"names": list(relations), "signatures": list(signatures)}
    for kind, name, comment in conn.execute(sa.text(_FOUND), names).all():
        if kind == "COLUMN":
            column, relation = name.split(" ", 1)
            if column not in VOCABULARY:  # of a label that another version has
                continue
            wanted = VOCABULARY[column].comment
            name = f"{relation}.{column}"
        else:
            wanted = (relations | signatures)[name]
        if comment != wanted:
            text = sql.quote(wanted).replace("%", "%%")
            conn.exec_driver_sql(f"COMMENT ON {kind} {name} IS {text}")


def _of_relations() -> dict[str, str]:
    """Return the comments of tables and views, by name."""
    tables = {t.name: t.comment or "" for t in metadata.tables.values()}
    return tables | {v.name: v.comment for v in views.VIEWS}


def _of_functions() -> dict[str, str]:
    """Return the comments of functions, by signature."""
    made = (*functions.FUNCTIONS, *triggers.FUNCTIONS)
    return {f"{f.name}({f.signature})": f.comment for f in made}
