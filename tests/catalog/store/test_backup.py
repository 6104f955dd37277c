"""A catalog as one file and back: the same rows, a working catalog, and nothing half-written."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from catalog.config import parse_url
from catalog.store import embedded, embedded_layout
from catalog.store.backup import dump_home, restore_home
from catalog.store.db import open_database
from catalog.surveys.simulate import NAMES, write_survey
from tests.conftest import full_disk, run_main
from tests.support.homes import folder_of_homes
from tests.support.processes import command

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with folder_of_homes("crosslabel-backup-") as path:
        yield path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("PGHOST", "/nowhere")  # the user's own server is another one
    return lambda home, *words: run_main(capsys, monkeypatch, ["--home", home, *words])


@pytest.fixture(scope="module")
def survey(folder: Path) -> Path:
    write_survey(folder / "survey", n_matched=8, n_apogee=40, n_sspp=30)
    return folder / "survey"


@pytest.fixture
def home(folder: Path, survey: Path, run: Run) -> Path:
    """A home with a small catalog."""
    home = folder / "home"
    for words in (
        ["ingest", "apogee", survey / NAMES["dr14"], "--release", "dr14"],
        ["ingest", "sspp", survey / "ssppOut-dr12.fits", "--release", "dr12"],
        ["ingest", "spectra", survey / "spectra"],
        ["crossmatch"], ["sample", "create", "clean"], ["normalize"],
    ):  # fmt: skip
        code, out, err = run(home, *words)
        assert code == 0, f"{words}: {out}{err}"
    return home


def digests(home: Path) -> dict[str, str]:
    """A digest of the rows of each table, view and sequence, in any order of rows."""
    db = open_database(parse_url(embedded.start(home).url))
    with db.reader() as conn:
        kinds = conn.execute(
            sa.text(
                "SELECT c.oid::regclass::text AS name, relkind FROM pg_class c "
                "WHERE relkind IN ('r', 'v', 'S') AND relnamespace = 'public'::regnamespace"
            )
        ).all()
        found = {}
        for name, kind in kinds:
            rows = "(last_value, is_called)" if kind == "S" else "t"
            query = f"SELECT md5(string_agg({rows}::text, ',' ORDER BY {rows}::text)) FROM {name} t"
            found[name] = conn.scalar(sa.text(query))
    db.engine.dispose()
    return found


def test_a_restored_catalog_is_the_same_and_works(
    home: Path, folder: Path, survey: Path, run: Run
) -> None:
    code, out, err = run(home, "db", "dump", folder / "a.dump")
    assert code == 0, err
    assert out.startswith(f"catalog of {home} in ")
    copy = folder / "copy"
    code, out, err = run(copy, "db", "restore", folder / "a.dump")
    assert code == 0, err
    before, after = digests(home), digests(copy)
    assert len(before) > 40
    assert sum(digest is not None for digest in before.values()) > 20
    assert after == before
    # It goes on: what is there is not done again, and published editions are kept.
    again = ["ingest", "apogee", survey / NAMES["dr14"], "--release", "dr14"]
    assert "nothing to do" in run(copy, *again)[1]
    assert "nothing to do" in run(copy, "crossmatch")[1]
    words = ["export", "--sql", "SELECT count(*) FROM source", "--to", folder / "n.csv"]
    assert run(copy, *words)[0] == 0, "the login for people's own SQL has its rights"
    db = open_database(parse_url(embedded.start(copy).url))
    with pytest.raises(sa.exc.DBAPIError, match="complete"), db.begin() as conn:
        conn.execute(sa.text("UPDATE stellar_label SET teff = 1"))
    db.engine.dispose()
    assert run(copy, "db", "status")[0] == 0
    code, _, err = run(copy, "db", "restore", folder / "a.dump")
    assert code == 2
    assert f"the home {copy} has a catalog already" in err


def test_files_that_cannot_be_restored(home: Path, folder: Path, run: Run) -> None:
    whole = folder / "whole.dump"
    dump_home(home, whole)
    (folder / "text").write_text("no dump")
    (folder / "short").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    other = folder / "other"
    url = embedded.start(home).url.replace("/crosslabel?", "/postgres?")
    program = embedded_layout.find_place(home).program("pg_dump")
    subprocess.run([program, "--format=custom", f"--file={other}", f"--dbname={url}"], check=True)
    empty = folder / "empty"
    for name in ("text", "short", "other"):
        code, out, err = run(empty, "db", "restore", folder / name)
        assert (code, out) == (65, ""), err
        assert err.startswith(f"error [WRONG_CONTENT]: {folder / name} cannot be restored: "), err
    assert run(empty, "db", "restore", folder / "nothing")[0] == 2
    restore_home(empty, whole)  # what failed has left nothing behind
    assert digests(empty) == digests(home)


def test_a_dump_that_cannot_be_written(home: Path, folder: Path, run: Run) -> None:
    kept = folder / "kept.dump"
    kept.write_text("yesterday's")
    with full_disk(20_000):
        code, _, err = run(home, "db", "dump", kept)
    assert code == 69, err
    assert kept.read_text() == "yesterday's"
    assert not list(folder.glob("*.part"))
    code, _, err = run(home, "db", "dump", folder / "no" / "folder.dump")
    assert code == 2
    assert run(folder / "nothing", "db", "dump", folder / "x.dump")[0] == 78


def databases(home: Path) -> list[str]:
    with psycopg.connect(embedded.start(home).url) as conn:
        query = "SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1"
        return [row[0] for row in conn.execute(query)]


def killed_when(ready: Callable[[], bool], *words: object) -> None:
    """Start a command and kill it as soon as something is so."""
    process = command(*words)
    deadline = time.monotonic() + 60
    while not ready():
        assert process.returncode is None, f"it ended: {process.output()}"
        assert time.monotonic() < deadline, process.output()
        time.sleep(0.002)
    process.kill()
    assert process.returncode == -signal.SIGKILL
    process.close()


def test_a_dump_is_killed_and_made_again(home: Path, folder: Path, run: Run) -> None:
    file = folder / "killed.dump"
    file.write_text("yesterday's")
    part = folder / "killed.dump.part"
    for n_bytes in (0, 20_000):
        killed_when(
            lambda n=n_bytes: part.exists() and part.stat().st_size >= n,
            "--home", home, "db", "dump", file,
        )  # fmt: skip
        assert file.read_text() == "yesterday's"
    code, out, err = run(home, "db", "dump", file)
    assert code == 0, out + err
    assert file.stat().st_mode & 0o777 == 0o600
    assert not part.exists()
    copy = folder / "copy-of-killed"
    restore_home(copy, file)
    assert digests(copy) == digests(home)


def test_a_restore_is_killed_and_made_again(home: Path, folder: Path, run: Run) -> None:
    file = folder / "again.dump"
    dump_home(home, file)
    copy = folder / "again"
    url = embedded.start(copy).url
    words = ("--home", copy, "db", "restore", file)

    def tables() -> int:
        """Locks of the open transaction of a restore."""
        query = """SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                   WHERE application_name = 'pg_restore' AND locktype = 'relation'"""
        with psycopg.connect(url) as conn:
            return conn.execute(query).fetchone()[0]

    for n_locks in (1, 150):
        killed_when(lambda n=n_locks: tables() >= n, *words)
        assert run(copy, "label", "list")[0] == 78, "there is no half of a catalog"
    with psycopg.connect(url.replace("/crosslabel?", "/postgres?")) as conn:
        conn.execute("SELECT pg_advisory_lock(hashtext('crosslabel restore'))")
        code, _, err = run(*words[1:])
        assert (code, f"another process restores into {copy}" in err) == (75, True), err
    killed_when(lambda: "crosslabel_restored" in databases(copy), *words)
    code, out, err = run(*words[1:])
    assert code == 0, out + err
    assert databases(copy) == ["crosslabel", "postgres"]
    assert digests(copy) == digests(home)
    export = ["export", "--sql", "SELECT count(*) FROM source", "--to", folder / "m.csv"]
    assert run(copy, *export)[0] == 0


def test_tables_of_ones_own_are_not_replaced(home: Path, folder: Path, run: Run) -> None:
    own = folder / "own"
    with psycopg.connect(embedded.start(own).url) as conn:
        conn.execute("CREATE TABLE notes (n int)")
    file = folder / "for-own.dump"
    dump_home(home, file)
    code, _, err = run(own, "db", "restore", file)
    assert (code, f"the home {own} has the table notes already" in err) == (2, True), err
