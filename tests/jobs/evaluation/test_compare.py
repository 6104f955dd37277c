"""The comparison of label sets as people see it."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.store.bulk import upsert_arrays
from catalog.store.schema import apogee_star
from jobs.evaluation.compare import compare
from jobs.evaluation.compare_text import FIELDS, as_csv, as_json, as_table
from models.core import resampling
from tests.support import comparison_case, factories
from tests.support.comparison_case import N, expected

TESTS = ["sspp/dr12", "net/oof"]


@pytest.fixture
def case(db):
    case = comparison_case.insert(db)
    with db.begin() as conn:
        factories.add_sample(conn, "clean", case.crossmatch_id, case.left, case.right, case.star)
    return case


def test_numbers_equal_numpy_and_errors_come_from_resampled_stars(db, case):
    with db.reader() as conn:
        found = compare(conn, "aspcap/dr14", TESTS, "clean", bootstrap=50, seed=3)
    wanted = expected(case, "aspcap/dr14", TESTS, np.ones(N, bool))
    assert [(r.label, r.test_set) for r in found.rows] == list(wanted)
    for row in found.rows:
        numbers = (row.n, row.n_stars, row.bias, row.sigma_mad, row.seed_bias, row.seed_scatter,
                   row.mae, row.pull_sigma)  # fmt: skip
        np.testing.assert_allclose(numbers, wanted[row.label, row.test_set], rtol=1e-12)
    sspp = case.values["sspp/dr12"]["teff"]
    aspcap, net = case.values["aspcap/dr14"]["teff"], case.values["net/oof"]["teff"]
    by_star = np.argsort(case.star, kind="stable")  # ids grow with the number of the star
    delta = np.where(np.isfinite(net), sspp - aspcap, np.nan)[by_star]
    reference = aspcap[by_star][np.isfinite(delta)]
    draws = resampling.draw_stars(case.star[by_star][np.isfinite(delta)], 50, seed=3)
    drawn = resampling.scores(reference, reference + delta[np.isfinite(delta)], draws)
    for statistic in ("bias", "sigma_mad"):
        error = getattr(found.rows[0], f"{statistic}_err")
        assert error == pytest.approx(resampling.error_of(drawn[statistic]), rel=1e-9)
        assert error > 0


def test_same_seed_same_answer(db, case):
    with db.reader() as conn:
        first, again, other = (
            compare(conn, "aspcap/dr14", TESTS, bootstrap=20, seed=s) for s in (1, 1, 2)
        )
    assert first == again
    assert first.rows[0].bias == other.rows[0].bias
    assert first.rows[0].bias_err != other.rows[0].bias_err


def test_notes_say_what_was_left_out(db, case):
    with db.begin() as conn:
        factories.add_label_set(
            conn, "sim/1", case.right, {"teff": np.full(N, 4500.0)}, params={"simulated": True}
        )
    with db.reader() as conn:
        notes = compare(conn, "aspcap/dr14", ["net/all", "sim/1"], "clean", bootstrap=2).notes
    assert notes == (
        "teff: 27 of 40 pairs compared, of 27 stars; left out: 12 pairs of 10 stars that the "
        "network of net/all@1 was trained on; 1 pair of 1 star without a value in net/all@1.",
        "Not compared, as net/all@1 does not have them: fe_h.",
        "Not compared, as sim/1@1 does not have them: fe_h.",
        "Simulated data, no measurement of real stars: sim/1@1.",
    )


def brute_counts(case, names: list[str], trained: set[int], use: np.ndarray) -> dict:
    """``(label, reason, label set) -> [pairs, stars]`` by looking at every pair in turn."""
    found: dict = {}
    for label in ("teff", "fe_h"):
        if any(label not in case.values[name] for name in names):
            continue
        for i in np.flatnonzero(use):
            lacking = [n for n in names if np.isnan(case.values[n][label][i])]
            if case.star[i] in trained:
                key = (label, "TRAINED_ON", "net/all@1")
            elif lacking:
                key = (label, "NO_LABEL", f"{lacking[0]}@1")
            else:
                key = (label, "compared", None)
            found.setdefault(key, []).append(int(case.star[i]))
    return {key: (len(stars), len(set(stars))) for key, stars in found.items()}


@pytest.mark.parametrize("sample", ["clean", None])
@pytest.mark.parametrize(
    "tests", [["sspp/dr12"], ["sspp/dr12", "net/oof"], ["net/all", "sspp/dr12"]]
)
def test_who_is_left_out_by_reason(db, case, tests, sample):
    use = np.arange(N) < (40 if sample else 38)
    trained = set(case.star[:10].tolist()) if "net/all" in tests else set()
    with db.reader() as conn:
        found = compare(conn, "aspcap/dr14", tests, sample, bootstrap=0)
    counts = {(c.label, c.reason, c.label_set): (c.n, c.n_stars) for c in found.counts}
    assert counts == brute_counts(case, ["aspcap/dr14", *tests], trained, use)
    for row in found.rows:
        assert counts[row.label, "compared", None] == (row.n, row.n_stars)
        assert sum(c.n for c in found.counts if c.label == row.label) == use.sum()
    listed = json.loads(as_json(found))["counts"]
    assert [tuple(c.values()) for c in listed] == [
        (c.label, c.reason, c.label_set, c.n, c.n_stars, c.n_flagged) for c in found.counts
    ]
    words = " ".join(as_table(found).split())
    assert f"of {use.sum()} pairs compared" in words
    lacking = "10 stars that the network" if trained else "1 star without a value in aspcap/dr14@1"
    assert lacking in words


def test_pairs_that_add_no_labels_and_flagged_ones_are_counted(db):
    with db.begin() as conn:
        star = factories.add_stars(conn, ["2M"])
        other = factories.add_sources(conn, "sdss", ["o"])  # b is of spectra as well
        left = factories.add_sources(conn, "galah", ["a"], star_id=star)
        right = factories.add_sources(conn, "sdss", ["p", "q", "r"])
        pairs = left[[0, 0, 0]], right
        which = factories.add_matches(conn, *pairs)
        factories.add_sample(conn, "one", which, *pairs, star[[0, 0, 0]])
        factories.add_label_set(conn, "a", left, {"teff": [5000], "logg": [2]})
        both = np.concatenate([other, left])
        factories.add_label_set(conn, "b", both, {"teff": [5010] * 2, "logg": [2] * 2}, flags=4)
    with db.reader() as conn:
        found = compare(conn, "a", ["b"], "one", bootstrap=0)
    assert [(c.label, c.reason, c.n, c.n_stars, c.n_flagged) for c in found.counts] == [
        ("teff", "compared", 1, 1, 1), ("teff", "REPEATED", 2, 1, 2),
        ("logg", "compared", 1, 1, 1), ("logg", "REPEATED", 2, 1, 2),
    ]  # fmt: skip
    assert found.notes == (
        "teff, logg: 1 of 3 pairs compared, of 1 star (1 flagged by a label set); left out: 2 "
        "pairs of 1 star with the same rows of labels as another pair.",
    )


def test_no_common_star_says_which_set_lacks_what(db, case):
    with db.begin() as conn:
        other = factories.add_sources(conn, "sdss", ["9-9-9-26"], ra=300.0)
        factories.add_label_set(conn, "other/1", other, {"logg": [2.0]})
    with db.reader() as conn, pytest.raises(UsageError) as caught:
        compare(conn, "aspcap/dr14", ["sspp/dr12", "other/1"])
    assert str(caught.value) == (
        "no star has a label in all of the sets: of 38 pairs (mutual nearest pairs), "
        "aspcap/dr14@1 has 38 of them (teff, fe_h); sspp/dr12@1 has 38 of them (teff, fe_h); "
        "other/1@1 has 0 of them (logg). Compare fewer sets, or match and select the pairs first"
    )


def test_a_network_is_not_compared_where_it_saw_every_star(db, case):
    with db.begin() as conn:
        model = factories.add_model(conn, "all-seen", case.right, case.star)
        factories.add_label_set(
            conn, "seen/all", case.right, {"teff": np.full(N, 4500.0)}, kind="prediction",
            model_id=model,
        )  # fmt: skip
    with db.reader() as conn, pytest.raises(UsageError, match="38 stars left out: the network"):
        compare(conn, "aspcap/dr14", ["seen/all"], "clean")


@pytest.mark.parametrize(
    ("ref", "tests", "sample", "message"),
    [
        ("nope", TESTS, None, "there is no label set nope. Label sets: aspcap/dr14, net"),
        ("aspcap/dr14", ["sspp/dr12@9"], None, "there is no label set sspp/dr12@9"),
        ("aspcap/dr14", TESTS, "dirty", "there is no sample dirty. Samples: clean"),
        ("aspcap/dr14", ["aspcap/dr14@1"], None, "aspcap/dr14@1 is named twice"),
        ("aspcap/dr14", [], None, "nothing was named to compare aspcap/dr14 with"),
    ],
)
def test_wrong_names_are_usage_errors(db, case, ref, tests, sample, message):
    with db.reader() as conn, pytest.raises(UsageError, match=message):
        compare(conn, ref, tests, sample)


def test_releases_of_apogee_are_compared_by_star(db, case):
    with db.begin() as conn:
        again = factories.add_sources(
            conn, "apogee", [f"dr17/{i}" for i in range(38)], ra=1.0, star_id=case.star[:38]
        )
        entries = np.r_[case.left[:38], again]
        names = np.array([f"2M{i}" for i in range(38)] * 2, "S")
        upsert_arrays(
            conn, apogee_star,
            {"source_id": entries, "apogee_id": names, "apstar_id": names,
             "data_release": np.repeat(np.array([b"dr14", b"dr17"]), 38),
             "is_primary": np.arange(76) != 3},
        )  # fmt: skip
        newer = case.values["aspcap/dr14"]["teff"][:38] + np.arange(38.0)
        factories.add_label_set(conn, "aspcap/dr17", again, {"teff": newer})
    with db.reader() as conn:
        [every] = compare(conn, "aspcap/dr14", ["aspcap/dr17"], bootstrap=0).rows
        [some] = compare(conn, "aspcap/dr14", ["aspcap/dr17"], "clean", bootstrap=0).rows
        pairs = conn.execute(
            sa.text(
                "SELECT left_id, right_id, delta FROM "
                "comparison_rows('aspcap/dr14', '{aspcap/dr17}') ORDER BY left_id"
            )
        ).all()
    delta = np.delete(np.arange(38.0), [3, 5])  # 3 is a duplicate, 5 has no temperature
    assert every == some
    assert (every.n, every.n_stars, every.bias) == (36, 36, np.median(delta))
    found = {p.left_id: (p.right_id, p.delta) for p in pairs}
    assert found == {
        case.left[i]: (again[i], pytest.approx(i, abs=1e-3)) for i in delta.astype(int)
    }


def test_releases_of_any_survey_of_stars_are_compared_by_star(db):
    with db.begin() as conn:
        star = factories.add_stars(conn, ["a", "b"])
        first = factories.add_sources(conn, "galah", ["dr3/a", "dr3/b"], star_id=star)
        again = factories.add_sources(conn, "galah", ["dr4/a", "dr4/b"], star_id=star)
        other = factories.add_sources(conn, "apogee", ["dr17/a", "dr17/b"], star_id=star)
        factories.add_label_set(conn, "galah/dr3", first, {"teff": [5000, 5100]})
        factories.add_label_set(conn, "galah/dr4", again, {"teff": [5010, 5130]})
        factories.add_label_set(conn, "aspcap/dr17", other, {"teff": [5000, 5000]})
        query = "SELECT left_id, right_id, delta FROM comparison_rows('galah/dr3', '{galah/dr4}')"
        found = conn.execute(sa.text(f"{query} ORDER BY left_id")).all()
        by_star = conn.execute(sa.text(
            "SELECT count(*) FROM comparison_rows('galah/dr3', '{aspcap/dr17}')"
        )).scalar_one()  # fmt: skip
    assert found == [(first[0], again[0], 10.0), (first[1], again[1], 30.0)]
    assert by_star == 0  # labels of two surveys are compared on the pairs of a crossmatch


def test_renderings_agree(db, case):
    with db.reader() as conn:
        found = compare(conn, "aspcap/dr14", ["sspp/dr12"], "clean", bootstrap=5)
    rows = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert tuple(rows[0]) == FIELDS
    assert [float(r["bias"]) for r in rows] == [r.bias for r in found.rows]
    values = json.loads(as_json(found))
    assert values["rows"][1]["sigma_mad"] == found.rows[1].sigma_mad
    head, titles, teff, fe_h, *_ = as_table(found).splitlines()
    assert head.startswith("Reference aspcap/dr14@1, on the pairs of sample clean")
    assert titles.split()[:2] == ["label", "unit"]
    assert teff.split()[:5] == ["teff", "K", "sspp/dr12@1", "38", "36"]
    assert fe_h.split()[5] == f"{found.rows[1].bias:.4f}"
    assert len(titles) == len(teff)


def test_unknown_errors_are_null_in_every_form(db):
    with db.begin() as conn:
        left = factories.add_sources(conn, "apogee", ["a", "b"], ra=[1.0, 2.0])
        right = factories.add_sources(conn, "sdss", ["p", "q"], ra=[1.0, 2.0])
        factories.add_matches(conn, left, right)
        factories.add_label_set(conn, "one", left, {"logg": [1.0, 2.0]})
        factories.add_label_set(conn, "two", right, {"logg": [1.5, 2.25]})
    with db.reader() as conn:
        found = compare(conn, "one", ["two"], bootstrap=2)
    assert json.loads(as_json(found))["rows"][0]["pull_sigma"] is None
    assert as_csv(found).splitlines()[1].endswith(",")
    assert as_table(found).splitlines()[2].endswith("-")
