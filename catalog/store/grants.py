"""Owner and grants of a view or function, read before it is dropped and put back on the new one."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

_READ = {
    "view": """
        SELECT quote_ident(pg_get_userbyid(c.relowner)) AS owner, '' AS part, x.*
        FROM pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) x
        WHERE c.oid = to_regclass(:name)
        UNION ALL
        SELECT quote_ident(pg_get_userbyid(c.relowner)), quote_ident(a.attname), x.*
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid, aclexplode(a.attacl) x
        WHERE c.oid = to_regclass(:name)""",
    "function": """
        SELECT quote_ident(pg_get_userbyid(p.proowner)) AS owner, '' AS part, x.*
        FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x
        WHERE p.oid = to_regprocedure(:name)""",
}


@dataclass(frozen=True)
class Grant:
    """A right that a role has; ``part`` is a column, or empty for the whole object."""

    role: str
    part: str
    right: str
    grantable: bool


@dataclass(frozen=True)
class Grants:
    """The owner of an object, and the rights of all roles to it."""

    owner: str | None
    rights: frozenset[Grant]


def read_grants(conn: sa.Connection, kind: str, name: str) -> Grants:
    """Return owner and grants of a view or function."""
    query = f"""
        SELECT owner, part, privilege_type, is_grantable,
               CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END
        FROM ({_READ[kind]}) AS found"""
    rows = conn.execute(sa.text(query), {"name": name}).all()
    rights = frozenset(Grant(r[4], r[1], r[2], r[3]) for r in rows)
    return Grants(rows[0].owner if rows else None, rights)


def restore_grants(conn: sa.Connection, kind: str, name: str, wanted: Grants) -> None:
    """Give a new view or function the owner and the grants of the old; columns that went, without.

    A grant of a role that had it with grant option becomes one of the owner.
    """
    word = "TABLE" if kind == "view" else "FUNCTION"
    now = read_grants(conn, kind, name)
    if wanted.owner and wanted.owner != now.owner:
        conn.exec_driver_sql(f"ALTER {kind.upper()} {name} OWNER TO {wanted.owner}")
        now = read_grants(conn, kind, name)
    query = "SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = to_regclass(:name)"
    columns = set(conn.execute(sa.text(query), {"name": name}).scalars()) if kind == "view" else ()
    for g in sorted(now.rights - wanted.rights, key=str):
        part = f" ({g.part})" if g.part else ""
        conn.exec_driver_sql(f"REVOKE {g.right}{part} ON {word} {name} FROM {g.role}")
    for g in sorted(wanted.rights - now.rights, key=str):
        if g.part and g.part not in columns:
            continue
        part = f" ({g.part})" if g.part else ""
        option = " WITH GRANT OPTION" if g.grantable else ""
        conn.exec_driver_sql(f"GRANT {g.right}{part} ON {word} {name} TO {g.role}{option}")
