"""Exports of every kind in every format, opened again by Astropy: value by value the database's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from catalog.export.comparison import comparison_selection
from catalog.export.query import query_selection
from catalog.export.selection import Selection
from catalog.store.db import Database
from catalog.store.people import people_sql
from tests.support.export_survey import BIG, N, as_python, database_values, make_survey, written

SUFFIXES = (".csv", ".fits", ".ecsv", ".vot", ".parquet")
#: Label sets, a sample, tables and views.
NAMED = (
    "aspcap/dr14", "sspp/dr12", "clean", "source", "apogee_star", "sdss_spectrum", "label_set",
    "label_comparison", "best_match", "stellar_label_long",
)  # fmt: skip
QUERY = """SELECT s.survey_key, s.ra AS right_ra, d.specobjid, d.is_primary, a.nvisits, a.starflag,
    a.field, l.teff, l.teff_err, l.flags, 2 * d.specobjid AS twice
FROM source s LEFT JOIN sdss_spectrum d USING (source_id) LEFT JOIN apogee_star a USING (source_id)
LEFT JOIN stellar_label l USING (source_id)"""


@pytest.fixture
def survey(db: Database) -> Database:
    make_survey(db)
    return db


def assert_same(path: Path, want: dict[str, list[Any]]) -> None:
    """The values of a file are these, NULLs and types included."""
    got = as_python(path)
    assert list(got) == list(want)
    for name, values in want.items():
        assert len(got[name]) == len(values) > 0
        for found, value in zip(got[name], values, strict=True):
            if isinstance(value, dict | list):
                assert json.loads(found) == value, name
            elif value == "" and path.suffix != ".parquet":  # no empty text as others read these
                assert found is None, name
            else:
                assert found == value, name
                assert type(found) is type(value), name


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_label_sets_samples_tables_and_views(survey: Database, tmp_path: Path, suffix: str) -> None:
    for what in NAMED:
        assert_same(written(survey, what, tmp_path / f"x{suffix}"), database_values(survey, what))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_comparisons(survey: Database, tmp_path: Path, suffix: str) -> None:
    with survey.reader() as conn:
        selection = comparison_selection(conn, "aspcap/dr14", ["sspp/dr12"], "clean")
    want = database_values(survey, selection)
    assert None in want["delta_err"]  # SSPP's labels have no errors here
    assert_same(written(survey, selection, tmp_path / f"x{suffix}"), want)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_queries(survey: Database, tmp_path: Path, suffix: str) -> None:
    def selected() -> Selection:
        with people_sql(survey) as conn:
            return query_selection(conn, QUERY)

    want = database_values(survey, selected())
    assert want["specobjid"].count(None) == N + 1
    assert {str(BIG), str(BIG + 1)} <= set(want["specobjid"])
    assert str(2 * BIG) in want["twice"]  # beyond 2^64
    assert_same(written(survey, selected(), tmp_path / f"x{suffix}"), want)
