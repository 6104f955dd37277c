"""Name the GRANT that a role lacks when the server refuses it something."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa

_DENIED = re.compile(r"permission denied for (\w+(?: \w+)?) (\S+)$")
_WORDS = {
    "SELECT": "SELECT", "WITH": "SELECT", "TABLE": "SELECT", "COPY": "INSERT", "INSERT": "INSERT",
    "UPDATE": "UPDATE", "DELETE": "DELETE", "TRUNCATE": "TRUNCATE", "LOCK": "UPDATE",
}  # fmt: skip
_OTHER_KINDS = {
    "schema": "USAGE ON SCHEMA", "database": "CONNECT, TEMPORARY ON DATABASE",
    "sequence": "USAGE ON SEQUENCE", "function": "EXECUTE ON FUNCTION",
}  # fmt: skip


def note_role(engine: sa.Engine) -> None:
    """Let errors of an engine's statements know the role that they were refused to."""

    @sa.event.listens_for(engine, "handle_error")
    def note(context: sa.engine.ExceptionContext) -> None:
        context.original_exception.role = engine.url.username  # type: ignore[attr-defined]


def advice(exc: BaseException) -> str:
    """Return what the owner of the catalog can do for a role that was refused something.

    Parameters
    ----------
    exc : BaseException
        Of SQLSTATE 42501 or the like, from SQLAlchemy, which knows the statement, or psycopg.
    """
    cause: Any = exc.orig if isinstance(exc, sa.exc.DBAPIError) else exc
    statement = exc.statement or "" if isinstance(exc, sa.exc.DBAPIError) else ""
    role = getattr(cause, "role", None) or "ROLE"
    owner = "Connect as the role that owns the catalog's tables, where it may write"
    found = _DENIED.search(cause.diag.message_primary or "")
    if found is None:
        return owner
    right = _right(found[1], found[2], statement)
    if right.startswith("SELECT"):
        return (
            f"The owner of the catalog gives a role all that reading needs: crosslabel db "
            f"grant-reader {role} (this statement lacked: GRANT {right} TO {role})"
        )
    return f"{owner}; this statement lacked: GRANT {right} TO {role}"


def _right(kind: str, name: str, statement: str) -> str:
    """Return a right on an object, as GRANT has it."""
    if kind in _OTHER_KINDS:
        return f"{_OTHER_KINDS[kind]} {name}"
    first = statement.split(maxsplit=1)[0].upper() if statement.strip() else ""
    return f"{_WORDS.get(first, 'SELECT')} ON {name}"
