"""The command line where no database is needed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from catalog.errors import UsageError
from catalog.version import code_version
from jobs.cli import app, main
from scripts.build_docs import commands


def test_version_is_that_of_runs_and_exports() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout == f"crosslabel {code_version()}\n"


def test_no_help_loses_words_in_brackets() -> None:
    # The help is printed with rich, which takes [word] for markup and leaves it out.
    helps = [p.help or "" for _, c in commands(typer.main.get_command(app)) for p in c.params]
    assert helps
    assert not [text for text in helps if re.search(r"\[[a-z#/@]", text)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--matched", "3"], "3 matched stars"),
        (["--release", "dr13"], "'dr13' cannot be simulated"),
    ],
)
def test_simulate_refuses_what_makes_no_survey(
    options: list[str], message: str, tmp_path: Path
) -> None:
    result = CliRunner().invoke(app, ["simulate", str(tmp_path / "survey"), *options])
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)


def test_simulate_names_what_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = CliRunner().invoke(app, ["simulate", str(tmp_path / "file" / "survey")])
    assert isinstance(result.exception, UsageError)
    assert "file/survey cannot be written" in str(result.exception)


def test_names_in_another_encoding_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = b"caf\xe9.fits".decode("utf-8", "surrogateescape")  # as Python gives arguments
    monkeypatch.setattr(sys, "argv", ["crosslabel", "ingest", "sspp", name, "--release", "dr12"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "is not UTF-8" in capsys.readouterr().err
