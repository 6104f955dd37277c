"""The examples for cron and systemd: run as cron would, and checked as systemd does."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from catalog.store.db import Database
from catalog.surveys.simulate import write_survey
from jobs.sync.config import example_text
from tests.conftest import ROOT, libpq_url

EXAMPLES = ROOT / "docs" / "examples"
INSTALLED = "/srv/crosslabel"  # where the examples have everything
ENTRY = """#!{python}
import sys
sys.path.insert(0, {root!r})
from jobs.cli import main
main()
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder as the examples know it, with the real command."""
    command = tmp_path / "venv" / "bin" / "crosslabel"
    command.parent.mkdir(parents=True)
    command.write_text(ENTRY.format(python=sys.executable, root=str(ROOT)))
    command.chmod(0o755)
    return tmp_path


def cron_line() -> str:
    """The command of the example crontab; the five fields before it are a time."""
    (line,) = [x for x in (EXAMPLES / "crontab").read_text().splitlines() if re.match(r"[\d*]", x)]
    *when, command = line.split(maxsplit=5)
    assert all(re.fullmatch(r"[\d*/,-]+", part) for part in when)
    return command


def run_as_cron(command: str, home: Path) -> subprocess.CompletedProcess[str]:
    """With the environment that Debian's cron gives, no terminal and nothing to read."""
    environment = {"HOME": str(home), "LOGNAME": "crosslabel", "PATH": "/usr/bin:/bin",
                   "SHELL": "/bin/sh"}  # fmt: skip
    return subprocess.run(
        ["/bin/sh", "-c", command], env=environment, cwd=home, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=120, start_new_session=True, check=False,
    )  # fmt: skip


def test_the_line_of_the_crontab_works_twice(installed: Path, db: Database) -> None:
    write_survey(installed / "incoming", n_matched=24, n_apogee=60, n_sspp=50)
    url = f'database_url = "{libpq_url(db.engine.url)}"\nreader_url = "{libpq_url(db.reader_url)}"'
    config = example_text().replace('home = "home"', url)
    (installed / "crosslabel.toml").write_text(config)
    command = cron_line().replace(INSTALLED, str(installed))
    for _ in range(2):
        ended = run_as_cron(command, installed)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    log = [json.loads(x) for x in (installed / "sync.log").read_text().splitlines()]
    first, second = (line for line in log if line["event"] == "sync")
    assert (first["state"], first["exit_code"]) == ("done", 0)
    assert first["rows_written"] > 100
    assert (second["state"], second["rows_written"], second["files"]) == ("idle", 0, [])
    loud = run_as_cron(command.replace(" --quiet", ""), installed)
    assert loud.stdout.splitlines()[-1].startswith("sync: nothing to do")


def test_what_is_wrong_becomes_mail(installed: Path) -> None:
    ended = run_as_cron(cron_line().replace(INSTALLED, str(installed)), installed)
    assert (ended.returncode, ended.stdout) == (78, "")
    assert ended.stderr == (
        f"error: the configuration cannot be read: there is no file {installed}/crosslabel.toml; "
        "name it with --config, or make one: crosslabel sync --example > crosslabel.toml\n"
    )


def test_an_idle_sync_does_not_load_jax(installed: Path, db: Database) -> None:
    (installed / "crosslabel.toml").write_text(
        '[[sources]]\nname = "s"\nkind = "spectra"\npaths = ["spec-*.fits"]'
    )
    script = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from jobs.cli import main
sys.argv = ["crosslabel", "--database-url", {libpq_url(db.engine.url)!r}, "sync", "--config",
            {str(installed / "crosslabel.toml")!r}]
try:
    main()
finally:
    print([name for name in ("jax", "astroquery", "matplotlib", "pandas") if name in sys.modules])
"""
    ended = run_as_cron(shlex.join([sys.executable, "-c", script]), installed)
    *_, said, loaded = ended.stdout.splitlines()
    assert said.startswith("sync: nothing to do")
    assert loaded == "[]"


@pytest.mark.full
def test_systemd_accepts_the_units(installed: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed here")
    units = sorted(p for p in EXAMPLES.iterdir() if p.suffix in (".service", ".timer"))
    assert len(units) == 3
    for unit in units:
        text = unit.read_text().replace(INSTALLED, str(installed))
        (installed / unit.name).write_text(text)
    ended = subprocess.run(
        ["systemd-analyze", "verify", *(str(installed / unit.name) for unit in units)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
