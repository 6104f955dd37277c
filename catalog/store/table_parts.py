"""Parts of tables: their common metadata, and columns with the vocabulary's comments."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Float, ForeignKey, Identity, MetaData, text
from sqlalchemy.types import TypeEngine

from catalog.store.columns import VOCABULARY

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
Double = Float(53)
Timestamp = DateTime(timezone=True)


AnyType = TypeEngine[Any] | type[TypeEngine[Any]]


def col(name: str, type_: AnyType, *args: Any, **kw: Any) -> Column[Any]:
    """A column with the comment that the vocabulary has for its name; NOT NULL unless told."""
    kw.setdefault("nullable", False)
    return Column(name, type_, *args, comment=VOCABULARY[name].comment, **kw)


def opt(name: str, type_: AnyType, *args: Any) -> Column[Any]:
    """Return a column that may be NULL: unknown, missing, or not applicable."""
    return col(name, type_, *args, nullable=True)


def key(name: str) -> Column[Any]:
    """Return a surrogate primary key."""
    return col(name, BigInteger, Identity(always=False), primary_key=True)


def ref(name: str, target: str, *, cascade: bool = False, **kw: Any) -> Column[Any]:
    """Return a foreign key."""
    return col(name, BigInteger, ForeignKey(target, ondelete="CASCADE" if cascade else None), **kw)


def now(name: str) -> Column[Any]:
    """Return a time that the server's clock, the only one, fills in."""
    return col(name, Timestamp, server_default=text("now()"))
