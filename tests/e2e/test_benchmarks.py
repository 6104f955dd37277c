"""Every benchmark can be run by name, small too, and says how."""

from __future__ import annotations

import ast

from benchmarks.__main__ import LONG, SMALL
from tests.conftest import ROOT

FOLDER = ROOT / "benchmarks"


def test_all_benchmarks_are_run_small_and_name_their_command():
    found = {}
    for path in FOLDER.glob("*.py"):
        tree = ast.parse(path.read_text())
        if "main" in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}:
            found[path.stem] = ast.get_docstring(tree) or ""
    found.pop("__main__")
    assert set(SMALL) == set(found)
    assert set(LONG) < set(SMALL)
    for name, words in found.items():
        assert f"Usage: python -m benchmarks.{name}" in words
        assert (name in LONG) == ("Not one of ``python -m benchmarks``" in words), name
