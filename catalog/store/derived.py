"""Views, functions, triggers, columns of labels, comments and rights of readers: from the code.

`derived_object` holds what was made, each with a digest of its definition. An upgrade makes what
differs, drops what the code no longer has, and touches nothing else: neither objects of other
people, nor ours whose digest is the same. Nothing is dropped with CASCADE. A role that can read has
a row there too, so that it is given what comes new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from catalog.errors import ConfigurationError
from catalog.store import functions, views
from catalog.store import immutability_triggers as triggers
from catalog.store.comments import comments_digest, set_comments
from catalog.store.grants import Grants, read_grants, restore_grants
from catalog.store.label_columns import add_label_columns, label_columns_digest
from catalog.store.reader_role import make_reader, reader_digest
from catalog.store.schema import derived_object

Key = tuple[str, str]
_COMMENTS: Key = ("comments", "all")
_LABELS: Key = ("columns", "labels")
_OTHER_SHAPE = (  # CREATE OR REPLACE cannot make this out of what is there
    psycopg.errors.InvalidTableDefinition,
    psycopg.errors.InvalidFunctionDefinition,
)
_THERE = """CASE o.kind WHEN 'view' THEN to_regclass(o.name) IS NOT NULL
    WHEN 'function' THEN to_regprocedure(o.name) IS NOT NULL
    WHEN 'trigger' THEN EXISTS (SELECT FROM pg_trigger t WHERE t.tgenabled IN ('O', 'A')
        AND t.tgname = split_part(o.name, ' ON ', 1)
        AND t.tgrelid = to_regclass(split_part(o.name, ' ON ', 2)))
    WHEN 'reader' THEN EXISTS (SELECT FROM pg_roles r WHERE r.rolname = o.name
        AND has_table_privilege(r.oid, to_regclass('derived_object'), 'SELECT'))
    ELSE true END"""


@dataclass(frozen=True)
class Derived:
    """An object that the code defines: its kind, its name as PostgreSQL reads it, how it is made.

    The name of a function has its argument types; that of a trigger ends in ``ON table``.
    """

    kind: str
    name: str
    create: str

    @property
    def key(self) -> Key:
        """The kind and the name."""
        return self.kind, self.name


def derived_objects() -> tuple[Derived, ...]:
    """Return all functions, views and triggers, in an order in which they can be made."""
    made = (*functions.FUNCTIONS, *triggers.FUNCTIONS)
    return (
        *(Derived("function", f"{f.name}({f.signature})", f.create.strip()) for f in made),
        *(Derived("view", v.name, v.create) for v in views.VIEWS),
        *(Derived("trigger", f"{t.name} ON {t.table}", t.create) for t in triggers.TRIGGERS),
    )


def stale_objects(conn: sa.Connection, readers: Iterable[str] = ()) -> list[str]:
    """Return the objects that are missing, differ from the code, or are no longer in it.

    ``readers`` are roles that must have the rights of readers, beside those that are noted.
    """
    made, wanted = _made(conn), _wanted(conn, readers)
    return [" ".join(key) for key in {**wanted, **made} if made.get(key) != wanted.get(key)]


def remake(conn: sa.Connection, readers: Iterable[str] = ()) -> list[str]:
    """Make every object that differs from the code, drop what it has not; return what changed.

    Works in the transaction of ``conn``. Grants and owners of what has to be dropped and made
    again are put back.

    Raises
    ------
    ConfigurationError
        If the database has an object of that name that we did not make, or other people's views
        depend on one that has to be dropped.
    """
    stale = stale_objects(conn, readers)
    if not stale:
        return []
    recorded = {(r.kind, r.name) for r in conn.execute(sa.select(derived_object))}
    made, wanted = _made(conn), _wanted(conn, readers)
    changed = [d for d in derived_objects() if made.get(d.key) != wanted[d.key]]
    _require_ours(conn, [d for d in changed if d.key not in recorded])
    conn.execute(sa.text("SET LOCAL check_function_bodies = off"))
    if made.get(_LABELS) != wanted[_LABELS]:
        add_label_columns(conn)
    _make(conn, changed, recorded)
    _drop(conn, [key for key in recorded if key not in wanted])
    set_comments(conn)
    for kind, name in wanted:
        if kind == "reader" and made.get((kind, name)) != wanted[kind, name]:
            make_reader(conn, name)
    conn.execute(sa.delete(derived_object))
    rows = [{"kind": k, "name": n, "definition_sha256": d} for (k, n), d in wanted.items()]
    conn.execute(sa.insert(derived_object), rows)
    return stale


def _digests() -> dict[Key, str]:
    """Return the digest of every object of the code."""
    digests = {d.key: hashlib.sha256(d.create.encode()).hexdigest() for d in derived_objects()}
    return digests | {_LABELS: label_columns_digest(), _COMMENTS: comments_digest()}


def _wanted(conn: sa.Connection, readers: Iterable[str]) -> dict[Key, str]:
    """Return the digest of every object of the code, and of the rights of every reader."""
    query = """SELECT name FROM derived_object JOIN pg_roles ON rolname = name
               WHERE kind = 'reader'"""
    roles = {*readers, *conn.execute(sa.text(query)).scalars()}
    return _digests() | {("reader", role): reader_digest() for role in sorted(roles)}


def _made(conn: sa.Connection) -> dict[Key, str]:
    """Return the digest of every object that an upgrade made, and that is still there."""
    query = f"SELECT o.kind, o.name, o.definition_sha256 FROM derived_object o WHERE {_THERE}"
    return {(r[0], r[1]): r[2] for r in conn.execute(sa.text(query))}


def _require_ours(conn: sa.Connection, new: Sequence[Derived]) -> None:
    """Raise if one of the new objects is there already: then somebody else made it."""
    query = sa.text(
        f"SELECT {_THERE} FROM (SELECT CAST(:kind AS text) AS kind, CAST(:name AS text) AS name) o"
    )
    taken = [d for d in new if conn.scalar(query, {"kind": d.kind, "name": d.name})]
    if taken:
        names = ", ".join(" ".join(d.key) for d in taken)
        raise ConfigurationError(
            f"the database has objects of these names that crosslabel did not make: {names}",
            "Rename or drop them, then run: crosslabel db upgrade",
        )


def _make(conn: sa.Connection, changed: Sequence[Derived], recorded: set[Key]) -> None:
    """Make or replace objects; what cannot be replaced is dropped, and made with its grants."""
    dropped: dict[Key, Grants] = {}
    keys = {d.key for d in changed}
    while True:
        todo = [d for d in derived_objects() if d.key in keys or d.key in dropped]
        with conn.begin_nested() as attempt:
            blocked = _first_of_other_shape(conn, todo)
            if blocked is None:
                break
            attempt.rollback()
        if blocked.key in dropped:  # it is not there, so another shape is not the reason
            raise AssertionError(f"{blocked.name} cannot be made")
        gone = [blocked.key, *_dependents(conn, blocked, recorded)]
        dropped |= {key: read_grants(conn, *key) for key in gone}
        _drop(conn, gone)
    for (kind, name), grants in dropped.items():
        if (kind, name) in _digests():
            restore_grants(conn, kind, name, grants)


def _first_of_other_shape(conn: sa.Connection, todo: Iterable[Derived]) -> Derived | None:
    """Make objects in turn; return the first that what is there stands in the way of."""
    for d in todo:
        try:
            conn.exec_driver_sql(d.create.replace("%", "%%"))
        except DBAPIError as exc:
            if isinstance(exc.orig, _OTHER_SHAPE):
                return d
            raise
    return None


def _dependents(conn: sa.Connection, d: Derived, recorded: set[Key]) -> list[Key]:
    """Return our own views that depend on an object, through whichever other views."""
    query = sa.text("""
        WITH RECURSIVE gone (classid, objid) AS (
            SELECT CASE :kind WHEN 'view' THEN 'pg_class'::regclass ELSE 'pg_proc'::regclass END,
                   CASE :kind WHEN 'view' THEN to_regclass(:name)::oid
                   ELSE to_regprocedure(:name)::oid END
            UNION
            SELECT 'pg_class'::regclass, r.ev_class FROM gone g
            JOIN pg_depend d ON d.refclassid = g.classid AND d.refobjid = g.objid
                            AND d.classid = 'pg_rewrite'::regclass
            JOIN pg_rewrite r ON r.oid = d.objid)
        SELECT v.name FROM unnest(CAST(:ours AS text[])) AS v (name)
        JOIN gone ON objid = to_regclass(v.name) AND classid = 'pg_class'::regclass""")
    ours = [name for kind, name in recorded if kind == "view"]
    rows = conn.execute(query, {"kind": d.kind, "name": d.name, "ours": ours})
    return [("view", name) for name in rows.scalars() if ("view", name) != d.key]


def _drop(conn: sa.Connection, keys: Sequence[Key]) -> None:
    """Drop objects, each kind in one statement, so that their order does not matter."""
    for kind in ("trigger", "view", "function"):
        names = [name for of, name in keys if of == kind]
        one_by_one = names if kind == "trigger" else [", ".join(names)] if names else []
        for name in one_by_one:
            try:
                conn.exec_driver_sql(f"DROP {kind.upper()} IF EXISTS {name}")
            except DBAPIError as exc:
                if not isinstance(exc.orig, psycopg.errors.DependentObjectsStillExist):
                    raise
                detail = (exc.orig.diag.message_detail or "").replace("\n", "; ")
                raise ConfigurationError(
                    f"what other people made stands in the way of the upgrade: {detail}",
                    "Save their definitions and drop them, run crosslabel db upgrade, and make "
                    "them again; nothing was changed",
                ) from exc
