"""The command line where no database is needed."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from catalog.errors import UsageError
from catalog.surveys.registry import SURVEYS
from catalog.version import code_version
from jobs.cli import app, main
from jobs.cli.help import EXAMPLES, NEXT
from jobs.samples.options import INSTRUMENTS
from jobs.samples.rules import PRESETS as SAMPLE_PRESETS
from models.presets.registry import PRESETS
from models.spectra.recipes import RECIPES
from scripts.build_docs import commands


def test_version_is_that_of_runs_and_exports() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout == f"crosslabel {code_version()}\n"


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


LEAVES = [(p, c) for p, c in commands(typer.main.get_command(app)) if not hasattr(c, "commands")]


@pytest.mark.parametrize("words", [[], ["sample"], ["db"], ["ingest"]])
def test_a_group_without_a_command_shows_its_help(words: list[str]) -> None:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0
    assert "Commands:" in result.stdout


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=[path for path, _ in LEAVES])
def test_each_command_has_examples_that_parse_and_names_values_in_words(path, command) -> None:
    shown = CliRunner().invoke(app, [*path.split(), "--help"]).stdout
    assert not re.search(r"<(str|int|float|bool|Path|list)\b", shown)
    assert EXAMPLES[path]
    for example in EXAMPLES[path]:
        assert example in shown
        words = shlex.split(re.sub("--home [^ ]+ ", "", example.partition(" > ")[0]))
        assert words[: 1 + len(path.split())] == ["crosslabel", *path.split()]
        with command.make_context(path, words[1 + len(path.split()) :]):
            pass


def test_examples_and_next_steps_are_of_commands_that_exist() -> None:
    paths = {path for path, _ in LEAVES}
    assert set(EXAMPLES) == paths
    assert set(NEXT) <= paths


@pytest.mark.parametrize(("options", "is_said"), [([], True), (["--quiet"], False)])
def test_a_terminal_shows_what_to_do_next(
    options: list[str], is_said: bool, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    words = ["simulate", str(tmp_path / "s"), "--matched", "5", "--apogee", "60", "--sspp", "60"]
    with pytest.raises(SystemExit) as end:
        app([*words, *options])
    assert end.value.code == 0
    assert ("next: crosslabel ingest apogee" in capsys.readouterr().err) is is_said


def test_choices_in_help_are_those_of_the_code() -> None:
    def shown(path: str, name: str) -> set[str]:
        command = dict(LEAVES)[path]
        metavar = next(p.metavar for p in command.params if name in p.opts)
        return set(re.split(r"[|,]", metavar))

    assert shown("train", "--preset") == shown("scan", "--preset") == set(PRESETS)
    assert shown("normalize", "--recipe") == shown("train", "--recipe") == set(RECIPES)
    assert shown("sample create", "--preset") == set(SAMPLE_PRESETS)
    assert shown("ingest labels", "--survey") == set(SURVEYS)
    assert shown("sample create", "--instruments") == set(INSTRUMENTS)
