"""A new user's first commands: which home, whether it is made, and what is said where it is not."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from catalog import open_catalog
from catalog.errors import ConfigurationError, SourceUnavailableError
from catalog.store import embedded, embedded_layout
from catalog.surveys.simulate import NAMES, write_survey
from jobs.sync.config import example_text
from tests.conftest import full_disk, run_main

Run = Callable[..., tuple[int, str, str]]
READING = [
    ["status"], ["db", "status"], ["db", "url"], ["db", "psql"], ["label", "list"], ["resume"],
    ["model", "list"], ["compare", "aspcap/dr14", "sspp/dr12"], ["crossmatch"], ["normalize"],
    ["sync", "--dry-run", "--config", "crosslabel.toml"],
    ["ingest", "apogee", NAMES["dr14"], "--release", "dr14", "--dry-run"],
]  # fmt: skip


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to work in, with a survey and an example of sync; servers in it are stopped."""
    path = Path(tempfile.mkdtemp(prefix="crosslabel-homes-"))
    path.chmod(0o755)
    monkeypatch.chdir(path)
    monkeypatch.setenv("XDG_DATA_HOME", str(path / "data"))
    (path / "crosslabel.toml").write_text(example_text().replace('"home"', '"demo/home"', 1))
    yield path
    for home in (path / "data" / "crosslabel", path / "demo" / "home"):
        embedded.stop(home)
        if home.exists():
            shutil.rmtree(embedded_layout.find_place(home).sockets, ignore_errors=True)
    shutil.rmtree(path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command without options that say where the catalog is."""
    return lambda *words: run_main(capsys, monkeypatch, words)


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_commands_that_need_a_catalog_make_none(folder: Path, run: Run, words: list[str]) -> None:
    (folder / NAMES["dr14"]).write_text("never read")
    home = folder / ("demo/home" if "sync" in words else "data/crosslabel")
    code, out, err = run(*words)
    assert (code, out) == (78, "")
    assert f"there is no catalog in {home}\n" in err
    assert "made by the first command that brings something in" in err
    assert ("a dry run makes none. It looked for the sources allstar (" in err) == ("sync" in words)
    assert not home.exists()


def test_the_first_command_that_brings_something_in_makes_the_catalog(
    folder: Path, run: Run
) -> None:
    write_survey(folder, n_matched=5, n_apogee=20, n_sspp=15)
    home = folder / "data" / "crosslabel"
    code, out, err = run("ingest", "apogee", NAMES["dr14"], "--release", "dr14")
    assert code == 0, err
    assert err == f"new catalog in {home}\n"
    assert "done" in out
    assert run("ingest", "sspp", "ssppOut-dr12.fits", "--release", "dr12")[2] == "", "not again"
    assert "aspcap/dr14@1" in run("label", "list")[1]
    # Another home, mistyped: the one that there is is named.
    code, _, err = run("--home", folder / "dta", "status")
    assert code == 78
    assert f"there is no catalog in {folder / 'dta'}\n" in err
    assert f"Did you mean --home {home}?" in err
    with pytest.raises(ConfigurationError, match=r"Did you mean .*data/crosslabel"):
        open_catalog(home=folder / "dta")


def test_sync_makes_its_home_and_names_it(folder: Path, run: Run) -> None:
    """The home of the configuration is another one than the default, which has no part in it."""
    (folder / "incoming").mkdir()
    write_survey(folder / "incoming", n_matched=5, n_apogee=20, n_sspp=15)
    home = folder / "demo" / "home"
    config = folder / "crosslabel.toml"
    config.write_text(config.read_text().split("[[samples]]")[0])
    code, out, err = run("sync")
    assert f"new catalog in {home}\n" in err
    assert code == 0, f"{out}{err}"
    assert not (folder / "data").exists()
    code, _, err = run("status")
    assert f"Did you mean --home {home}?" in err
    # A schema that is not at head: the remedy names the catalog that it is about, and works.
    with psycopg.connect(embedded.start(home).url) as conn:
        conn.execute("DROP VIEW match_ranked CASCADE")
    code, _, err = run("sync")
    assert code == 78
    assert f"error: the home {home}: " in err
    remedy = err.split("Run: crosslabel ")[1].split()
    assert remedy == ["--home", str(home), "db", "upgrade"]
    assert run(*remedy)[0] == 0
    assert run("sync")[0] == 0


def test_status_of_the_database(folder: Path, run: Run) -> None:
    home = folder / "data" / "crosslabel"
    assert run("db", "upgrade")[0] == 0
    code, out, _ = run("db", "status", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["home"] == str(home)
    assert found["role"] == found["database"] == "crosslabel"
    assert found["postgresql"].startswith("18.")
    assert found["schema"] == found["head"]
    assert found["version"][0].isdigit()
    assert found["size"].endswith(" MB")
    assert float(found["size"].split()[0]) > 5
    assert run("db", "stop")[0] == 0
    code, out, _ = run("db", "status")
    assert code == 0
    assert "running    False" in out


def test_a_home_on_a_full_disk(folder: Path) -> None:
    with full_disk(100_000), pytest.raises(SourceUnavailableError) as caught:
        embedded.start(folder / "data" / "crosslabel")
    assert caught.value.exit_code == 69
    assert "MB left, an empty home takes 60 MB: make space" in caught.value.todo
    assert not (folder / "data" / "crosslabel" / "pgdata").exists()
    assert embedded.start(folder / "data" / "crosslabel").pid, "with space it is made"
