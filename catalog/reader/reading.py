"""A catalog that is open for reading: transactions that cannot write, tables with a limit."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa
from astropy.table import Table

from catalog.errors import CrosslabelError, SourceUnavailableError, UsageError
from catalog.export.query import query_errors
from catalog.reader.requested import REQUESTS
from catalog.reader.summary import summary_of
from catalog.reader.tables import LimitWarning, iterate_tables, read_table
from catalog.store.db import Database
from catalog.store.people import people_sql, timed
from catalog.store.server_errors import translated_errors
from catalog.words import names_near, part

#: Rows that a table has at most, unless more are asked for.
DEFAULT_LIMIT = 100_000
BLOCK_ROWS = 50_000


class OpenCatalog:
    """A catalog that is open for reading: its connections, limits and requests.

    Parameters
    ----------
    db : Database
        Where to read.
    place : str
        The home folder or the address of the server, as people know it, without a password.
    """

    def __init__(self, db: Database, place: str) -> None:
        self._db = db
        self._place = place
        self._closed = False
        # Who does not close a catalog, and few people do in notebooks, leaves no open connection.
        self._dispose = weakref.finalize(self, db.engine.dispose)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back; an embedded server goes on for others."""
        self._closed = True
        self._dispose()

    def __repr__(self) -> str:
        if self._closed:
            return f"Catalog in {self._place} (closed)"
        try:
            with self._reading() as conn:
                return f"Catalog in {self._place}\n{summary_of(conn)}"
        except CrosslabelError as exc:  # a repr must never fail
            return f"Catalog in {self._place} ({exc.reason.splitlines()[0]})"

    @contextmanager
    def _reading(self, *, own_sql: bool = False) -> Iterator[sa.Connection]:
        """One state of the database, as the login that can only read where there is one.

        With SQL of people in it (``own_sql``) never otherwise.
        """
        if self._closed:
            raise UsageError(f"the catalog in {self._place} was closed", "Open it again")
        try:
            as_reader = own_sql or (self._db.reader_url is not None and not self._db.as_owner)
            session = people_sql(self._db) if as_reader else self._db.reader()
            with translated_errors(), query_errors(), session as conn:
                yield conn
        except SourceUnavailableError as exc:
            todo = "Open the catalog again, which starts an embedded server"
            raise SourceUnavailableError(exc.reason, todo) from exc

    def _table(
        self,
        what: str,
        limit: int | None,
        *given: Any,
        **options: Any,
    ) -> Table:
        """Return the rows that a method asks for; warn if there are more than the limit.

        Methods call this themselves, so that the warning points at the line that called them.
        """
        with self._reading(own_sql=_has_own_sql(what, options)) as conn:
            request = REQUESTS[what](conn, *given, **options)
            table, n_rows = read_table(conn, request, limit)
        if n_rows > len(table):
            order = request.selection.order
            by = f", by {', '.join(order)}" if order and not request.as_given else ""
            warnings.warn(
                LimitWarning(
                    f"these are the first {part(len(table), n_rows, 'row')} of "
                    f"{request.selection.name}{by}. limit=None gives all of them, "
                    f"iterate({what!r}, ...) gives them in blocks"
                ),
                stacklevel=3,
            )
        return table

    def iterate(
        self, what: str, *given: Any, rows: int = BLOCK_ROWS, **options: Any
    ) -> Iterator[Table]:
        """All rows of what another method gives, in tables of limited length, in its order.

        The rows are read as the loop goes on, all from one state of the database.

        Parameters
        ----------
        what : str
            Name of the method, such as ``labels``.
        *given, **options
            Its arguments, without ``limit``.
        rows : int
            Largest number of rows in a table.

        Yields
        ------
        Table

        Examples
        --------
        >>> for block in cat.iterate("labels", "aspcap/dr14", where="teff < 4500"):
        ...     print(len(block))  # doctest: +SKIP
        """
        if what not in REQUESTS:
            todo = names_near(what, REQUESTS, "Methods")
            raise UsageError(f"there is nothing called {what}", todo)
        with self._reading(own_sql=_has_own_sql(what, options)) as conn:
            request = REQUESTS[what](conn, *given, **options)
            yield from timed(conn, iterate_tables(conn, request, rows))


def _has_own_sql(what: str, options: Mapping[str, Any]) -> bool:
    """Return True where a method is given SQL of people."""
    return what == "sql" or options.get("where") is not None
