"""Settings: what wins over what, and passwords that nobody gets to see."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest

from catalog.config import default_home, hide_passwords, make_settings, parse_url, show_url
from catalog.errors import ConfigurationError, CrosslabelError, ExitCode, SourceUnavailableError
from catalog.store.db import open_database

SECRET = "hunter2Xq"
URL = f"postgresql://amy:{SECRET}@db.example.org:5433/stars"


def test_an_option_wins_over_the_environment() -> None:
    environ = {"CROSSLABEL_DATABASE_URL": URL, "CROSSLABEL_HOME": "/from/environment"}
    assert make_settings(environ).database_url.host == "db.example.org"
    assert make_settings(environ).home == Path("/from/environment")
    assert make_settings(environ, database_url="postgresql://other/x").database_url.host == "other"
    assert make_settings(environ, home=Path("/option")).home == Path("/option")


def test_a_home_given_as_option_wins_over_a_url_of_the_environment() -> None:
    assert make_settings({"CROSSLABEL_DATABASE_URL": URL}, home=Path("/h")).database_url is None
    both = make_settings({}, home=Path("/h"), database_url=URL)
    assert both.database_url is not None


def test_the_login_of_readers_goes_with_a_database_url_only() -> None:
    environ = {"CROSSLABEL_DATABASE_URL": URL, "CROSSLABEL_READER_URL": URL.replace("amy", "eve")}
    assert make_settings(environ).reader_url.username == "eve"
    assert make_settings(environ, home=Path("/h")).reader_url is None  # the embedded server's own
    assert make_settings({"CROSSLABEL_READER_URL": URL}).reader_url is None
    with pytest.raises(ConfigurationError, match=r"CROSSLABEL_READER_URL: .*cannot be read") as got:
        make_settings(environ | {"CROSSLABEL_READER_URL": f"eve:{SECRET}@h"})
    assert SECRET not in str(got.value)


@pytest.mark.parametrize("empty", [{}, {"CROSSLABEL_DATABASE_URL": "", "CROSSLABEL_HOME": ""}])
def test_defaults(empty: dict[str, str]) -> None:
    settings = make_settings(empty)
    assert settings.database_url is None
    assert settings.home == default_home(empty)
    assert settings.home.is_absolute()


def test_the_home_of_a_user_and_of_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert default_home({"XDG_DATA_HOME": "/data"}) == Path("/data/crosslabel")
    assert default_home({}) == Path.home() / ".local" / "share" / "crosslabel"
    assert default_home({"XDG_DATA_HOME": "rel/ative"}) == default_home({}), "as its standard says"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_home({}) == Path("/var/lib/crosslabel")
    assert default_home({"XDG_DATA_HOME": "/root/data"}) == Path("/root/data/crosslabel")


def test_a_relative_home_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert make_settings({}, home=Path("here")).home == tmp_path / "here"
    assert make_settings({"CROSSLABEL_HOME": "~/x"}).home == Path.home() / "x"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_schemes_that_people_write(scheme: str) -> None:
    assert parse_url(f"{scheme}://amy@h/d").drivername == "postgresql+psycopg"


def test_a_password_is_never_printed() -> None:
    for text in (URL, f"postgresql://amy@db.example.org/stars?password={SECRET}"):
        settings = make_settings({"CROSSLABEL_DATABASE_URL": text})
        assert settings.database_url.password == SECRET
        assert SECRET not in f"{settings} {settings!r} {settings.database_url} {settings.place}"


def test_urls_as_they_are_printed() -> None:
    text = f"{URL}?host=/a b/c&sslmode=require&options=-c a.b={SECRET}"
    shown_url = "postgresql://amy:***@db.example.org:5433/stars?host=%2Fa%20b%2Fc&sslmode=require"
    settings = make_settings({"CROSSLABEL_DATABASE_URL": text})
    assert show_url(settings.database_url) == shown_url
    assert settings.place == f"the database {shown_url}"
    assert settings.options == "", "a password belongs into no command"
    local = make_settings({"CROSSLABEL_DATABASE_URL": "postgresql:///my stars?service=a b"})
    assert local.options == "--database-url 'postgresql:///my stars?service=a%20b' "
    assert make_settings({}, home=Path("/a b")).options == "--home '/a b' "
    whole = show_url(settings.database_url, with_password=True)
    assert parse_url(whole) == settings.database_url
    assert "+" not in whole, "libpq takes a plus for itself"
    said = f"x {URL} and ?password={SECRET}&a=1, http://host:80/x"
    assert hide_passwords(said) == (
        "x postgresql://amy:***@db.example.org:5433/stars and ?password=***&a=1, http://host:80/x"
    )


@pytest.mark.parametrize(
    "text",
    [f"amy:{SECRET}@h/d", f"postgresql://amy:{SECRET}@h:port/d", f"mysql://amy:{SECRET}@h/d",
     f"postgresql://amy:x:{SECRET}@h:1:2/d", SECRET],
)  # fmt: skip
def test_an_unusable_url_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make_settings({}, database_url=text)
    assert caught.value.exit_code == ExitCode.CONFIG
    assert SECRET not in shown(caught.value)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        (f"postgresql://amy:{SECRET}@127.0.0.1:1/stars?connect_timeout=2", SourceUnavailableError),
        (f"postgresql://amy:{SECRET}@/stars?host=/nowhere", SourceUnavailableError),
        (f"postgresql://amy:{SECRET}@127.0.0.1:1/stars?colour=red", ConfigurationError),
    ],
)
def test_a_server_that_does_not_answer(url: str, kind: type[CrosslabelError]) -> None:
    with pytest.raises(kind) as caught:
        open_database(parse_url(url))
    assert SECRET not in shown(caught.value)


def shown(error: BaseException) -> str:
    """Everything that a traceback prints of an error, save the lines of this file."""
    lines = traceback.format_exception(error)
    return "".join([*lines, repr(error)])


def test_addresses_of_the_archive() -> None:
    made = make_settings({})
    assert made.archive_url == "https://data.sdss.org/sas"
    assert made.skyserver_url == "https://skyserver.sdss.org"
    mirror = make_settings({"CROSSLABEL_ARCHIVE_URL": "http://mirror.example.org/sas//"})
    assert mirror.archive_url == "http://mirror.example.org/sas"
    for text in ("mirror.example.org", "file:///etc", f"https://amy:{SECRET}@mirror.example.org"):
        with pytest.raises(ConfigurationError, match="CROSSLABEL_SKYSERVER_URL") as caught:
            make_settings({"CROSSLABEL_SKYSERVER_URL": text})
        assert SECRET not in str(caught.value)
