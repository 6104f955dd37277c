"""Settings, made once at the edge and passed in; nothing else reads the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from catalog.errors import ConfigurationError

ARCHIVE_URL = "https://data.sdss.org/sas"
SKYSERVER_URL = "https://skyserver.sdss.org"


@dataclass(frozen=True)
class Settings:
    """Where the catalog lives, and where the archive is.

    Attributes
    ----------
    home : Path
        Folder of the embedded server; unused when `database_url` is given.
    database_url : URL or None
        A PostgreSQL >= 15 server of the user's own. Never printed with its password.
    reader_url : URL or None
        The same database under a login that can only read, for people's own SQL; unused without
        `database_url`, as the embedded server has a login for that.
    as_owner : bool
        Whether people's own SQL runs with all rights of the catalog's owner instead.
    archive_url, skyserver_url : str
        The archive's files, or a mirror of them, and its query service.
    """

    home: Path
    database_url: URL | None = field(default=None)
    archive_url: str = ARCHIVE_URL
    skyserver_url: str = SKYSERVER_URL
    reader_url: URL | None = field(default=None)
    as_owner: bool = False


def default_home(environ: Mapping[str, str]) -> Path:
    """The user's data folder; for root a system folder, as root's own is closed to the server."""
    if os.geteuid() == 0:
        return Path("/var/lib/crosslabel")
    base = environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "crosslabel"


def parse_url(text: str) -> URL:
    """A PostgreSQL URL as people write it (``postgresql://``, ``postgres://``), for psycopg 3.

    Raises
    ------
    ConfigurationError
        If the text is no URL or names another kind of database.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ConfigurationError(
            "the database URL cannot be read",
            "Write it as postgresql://user:password@host:5432/database, with other signs than "
            "letters and digits in a password percent-encoded",
        ) from None  # the cause may hold the password
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise ConfigurationError(
            f"the database URL names {url.get_backend_name()}", "crosslabel needs PostgreSQL >= 15"
        )
    hidden = url.query.get("password")
    if isinstance(hidden, str):  # libpq takes it from there too, but it would be printed
        url = url.difference_update_query(["password"]).set(password=hidden)
    return url.set(drivername="postgresql+psycopg")


def make_settings(
    environ: Mapping[str, str], *, home: Path | None = None, database_url: str | None = None
) -> Settings:
    """Options first, then ``CROSSLABEL_DATABASE_URL`` and ``CROSSLABEL_HOME``, then defaults.

    An explicit ``home`` wins over a database URL of the environment. ``CROSSLABEL_ARCHIVE_URL`` and
    ``CROSSLABEL_SKYSERVER_URL`` name a mirror, ``CROSSLABEL_READER_URL`` the login of readers.
    """
    text = database_url
    if text is None and home is None:
        text = environ.get("CROSSLABEL_DATABASE_URL") or None
    if home is None:
        home = Path(environ.get("CROSSLABEL_HOME") or default_home(environ))
    return Settings(
        home=home.expanduser().absolute(),
        database_url=parse_url(text) if text else None,
        reader_url=_reader_url(environ) if text else None,
        archive_url=_web_address(environ, "CROSSLABEL_ARCHIVE_URL", ARCHIVE_URL),
        skyserver_url=_web_address(environ, "CROSSLABEL_SKYSERVER_URL", SKYSERVER_URL),
    )


def _reader_url(environ: Mapping[str, str]) -> URL | None:
    """Return the URL of the login that can only read, if there is one."""
    text = environ.get("CROSSLABEL_READER_URL")
    if not text:
        return None
    try:
        return parse_url(text)
    except ConfigurationError as exc:
        raise ConfigurationError(f"CROSSLABEL_READER_URL: {exc.reason}", exc.todo) from None


def _web_address(environ: Mapping[str, str], name: str, default: str) -> str:
    """An address of the archive, without a slash at its end."""
    text = environ.get(name) or default
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise ConfigurationError(
            f"{name} is no address of a web server", f"Such as {default}, without a user's name"
        )
    return text.rstrip("/")
