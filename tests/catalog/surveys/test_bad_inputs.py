"""Every malformed input of the kit, at the level of the readers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import BadInputError
from catalog.records import Block
from catalog.surveys.allstar import open_allstar
from catalog.surveys.sdss_spectrum import read_spectrum
from catalog.surveys.sspp import open_sspp

pytestmark = pytest.mark.kit

OPENERS = {"allstar": open_allstar, "sspp": open_sspp}


def read_catalog(path: Path, kind: str) -> Block:
    """All rows of a catalog."""
    with OPENERS[kind](path, "dr14") as catalog:
        return catalog.read(0, catalog.n_rows)


def outcome_of_catalog(path: Path, kind: str) -> tuple[str, list[int]]:
    """Code of the file, or of its bad rows, and these rows."""
    try:
        block = read_catalog(path, kind)
    except BadInputError as error:
        return error.reason_code, []
    codes = {item.reason_code for item in block.bad} or {"OK"}
    assert all(len(values) == block.n_good for values in block.columns.values())
    return "+".join(sorted(codes)), [item.row for item in block.bad]


def outcome_of_spectrum(path: Path) -> tuple[str, list[int]]:
    """Code of the file, or the state of its pixels."""
    try:
        state = read_spectrum(path).state
    except BadInputError as error:
        return error.reason_code, []
    return ("OK" if state == "ok" else state), []


def outcome(folder: Path, case: dict[str, Any]) -> tuple[str, list[int]]:
    path = folder / case["file"]
    if case["kind"] == "spectrum":
        return outcome_of_spectrum(path)
    return outcome_of_catalog(path, case["kind"])


def test_every_entry_has_its_code_and_only_its_rows(bad_inputs: Path) -> None:
    cases = json.loads((bad_inputs / "manifest.json").read_text())
    wrong = []
    for case in cases:
        code, rows = outcome(bad_inputs, case)
        accepted = {case["expected"], *case["also"]}
        # A repeated row is left out even where keeping it would be acceptable.
        if code not in accepted or rows != case["rows"]:
            wrong.append((case["file"], case["expected"], case["rows"], code, rows))
    assert len(cases) >= 56
    assert wrong == []


def test_the_expected_code_is_given_wherever_there_is_a_choice(bad_inputs: Path) -> None:
    cases = json.loads((bad_inputs / "manifest.json").read_text())
    assert {c["file"]: outcome(bad_inputs, c)[0] for c in cases} == {
        c["file"]: c["expected"] for c in cases
    }


@pytest.mark.parametrize("case", ["empty", "html", "cut_in_data", "bomb", "no_teff", "no_ivar"])
def test_messages_name_the_file_and_what_to_do(bad_inputs: Path, case: str) -> None:
    path = next((bad_inputs / case).iterdir())
    kind = {"allStar": "allstar", "ssppOut": "sspp"}.get(path.name.split("-")[0])
    with pytest.raises(BadInputError) as caught:
        read_spectrum(path) if kind is None else read_catalog(path, kind)
    assert str(path) in caught.value.reason
    assert caught.value.todo


def test_bad_rows_are_told_in_file_order_with_their_keys(bad_inputs: Path) -> None:
    path = next((bad_inputs / "coords").iterdir())
    with open_allstar(path, "dr14") as catalog:
        bad = catalog.read(0, catalog.n_rows).bad
    assert [item.row for item in bad] == [3, 4, 5, 6, 7]
    assert all(item.item_key.startswith("dr14/apogee.") for item in bad)
    assert "91" in bad[1].detail


def test_duplicates_are_seen_across_blocks(bad_inputs: Path) -> None:
    for case, rows in (("conflict", [4, 9]), ("twice", [9])):
        path = next((bad_inputs / case).iterdir())
        with open_allstar(path, "dr14") as catalog:
            blocks = [catalog.read(i, i + 5) for i in range(0, catalog.n_rows, 5)]
        assert [item.row for block in blocks for item in block.bad] == rows


def test_quotes_are_kept_as_they_are(bad_inputs: Path) -> None:
    path = next((bad_inputs / "quotes").iterdir())
    with open_allstar(path, "dr14") as catalog:
        field = catalog.read(5, 7).columns["field"]
    assert field.tolist() == [b"x'); DROP TABLE", b'%s :p "q" \\']
