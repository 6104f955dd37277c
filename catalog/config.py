"""Settings, made once at the edge and passed in; nothing else reads the environment."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from catalog.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

ARCHIVE_URL = "https://data.sdss.org/sas"
SKYSERVER_URL = "https://skyserver.sdss.org"
_URL_FORM = (
    "Write it as postgresql://user@host:5432/database, and the password in ~/.pgpass, or after the "
    "user with other signs than letters and digits percent-encoded; a folder is given by --home "
    "(home= in Python)"
)
_PASSWORD_IN_TEXT = re.compile(r"(://[^\s:/?#@]*:)\S*(@)|(password=)[^\s&]+", re.IGNORECASE)


@dataclass(frozen=True)
class Settings:
    """Places of the catalog and of the archive.

    Attributes
    ----------
    home : Path
        Folder of the embedded server; unused when `database_url` is given.
    database_url : URL or None
        A PostgreSQL >= 15 server of the user's own; `show_url` is how it is printed.
    reader_url : URL or None
        The same database under a login that can only read, for people's own SQL; unused without
        `database_url`, as the embedded server has a login for that.
    as_owner : bool
        Whether people's own SQL runs with all rights of the catalog's owner instead.
    archive_url, skyserver_url : str
        The archive's files, or a mirror of them, and its query service.
    other_homes : tuple of Path
        Where people have a catalog who meant another home than `home`.
    """

    home: Path
    database_url: URL | None = field(default=None, repr=False)
    archive_url: str = ARCHIVE_URL
    skyserver_url: str = SKYSERVER_URL
    reader_url: URL | None = field(default=None, repr=False)
    as_owner: bool = False
    other_homes: tuple[Path, ...] = ()

    @property
    def place(self) -> str:
        """Return what messages call the catalog, such as ``the home /data/crosslabel``."""
        if self.database_url is None:
            return f"the home {self.home}"
        return f"the database {show_url(self.database_url)}"

    @property
    def options(self) -> str:
        """Return the options of a command that name this catalog, as a shell reads them.

        Empty for a URL with a password, which belongs into no command.
        """
        if self.database_url is None:
            return f"--home {shlex.quote(str(self.home))} "
        if self.database_url.password:
            return ""
        return f"--database-url {shlex.quote(show_url(self.database_url))} "


def default_home(environ: Mapping[str, str]) -> Path:
    """Return the folder ``crosslabel`` in the user's data folder; for root, in ``/var/lib``.

    ``XDG_DATA_HOME`` wins for both where it holds an absolute path, as its standard asks. Root's
    own folder is closed to the account that the server runs as.
    """
    base = environ.get("XDG_DATA_HOME", "")
    if base.startswith("/"):
        return Path(base) / "crosslabel"
    if os.geteuid() == 0:
        return Path("/var/lib/crosslabel")
    return Path.home() / ".local" / "share" / "crosslabel"


def parse_url(text: str) -> URL:
    """Return a PostgreSQL URL as people write it (``postgresql://``, ``postgres://``).

    Raises
    ------
    ConfigurationError
        If the text is no URL, names another kind of database, has an option that PostgreSQL does
        not know, or holds a secret besides the password. None of them quotes the text: any part
        of it may belong to a password that was not encoded.
    """
    from psycopg import pq  # not by commands without a database
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ConfigurationError("the database URL cannot be read", _URL_FORM) from None
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise ConfigurationError(
            "the database URL is not one of PostgreSQL", f"crosslabel needs one >= 15. {_URL_FORM}"
        )
    given = url.query.get("password")
    if isinstance(given, str):  # libpq takes it from there too
        url = url.difference_update_query(["password"]).set(password=given)
    known = {entry.keyword.decode(): entry.dispchar for entry in pq.Conninfo.get_defaults()}
    if any(name not in known for name in url.query) or "@" in f"{url.host}{url.database}":
        raise ConfigurationError(
            "the database URL has an option or host that PostgreSQL does not know", _URL_FORM
        )
    for name in url.query:
        if known[name] == b"*" or name.startswith("scram_"):
            raise ConfigurationError(
                f"the database URL holds a secret, {name}",
                "Put it in ~/.pg_service.conf (mode 0600), and write postgresql:///?service=NAME",
            )
    return url.set(drivername="postgresql+psycopg")


def without_password(url: URL) -> URL:
    """Return a database URL for a command line, which every account of a machine can read."""
    return url._replace(password=None)  # to `URL.set`, None is no change


def show_url(url: URL, *, with_password: bool = False) -> str:
    """Return a database URL as it may be printed, logged and stored: with ``***`` as password.

    Every message, log and page that names a database has it from here. `parse_url` lets no other
    secret through; ``options``, which is free text, is left out nevertheless.
    """
    shown = url.set(drivername="postgresql")
    if not with_password:
        shown = shown.difference_update_query(["options", "password"])
    text = shown.render_as_string(hide_password=not with_password)
    base, mark, query = text.partition("?")
    return base + mark + query.replace("+", "%20")  # libpq takes a plus for itself


def hide_passwords(text: str) -> str:
    """Return a text with ``***`` for what stands as a password in a URL or an option in it."""
    return _PASSWORD_IN_TEXT.sub(r"\1\3***\2", text)


def make_settings(
    environ: Mapping[str, str], *, home: Path | None = None, database_url: str | None = None
) -> Settings:
    """Return the settings: options, then ``CROSSLABEL_DATABASE_URL`` and ``_HOME``, then defaults.

    An explicit ``home`` wins over a database URL of the environment. ``CROSSLABEL_ARCHIVE_URL`` and
    ``CROSSLABEL_SKYSERVER_URL`` name a mirror, ``CROSSLABEL_READER_URL`` the login of readers.
    """
    text = database_url
    if text is None and home is None:
        text = environ.get("CROSSLABEL_DATABASE_URL") or None
    usual = (environ.get("CROSSLABEL_HOME"), default_home(environ), "home", "demo/home")
    homes = [Path(folder).expanduser().absolute() for folder in (home, *usual) if folder]
    return Settings(
        home=homes[0],
        database_url=parse_url(text) if text else None,
        reader_url=_reader_url(environ) if text else None,
        archive_url=_web_address(environ, "CROSSLABEL_ARCHIVE_URL", ARCHIVE_URL),
        skyserver_url=_web_address(environ, "CROSSLABEL_SKYSERVER_URL", SKYSERVER_URL),
        other_homes=tuple(dict.fromkeys(found for found in homes[1:] if found != homes[0])),
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
    """Return an address of the archive, without a slash at its end."""
    text = environ.get(name) or default
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise ConfigurationError(
            f"{name} is no address of a web server", f"Such as {default}, without a user's name"
        )
    return text.rstrip("/")
