"""`open_catalog`: from a URL or a home to a catalog that is open for reading."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from catalog.config import make_settings, show_url
from catalog.reader.catalog import Catalog
from catalog.store.homes import open_catalog_database
from catalog.store.server_errors import translated_errors


def open_catalog(
    url: str | None = None,
    home: str | Path | None = None,
    *,
    reader_url: str | None = None,
    as_owner: bool = False,
) -> Catalog:
    """Open a catalog for reading, by the rules of the command line.

    Parameters
    ----------
    url : str, optional
        A PostgreSQL server, ``postgresql://user:password@host:5432/database``.
    home : str or Path, optional
        Home of an embedded server, which is started where needed. Without either argument,
        ``CROSSLABEL_DATABASE_URL`` and ``CROSSLABEL_HOME`` say where, then the user's data folder.
    reader_url : str, optional
        The same server under a login that can only read, for SQL of your own (``sql``, ``where``);
        ``CROSSLABEL_READER_URL`` if not given. Not needed where ``url`` is such a login itself, nor
        for a home, whose server has one.
    as_owner : bool
        Run SQL of your own with all rights of ``url`` instead.

    Returns
    -------
    Catalog
        Also a context manager: ``with open_catalog() as cat: ...``.

    Raises
    ------
    ConfigurationError
        If there is no catalog, or it has the schema of another version.
    SourceUnavailableError
        If the server does not answer.

    Examples
    --------
    >>> cat = open_catalog(home="demo/home")  # doctest: +SKIP
    >>> cat.labels("aspcap/dr14", where="teff < 4500")  # doctest: +SKIP
    """
    given = None if home is None else Path(home)
    told = dict(os.environ) | ({"CROSSLABEL_READER_URL": reader_url} if reader_url else {})
    settings = replace(make_settings(told, home=given, database_url=url), as_owner=as_owner)
    with translated_errors():
        db = open_catalog_database(settings)
    if settings.database_url is None:
        return Catalog(db, str(settings.home))
    return Catalog(db, show_url(settings.database_url))
