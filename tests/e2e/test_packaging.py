"""What is installed: packages, data files, extras and metadata fit the checkout and the code."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from jobs.engine.extras import EXTRAS

ROOT = Path(__file__).resolve().parents[2]
TOP = ("catalog", "jobs", "migrations", "models")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())


def files() -> list[Path]:
    """The files of the packages, without what Python writes."""
    found = (p.relative_to(ROOT) for top in TOP for p in (ROOT / top).rglob("*") if p.is_file())
    return sorted(p for p in found if p.suffix != ".pyc")


def test_every_package_is_listed() -> None:
    packages = {str(p.parent).replace("/", ".") for p in files() if p.name == "__init__.py"}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == packages


def test_every_module_is_in_a_package() -> None:
    modules = [p for p in files() if p.suffix == ".py"]
    assert [p for p in modules if not (ROOT / p).with_name("__init__.py").exists()] == []


def test_every_data_file_is_installed() -> None:
    data = PROJECT["tool"]["setuptools"]["package-data"]
    installed = {
        path.relative_to(ROOT)
        for package, patterns in data.items()
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    assert set(files()) - installed == {p for p in files() if p.suffix == ".py"}
    assert {Path(top) / "py.typed" for top in TOP} <= installed


def test_extras_are_those_that_errors_name() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    named = {
        re.split(r"[\[<>=]", line)[0]: extra
        for extra, lines in extras.items()
        if extra != "all"
        for line in lines
    }
    assert named == EXTRAS
    assert extras["all"] == [f"crosslabel[{','.join(e for e in extras if e != 'all')}]"]


def test_extras_are_imported_by_their_own_commands_only() -> None:
    """Each stands at the top of modules of its folder, which the commands import when called."""
    folders = {"report": "jobs/report/", "scan": "jobs/scan/"}
    pattern = re.compile(rf"^\s*(?:import|from) ({'|'.join(EXTRAS)})\b", re.MULTILINE)
    for path in files():
        if path.suffix == ".py":
            for library in pattern.findall((ROOT / path).read_text()):
                assert str(path).startswith(folders[EXTRAS[library]]), f"{path} imports {library}"


@pytest.mark.parametrize(
    ("library", "command"),
    [
        ("matplotlib", "report --to out"),
        ("jinja2", "report --to out"),
        ("optuna", "scan --preset ridge --sample s --name n --space notebook"),
    ],
)
def test_a_command_without_its_extra_says_which(library: str, command: str, tmp_path: Path) -> None:
    program = (
        f"import sys; sys.modules[{library!r}] = None; sys.argv[1:] = {command.split()!r}\n"
        "from jobs.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={"CROSSLABEL_HOME": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 78
    assert done.stderr == (
        f"error: {library} is not installed\n"
        f"  what to do: Run: pip install 'crosslabel[{EXTRAS[library]}]'\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_the_citation_is_of_this_version() -> None:
    cited = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {PROJECT['project']['version']}\n" in cited
    assert f"\nlicense: {PROJECT['project']['license']}\n" in cited
    assert f"\nrepository-code: {PROJECT['project']['urls']['Source']}\n" in cited
