"""All that the catalog has about one star, by any of its names and by position."""

from __future__ import annotations

import json
from functools import partial

import pytest
import sqlalchemy as sa

from catalog.store import stars
from catalog.store.db import Database
from tests.conftest import Cli


@pytest.fixture
def find(trained_once: Database, command_line: Cli):
    return partial(command_line, trained_once.engine.url, "find")


@pytest.fixture(scope="module")
def pair(trained_once: Database) -> sa.Row:
    """A pair of the sample that a model was trained on."""
    with trained_once.reader() as conn:
        return conn.execute(
            sa.text(
                "SELECT p.*, d.specobjid::text, d.plate, d.mjd, d.fiberid, d.run2d FROM pairs p "
                "JOIN sdss_spectrum d ON d.source_id = p.right_id WHERE sample = 'clean' "
                "ORDER BY star_key LIMIT 1"
            )
        ).one()


def test_any_name_finds_the_same_star(find, pair: sa.Row, trained_once: Database) -> None:
    names = [
        pair.star_key, f"2MASS J{pair.star_key[2:]}", pair.specobjid, f"b'{pair.specobjid}'",
        f"{pair.plate}-{pair.mjd}-{pair.fiberid}", pair.right_key,
        f"spec-{pair.plate:04d}-{pair.mjd}-{pair.fiberid:04d}",
    ]  # fmt: skip
    answers = []
    for name in names:
        code, out, err = find(name, "--json")
        assert code == 0, f"{name}: {err}"
        answers.append(json.loads(out))
    assert all(answer == answers[0] for answer in answers)
    found = answers[0]
    assert {pair.left_key, pair.right_key} <= {e["survey_key"] for e in found["entries"]}
    spectrum = next(e for e in found["entries"] if e["survey_key"] == pair.right_key)
    assert spectrum["file"].endswith(pair.file_name)
    assert spectrum["normalized"] == ["default", "seed-2018"]
    match = next(m for m in found["matches"] if m["right_key"] == pair.right_key)
    assert match["sep_arcsec"] == pytest.approx(pair.sep_arcsec)
    assert "clean" in match["samples"]
    with trained_once.reader() as conn:
        ids = [pair.left_id, pair.right_id]
        query = "SELECT label_set, label, value FROM stellar_label_long WHERE source_id = ANY(:ids)"
        wanted = {tuple(row) for row in conn.execute(sa.text(query), {"ids": ids})}
    assert wanted <= {(row["label_set"], row["label"], row["value"]) for row in found["labels"]}
    assert {s.split("/")[0] for s, _, _ in wanted} >= {"aspcap", "sspp"}


def test_the_page_for_people(find, pair: sa.Row) -> None:
    code, out, _ = find(pair.star_key)
    assert code == 0
    assert f"spectrum {pair.file_name}: {pair.instrument}, ok, S/N " in out
    assert "labels aspcap/dr14@1: " in out
    assert " K" in out
    assert out.splitlines()[-1].startswith("1 star with ")


def test_by_position(find, pair: sa.Row) -> None:
    code, out, _ = find(f"{pair.left_ra:.7f}", f"{pair.left_dec:+.7f}", "--radius", "2", "--json")
    assert code == 0
    keys = {entry["survey_key"] for entry in json.loads(out)["entries"]}
    assert {pair.left_key, pair.right_key} <= keys
    assert find("10", "-89.9", "--radius", "1")[0] == 2
    assert "the nearest is " in find("10", "-89.9", "--radius", "1")[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["2M00000000+0000000"], "nothing called 2M00000000+0000000"),
        (["3.3e18"], "gone through floating point"),
        (["106.2020"], "Give RA and DEC"),
        (["-7.6"], "Give RA and DEC"),
        (["361", "0"], "361 is no coordinate from 0 to 360"),
        (["1", "nan"], "nan is no coordinate"),
        (["1", "2", "3"], "one identifier, or RA and DEC"),
        (["'; DROP TABLE star; --"], "nothing called"),
    ],
)
def test_what_cannot_be_found(find, words: list[str], said: str) -> None:
    code, out, err = find(*words)
    assert (code, out) == (2, "")
    assert said in err


def test_too_many_stars(find, pair: sa.Row, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stars, "MAX_STARS", 0)
    code, _, err = find(pair.left_ra, pair.left_dec)
    assert code == 2
    assert " stars are within 5 arcsec" in err
    assert "A smaller radius" in err
