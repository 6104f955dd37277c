"""What the server says when it gives up: one line, the right exit code, nothing half-written."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from catalog.config import Settings
from catalog.errors import (
    ConfigurationError,
    CrosslabelError,
    ExitCode,
    LockedError,
    ServerUnavailableError,
    UsageError,
)
from catalog.export.query import query_errors
from catalog.store import embedded
from catalog.store.db import Database, connect, open_database
from catalog.store.schema import star
from catalog.store.server_errors import server_error, sqlstate, translated_errors
from jobs.engine.job import Job
from jobs.engine.ledger import Run
from jobs.engine.runner import run_job
from tests.conftest import Cli

GIVES_UP = (
    "08006", "25P03", "25P04", "53100", "53200", "53300", "53400", "57014", "57P01", "57P02",
    "57P03", "57P05", "58030", "58P01", "XX001", "40001",
)  # fmt: skip


def raising(code: str) -> str:
    """SQL that fails as the server would with this SQLSTATE."""
    return f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'said'; END $$"


def three_chunks(
    compute: Callable[[sa.Connection], object] | None = None,
    write: Callable[[sa.Connection], object] | None = None,
) -> Job:
    """A job of three stars; the second chunk also does what it is given."""

    def plan(conn: sa.Connection) -> list[str]:
        have = set(conn.scalars(sa.select(star.c.star_key)))
        return [key for key in ("a", "b", "c") if key not in have]

    def computed(conn: sa.Connection, key: str) -> str:
        if key == "b" and compute is not None:
            compute(conn)
        return key

    def written(conn: sa.Connection, run: Run, key: str) -> int:
        conn.execute(star.insert().values(star_key=key))
        if key == "b" and write is not None:
            write(conn)
        return 1

    return Job("three", "stars", {}, plan, computed, written)


@pytest.fixture
def no_params(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs here have no parameters."""
    monkeypatch.setattr("jobs.engine.opening.params_hash", lambda params: "0")
    monkeypatch.setattr("jobs.engine.opening.to_dict", lambda params: {})


def stars(db: Database) -> list[str]:
    with db.reader() as conn:
        return sorted(conn.scalars(sa.select(star.c.star_key)))


def ends_with(db: Database, job: Job) -> CrosslabelError:
    """The error that a run ends with, which the next one makes good."""
    with pytest.raises(CrosslabelError) as caught:
        run_job(job, db)
    assert stars(db) == ["a"], "nothing of the open chunk"
    summary = run_job(three_chunks(), db)
    assert (summary.state, stars(db)) == ("succeeded", ["a", "b", "c"])
    return caught.value


@pytest.mark.usefixtures("no_params")
@pytest.mark.parametrize("code", GIVES_UP)
def test_a_server_that_gives_up_ends_the_run_with_69(db: Database, code: str) -> None:
    job = three_chunks(write=lambda conn: conn.execute(sa.text(raising(code))))
    error = ends_with(db, job)
    assert isinstance(error, ServerUnavailableError)
    assert error.exit_code == ExitCode.UNAVAILABLE
    assert error.reason == "the database server gave up: said"
    assert error.todo


@pytest.mark.usefixtures("no_params")
def test_a_disk_that_is_full_during_copy(db: Database) -> None:
    with db.begin() as conn:
        conn.execute(
            sa.text(
                "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                "RAISE EXCEPTION USING ERRCODE = '53100', MESSAGE = 'No space left'; END $$"
            )
        )
        conn.execute(sa.text("CREATE TABLE filling (x int)"))
        conn.execute(
            sa.text(
                "CREATE TRIGGER t BEFORE INSERT ON filling FOR EACH ROW "
                "EXECUTE FUNCTION full_disk()"
            )
        )

    def copy(conn: sa.Connection) -> None:
        driver: Any = conn.connection.driver_connection
        with driver.cursor().copy("COPY filling FROM STDIN") as out:
            out.write_row((1,))

    error = ends_with(db, three_chunks(write=copy))
    assert "No space left" in error.reason
    assert "Make space where the server has its data" in error.todo
    assert error.exit_code == ExitCode.UNAVAILABLE


def sleeping(setting: str) -> Callable[[sa.Connection], None]:
    """Let a time-out of the session end what runs or waits in it."""

    def too_long(conn: sa.Connection) -> None:
        conn.execute(sa.text(f"SET LOCAL {setting} = '50ms'"))
        if setting == "idle_in_transaction_session_timeout":
            time.sleep(0.5)
        conn.execute(sa.text("SELECT pg_sleep(30)"))

    return too_long


REAL: dict[str, tuple[str, Callable[[sa.Connection], object]]] = {
    "statement": ("57014", sleeping("statement_timeout")),
    "idle": ("25P03", sleeping("idle_in_transaction_session_timeout")),
    "transaction": ("25P04", sleeping("transaction_timeout")),
    "terminated": (
        "57P01", lambda conn: conn.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))
    ),
}  # fmt: skip


@pytest.mark.usefixtures("no_params")
@pytest.mark.parametrize("how", REAL)
@pytest.mark.parametrize("where", ["compute", "write"])
def test_time_outs_and_ends_of_sessions_as_they_come(db: Database, how: str, where: str) -> None:
    code, does = REAL[how]
    with db.reader() as conn:
        version = conn.scalar(sa.text("SELECT current_setting('server_version_num')::int"))
    if how == "transaction" and version < 170000:
        pytest.skip("this server has no transaction_timeout")
    said: list[str] = []

    def do(conn: sa.Connection) -> None:
        try:
            does(conn)
        except sa.exc.DBAPIError as exc:
            said.append(sqlstate(exc))
            raise

    error = ends_with(db, three_chunks(**{where: do}))
    assert said == [code]
    assert error.exit_code == ExitCode.UNAVAILABLE


def asked(db: Database, *statements: str, pause_s: float = 0.0) -> None:
    """Ask as people's SQL is asked: by psycopg, with its errors translated."""
    with translated_errors(), query_errors(), db.reader() as conn:
        driver: Any = conn.connection.driver_connection
        for statement in statements:
            driver.execute(statement)
            time.sleep(pause_s)


@pytest.mark.parametrize("code", ["25P03", "25P04", "53100", "57P01", "XX001"])
def test_a_server_that_gives_up_is_no_fault_of_the_query(db: Database, code: str) -> None:
    with pytest.raises(ServerUnavailableError):
        asked(db, raising(code))


@pytest.mark.parametrize("code", ["08P01", "22012", "42601", "54001", "55000", "P0001", "P0002"])
def test_a_query_that_cannot_be_answered_is_no_fault_of_the_server(db: Database, code: str) -> None:
    with pytest.raises(UsageError, match="the query cannot be answered"):
        asked(db, raising(code))


def test_a_session_that_was_idle_too_long_is_no_fault_of_the_query(db: Database) -> None:
    idle = "SET LOCAL idle_in_transaction_session_timeout = '50ms'"
    with pytest.raises(ServerUnavailableError, match="idle-in-transaction timeout"):
        asked(db, idle, "SELECT 1", pause_s=0.5)


@pytest.mark.usefixtures("no_params")
def test_a_server_that_may_only_be_read(db: Database) -> None:
    """Such as a hot standby, which the URL names by mistake."""

    def read_only(conn: sa.Connection) -> None:
        conn.execute(sa.text("SET TRANSACTION READ ONLY"))
        conn.execute(sa.text("DELETE FROM star"))

    error = ends_with(db, three_chunks(compute=read_only))
    assert isinstance(error, ConfigurationError)
    assert "refuses: cannot execute DELETE in a read-only transaction" in error.reason


def test_other_errors_have_their_own_words(db: Database) -> None:
    def said(sql: str) -> CrosslabelError | None:
        with db.engine.connect() as conn, pytest.raises(sa.exc.DBAPIError) as caught:
            conn.execute(sa.text(sql))
        return server_error(caught.value)

    assert isinstance(said(raising("55P03")), LockedError)
    assert isinstance(said(raising("42501")), ConfigurationError)
    assert isinstance(said(raising("P0001")), UsageError)
    assert said("SELECT 1 FROM no_such_table") is None, "a fault of ours: it needs its traceback"
    assert said("SELECT 1/0") is None
    with (
        pytest.raises(ServerUnavailableError, match=r"said"),
        translated_errors(),
        db.engine.connect() as conn,
    ):
        conn.execute(sa.text(raising("57P02")))


@pytest.mark.usefixtures("superuser")
def test_a_role_without_connections_left_and_a_wrong_password(
    db: Database, admin: sa.Engine, db_url: sa.URL
) -> None:
    role = f"few_{db_url.database}"
    with admin.connect() as conn:
        conn.execute(sa.text(f'CREATE ROLE "{role}" LOGIN CONNECTION LIMIT 1'))
    try:
        first = open_database(db_url.set(username=role))
        with first.engine.connect(), pytest.raises(ServerUnavailableError) as caught:
            open_database(db_url.set(username=role, password="planted"))
        first.engine.dispose()
    finally:
        with admin.connect() as conn:
            conn.execute(sa.text(f'DROP ROLE "{role}"'))
    assert caught.value.exit_code == ExitCode.UNAVAILABLE
    assert "takes no more: " in caught.value.reason
    assert "max_connections" in caught.value.todo
    assert "planted" not in str(caught.value)


@pytest.fixture
def full_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home whose server has all its connections in use."""
    home = tmp_path_factory.mktemp("full")
    for folder in (home, *home.parents):
        if folder.stat().st_mode & 0o001 == 0:
            folder.chmod(0o755)
    server = embedded.start(home)
    try:
        with ExitStack() as held:

            def take_all() -> None:
                while True:
                    held.enter_context(psycopg.connect(server.url))

            with pytest.raises(psycopg.OperationalError, match="too many clients"):
                take_all()
            yield home
    finally:
        embedded.stop(home)


def test_a_full_server_is_not_taken_for_a_dead_one(
    full_home: Path,
    command_line: Cli,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def launched(place: object) -> None:
        raise AssertionError("a second server was to be started")

    monkeypatch.setattr(embedded, "launch", launched)
    with pytest.raises(ServerUnavailableError, match=r"takes no more"):
        connect(Settings(full_home))
    monkeypatch.setattr(sys, "argv", ["crosslabel", "--home", str(full_home), "status"])
    from jobs.cli import main

    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == ExitCode.UNAVAILABLE
    _, err = capsys.readouterr()
    assert err.startswith("error: the database of ")
    assert "takes no more" in err


def test_connection_options_of_the_url_win(db_url: sa.URL) -> None:
    from catalog.store.db import connection_options

    ours = connection_options(db_url)
    assert ours["tcp_user_timeout"] == 30_000
    given = db_url.update_query_dict(
        {"tcp_user_timeout": "5", "options": "-c statement_timeout=7s"}
    )
    assert "tcp_user_timeout" not in connection_options(given)
    db = open_database(given)
    with db.reader() as conn:
        assert conn.scalar(sa.text("SHOW statement_timeout")) == "7s"
        assert conn.scalar(sa.text("SHOW timezone")) == "UTC"
    db.engine.dispose()
