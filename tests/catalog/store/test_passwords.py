"""A planted password is looked for in all that crosslabel prints, writes, stores and runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from catalog import open_catalog
from catalog.config import parse_url
from catalog.errors import ConfigurationError
from catalog.store import embedded, embedded_layout
from catalog.store.db import open_database
from catalog.store.server_errors import translated_errors
from catalog.surveys.simulate import write_survey
from jobs.sync.config import example_text
from tests.conftest import run_main

SECRET = "hunter2Xq"
ROOT = Path(__file__).resolve().parents[3]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The host (a folder of sockets) of a server on which the role amy needs a password."""
    home = Path(tempfile.mkdtemp(prefix="crosslabel-password-"))
    home.chmod(0o755)
    found = embedded.start(home)
    with psycopg.connect(found.url, autocommit=True) as conn:
        conn.execute(f"CREATE ROLE amy LOGIN PASSWORD '{SECRET}'")
        conn.execute("CREATE DATABASE stars OWNER amy")
        conn.execute("CREATE ROLE eve LOGIN")
        hba = found.data / "pg_hba.conf"
        hba.write_text(f"local all amy scram-sha-256\n{hba.read_text()}")
        conn.execute("SELECT pg_reload_conf()")
    yield str(embedded_layout.find_place(home).sockets)
    log = (home / "postgres.log").read_bytes()
    embedded.stop(home)
    shutil.rmtree(home)
    assert SECRET.encode() not in log


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command in a folder of its own; nothing that it prints may hold the password."""
    monkeypatch.chdir(tmp_path)

    def run_quietly(*words: object) -> tuple[int, str, str]:
        code, out, err = run_main(capsys, monkeypatch, words)
        assert SECRET not in out + err, words
        return code, out, err

    return run_quietly


def url(server: str, password: str = SECRET, options: str = "") -> str:
    return f"postgresql://amy:{password}@/stars?host={server}&port=5432{options}"


def assert_nowhere(folder: Path) -> None:
    """Raise if a file of a folder holds the password."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert SECRET.encode() not in path.read_bytes(), path


def test_a_working_day(
    server: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands, sync with its log, exports, and the tables of the ledger."""
    monkeypatch.setenv("CROSSLABEL_DATABASE_URL", url(server))
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    write_survey(incoming, n_matched=5, n_apogee=20, n_sspp=15)
    text = example_text().split("[[samples]]")[0].replace('home = "home"', "")
    text += '[[exports]]\nfile = "out/aspcap.csv"\ncontent = "aspcap/dr14"\n'
    (tmp_path / "crosslabel.toml").write_text(text)
    code, _, err = run("sync")
    assert code == 78
    assert f"the database postgresql://amy:***@/stars?host={server.replace('/', '%2F')}" in err
    assert run("db", "upgrade")[0] == 0
    run("sync", "--json")
    for words in (
        ["status", "--json"], ["status"], ["db", "status"], ["db", "status", "--json"], ["resume"],
        ["db", "start"], ["db", "stop"], ["label", "list"], ["ingest", "spectra", "none"],
        ["label", "show", "aspcap/dr14"], ["export", "aspcap/dr14", "--to", "x.fits"],
    ):  # fmt: skip
        run(*words)
    assert (tmp_path / "x.fits").exists()
    assert (tmp_path / "out" / "aspcap.csv").exists()
    assert_nowhere(tmp_path)
    with psycopg.connect(url(server)) as conn:
        names = conn.execute(
            "SELECT c.oid::regclass::text FROM pg_class c WHERE relkind = 'r' "
            "AND relnamespace = 'public'::regnamespace"
        ).fetchall()
        for (name,) in names:
            found = conn.execute(
                f"SELECT count(*) FROM {name} t WHERE t::text LIKE '%{SECRET}%'"
            ).fetchone()
            assert found == (0,), name
    with open_catalog(url(server)) as cat:
        assert SECRET not in f"{cat} {cat!r}"


def test_url_is_printed_with_its_password_only_when_asked(
    server: str, capsys: pytest.CaptureFixture[str], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROSSLABEL_DATABASE_URL", url(server))
    _, out, _ = run("db", "url")
    assert out.startswith("postgresql://amy:***@/stars?")
    code, out, _ = run_main(capsys, monkeypatch, ["db", "url", "--with-password"])
    assert code == 0
    with psycopg.connect(out.strip()) as conn:
        assert conn.execute("SELECT current_user").fetchone() == ("amy",)


def test_psql_has_no_password_among_its_arguments(server: str) -> None:
    """Every account of a machine can read them (ps)."""
    environment = {**os.environ, "CROSSLABEL_DATABASE_URL": url(server), "PYTHONPATH": str(ROOT)}
    code = "from jobs.cli import main; main()"
    query = "SELECT 'begun'; SELECT pg_sleep(1); SELECT current_user"
    words = ["db", "psql", "-qAt", *(f"-c{part}" for part in query.split("; "))]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], env=environment, cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    seen = set()
    while process.poll() is None:
        seen.add(Path(f"/proc/{process.pid}/cmdline").read_text())
        time.sleep(0.02)
    out, _ = process.communicate()
    assert out.split() == ["begun", "amy"]
    assert any("psql\0" in command for command in seen)
    assert not [command for command in seen if SECRET in command]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("postgresql://amy:wrong{S}@/stars?host={H}&port=5432", 78),
        ("postgresql://amy@/stars?host={H}&port=5432&password=x{S}", 78),
        ("postgresql://amy@/stars?host={H}&port=5432", 78),
        ("postgresql://amy@/stars?host={H}&port=5432&password={S}&password={S}", 78),
        ("postgresql://amy@/stars?host={H}&port=5432&sslpassword={S}", 78),
        ("postgresql://amy:{S}@/stars?host={H}&port=5432&{S}=1", 78),
        ("postgresql://amy:{S}@/stars?host={H}&port=5432&colour={S}", 78),
        ("postgresql://amy:{S}@127.0.0.1:1/stars?connect_timeout=2", 69),
        ("postgresql://amy:{S}@/stars?host=/nowhere&options=-c%20a.b%3D{S}", 69),
        ("postgresql://amy:a@{S}@127.0.0.1:1/stars", 78),
        ("postgresql://amy:{S}@h:port/d", 78),
        ("mysql://amy:{S}@h/d", 78),
        ("{S}", 78),
    ],
)
def test_urls_that_cannot_be_used(
    server: str, run: Run, monkeypatch: pytest.MonkeyPatch, text: str, code: int
) -> None:
    text = text.replace("{S}", SECRET).replace("{H}", server)
    monkeypatch.setenv("CROSSLABEL_DATABASE_URL", text)
    for words in (["status"], ["db", "status"], ["db", "upgrade"], ["label", "list", "--json"]):
        found, _, err = run(*words)
        assert found == code, err
        assert err.startswith("error"), err
        if code == 78:
            assert "~/.pgpass" in err or "~/.pg_service.conf" in err
    monkeypatch.delenv("CROSSLABEL_DATABASE_URL")
    assert run("--database-url", text, "status")[0] == code


@pytest.mark.parametrize(
    "line",
    [
        'database_url = ["postgresql://amy:{S}@h/d"]',
        'database_url = {password = "{S}"}',
        'database_url = "postgresql://amy:{S}@h/d?sslpassword={S}"',
        'database_url = "postgresql://amy:{S}@h:x/d"',
        'database_url = "postgresql://amy:{S}@127.0.0.1:1/d"',
        'database_url = "postgresql://amy:{S}@h/d',
        'database_ulr = "postgresql://amy:{S}@h/d"',
        'log = ["postgresql://amy:{S}@h/d"]',
    ],
)
def test_configurations_of_sync(run: Run, tmp_path: Path, line: str) -> None:
    text = example_text().replace('home = "home"', line.replace("{S}", SECRET), 1)
    (tmp_path / "crosslabel.toml").write_text(text)
    for words in (["sync"], ["sync", "--json"], ["sync", "--quiet"]):
        code, _, err = run(*words)
        assert code in (69, 78)
        assert err.startswith("error: "), err
    for path in tmp_path.glob("*.log"):
        assert SECRET not in path.read_text()


def test_a_role_without_rights_hears_which_grant(server: str, run: Run) -> None:
    """And with that grant it may."""
    owner = url(server)
    assert run("--database-url", owner, "db", "upgrade")[0] == 0
    eve = f"postgresql://eve@/stars?host={server}&port=5432"
    code, _, err = run("--database-url", eve, "label", "list")
    assert code == 78
    assert "the database server refuses: permission denied for table alembic_version" in err
    assert "crosslabel db grant-reader eve" in err
    assert "GRANT SELECT ON alembic_version TO eve" in err
    run("--database-url", owner, "db", "grant-reader", "eve")
    code, _, err = run("--database-url", eve, "label", "list")
    assert code == 0, err
    db = open_database(parse_url(eve))
    for statement, right in (
        ("DELETE FROM star", "DELETE"), ("INSERT INTO star (star_key) VALUES ('x')", "INSERT"),
        ("UPDATE star SET star_key = 'x'", "UPDATE"),
    ):  # fmt: skip
        with (
            pytest.raises(ConfigurationError, match=f"GRANT {right} ON star TO eve"),
            translated_errors(), db.begin() as conn,
        ):  # fmt: skip
            conn.exec_driver_sql(statement)
    db.engine.dispose()


def test_a_traceback(server: str, tmp_path: Path) -> None:
    """Of a fault of our own, with an open database in every frame."""
    code = (
        "from jobs.cli import main; import catalog.store.head as head\n"
        "def broken(db):\n"
        "    url = db.engine.url.render_as_string(False)\n"
        "    with db.reader() as conn: raise RuntimeError(f'{db} {db.engine!r} {url}')\n"
        "head.require_schema_at_head = broken\n"
        "import catalog.store.homes as homes; homes.require_schema_at_head = broken\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "status"], text=True, capture_output=True, check=False,
        env={
            **os.environ, "CROSSLABEL_DATABASE_URL": url(server), "PYTHONPATH": str(ROOT),
            "CROSSLABEL_HOME": str(tmp_path),
        },
    )  # fmt: skip
    assert done.returncode != 0
    assert "RuntimeError" in done.stderr
    assert "Traceback" in (tmp_path / "errors.log").read_text()
    assert_nowhere(tmp_path)
    assert SECRET not in done.stdout + done.stderr
