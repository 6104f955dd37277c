"""A real PostgreSQL for the tests: one migrated template a session, one clone a test."""

from __future__ import annotations

import os
import resource
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL

from catalog.config import parse_url
from catalog.store import embedded
from catalog.store.db import Database, open_database
from catalog.store.embedded_layout import READER
from catalog.store.reader_role import add_reader
from catalog.store.upgrade import upgrade_schema
from jobs.cli import main
from jobs.cli.common import _Given

pytest_plugins = ["tests.support.survey_files", "tests.support.simulated_survey"]
ROOT = Path(__file__).resolve().parent.parent
Cli = Callable[..., tuple[int, str, str]]
CACHE = f"crosslabel-test-xla-{os.geteuid()}"

for variable in [v for v in os.environ if v.startswith("CROSSLABEL_")]:
    if variable not in (
        "CROSSLABEL_TEST_DATABASE_URL",
        "CROSSLABEL_TEST_READER_URL",
        "CROSSLABEL_KIT",
    ):
        del os.environ[variable]

# Compiling takes four fifths of a small training: compiled programs are kept for other processes
# and for the next run, and made with less thought, for they do not run long.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(tempfile.gettempdir()) / CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")


@pytest.fixture(scope="session")
def kit() -> Path:
    """The folder of the survey kit beside the checkout."""
    folder = Path(os.environ.get("CROSSLABEL_KIT", ROOT.parent / "shared"))
    if not (folder / "tools" / "make_survey.py").exists():
        pytest.skip(f"the survey kit is not in {folder} (set CROSSLABEL_KIT)")
    return folder


@pytest.fixture(scope="session")
def server_url() -> Iterator[URL]:
    """A server to make databases on: CROSSLABEL_TEST_DATABASE_URL, or an embedded one."""
    given = os.environ.get("CROSSLABEL_TEST_DATABASE_URL")
    if given:
        yield parse_url(given)
        return
    home = Path(tempfile.mkdtemp(prefix="crosslabel-test-"))
    home.chmod(0o755)
    try:
        url = parse_url(embedded.start(home).url)
        _do_without_durability(url)
        yield url
    finally:
        embedded.stop(home)
        shutil.rmtree(home, ignore_errors=True)


def _do_without_durability(url: URL) -> None:
    """Let the server of the tests never wait for the disk.

    Dropping a database makes a checkpoint, which took seconds of most tests. Clients are killed in
    tests, this server is not: what it has committed, it knows without a disk.
    """
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
    with engine.connect() as conn:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            conn.execute(sa.text(f"ALTER SYSTEM SET {setting} = off"))
        conn.execute(sa.text("SELECT pg_reload_conf()"))


@pytest.fixture(scope="session")
def admin(server_url: URL) -> Iterator[sa.Engine]:
    """An autocommit engine that may create and drop databases."""
    engine = sa.create_engine(server_url, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def superuser(admin: sa.Engine) -> None:
    """For tests that make roles or change the server: the role of its URL may do so."""
    with admin.connect() as conn:
        if conn.scalar(sa.text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")):
            return
    pytest.skip("the role of CROSSLABEL_TEST_DATABASE_URL is no superuser")


@pytest.fixture(scope="session")
def template(server_url: URL, admin: sa.Engine) -> Iterator[str]:
    """The name of an empty database at head."""
    name = f"template_{uuid.uuid4().hex[:12]}"
    with admin.connect() as conn:
        conn.execute(sa.text(f'CREATE DATABASE "{name}"'))
    db = open_database(server_url.set(database=name))
    upgrade_schema(db)
    with db.begin() as conn:
        role = str(reader_login(server_url).username)
        if conn.scalar(sa.text("SELECT to_regrole(:role)"), {"role": role}) is None:
            conn.execute(sa.text(f'CREATE ROLE "{role}" LOGIN'))
        add_reader(conn, role)
    db.engine.dispose()
    yield name
    with admin.connect() as conn:
        conn.execute(sa.text(f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture
def db_url(
    server_url: URL, admin: sa.Engine, template: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[URL]:
    """The URL of a fresh database at head: commits are real, and seen by subprocesses.

    These, and commands in this process, find the login that can only read in the environment.
    """
    with cloned(server_url, admin, template) as db:
        monkeypatch.setenv("CROSSLABEL_READER_URL", libpq_url(reader_login(db.engine.url)))
        yield db.engine.url


@pytest.fixture
def db(db_url: URL) -> Iterator[Database]:
    """A fresh database at head."""
    database = open_database(db_url, reader_login(db_url))
    yield database
    database.engine.dispose()


@pytest.fixture
def command_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run the command line in this process, on a database: exit code, output, errors."""

    def run(url: URL, *words: object) -> tuple[int, str, str]:
        monkeypatch.setenv("CROSSLABEL_READER_URL", libpq_url(reader_login(url)))
        return run_main(capsys, monkeypatch, ["--database-url", libpq_url(url), *words])

    return run


def run_main(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: Sequence[object]
) -> tuple[int, str, str]:
    """Run the command line in this process: exit code, output, errors."""
    monkeypatch.setattr(sys, "argv", ["crosslabel", *map(str, words)])
    monkeypatch.setattr(_Given, "home", None)
    monkeypatch.setattr(_Given, "database_url", None)
    with pytest.raises(SystemExit) as end:
        main()
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


@contextmanager
def cloned(server_url: URL, admin: sa.Engine, template: str) -> Iterator[Database]:
    """A copy of a database, dropped at the end."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with admin.connect() as conn:
        conn.execute(sa.text(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY'))
    url = server_url.set(database=name)
    db = open_database(url, reader_login(url))
    try:
        yield db
    finally:
        db.engine.dispose()
        with admin.connect() as conn:
            conn.execute(sa.text(f'DROP DATABASE "{name}" WITH (FORCE)'))


@contextmanager
def full_disk(n_bytes: int) -> Iterator[None]:
    """No file of this process can grow beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def reader_login(url: URL) -> URL:
    """The same database under the login that can only read: CROSSLABEL_TEST_READER_URL, or ours."""
    given = os.environ.get("CROSSLABEL_TEST_READER_URL")
    if given:
        return parse_url(given).set(database=url.database)
    return url.set(username=READER, password=None)


def libpq_url(url: URL) -> str:
    """A database URL as people give it to the command line."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)
