"""Messages: numbers agree with their nouns, and unknown names are answered with near ones."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog.words import count, names_near, nearest, part, verb

ROOT = Path(__file__).parents[2]
NAMES = ["aspcap/dr14", "default/oof", "ridge/oof", "sspp/dr12"]
#: A number without a fraction, and the plural after it; always more than one.
PLURAL = re.compile(r" (?!with )(\w+ )?(?!bytes\b|is\b|was\b)(\w+[^s\W]s|spectra)\b")


@pytest.mark.parametrize(
    ("n", "noun", "words"),
    [
        (1, "star", "1 star"),
        (2000, "star", "2,000 stars"),
        (0, "spectrum", "0 spectra"),
        (3, "training spectrum", "3 training spectra"),
        (2, "entry", "2 entries"),
        (2, "survey", "2 surveys"),
        (2, "match", "2 matches"),
    ],
)
def test_a_number_has_its_noun(n: int, noun: str, words: str) -> None:
    assert count(n, noun) == words


def test_parts_and_verbs_agree() -> None:
    assert f"{part(1, 1, 'file')} {verb(1)} bad" == "1 of 1 file is bad"
    assert f"{part(2, 3, 'file')} {verb(2, 'was', 'were')} bad" == "2 of 3 files were bad"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("ridge", ["ridge/oof"]),
        ("RIDGE/OOF", ["ridge/oof"]),
        ("ridge@1", ["ridge/oof"]),
        ("aspcap/dr41", ["aspcap/dr14"]),
        ("dr12", ["sspp/dr12"]),
        ("galah", []),
        ("", []),
    ],
)
def test_an_unknown_name_has_near_ones(name: str, near: list[str]) -> None:
    assert nearest(name, NAMES)[:1] == near


def test_what_to_do_about_an_unknown_name() -> None:
    listed = f"Label sets: {', '.join(NAMES)}"
    assert names_near("ridge", NAMES, "Label sets") == f"Did you mean ridge/oof? {listed}"
    assert names_near("galah", NAMES, "Label sets") == listed
    assert names_near("galah", [], "Samples", "none yet") == "Samples: none yet"
    many = [f"name{i}" for i in range(40)]
    assert names_near("galah", many, "Sets").endswith("name19 and 20 more")
    assert names_near("name7", [*many, "x"], "Sets").startswith("Did you mean name7")
    assert "Sets" not in names_near("name7", many, "Sets")


def _plurals(file: Path) -> Iterator[str]:
    """Yield the places of numbers in a file that stand before a plural noun."""
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, after in zip(node.values, node.values[1:], strict=False):
            if not isinstance(value, ast.FormattedValue) or not isinstance(after, ast.Constant):
                continue
            spec = ast.unparse(value.format_spec) if value.format_spec else ""
            counted = spec == "f','" or (isinstance(value.value, ast.Call)
                                         and ast.unparse(value.value.func) == "len")  # fmt: skip
            if counted and PLURAL.match(str(after.value)):
                yield f"{file}:{value.lineno}: {ast.unparse(value.value)}{after.value[:30]}"


def test_no_message_writes_a_plural_after_a_number_itself() -> None:
    files = [f for top in ("catalog", "jobs") for f in (ROOT / top).rglob("*.py")]
    assert len(files) > 200
    assert [place for file in files for place in _plurals(file)] == []
