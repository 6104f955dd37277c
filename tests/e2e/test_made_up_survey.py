"""A survey that exists only in a module of the tests goes through every command.

docs/how-to/add-a-survey.md describes `tests.support.made_up_survey`; this does what it says. The
survey is the reference of the crossmatch and has the spectra as well.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy.engine import URL

from tests.conftest import libpq_url
from tests.support.warm import warm_program

MODULE = "tests.support.made_up_survey"
ROOT = Path(__file__).resolve().parents[2]
N = 40
PAGE = ROOT / "docs" / "how-to" / "add-a-survey.md"
PAGE_BLOCK = PAGE.read_text().rsplit("```text\n", 1)[1].partition("```")[0]
CONFIG = """
[[sources]]
name = "stars"
kind = "nova"
release = "r1"
paths = ["survey/stars.fits"]

[[sources]]
name = "spectra"
kind = "spectra"
paths = ["survey/spectra"]

[[crossmatches]]
name = "nova"
left = "nova/r1"
right = "nova/exp"

[[samples]]
name = "stars"
crossmatch = "nova"
instruments = ["NOVASPEC"]

[[exports]]
file = "out/novalab.csv"
content = "novalab/r1"
"""


@pytest.fixture(scope="module")
def program() -> Iterator[Path]:
    """The command, which has imported the survey's module before anything else."""
    with tempfile.TemporaryDirectory() as folder, warm_program(Path(folder), MODULE) as found:
        yield found


@pytest.fixture
def run(program: Path, db_url: URL, tmp_path: Path):
    """Run a command in a folder that has the survey's files; return what it prints."""
    subprocess.run(
        [sys.executable, "-m", MODULE, str(tmp_path / "survey"), str(N)], cwd=ROOT, check=True
    )
    env = os.environ | {
        "CROSSLABEL_DATABASE_URL": libpq_url(db_url),
        "CROSSLABEL_HOME": str(tmp_path / "home"),
    }

    def command(words: str) -> str:
        done = subprocess.run(
            [str(program), *words.split()], cwd=tmp_path, env=env, text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, f"{words}:\n{done.stdout}"
        return done.stdout

    return command


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of an export, without its comments."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return list(csv.DictReader(lines))


def test_every_command_of_the_page_takes_a_survey_that_is_one_module(run, tmp_path: Path) -> None:
    (tmp_path / "crosslabel.toml").write_text(CONFIG)
    words = [line.removeprefix("crosslabel ") for line in PAGE_BLOCK.splitlines()]
    said = {line.partition(" --")[0]: run(line) for line in words}
    assert f"{N} stars, {N} with labels in novalab/r1@1" in said["ingest nova survey/stars.fits"]
    assert f"{N} spectra" in said["ingest spectra survey/spectra"]
    assert f"{N} pairs of {N} stars" in said["crossmatch"]
    assert f"{N} of {N} pairs accepted" in said["sample create stars"]
    assert f"{N} spectra of {N} stars" in said["train"]
    for step in ("ingest stars", "ingest spectra", "crossmatch nova", "sample stars"):
        assert f"{step}: nothing to do" in said["sync"]
    assert len(read_csv(tmp_path / "out" / "novalab.csv")) == N
    assert "sync: nothing to do" in run("sync --config crosslabel.toml")

    assert "NOVA's catalog of stars" in run("ingest --help")
    assert f"accepted spectra by instrument: {N} NOVASPEC" in run("sample show stars")
    compared = run("compare novalab/r1 ridge/oof --sample stars --format csv")
    rows = {row["label"]: row for row in csv.DictReader(compared.splitlines())}
    assert set(rows) == {"teff", "logg", "fe_h"}
    assert all(int(row["n"]) == N for row in rows.values())
    _check_predictions(run, tmp_path)
    run("export spectra --sample stars --to spectra")
    assert len(list((tmp_path / "spectra").rglob("nova-*.fits"))) == N

    (tmp_path / "ours.csv").write_text("nova_id,teff\nr1/N0000,4500\nr1/N0001,4600\nr1/none,4700\n")
    out = run("ingest labels ours.csv --survey nova --name ours")
    assert "3 rows: 2 labelled, 1 unknown to the catalog" in out
    assert "exp/0003" in run("find r1/N0003")
    assert "removed" in run("label remove ours@1")
    for words in ("label remove ridge/all@1", "model remove ridge --with-labels"):
        run(words + " --with-evaluations" * (words[:5] == "label"))
    run("sample remove stars")
    gone = run("label remove novalab/r1@1 --with-evaluations")
    assert f"{N} sources used by nothing else" in gone


def _check_predictions(run, folder: Path) -> None:
    """Compare exported predictions with the labels that were learned, star by star."""
    for name in ("novalab/r1", "ridge/oof"):
        run(f"export {name} --to {name.replace('/', '-')}.csv")
    truth = {row["survey_key"]: row for row in read_csv(folder / "novalab-r1.csv")}
    assert set(truth) == {f"r1/N{i:04d}" for i in range(N)}
    predicted = read_csv(folder / "ridge-oof.csv")
    keys = [row["survey_key"].replace("exp/", "r1/N") for row in predicted]
    asked = np.array([float(truth[key]["teff"]) for key in keys])
    given = np.array([float(row["teff"]) for row in predicted])
    assert len(predicted) == len(read_csv(folder / "labels.csv")) == N
    assert np.std(given - asked) < 0.5 * np.std(asked)
