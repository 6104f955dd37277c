"""The how-to pages: each is followed on a copy of the code, and must do what it says.

A ``python`` block whose first line is ``# FILE`` is written to that file, or put at its end where
the line says so. A ``diff`` block that begins with ``--- FILE`` changes the only place of the file
that reads so. Commands of ``console`` blocks run as those of the README, see `tests.e2e.test_docs`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from catalog.store.db import Database
from tests.conftest import libpq_url, reader_login
from tests.e2e.test_docs import BLOCK, ROOT, loosen, pattern, steps_of

pytestmark = pytest.mark.full  # minutes together

#: All but that of the survey, which tests/e2e/test_made_up_survey.py follows.
PAGES = sorted(p for p in (ROOT / "docs" / "how-to").glob("*.md") if p.stem != "add-a-survey")
PACKAGES = ("catalog", "jobs", "migrations", "models")
FILE = re.compile(r"# (\S+\.\w+)(, at the end)?\n")


def write_file(copy: Path, text: str) -> None:
    """Write a block to the file that its first line names."""
    named = FILE.match(text)
    assert named, f"a python block does not say which file it is:\n{text}"
    path, content = copy / named[1], text[named.end() :]
    if named[2]:
        content = f"{path.read_text()}\n\n{content}"
    else:
        assert not path.exists(), f"{named[1]} is there already"
    path.write_text(content)


def change_file(copy: Path, text: str) -> None:
    """Change the place of a file that reads as the block without its added lines."""
    head, _, lines = text.partition("\n")
    assert head.startswith("--- "), f"a diff block does not say which file it changes:\n{text}"
    path = copy / head.removeprefix("--- ")
    old, new = (
        "".join(f"{line[1:]}\n" for line in lines.splitlines() if line[:1] not in other)
        for other in ("+", "-")
    )
    assert path.read_text().count(old) == 1, f"{head} has not this place once:\n{old}"
    path.write_text(path.read_text().replace(old, new))


def run_commands(copy: Path, folder: Path, text: str, url: URL) -> None:
    """Run the commands of a block with the copy, and compare what they print."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    path = os.pathsep.join([str(copy / "bin"), given["PATH"]])
    logins = {"CROSSLABEL_DATABASE_URL": libpq_url(url)}
    logins["CROSSLABEL_READER_URL"] = libpq_url(reader_login(url))
    for step in steps_of(text):
        done = subprocess.run(
            ["sh", "-c", step.command], cwd=folder, env={**given, **logins, "PATH": path},
            text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
        )  # fmt: skip
        assert done.returncode == step.exit_code, f"$ {step.command}\n{done.stdout}"
        printed = "".join(f"{line}\n" for line in loosen(done.stdout))
        assert re.fullmatch(pattern(step.output), printed), (
            f"shown for\n$ {step.command}\n{step.output}\nbut it prints\n{done.stdout}"
        )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_following_the_page_does_what_it_says(page: Path, survey: Database, tmp_path: Path) -> None:
    copy, folder = tmp_path / "copy", tmp_path / "here"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    folder.mkdir()
    program = copy / "bin" / "crosslabel"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(copy)!r})\n"
        "from jobs.entry import main\nmain()\n"
    )
    program.chmod(0o755)
    done = set()
    for language, text in BLOCK.findall(page.read_text()):
        done.add(language)
        if language == "python":
            write_file(copy, text)
        elif language == "diff":
            change_file(copy, text)
        elif language == "console":
            run_commands(copy, folder, text, survey.engine.url)
    assert "console" in done
    checks = [
        ["ruff", "check", "--config", str(ROOT / "pyproject.toml"), "."],
        ["ruff", "format", "--check", "--config", str(ROOT / "pyproject.toml"), "."],
    ]
    for words in checks:
        program = Path(sys.executable).with_name(words[0])
        checked = subprocess.run([program, *words[1:]], cwd=copy, check=False, capture_output=True)
        assert checked.returncode == 0, (checked.stdout + checked.stderr).decode()
