"""Docstrings begin with a statement of what a thing is, does or returns."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("catalog", "jobs", "models", "benchmarks", "scripts")
#: Words that begin an indirect question, which says less than "Return True where ...".
QUESTION = re.compile(r"(What|Whether|Where|How|Which|Who|Whose|Why|When)\b")
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def first_lines(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the lines of a module on which docstrings begin, with the docstrings' first lines."""
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and (text := ast.get_docstring(node)):
            yield node.body[0].lineno, text.split("\n", 1)[0]


def test_first_lines_are_found() -> None:
    tree = ast.parse(
        '"""Where."""\ndef f():\n    """Whether so.\n\n    More."""\n    class C:\n        "A"'
    )
    assert sorted(first_lines(tree)) == [(1, "Where."), (3, "Whether so."), (7, "A")]


def test_no_docstring_begins_with_a_question() -> None:
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    assert len(files) > 300
    found = [
        f"{file.relative_to(ROOT)}:{line}: {first}"
        for file in files
        for line, first in first_lines(ast.parse(file.read_text()))
        if QUESTION.match(first)
    ]
    assert not found, "say what it does or returns:\n" + "\n".join(found)
