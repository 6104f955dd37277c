"""The rights of a login that can only read: SELECT on the catalog's tables and views, no more.

PostgreSQL gives everybody some rights that a reader of a catalog must not have (temporary tables,
advisory locks, NOTIFY, large objects). Who may take which away differs, so there are three lists:
grants of the tables' owner, of the database's owner, and of an administrator.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa
from psycopg import sql

from catalog.errors import ConfigurationError
from catalog.store import functions, views
from catalog.store.schema import derived_object, metadata

#: What everybody may call in PostgreSQL and a reader may not, as a pattern of names.
TAKEN_AWAY = (
    r"^(pg_advisory_.*|pg_try_advisory_.*|pg_notify|pg_terminate_backend|pg_cancel_backend"
    r"|pg_logical_emit_message|pg_export_snapshot|lo_.*|loread|lowrite)$"
)
#: Settings of the login itself, for sessions that are not opened by crosslabel.
SETTINGS = {
    "default_transaction_read_only": "on", "statement_timeout": "1h", "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "1h", "idle_session_timeout": "1h",
    "temp_file_limit": "20GB",
}  # fmt: skip
CONNECTIONS = 30  # of the 60 that the embedded server has
_FUNCTIONS = """
SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE (p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0))
  AND NOT p.oid = ANY (ARRAY(SELECT to_regprocedure(f)::oid
                             FROM unnest(CAST(:ours AS text[])) AS f))
  AND CASE n.nspname WHEN 'pg_catalog' THEN p.proname ~ :taken_away
                     ELSE n.nspname <> 'information_schema' END
ORDER BY 1"""

Needs = Literal["tables", "database", "administrator"]


@dataclass(frozen=True)
class Statement:
    """One GRANT or REVOKE, and whom it takes: the owner of tables or database, or a superuser."""

    needs: Needs
    text: str


def reader_digest() -> str:
    """Return a digest of the rights that readers have in this version."""
    everything = [_relations(), _functions(), TAKEN_AWAY, SETTINGS, CONNECTIONS]
    return hashlib.sha256(json.dumps(everything).encode()).hexdigest()


def reader_statements(conn: sa.Connection, role: str) -> list[Statement]:
    """Return what makes a role a reader of this database, in order.

    Raises
    ------
    ConfigurationError
        If there is no such role, or it owns the catalog or is a superuser.
    """
    where = sa.text("""
        SELECT current_database(), n.nspname, pg_get_userbyid(c.relowner), r.rolname,
               r.rolsuper OR pg_has_role(r.oid, c.relowner, 'MEMBER') AS powerful
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_roles r ON r.rolname = :role WHERE c.oid = to_regclass('source')""")
    database, schema, owner, found, powerful = conn.execute(where, {"role": role}).one()
    if found is None:
        raise ConfigurationError(
            f"there is no role {role}", f"An administrator makes it: CREATE ROLE {_q(role)} LOGIN"
        )
    if powerful:
        raise ConfigurationError(
            f"the role {role} owns the catalog or may do everything", "Name one that may not"
        )
    who, owner, database = _q(role), _q(owner), _q(database)
    names = {"ours": _functions(), "taken_away": TAKEN_AWAY}
    closed = conn.execute(sa.text(_FUNCTIONS), names).scalars().all()
    wanted: list[tuple[Needs, str]] = [
        ("tables", f"GRANT SELECT ON {', '.join(_relations())} TO {who}"),
        ("tables", f"GRANT EXECUTE ON FUNCTION {', '.join(_functions())} TO {who}"),
        ("database", f"GRANT USAGE ON SCHEMA {_q(schema)} TO {who}"),
        ("database", f"GRANT CONNECT ON DATABASE {database} TO {who}"),
        ("database", f"GRANT TEMPORARY ON DATABASE {database} TO {owner}"),
        ("database", f"REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC"),
        ("database", f"REVOKE CREATE ON SCHEMA {_q(schema)} FROM PUBLIC"),
        ("administrator", f"ALTER ROLE {who} NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS "
                          f"CONNECTION LIMIT {CONNECTIONS}"),
        *(("administrator", f"ALTER ROLE {who} SET {name} = '{value}'")
          for name, value in SETTINGS.items()),
        *(("administrator", f"{verb} EXECUTE ON ROUTINE {', '.join(closed)} {whom}")
          for verb, whom in (("GRANT", f"TO {owner}"), ("REVOKE", "FROM PUBLIC")) if closed),
        ("administrator", f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner} "
                          "REVOKE EXECUTE ON ROUTINES FROM PUBLIC"),
    ]  # fmt: skip
    return [Statement(needs, text) for needs, text in wanted]


def make_reader(conn: sa.Connection, role: str) -> tuple[list[str], list[str]]:
    """Give a role what readers have, and take from everybody what readers must not have.

    Returns
    -------
    done : list of str
        The statements that were run.
    left : list of str
        Those that this session has not the rights for.
    """
    query = """SELECT rolsuper, rolsuper OR pg_has_role(datdba, 'USAGE')
               FROM pg_roles, pg_database
               WHERE rolname = current_user AND datname = current_database()"""
    is_superuser, owns_database = conn.execute(sa.text(query)).one()
    may = {"tables": True, "database": owns_database, "administrator": is_superuser}
    done: list[str] = []
    left: list[str] = []
    for statement in reader_statements(conn, role):
        if may[statement.needs]:
            conn.exec_driver_sql(statement.text)
        (done if may[statement.needs] else left).append(statement.text)
    return done, left


def add_reader(conn: sa.Connection, role: str) -> tuple[list[str], list[str]]:
    """Make a role a reader, and note it: upgrades give it what comes new. See `make_reader`."""
    done = make_reader(conn, role)
    note = derived_object.c.kind == "reader", derived_object.c.name == role
    conn.execute(sa.delete(derived_object).where(*note))
    row = {"kind": "reader", "name": role, "definition_sha256": reader_digest()}
    conn.execute(sa.insert(derived_object).values(**row))
    return done


def _relations() -> list[str]:
    """Return the names of what readers may select from."""
    return [*metadata.tables, "alembic_version", *(v.name for v in views.VIEWS)]


def _functions() -> list[str]:
    """Return the signatures of the functions that readers may call."""
    return [f"{f.name}({f.signature})" for f in functions.FUNCTIONS]


def _q(name: str) -> str:
    """Return a name as SQL has it."""
    return sql.Identifier(name).as_string()
