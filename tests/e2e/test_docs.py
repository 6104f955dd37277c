"""The documentation: its commands run, its output is what they print, its pages fit the code.

Blocks marked ``console`` in the README and in docs/operations.md are run as they stand, top to
bottom, in an empty folder with an empty home, and must exit with 0 or with the code of a trailing
``# exit N``. Their output must be the shown one, loosened in three ways only: every number counts
as any number, runs of spaces or dashes count as one, and ``...`` stands for anything, on a line of
its own for any lines. Trainings run with the few epochs of `SHORT`, so their numbers are others.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import typer

from catalog.reasons import REMEDIES
from catalog.store import embedded
from catalog.store.db import Database
from catalog.store.head import head_revision
from catalog.surveys.spectrum import State
from jobs.cli import app
from jobs.export.tables import SUFFIXES
from jobs.samples.rules import REASONS
from scripts import build_docs
from tests.support.warm import warm_program

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SHORT = "--folds 2 --epochs 2"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Step:
    """A command of a page, the exit code and the output that it shows."""

    command: str
    exit_code: int
    output: str


def blocks(page: Path, language: str) -> list[str]:
    return [text for lang, text in BLOCK.findall(page.read_text()) if lang == language]


def steps_of(block: str) -> list[Step]:
    """The commands of a console block."""
    assert block.startswith("$ "), f"a console block begins with output:\n{block}"
    found = []
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        code = re.search(r"\s+# exit (\d+)$", command)
        found.append(Step(command, int(code[1]) if code else 0, output))
    return found


def steps(page: Path) -> list[Step]:
    return [step for block in blocks(page, "console") for step in steps_of(block)]


def loosen(text: str) -> list[str]:
    """Lines with every number as #, and runs of spaces and dashes as one."""
    text = re.sub(r"(?<![\w.])-?\d[\d,]*(\.\d+)?(e[+-]?\d+)?|\d+(\.\d+)*", "#", text)
    lines = (re.sub(r"-+", "-", re.sub(r"\s+", " ", line)).strip() for line in text.splitlines())
    return [line for line in lines if line]


def pattern(output: str) -> str:
    """A regular expression of an output in which ``...`` stands for anything."""
    parts = []
    for line in loosen(output):
        if line == "...":
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            parts.append(re.escape(line).replace(re.escape("..."), r"[^\n]*") + r"\n")
    return "".join(parts)


def test_loosened_output_still_tells() -> None:
    shown = "x: done, 12 rows (0.4 s)\n...\nlast   7\nfile ...name.fits\n"
    same = "x: done, # rows (# s)\nanything\nat all\nlast #\nfile /tmp/name.fits\n"
    assert re.fullmatch(pattern(shown), same)
    for other in (same.replace("done", "failed"), same + "more\n", same.replace("last #\n", "")):
        assert not re.fullmatch(pattern(shown), other)


@pytest.fixture(scope="module")
def programs() -> Iterator[Path]:
    """A folder with the command."""
    with tempfile.TemporaryDirectory() as folder, warm_program(Path(folder)) as program:
        yield program.parent


@pytest.fixture
def shell(tmp_path: Path, programs: Path) -> Iterator[Any]:
    """Run a line of a page in a folder of its own, with a home of its own."""
    home = Path(tempfile.mkdtemp(prefix="crosslabel-docs-"))
    home.chmod(0o755)  # as root, the server's account must get in
    folder = tmp_path / "here"
    folder.mkdir()
    env = {k: v for k, v in os.environ.items() if not k.startswith(("CROSSLABEL_", "PG"))}
    env |= {
        "CROSSLABEL_HOME": str(home / "home"),
        "PATH": os.pathsep.join([str(programs), str(Path(sys.executable).parent), env["PATH"]]),
        "PSQL_PAGER": "",
    }

    def run(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", command], cwd=folder, env=env, text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
        )  # fmt: skip

    yield run
    for made in sorted(home.glob("home*")):
        embedded.stop(made)
    shutil.rmtree(home, ignore_errors=True)


def reduced(command: str) -> str:
    """A training with few folds and epochs, whatever it says itself; other commands as they are."""
    if not command.startswith("crosslabel train"):
        return command
    if re.search("--preset (ridge|cannon)", command):  # solved without epochs
        return f"{command} --folds 2"
    reverse = " --reverse-epochs 2" if "seed-2018" in command else ""
    return f"{command} {SHORT}{reverse}"


@pytest.mark.parametrize("name", ["README.md", "docs/operations.md"])
def test_commands_print_what_the_page_shows(name: str, shell: Any) -> None:
    assert steps(ROOT / name), f"{name} shows no session"
    for step in steps(ROOT / name):
        done = shell(reduced(step.command))
        assert done.returncode == step.exit_code, f"$ {step.command}\n{done.stdout}"
        printed = "\n".join(loosen(done.stdout)) + "\n"
        expected = pattern(step.output)
        assert re.fullmatch(expected, printed if printed.strip() else ""), (
            f"{name} shows for\n$ {step.command}\n{step.output}\nbut it prints\n{done.stdout}"
        )


def test_readme_session_is_that_of_the_demo() -> None:
    demo = re.findall(r"^run (.*)$", (ROOT / "scripts" / "demo").read_text(), re.MULTILINE)
    session = [s.command.removeprefix("crosslabel ") for s in steps(ROOT / "README.md")]
    own = [c for c in session if not c.startswith(("db psql", "db stop"))]
    assert own
    assert [c for c in demo if c in own] == own


def test_shown_schemas_are_at_head() -> None:
    shown = r"^(?:schema from nothing to|schema at|head|schema) +(\d{4}\w*)"
    for page in PAGES:
        found = re.findall(shown, page.read_text(), re.MULTILINE)
        assert found or page.name != "operations.md", f"{page.name} shows no schema"
        assert set(found) <= {head_revision()}, f"{page.name} shows another schema"


def test_readme_is_one_screen() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


def commands_of_docs() -> list[tuple[str, str]]:
    """Every ``crosslabel ...`` in code of the documentation, with its page."""
    found = []
    for page in PAGES:
        text = page.read_text()
        if (
            page.name == "cli.md" or page.parent.name == "how-to"
        ):  # followed by tests/e2e/test_how_to
            continue
        shown = ("console", "sh", "crontab", "ini")
        fenced = "\n".join(body for lang, body in BLOCK.findall(text) if lang in shown)
        inline = BLOCK.sub("", text)
        pieces = re.findall(r"(?:^|[\s/`\"(])crosslabel( [^`\n&;|)]*)", fenced)
        pieces += re.findall(r"`crosslabel( [^`\n]*)`", inline)
        pieces += re.findall(
            r"`((?: ?)(?:train|sample create|predict|normalize) --?[^`\n]*)`", inline
        )
        found += [(str(page.relative_to(ROOT)), " ".join(p.split())) for p in pieces]
    return found


@cache
def program() -> Any:
    """Build the command line: that takes a tenth of a second."""
    return typer.main.get_command(app)


def find_command(words: list[str]) -> tuple[Any, list[str]]:
    """The command that words name, and the words after its name."""
    command = program()
    known = {o for p in command.params for o in p.opts}
    while words and words[0] in known:
        words = words[2:]
    while hasattr(command, "commands") and words and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
    return command, words


def test_documented_commands_and_options_exist() -> None:
    named = commands_of_docs()
    assert len(named) > 40
    for page, text in named:
        text = re.sub(r"\$\(.*", "", text).split(" # ")[0]
        words = [w.rstrip(".,:") for w in shlex.split(re.sub("[\"']", "", text))]
        command, rest = find_command(words)
        if words and words[0] in ("COMMAND", "--help"):
            continue
        assert not hasattr(command, "commands") or not rest or rest == ["--help"], (
            f"{page}: there is no command crosslabel {text}"
        )
        options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
        if command.name != "psql":
            for word in rest:
                assert not word.startswith("--") or word.split("=")[0] in options, (
                    f"{page}: crosslabel {text} has no option {word}"
                )


def test_every_format_of_exports_is_described() -> None:
    page = (ROOT / "docs" / "results.md").read_text()
    assert set(re.findall(r"^\| `(\.\w+)`", page, re.MULTILINE)) == set(SUFFIXES)


def test_every_command_and_option_has_help() -> None:
    found = list(build_docs.commands(program()))
    assert len(found) > 15
    for path, command in found:
        assert command.help, f"crosslabel {path} has no help"
        for param in command.params:
            assert param.name == "help" or param.help, f"crosslabel {path}: {param.name}"


def test_generated_pages_are_up_to_date(db: Database) -> None:
    with db.reader() as conn:
        schema_page = build_docs.schema_page(conn)
    for name, text in (("schema.md", schema_page), ("cli.md", build_docs.cli_page())):
        written = (ROOT / "docs" / name).read_text()
        assert written == text, f"docs/{name} is out of date: run python scripts/build_docs.py"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.*)$", BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def test_links_lead_somewhere() -> None:
    seen = 0
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", page.read_text())):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            other = (page.parent / path).resolve() if path else page
            assert other.exists(), f"{page.relative_to(ROOT)} links to {target}, which is not there"
            if anchor:
                assert anchor in anchors(other), f"{page.relative_to(ROOT)}: no heading {target}"
            seen += 1
    assert seen > 20


def test_files_that_pages_name_are_there() -> None:
    folders = "catalog|jobs|models|migrations|tests|scripts|benchmarks|docs|requirements"
    named = {
        (page.name, path)
        for page in PAGES
        if page.parent.name != "how-to"  # these add files
        for path in re.findall(rf"`((?:{folders})(?:/[\w.*-]+)+)`", page.read_text())
    }
    assert len(named) > 40
    assert [(page, path) for page, path in sorted(named) if not list(ROOT.glob(path))] == []


def reason_codes() -> set[str]:
    """Every reason code that the code can give to a refused file or row."""
    codes = set(REMEDIES)
    for path in [*(ROOT / "catalog").rglob("*.py"), *(ROOT / "jobs").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in ("BadInputError", "BadItem", "reject", "damaged", "refusal"):
                texts = (a.value for a in node.args if isinstance(a, ast.Constant))
                codes |= {t for t in texts if isinstance(t, str) and re.fullmatch("[A-Z_]{5,}", t)}
    return codes


def table_words(heading: str) -> set[str]:
    """The first column of the table under a heading of operations.md."""
    text = (ROOT / "docs" / "operations.md").read_text()
    section = re.split(r"^#+ ", text.split(f"# {heading}\n")[1], flags=re.MULTILINE)[0]
    return set(re.findall(r"^\| `([A-Z_]+)` \|", section, re.MULTILINE))


def test_reason_codes_are_documented() -> None:
    codes = reason_codes()
    assert len(codes) > 15
    without_pixels = set(get_args(State)) - {"ok"}
    assert table_words("Reason codes") == codes | without_pixels


def test_reasons_of_samples_are_documented() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    assert table_words("Reasons of a sample") == set(REASONS)
    for code, words in REASONS.items():
        assert f"| `{code}` | {words} |" in text
