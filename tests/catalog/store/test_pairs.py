"""The view and the function ``pairs``: who is paired with whom, and the labels of two sets."""

from __future__ import annotations

import numpy as np
import pytest
import sqlalchemy as sa

from catalog.store.bulk import upsert_arrays
from catalog.store.schema import apogee_star, input_file, spectrum_blob
from tests.support import comparison_case, factories
from tests.support.comparison_case import N


@pytest.fixture
def case(db):
    case = comparison_case.insert(db)
    with db.begin() as conn:
        factories.add_sample(conn, "clean", case.crossmatch_id, case.left, case.right, case.star)
        file = conn.execute(
            input_file.insert()
            .values(path="/data/plate 1/spec-1.fits", size=1, sha256="0", kind="spectrum")
            .returning(input_file.c.input_file_id)
        ).scalar_one()
        upsert_arrays(
            conn, spectrum_blob,
            {"source_id": case.right[:1], "input_file_id": np.array([file]),
             "instrument": np.array([b"SDSS"]), "spectrum_state": np.array([b"empty"]),
             "sn_median": np.array([31.5], "f4")},
        )  # fmt: skip
    return case


def rows(db, query: str, **values) -> list[sa.Row]:
    with db.reader() as conn:
        return list(conn.execute(sa.text(query), values))


def in_order(case, found: list[sa.Row]) -> list[sa.Row]:
    """The rows in the order of the pairs of the case."""
    place = {right_id: i for i, right_id in enumerate(case.right.tolist())}
    return sorted(found, key=lambda row: place[row.right_id])


def test_pairs_of_a_sample_by_role(db, case):
    found = in_order(case, rows(db, "SELECT * FROM pairs WHERE sample = 'clean'"))
    assert [(r.left_id, r.right_id, r.star_id) for r in found] == list(
        zip(case.left, case.right, case.star, strict=True)
    )
    first, second = found[:2]
    assert first._asdict() == {
        "sample": "clean", "star_key": "2M0000", "left_survey": "apogee", "left_key": "dr14/0",
        "right_survey": "sdss", "right_key": "1-0-1-26", "file_name": "spec-1.fits",
        "sep_arcsec": 0.1, "sn_median": 31.5, "instrument": "SDSS", "left_ra": 20.0,
        "left_dec": 20.0, "star_id": case.star[0], "left_id": case.left[0],
        "right_id": case.right[0],
    }  # fmt: skip
    assert (second.file_name, second.sn_median) == (None, None)


@pytest.mark.parametrize("sample", ["clean", None])
@pytest.mark.parametrize("sets", [("aspcap/dr14", "sspp/dr12@1"), ("net/all", "net/oof")])
def test_labels_of_two_sets_side_by_side(db, case, sets, sample):
    query = "SELECT * FROM pairs(:l, :r, :s)"
    found = in_order(case, rows(db, query, l=sets[0], r=sets[1], s=sample))
    n = N if sample else 38
    assert [r.right_id for r in found] == list(case.right[:n])
    for side, name in zip(("left", "right"), sets, strict=True):
        values = case.values[name.removesuffix("@1")]
        for label in ("teff", "fe_h"):
            for column, key in (
                (f"{label}_{side}", label),
                (f"{label}_{side}_err", f"{label}_err"),
            ):
                wanted = values.get(key, np.full(N, np.nan))[:n]
                got = np.array([r._mapping[column] for r in found], np.float32)
                np.testing.assert_array_equal(got, wanted.astype(np.float32))
    trained = np.isin(case.star[:n], case.star[:10]) & (sets[0] == "net/all")
    assert [r.trained_on for r in found] == trained.tolist()
    assert found[0].sn_median == 31.5


def test_pairs_without_what_comparisons_leave_out_are_the_compared_ones(db, case):
    both = rows(
        db,
        "SELECT left_id, right_id, teff_left::float8, teff_right::float8 "
        "FROM pairs('aspcap/dr14', 'net/all', 'clean') "
        "WHERE NOT trained_on AND teff_left IS NOT NULL AND teff_right IS NOT NULL ORDER BY 2",
    )
    compared = rows(
        db,
        "SELECT left_id, right_id, ref_value, test_value FROM "
        "comparison_rows('aspcap/dr14', '{net/all}', 'clean') WHERE label = 'teff' ORDER BY 2",
    )
    assert [tuple(r) for r in both] == [tuple(r) for r in compared]
    assert len(both) == 27


def test_entries_of_two_releases_are_paired_by_star(db, case):
    with db.begin() as conn:
        again = factories.add_sources(
            conn, "apogee", [f"dr17/{i}" for i in range(38)], ra=1.0, star_id=case.star[:38]
        )
        names = np.array([f"2M{i}" for i in range(38)] * 2, "S")
        upsert_arrays(
            conn, apogee_star,
            {"source_id": np.r_[case.left[:38], again], "apogee_id": names, "apstar_id": names,
             "data_release": np.repeat(np.array([b"dr14", b"dr17"]), 38),
             "is_primary": np.ones(76, bool)},
        )  # fmt: skip
        factories.add_label_set(conn, "aspcap/dr17", again, {"teff": np.arange(38.0)})
    [row] = rows(db, "SELECT * FROM pairs('aspcap/dr14', 'aspcap/dr17') WHERE star_key = '2M0007'")
    assert (row.left_key, row.right_key, row.teff_right) == ("dr14/7", "dr17/7", 7.0)
    assert np.float32(row.teff_left) == np.float32(case.values["aspcap/dr14"]["teff"][7])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("'nope', 'sspp/dr12'", "no complete label set nope"),
        ("'aspcap/dr14', NULL", "no complete label set <NULL>"),
        ("'aspcap/dr14', 'sspp/dr12', 'nope'", "no sample nope"),
    ],
)
def test_unknown_names_are_refused(db, case, arguments, message):
    with pytest.raises(sa.exc.DBAPIError, match=message):
        rows(db, f"SELECT star_key FROM pairs({arguments})")


def test_unknown_names_are_refused_where_there_is_no_pair(db):
    with pytest.raises(sa.exc.DBAPIError, match="no complete label set a"):
        rows(db, "SELECT count(*) FROM pairs('a', 'b')")
