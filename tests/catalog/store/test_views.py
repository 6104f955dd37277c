"""The views and SQL functions that put label sets side by side."""

from __future__ import annotations

import numpy as np
import pytest
import sqlalchemy as sa

from catalog.store.db import Database
from catalog.store.labels import list_label_sets
from tests.support import comparison_case, factories
from tests.support.comparison_case import N, expected, from_sql


@pytest.fixture
def case(db: Database) -> comparison_case.Case:
    return comparison_case.insert(db)


NEAREST = np.arange(N) < 38


def assert_same(found: dict, wanted: dict) -> None:
    assert found.keys() == wanted.keys()
    for key, numbers in wanted.items():
        np.testing.assert_allclose(found[key], numbers, rtol=1e-12, err_msg=str(key))


@pytest.mark.parametrize(
    "tests", [["sspp/dr12"], ["sspp/dr12", "net/oof"], ["net/oof"], ["sspp/dr12@1"]]
)
def test_comparison_on_nearest_pairs_equals_numpy(db, case, tests):
    plain = [t.removesuffix("@1") for t in tests]
    with db.reader() as conn:
        for ref in ("aspcap/dr14", "aspcap/dr14@1"):
            found = from_sql(conn, ref, tests)
            assert_same(found, expected(case, "aspcap/dr14", plain, NEAREST))


def test_only_labels_that_all_sets_have(db, case):
    with db.reader() as conn:
        found = from_sql(conn, "aspcap/dr14", ["sspp/dr12", "net/oof"])
    assert {label for label, _ in found} == {"teff"}
    assert len({numbers[:2] for numbers in found.values()}) == 1  # the same stars for both


def test_a_sample_brings_its_repeats(db, case):
    with db.begin() as conn:
        factories.add_sample(conn, "clean", case.crossmatch_id, case.left, case.right, case.star)
    tests = ["sspp/dr12", "net/oof"]
    with db.reader() as conn:
        found = from_sql(conn, "aspcap/dr14", tests, "clean")
    assert_same(found, expected(case, "aspcap/dr14", tests, np.ones(N, bool)))
    n, n_stars = found["teff", "net/oof@1"][:2]
    assert (n, n_stars) == (37, 35)


def test_training_stars_of_a_prediction_are_left_out(db, case):
    with db.begin() as conn:
        factories.add_sample(conn, "clean", case.crossmatch_id, case.left, case.right, case.star)
    unseen = ~np.isin(case.star, case.star[:10])  # with the repeats of stars 0 and 1
    with db.reader() as conn:
        found = from_sql(conn, "aspcap/dr14", ["net/all"], "clean")
        view = conn.execute(
            sa.text(
                "SELECT test_set, count(*), count(DISTINCT star_id) FROM label_comparison "
                "WHERE ref_set = 'aspcap/dr14@1' AND label = 'teff' GROUP BY 1"
            )
        ).all()
    assert_same(found, expected(case, "aspcap/dr14", ["net/all"], unseen))
    counts = {name: n for name, *n in view}
    assert counts == {"sspp/dr12@1": [36, 36], "net/oof@1": [36, 36], "net/all@1": [27, 27]}


def test_pairs_without_a_star_are_known_by_their_sources(db):
    with db.begin() as conn:
        star = factories.add_stars(conn, ["2M"])
        left = factories.add_sources(conn, "apogee", ["a", "b", "c"], ra=[1.0, 2.0, 3.0])
        right = factories.add_sources(conn, "sdss", ["p", "q", "r"], ra=[1.0, 2.0, 3.0])
        factories.add_matches(conn, left, right)
        model = factories.add_model(conn, "net", right[:1], star)
        factories.add_label_set(conn, "aspcap/dr14", left, {"teff": [4000, 4100, 4200]})
        factories.add_label_set(
            conn, "net/all", right, {"teff": [4000, 4110, 4240]}, kind="prediction", model_id=model
        )
    with db.reader() as conn:
        (numbers,) = from_sql(conn, "aspcap/dr14", ["net/all"]).values()
    assert numbers[:3] == (2, 2, 25.0)
    assert numbers[-1] is None  # no errors, no pulls


def test_two_crossmatches_do_not_count_a_spectrum_twice(db, case):
    with db.begin() as conn:
        factories.add_matches(conn, case.left[:5], case.right[:5], 0.1, radius_arcsec=5.0)
        other = factories.add_sources(conn, "apogee", ["dr17/0"], ra=20.0, star_id=case.star[:1])
        factories.add_matches(conn, other, case.right[:1], 0.1, radius_arcsec=3.0)
    with db.reader() as conn:
        found = from_sql(conn, "aspcap/dr14", ["sspp/dr12"])
        assert_same(found, expected(case, "aspcap/dr14", ["sspp/dr12"], NEAREST))
        both_right = from_sql(conn, "sspp/dr12", ["net/oof"])
        repeated = conn.scalar(
            sa.text(
                "SELECT count(*) FROM (SELECT 1 FROM label_comparison GROUP BY "
                "left_id, right_id, ref_set, test_set, label HAVING count(*) > 1) d"
            )
        )
    assert both_right["teff", "net/oof@1"][0] == 36
    assert repeated == 0


def test_the_newest_edition_is_meant_unless_one_is_named(db, case):
    with db.begin() as conn:
        factories.add_label_set(
            conn, "sspp/dr12", case.right, {"teff": case.values["aspcap/dr14"]["teff"] + 7}
        )
    with db.reader() as conn:
        newest = from_sql(conn, "aspcap/dr14", ["sspp/dr12"])
        first = from_sql(conn, "aspcap/dr14", ["sspp/dr12@1"])
    assert newest["teff", "sspp/dr12@2"][2] == 7.0
    assert first["teff", "sspp/dr12@1"][2] != 7.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("'aspcap/dr14', '{sspp/dr12}'", "no complete label set aspcap/dr14"),
        ("'a/b@2', '{}'", "no complete label set a/b@2"),
        ("NULL, '{}'", "no complete label set <NULL>"),
    ],
)
def test_unknown_names_are_refused_even_in_an_empty_catalog(db, arguments, message):
    with db.reader() as conn, pytest.raises(sa.exc.DBAPIError, match=message):
        conn.execute(sa.text(f"SELECT * FROM compare_label_sets({arguments})"))


def test_an_unknown_sample_is_refused(db, case):
    with db.reader() as conn, pytest.raises(sa.exc.DBAPIError, match="no sample nope"):
        from_sql(conn, "aspcap/dr14", ["sspp/dr12"], "nope")


def test_best_match_is_mutual_and_breaks_ties_by_id(db):
    with db.begin() as conn:
        left = factories.add_sources(conn, "apogee", ["a", "b"])
        right = factories.add_sources(conn, "sdss", ["p", "q", "r"])
        # p is nearest to both a and b; a has p and q at one distance; b would be left with r
        factories.add_matches(conn, left[[0, 0, 1, 1]], right[[0, 1, 0, 2]], [0.2, 0.2, 0.3, 0.9])
    with db.reader() as conn:
        best = conn.execute(sa.text("SELECT left_id, right_id FROM best_match")).all()
        ranked = conn.execute(
            sa.text(
                "SELECT n_in_radius, left_rank, right_rank FROM match_ranked "
                "ORDER BY left_id, right_id"
            )
        ).all()
    assert best == [(left[0], right[0])]
    assert ranked == [(2, 1, 1), (2, 2, 1), (2, 1, 2), (2, 2, 1)]


def test_long_labels_have_units_and_no_nulls(db, case):
    with db.reader() as conn:
        rows = conn.execute(
            sa.text(
                "SELECT label, unit, count(*), count(value) FROM stellar_label_long "
                "WHERE label_set = 'sspp/dr12@1' GROUP BY 1, 2 ORDER BY 1"
            )
        ).all()
    assert rows == [("fe_h", "dex", 40, 40), ("teff", "K", 39, 39)]


def test_every_view_and_function_names_an_edition_in_one_form(db, case):
    """`name@edition` comes out of them; `name` and `name@edition` go in."""
    columns = {
        "current_label_set": ("label_set",), "stellar_label_long": ("label_set",),
        "label_comparison": ("ref_set", "test_set"),
        "comparison_rows('aspcap/dr14', '{sspp/dr12}')": ("ref_set", "test_set"),
        "compare_label_sets('aspcap/dr14@1', '{sspp/dr12}')": ("ref_set", "test_set"),
    }  # fmt: skip
    with db.reader() as conn:
        known = {f"{s.name}@{s.edition}" for s in list_label_sets(conn)}
        for source, names in columns.items():
            for name in names:
                found = set(conn.scalars(sa.text(f"SELECT DISTINCT {name} FROM {source}")))
                assert found, source
                assert found <= known, source
        ids = [
            conn.scalar(sa.text("SELECT label_set_id_of(:name)"), {"name": name})
            for name in ("sspp/dr12", "sspp/dr12@1")
        ]
        by_id = conn.scalar(
            sa.text(
                "SELECT count(*) FROM stellar_label_long "
                "WHERE label_set_id = label_set_id_of('sspp/dr12')"
            )
        )
    assert ids[0] == ids[1]
    assert by_id == 79
    for name in ("sspp/dr12@2", "sspp/dr12@1@1", "sspp/dr12@"):
        with db.reader() as conn, pytest.raises(sa.exc.DBAPIError, match=f"label set {name}"):
            conn.execute(sa.text("SELECT label_set_id_of(:name)"), {"name": name})
