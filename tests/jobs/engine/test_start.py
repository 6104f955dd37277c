"""The start of a command: what one loads that finds the lock taken, and signals in its midst."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from catalog.errors import ExitCode
from catalog.store.db import Database, advisory_lock
from jobs.sync.config import example_text
from tests.conftest import libpq_url

#: Libraries that take a second or more to load, or a good part of one.
HEAVY = (
    "alembic", "astropy", "astroquery", "cdshealpix", "flax", "jax", "matplotlib", "optax",
    "optuna", "pandas", "pyarrow", "rich", "scipy", "sklearn", "specutils", "threadpoolctl",
)  # fmt: skip
ENDS = 60.0  # seconds; a start takes one on an idle machine
_RUN = """
import atexit, sys
def show():
    print("loaded:", *sorted(m for m in {names!r} if m in sys.modules), file=sys.stderr)
atexit.register(show)
sys.argv[0] = "crosslabel"
from jobs.entry import main
main()
"""
#: The lock -> the command that asks for it, with what it reads in a folder.
LOSERS = {
    "ingest apogee aspcap/dr14": "ingest apogee file --release dr14",
    "ingest sspp sspp/dr12": "ingest sspp file --release dr12",
    "ingest specobj specobj/dr17": "ingest specobj file --release dr17",
    "ingest spectra spectra": "ingest spectra file",
    "ingest labels mine": "ingest labels table.csv --survey apogee --name mine",
    "crossmatch apogee/dr14:sdss:2": "crossmatch",
    "sample clean": "sample create clean",
    "normalize recipe default": "normalize",
    "train model mine": "train --preset default --sample clean --name mine",
    "scan scan mine": "scan --preset default --sample clean --name mine --space networks",
    "fetch apogee dr17": "fetch apogee --release dr17",
    "sync": "sync --config crosslabel.toml",
}


def started(
    code: str, folder: Path, *words: str, names: tuple[str, ...] = HEAVY
) -> subprocess.CompletedProcess[str]:
    """Run the program from its beginning in a new Python."""
    return subprocess.run(
        [sys.executable, "-c", code.replace("{names!r}", repr(names)), *words],
        cwd=folder, capture_output=True, text=True, timeout=ENDS,
    )  # fmt: skip


@pytest.mark.parametrize("lock", LOSERS)
def test_one_that_finds_the_lock_taken_loads_no_more_than_it_needs(
    survey: Database, tmp_path: Path, lock: str
) -> None:
    for name in ("file", "table.csv"):
        (tmp_path / name).touch()
    (tmp_path / "crosslabel.toml").write_text(example_text())
    url = libpq_url(survey.engine.url)
    with advisory_lock(survey, lock):
        ended = started(_RUN, tmp_path, "--database-url", url, *LOSERS[lock].split())
    assert ended.returncode == ExitCode.LOCKED, ended.stderr
    said, loaded = ended.stderr.strip().rsplit("\n", 1)
    assert "at work" in said if lock == "sync" else f"another run is writing {lock}" in said
    assert loaded == "loaded:"


@pytest.mark.parametrize("words", ["", "--help", "--version", "ingest apogee --help"])
def test_help_and_version_load_nothing(tmp_path: Path, words: str) -> None:
    names = (*HEAVY, "numpy", "psycopg", "sqlalchemy")
    ended = started(_RUN, tmp_path, *words.split(), names=names)
    assert (ended.returncode, ended.stderr) == (0, "loaded:\n")


def test_status_loads_no_more_than_the_database_needs(survey: Database, tmp_path: Path) -> None:
    url = libpq_url(survey.engine.url)
    ended = started(_RUN, tmp_path, "--database-url", url, "status")
    assert (ended.returncode, ended.stderr) == (0, "loaded:\n")
    assert "train" not in ended.stdout
    assert "crossmatch" in ended.stdout


def test_a_home_that_is_there_is_opened_without_migrations(db: Database, tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from catalog.config import Settings, parse_url
from catalog.store import homes
db = homes.connect(Settings(Path("unused"), parse_url({libpq_url(db.engine.url)!r})))
homes._begin(db, Settings(Path("unused")), print)
print("alembic" in sys.modules)
"""
    assert started(code, tmp_path).stdout == "False\n"


_STOPPED_IN_IMPORT = """
import os, sys
class Sender:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == MOMENT:
            os.kill(os.getpid(), NUMBER)
sys.meta_path.insert(0, Sender)
sys.argv[0] = "crosslabel"
from jobs.entry import main
main()
"""
_STOPPED_IN_FUNCTION = """
import os, sys, importlib
module, function = MOMENT.split(":")
found = importlib.import_module(module)
def send(*args, **kwargs):
    os.kill(os.getpid(), NUMBER)
    raise AssertionError("it goes on")
setattr(found, function, send)
sys.argv[0] = "crosslabel"
from jobs.entry import main
main()
"""
#: Modules that are about to be loaded, and functions that are called: moments of a start, in order.
MOMENTS = (
    "jobs.cli", "jobs.cli.sync", "jobs.cli:complete_help", "catalog.config", "sqlalchemy",
    "catalog.store.db:open_database", "jobs.engine.runner",
)  # fmt: skip
SENT = [(signal.SIGINT, moment) for moment in MOMENTS] + [
    (signal.SIGTERM, moment) for moment in ("jobs.cli.sync", "catalog.store.db:open_database")
]


@pytest.mark.parametrize(("number", "moment"), SENT)
def test_a_signal_while_it_starts_is_one_line(
    db: Database, tmp_path: Path, number: int, moment: str
) -> None:
    code = _STOPPED_IN_FUNCTION if ":" in moment else _STOPPED_IN_IMPORT
    code = code.replace("MOMENT", repr(moment)).replace("NUMBER", str(int(number)))
    words = ("--database-url", libpq_url(db.engine.url), "ingest", "spectra", os.curdir)
    ended = started(code, tmp_path, *words)
    assert (ended.returncode, ended.stdout, ended.stderr) == (128 + number, "", "stopped\n")
