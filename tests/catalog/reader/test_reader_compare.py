"""Comparisons in a notebook have the numbers of the command and of the SQL function."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u

from catalog import open_catalog
from catalog.errors import UsageError
from jobs.evaluation.compare import compare
from tests.conftest import libpq_url
from tests.support import comparison_case, factories
from tests.support.comparison_case import N, expected, from_sql

TESTS = ["sspp/dr12", "net/oof"]
NUMBERS = ("n", "n_stars", "bias", "sigma_mad", "seed_bias", "seed_scatter", "mae", "pull_sigma")


@pytest.fixture
def case(db):
    case = comparison_case.insert(db)
    with db.begin() as conn:
        factories.add_sample(conn, "clean", case.crossmatch_id, case.left, case.right, case.star)
    return case


@pytest.fixture
def cat(db, case):
    with open_catalog(libpq_url(db.engine.url)) as cat:
        yield cat


@pytest.mark.parametrize("sample", ["clean", None])
def test_numbers_are_those_of_the_command(db, case, cat, sample):
    table = cat.compare("aspcap/dr14", TESTS, sample)
    with db.reader() as conn:
        printed = compare(conn, "aspcap/dr14", TESTS, sample, bootstrap=0)
        direct = from_sql(conn, "aspcap/dr14", TESTS, sample)
    assert len(table) == len(printed.rows) > 0
    for row, line in zip(table, printed.rows, strict=True):
        assert (row["label"], row["test_set"]) == (line.label, line.test_set)
        values = tuple(row[name] for name in NUMBERS)
        assert values == tuple(getattr(line, name) for name in NUMBERS)
        assert values == direct[line.label, line.test_set]
    assert table.meta["notes"] == list(printed.notes)
    assert table.meta["notes"]


def test_training_stars_are_left_out_and_said_so(cat, case):
    table = cat.compare("aspcap/dr14", "net/all")
    assert table["n"].tolist() == [cat.compare("aspcap/dr14", "net/oof")["n"][0] - 9]
    assert "10 stars that the network of net/all@1 was trained on" in table.meta["notes"][0]


def test_differences_are_the_stars_behind_a_comparison(case, cat):
    teff = cat.differences("aspcap/dr14", TESTS, "clean", label="teff")
    wanted = expected(case, "aspcap/dr14", TESTS, np.ones(N, bool))
    for name in TESTS:
        rows = teff[teff["test_set"] == f"{name}@1"]
        n, _, bias = wanted["teff", f"{name}@1"][:3]
        assert len(rows) == n
        assert np.median(rows["delta"]) == bias
        np.testing.assert_array_equal(rows["delta"], rows["test_value"] - rows["ref_value"])
    for column in ("ref_value", "test_value", "delta", "delta_err"):
        assert teff[column].unit == u.K
    assert teff["delta_err"].mask.any()  # where one error is not known
    every = cat.differences("aspcap/dr14", TESTS, "clean")
    assert set(every["label"]) == {"teff"}  # the only one that all sets have
    assert every["delta"].unit is None
    one = next(cat.iterate("differences", "aspcap/dr14", TESTS, "clean", label="teff", rows=10**6))
    assert one["delta"].unit == u.K
    np.testing.assert_array_equal(one["delta"], teff["delta"])


def test_comparisons_that_cannot_be(cat):
    with pytest.raises(UsageError, match="named twice"):
        cat.compare("aspcap/dr14", "aspcap/dr14")
    with pytest.raises(UsageError, match="no label set nope"):
        cat.differences("aspcap/dr14", "nope")
    with pytest.raises(UsageError, match=r"no sample nope.*clean"):
        cat.compare("aspcap/dr14", "sspp/dr12", "nope")
    with pytest.raises(UsageError, match="no label mass"):
        cat.differences("aspcap/dr14", "sspp/dr12", label="mass")


def test_sets_without_a_common_star(db, cat):
    with db.begin() as conn:
        lonely = factories.add_sources(conn, "sdss", ["9-9-9-26"], ra=200.0)
        factories.add_label_set(conn, "lonely", lonely, {"teff": [5000.0]})
    for ask in (cat.compare, cat.differences):
        with pytest.raises(UsageError, match="no star has a label in all of the sets"):
            ask("aspcap/dr14", "lonely")
