"""docs/cookbook.md: its commands make the survey, its queries give the results that it shows."""

from __future__ import annotations

import re

import pytest

from scripts.build_cookbook import EXAMPLE, PAGE, answer

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def same_but_for_rounding(shown: str, printed: str) -> bool:
    """Texts are equal; numbers with decimals may differ by one in the last place."""
    one, other = (NUMBER.findall(text) for text in (shown, printed))
    if " ".join(NUMBER.sub("#", shown).split()) != " ".join(NUMBER.sub("#", printed).split()):
        return False
    return all(
        a == b or ("." in a and abs(float(a) - float(b)) < 1.5 * 10 ** -len(a.partition(".")[2]))
        for a, b in zip(one, other, strict=True)
    )


def untimed(text: str) -> str:
    """Return a text without the seconds that commands took."""
    return re.sub(r" \(\d+\.\d s\)", "", text)


def test_rounding_is_all_that_may_differ():
    assert same_but_for_rounding(" a | 1.25 | 7", "a | 1.26 | 7")
    for other in ("a | 1.27 | 7", "a | 1.25 | 8", "b | 1.25 | 7", "a | 1.25 | 7 | 1"):
        assert not same_but_for_rounding("a | 1.25 | 7", other)


def test_results_are_those_of_the_simulated_survey(db, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    [commands] = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    readme = untimed((PAGE.parent.parent / "README.md").read_text())
    shown_there = 0
    for line in commands.splitlines():
        code, out, err = cli(*line.split()[1:])
        assert code == 0, f"{line}\n{err}"
        if f"$ {line}\n" in readme:  # its numbers are what a newcomer compares with
            assert f"{untimed(out).splitlines()[0]}\n" in readme, line
            shown_there += 1
    assert shown_there == 6
    examples = EXAMPLE.findall(PAGE.read_text())
    assert len(examples) == 10
    with db.reader() as conn:
        for query, shown in examples:
            printed = answer(conn, query)
            assert same_but_for_rounding(shown, printed), f"{query}\nprints\n{printed}"


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_queries_of_the_page_can_be_exported(survey, command_line, tmp_path, form):
    """Those that need no model: as a file with units."""
    queries = [q for q, _ in EXAMPLE.findall(PAGE.read_text()) if "ridge" not in q]
    assert len(queries) > 4
    for i, query in enumerate(queries):
        out = tmp_path / f"{i}.{form}"
        code, _, err = command_line(survey.engine.url, "export", "--sql", query, "--to", out)
        assert code == 0, f"{query}\n{err}"
        assert out.stat().st_size
