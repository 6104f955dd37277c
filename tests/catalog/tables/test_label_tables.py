"""Other people's tables of labels: every format, units, keys, and what cannot be taken."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from astropy import units as u
from astropy.io import fits
from astropy.table import Table

from catalog.errors import BadInputError, UsageError
from catalog.store.bulk import upsert_arrays
from catalog.store.labels import find_label_set
from catalog.store.schema import apogee_star
from catalog.tables.label_table import read_label_table
from jobs.evaluation.compare import compare
from jobs.ingest.label_rows import ingested
from jobs.ingest.labels import ingest_labels
from tests.support.export_survey import BIG, make_survey, written
from tests.support.factories import add_sources, add_stars

KEYS = ("survey_key", "apogee_id")


@pytest.fixture
def survey(db):
    return make_survey(db)


def labels_of(db, name: str) -> list[tuple]:
    """What a label set holds, by source."""
    with db.reader() as conn:
        query = (
            "SELECT source_id, teff, teff_err, logg, fe_h, fe_h_err FROM stellar_label "
            "JOIN current_label_set USING (label_set_id) WHERE name = :name ORDER BY source_id"
        )
        return [tuple(row) for row in conn.execute(sa.text(query), {"name": name})]


def refused(db) -> list[tuple[str, str]]:
    with db.reader() as conn:
        query = "SELECT item_key, reason_code FROM quarantine ORDER BY item_key, reason_code"
        return [tuple(row) for row in conn.execute(sa.text(query))]


def csv_file(folder: Path, text: str) -> Path:
    path = folder / "x.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_was_exported_comes_back(db, survey, tmp_path):
    want = labels_of(db, "aspcap/dr14")
    assert len(want) == 4
    for suffix in (".csv", ".ecsv", ".fits", ".vot", ".parquet"):
        name = f"again{suffix}"
        path = written(db, "aspcap/dr14", tmp_path / f"x{suffix}")
        # 1e-30 K and 0.2 dex without teff: the limits of labels refuse the first
        summary = ingest_labels(db, path, "apogee", name, max_bad=0.5)
        assert summary.state == "succeeded"
        got = labels_of(db, name)
        assert got == [row for row in want if row[1] is None or row[1] > 500]
        with db.reader() as conn:
            lines = ingested(conn, name)
        assert lines[0].startswith(
            "4 rows: 3 labelled, 0 unknown to the catalog, 1 in quarantine; again"
        )
        assert "survey, apogee_id, ra, dec, flags" in lines[1].replace("survey_key, ", "")


def test_an_identical_file_is_nothing_to_do_and_another_a_new_edition(db, survey, tmp_path):
    path = csv_file(tmp_path, "apogee_id,teff\n2M1,5000\n")
    assert ingest_labels(db, path, "apogee", "mine").rows_written > 0
    assert ingest_labels(db, path, "apogee", "mine").state == "idle"
    path.write_text("apogee_id,teff\n2M1,5001\n")
    ingest_labels(db, path, "apogee", "mine")
    assert [row[1] for row in labels_of(db, "mine")] == [5001.0]
    with db.reader() as conn:
        assert conn.scalar(sa.text("SELECT max(edition) FROM label_set WHERE name = 'mine'")) == 2


def test_ids_beyond_two_to_the_63_find_their_spectra_and_are_compared(db, survey, tmp_path):
    path = csv_file(tmp_path, f"specobjid,Teff,note\n{BIG},4500,a\n{BIG + 1},4600,b\n7,4700,c\n")
    ingest_labels(db, path, "sdss", "mine", note="by eye")
    found = labels_of(db, "mine")
    assert [row[:2] for row in found] == [(survey["right"][0], 4500), (survey["right"][2], 4600)]
    with db.reader() as conn:
        lines = ingested(conn, "mine")
        assert lines[0].startswith("3 rows: 2 labelled, 1 unknown to the catalog, 0 in quarantine")
        assert lines[1].startswith("unknown to the catalog, such as: 7 of the file beside")
        assert "note" in lines[2]
        assert compare(conn, "sspp/dr12", ["mine"], bootstrap=0).rows[0].n == 2


def test_labels_of_stars_are_compared_with_their_survey(db, survey, tmp_path):
    path = csv_file(tmp_path, "apogee_id,teff\n2M0,4421.1\n")
    ingest_labels(db, path, "apogee", "mine")
    with db.reader() as conn:
        row = compare(conn, "aspcap/dr14", ["mine"], bootstrap=0).rows[0]
        assert compare(conn, "mine", ["sspp/dr12"], bootstrap=0).rows[0].n_stars == 1
    assert (row.n, round(row.bias, 3)) == (1, 100.0)


def test_units_are_converted(tmp_path):
    table = Table({"Survey_Key": ["a"], "TEFF": [5.5] * u.kK, "e_teff": [0.1] * u.kK,
                   "logg": [2.5], "feh": [-0.5]})  # fmt: skip
    table["logg"].unit = u.dex(u.m / u.s**2)
    table["feh"].unit = u.dex
    table.write(tmp_path / "x.ecsv")
    columns = read_label_table(tmp_path / "x.ecsv", KEYS).block.columns
    np.testing.assert_allclose(columns["teff"], [5500.0])
    np.testing.assert_allclose(columns["teff_err"], [100.0])
    np.testing.assert_allclose(columns["logg"], [4.5])
    np.testing.assert_allclose(columns["fe_h"], [-0.5])
    assert np.isnan(columns["fe_h_err"]).all()


@pytest.mark.parametrize(("header", "cells"), [
    ("teff[K],logg [dex],[Fe/H] (dex)", "5000,2.5,-0.5"),
    ("Teff (kK),log(g) [cm/s2],feh", "5,2.5,-0.5"),
    ("T_eff [K],logg (dex(m/s2)),[Fe/H]", "5000,0.5,-0.5"),
    ("teff_k,logg (cgs),Fe/H [dex]", "5000,2.5,-0.5"),
    ("Teff,log(g),feh", "5000,2.5,-0.5"),
])  # fmt: skip
def test_units_behind_names_are_units(tmp_path, header, cells):
    path = csv_file(tmp_path, f"apogee_id,{header},e_Teff (kK)\na,{cells},0.05\n")
    found = read_label_table(path, KEYS)
    got = [float(found.block.columns[name][0]) for name in ("teff", "teff_err", "logg", "fe_h")]
    np.testing.assert_allclose(got, [5000, 50, 2.5, -0.5])
    assert ("logg" in found.unit_assumed) == ("log(g)," in header)


def test_what_stands_behind_a_name_may_be_no_unit(tmp_path):
    path = csv_file(tmp_path, "apogee_id,logg,Teff (phot.),fe_h (1)\na,2.5,5000,-0.5\n")
    assert read_label_table(path, KEYS).not_taken == ("Teff (phot.)", "fe_h (1)")
    path = csv_file(tmp_path, "apogee_id,logg (log cm/s2),Teff [km]\na,2.5,5000\n")
    with pytest.raises(BadInputError, match=r"BAD_UNIT.*column Teff \[km\] of .* is in 'km'"):
        read_label_table(path, KEYS)
    path = csv_file(tmp_path, "apogee_id,logg [dex],LOGG (cgs)\na,2.5,2.5\n")
    with pytest.raises(BadInputError, match=r"has both columns .logg \[dex\]. and .LOGG \(cgs\)."):
        read_label_table(path, KEYS)


def test_a_part_of_an_answer_is_marked(db, survey, tmp_path):
    path = tmp_path / "x.vot"
    path.write_text(
        '<VOTABLE version="1.4"><RESOURCE type="results"><TABLE>'
        '<FIELD name="apogee_id" datatype="char" arraysize="*"/>'
        '<FIELD name="teff" datatype="float" unit="K"/>'
        "<DATA><TABLEDATA><TR><TD>2M0</TD><TD>4421.1</TD></TR></TABLEDATA></DATA></TABLE>"
        '<INFO name="QUERY_STATUS" value="OVERFLOW"/></RESOURCE></VOTABLE>'
    )
    ingest_labels(db, path, "apogee", "mine", allow_overflow=True)
    assert told(db, "mine")[1] == "a part only: its service left rows out (OVERFLOW)"
    with db.reader() as conn:
        found = find_label_set(conn, "mine")
        notes = compare(conn, "aspcap/dr14", ["mine"], bootstrap=0).notes
    assert found.partial
    assert found.description == (
        "Labels of apogee sources from x.vot; PARTIAL, its service left rows out (OVERFLOW)"
    )
    assert "Part of a service's answer, which left rows out: mine@1." in notes


@pytest.mark.parametrize(("label", "unit"), [("teff", "km"), ("logg", "K"), ("fe_h", "mag"),
                                             ("teff", "furlong")])  # fmt: skip
def test_wrong_units_are_refused(db, survey, tmp_path, label, unit):
    path = tmp_path / "x.fits"
    Table({"apogee_id": ["2M1"], label: [1.0]}).write(path)
    with fits.open(path, mode="update") as file:
        file[1].header["TUNIT2"] = unit
    with pytest.raises(BadInputError, match=f"BAD_UNIT.*column {label} of .* is in '{unit}'"):
        ingest_labels(db, path, "apogee", "mine")
    assert refused(db) == [("", "BAD_UNIT")]
    assert labels_of(db, "mine") == []


def test_bad_rows_are_quarantined_and_nulls_are_null(db, survey, tmp_path):
    text = (
        "\ufeffapogee_id,teff,teff_err,fe_h\r\n2M0,-9999,-1,N/A\r\n2M1,5000,-1,\r\n"
        "2M2,hot,1,0\r\n,5000,1,0\r\n2M9,inf,1,0\r\nX,5,1,0\r\nX,6,1,0\r\n2M1,5000,,nan\r\n"
    )
    ingest_labels(db, csv_file(tmp_path, text), "apogee", "mine", max_bad=1)
    assert [row[1:] for row in labels_of(db, "mine")] == [(5000.0, None, None, None, None)]
    assert refused(db) == [
        ("row 2 2M2", "BAD_VALUE"), ("row 3", "BAD_ID"), ("row 4 2M9", "BAD_VALUE"),
        ("row 5 X", "BAD_VALUE"), ("row 6 X", "BAD_VALUE"), ("row 7 2M1", "DUP_EQUAL"),
    ]  # fmt: skip
    with pytest.raises(BadInputError, match="TOO_MANY_BAD"):
        ingest_labels(db, csv_file(tmp_path, text + "2M2,5,5,5\r\n"), "apogee", "next")
    assert labels_of(db, "next") == []


def test_rows_that_contradict_each_other_are_all_left_out(tmp_path):
    path = csv_file(tmp_path, "apogee_id,teff\na,5000\nb,5000\na,5100\n")
    block = read_label_table(path, KEYS).block
    assert block.columns["key"].tolist() == [b"b"]
    assert [(item.row, item.reason_code) for item in block.bad] == [
        (0, "DUP_CONFLICT"), (2, "DUP_CONFLICT"),
    ]  # fmt: skip


@pytest.mark.parametrize(("text", "code"), [
    ("", "EMPTY_FILE"),
    ("<html><body>not found</body></html>\n", "HTML_BODY"),
    ("apogee_id,colour\n2M1,1\n", "MISSING_COLUMN"),
    ("star,teff\n2M1,5000\n", "MISSING_COLUMN"),
    ("apogee_id,teff\n2M1,5000,7\n", "WRONG_CONTENT"),
    ("apogee_id,teff,teff\n2M1,5000,7\n", "WRONG_CONTENT"),
    ("apogee_id,teff\nnobody,5000\n", "BAD_ID"),
    ("apogee_id,teff\n", "BAD_ID"),
    ("\n\n", "WRONG_CONTENT"),
    ('apogee_id,teff\n"2M1,5000\n', "WRONG_CONTENT"),
    ("apogee_id,teff\n2M1,nan\n", "BAD_VALUE"),
])  # fmt: skip
def test_files_that_cannot_be_used(db, survey, tmp_path, text, code):
    with pytest.raises(BadInputError, match=code):
        ingest_labels(db, csv_file(tmp_path, text), "apogee", "mine")
    with db.reader() as conn:
        assert conn.scalar(sa.text("SELECT count(*) FROM current_label_set")) == 2


@pytest.mark.parametrize("suffix", [".ecsv", ".fits", ".vot", ".parquet"])
def test_what_is_not_the_format_is_refused(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(b"apogee_id,teff\n2M1,5000\n")
    with pytest.raises(BadInputError, match=r"WRONG_CONTENT|NOT_FITS|TRUNCATED"):
        read_label_table(path, KEYS)


def test_empty_lines_and_blanks_around_names_do_not_matter(tmp_path):
    path = csv_file(tmp_path, "apogee_id, teff \n\na,5000\nb, 5100\n\n\n")
    table = read_label_table(path, KEYS)
    assert table.block.columns["teff"].tolist() == [5000.0, 5100.0]
    assert table.not_taken == ()


def test_numbers_of_any_width_are_taken(tmp_path):
    columns = {"teff": np.array([5000, 0], "f2"), "fe_h": np.array([-0.5, 0.25], "f2")}
    mask = np.array([False, True])
    rows = {name: pa.array(values, mask=mask) for name, values in columns.items()}
    pq.write_table(pa.table({"apogee_id": ["a", "b"]} | rows), tmp_path / "x.parquet")
    found = read_label_table(tmp_path / "x.parquet", KEYS).block.columns
    assert np.array_equal(found["teff"], [5000.0, np.nan], equal_nan=True)
    assert np.array_equal(found["fe_h"], [-0.5, np.nan], equal_nan=True)


def test_a_key_in_floating_point_is_refused(tmp_path):
    Table({"survey_key": [1e18], "teff": [5000.0]}).write(tmp_path / "x.fits")
    with pytest.raises(BadInputError, match=r"BAD_DTYPE.*ids lose digits"):
        read_label_table(tmp_path / "x.fits", KEYS)
    path = csv_file(tmp_path, "survey_key,teff\n1.0081429095691952e+19,5000\n7,5000\n101001.0,1\n")
    block = read_label_table(path, KEYS).block
    assert block.columns["key"].tolist() == [b"7"]
    assert [(item.row, item.reason_code) for item in block.bad] == [(0, "BAD_ID"), (2, "BAD_ID")]
    assert "ids lose digits" in block.bad[0].detail


def test_names_and_surveys_are_checked(db, survey, tmp_path):
    path = csv_file(tmp_path, "my_id,teff\n2M1,5000\n")
    for given, message in (
        ({"survey": "gaia"}, "there is no survey gaia"),
        ({"name": "sspp/mine"}, "belongs to the labels of a survey"),
        ({"name": "a b"}, "cannot be the name"),
        ({"name": "source"}, "is the name of a table"),
        ({"name": "spectra"}, "is the name of a table"),
        ({"path": tmp_path / "no.csv"}, "there is no file"),
    ):
        call = {"path": path, "survey": "apogee", "name": "mine"} | given
        with pytest.raises(UsageError, match=message):
            ingest_labels(db, **call)
    ingest_labels(db, path, "apogee", "mine", key="My_ID")
    assert [row[1] for row in labels_of(db, "mine")] == [5000.0]


def test_the_command_says_what_was_not_taken(db_url, survey, tmp_path, command_line):
    path = csv_file(tmp_path, "apogee_id,teff,colour\n2M1,5000,red\n2M8,5000,blue\n")
    words = ("ingest", "labels", path, "--survey", "apogee", "--name", "mine")
    code, out, _ = command_line(db_url, *words)
    assert code == 0
    assert out.splitlines()[:4] == [
        "2 rows: 1 labelled, 1 unknown to the catalog, 0 in quarantine; mine@1 labels 1 source",
        "unknown to the catalog, such as: 2M8 of the file beside dr14/star.a or 2M0",
        "columns not taken, no label of the catalog: colour",
        "no unit named, the catalog's assumed: teff",
    ]


def told(db, name):
    with db.reader() as conn:
        return ingested(conn, name)


def test_rows_add_up_to_the_file(db, survey, tmp_path):
    text = "apogee_id,teff\n2M0,4500\nb'2M1',4600\n2M2,--\n2M8,5000\n2M9,hot\n1e18,5000\n"
    ingest_labels(db, csv_file(tmp_path, text), "apogee", "mine", max_bad=0.5)
    lines = told(db, "mine")
    assert lines[0].startswith(
        "6 rows: 2 labelled, 1 unknown to the catalog, 1 without a value, 2 in quarantine; mine@1"
    )
    assert lines[1] == "unknown to the catalog, such as: 2M8 of the file beside dr14/star.a or 2M0"
    assert refused(db) == [("row 4 2M9", "BAD_VALUE"), ("row 5 1e18", "BAD_ID")]


def test_2mass_names_are_found_with_2m_with_ap_and_with_neither(db, tmp_path):
    with db.begin() as conn:
        names = ["2M00000001+0000001", "AP00000002+0000002", "2M00000003+0000003",
                 "AP00000003+0000003"]  # fmt: skip
        stars = add_stars(conn, names)
        ids = add_sources(conn, "apogee", [f"dr14/{n}" for n in names], star_id=stars)
        details = {
            "source_id": ids, "apogee_id": np.array(names, "S"), "is_primary": np.ones(4, bool),
            "apstar_id": np.array(names, "S"), "data_release": np.array(["dr14"] * 4, "S"),
        }  # fmt: skip
        upsert_arrays(conn, apogee_star, details)
    text = "name,teff\n00000001+0000001,4001\n2M00000002+0000002,4002\nAP00000003+0000003,4003\n"
    ingest_labels(db, csv_file(tmp_path, text), "apogee", "mine", key="name")
    assert [row[:2] for row in labels_of(db, "mine")] == [
        (ids[0], 4001.0), (ids[1], 4002.0), (ids[3], 4003.0)
    ]  # fmt: skip


def test_two_names_of_one_source_are_both_left_out(db, survey, tmp_path):
    with db.reader() as conn:
        query = (
            "SELECT survey_key FROM source JOIN apogee_star USING (source_id) "
            "WHERE apogee_id = '2M0' AND is_primary"
        )
        key = conn.scalar(sa.text(query))
    text = f"key,teff\n2M0,4500\n{key},4600\n2M1,5000\n"
    ingest_labels(db, csv_file(tmp_path, text), "apogee", "mine", key="key", max_bad=1)
    assert [row[1] for row in labels_of(db, "mine")] == [5000.0]
    assert refused(db) == [("row 0 2M0", "DUP_CONFLICT"), (f"row 1 {key}", "DUP_CONFLICT")]
    assert told(db, "mine")[0].startswith(
        "3 rows: 1 labelled, 0 unknown to the catalog, 2 in quarantine"
    )


def test_too_many_bad_rows_are_shown_with_what_to_do(db, survey, tmp_path):
    text = "apogee_id,teff\n2M0,hot\n2M1,5000\n1e18,5000\n"
    said = (
        r"TOO_MANY_BAD.*2 of 3 rows of .* are bad \(1 BAD_VALUE, 1 BAD_ID\): row 0 2M0: teff is "
        r"'hot', no number; row 2 1e18: apogee_id 1e18 .* ids lose digits. Nothing was published. "
        r"BAD_VALUE: correct the value, or leave the cell empty; BAD_ID: .*--max-bad"
    )
    with pytest.raises(BadInputError, match=said):
        ingest_labels(db, csv_file(tmp_path, text), "apogee", "mine")
    assert labels_of(db, "mine") == []
    with pytest.raises(BadInputError, match=r"1 of 1 row .* is bad"):
        ingest_labels(db, csv_file(tmp_path, "apogee_id,teff\n2M0,hot\n"), "apogee", "mine")


def test_keys_of_nobody_are_shown_beside_those_of_the_catalog(db, survey, tmp_path):
    path = csv_file(tmp_path, "star,teff\nHD 1,5000\n")
    with pytest.raises(BadInputError, match=r"HD 1 of the file beside dr14/star.a or 2M0.*--key"):
        ingest_labels(db, path, "apogee", "mine", key="star")
    with pytest.raises(BadInputError, match=r"has no source of lamost.*Ingest the survey first"):
        ingest_labels(db, path, "lamost", "mine", key="star")


def test_what_was_wrong_before_is_let_go(db, survey, tmp_path):
    path = csv_file(tmp_path, "apogee_id,other,teff\nnobody,2M0,5000\n1e18,2M1,5000\n")
    ingest_labels(db, path, "apogee", "mine", key="other")
    with pytest.raises(BadInputError, match="TOO_MANY_BAD"):
        ingest_labels(db, path, "apogee", "next")
    assert refused(db) == [("row 1 1e18", "BAD_ID")]
    ingest_labels(db, path, "apogee", "last", key="other")
    assert refused(db) == []


PLAIN = "apogee_id,teff,note\n2M1,5000,ok\n2M2,5100,fine\n"


@pytest.mark.parametrize("data", [
    PLAIN.encode("utf-8-sig"), PLAIN.encode("utf-16"), b"\xfe\xff" + PLAIN.encode("utf-16-be"),
    PLAIN.replace("\n", "\r\n").encode(), PLAIN.replace("\n", "\r").encode(), PLAIN[:-1].encode(),
    PLAIN.replace(",", ";").encode(), PLAIN.replace(",", "\t").encode(),
    PLAIN.replace(",", "   ").encode(), PLAIN.replace("5000", '"5000"').encode(),
    PLAIN.replace("fine", "fi\0ne").encode(), PLAIN.replace("fine", "x" * 100_000).encode(),
])  # fmt: skip
def test_texts_of_all_encodings_and_separators_are_read(tmp_path, data):
    path = tmp_path / "x.csv"
    path.write_bytes(data)
    for packed in (path, tmp_path / "x.csv.gz"):
        if packed != path:
            packed.write_bytes(gzip.compress(data))
        found = read_label_table(packed, KEYS)
        assert found.block.columns["key"].tolist() == [b"2M1", b"2M2"]
        assert found.block.columns["teff"].tolist() == [5000, 5100]
        assert found.not_taken == ("note",)


@pytest.mark.parametrize(("data", "said"), [
    (PLAIN.encode("utf-16")[:-1], r"BAD_TEXT\] line 3 of .* is not encoded as UTF-16: "),
    (PLAIN.replace("fine", "\u00e9t\u00e9").encode("latin-1"), r"line 3 of .* as UTF-8: '2M2,"),
    (PLAIN.encode("utf-16-le"), "holds bytes 0.*UTF-16 or UTF-32 without its mark"),
    (PLAIN.encode("utf-32"), "holds bytes 0"),
    (PLAIN.encode() + bytes(5000), "holds bytes 0"),
    (b"PK\3\4" + bytes(99), "holds bytes 0"),
    (PLAIN.replace("note", "no\0te").encode(), "holds bytes 0"),
    (PLAIN.replace("fine", "x" * 200_000).encode(), "field limit .* after row 1"),
    (b"teff" + b",c" * 9999 + b"\n", "two columns of .* have one name: c"),
    ((",".join(f"c{i}" for i in range(9999)) + "\n").encode(), "c38, c39 and 9,959 more"),
])  # fmt: skip
def test_what_is_no_text_is_refused_in_one_short_line(tmp_path, data, said):
    path = tmp_path / "x.csv"
    path.write_bytes(data)
    with pytest.raises(BadInputError, match=said) as error:
        read_label_table(path, KEYS)
    assert len(str(error.value)) < 900
    assert str(error.value).isprintable()


def test_keys_that_no_source_has_are_refused_row_by_row(db, survey, tmp_path):
    long = "x" * 50_000
    text = f"apogee_id,teff\n2M0,4500\n{long},5000\n2M\x1b[31m,5000\n2M\x001,5000\n2M1,51\x0000\n"
    ingest_labels(db, csv_file(tmp_path, text), "apogee", "mine", max_bad=1)
    assert [row[1] for row in labels_of(db, "mine")] == [4500.0]
    found = refused(db)
    assert [(key[:9], code) for key, code in found] == [
        ("row 1 xxx", "BAD_ID"), ("row 2", "BAD_TEXT"), ("row 3", "BAD_TEXT"),
        ("row 4 2M1", "BAD_VALUE"),
    ]  # fmt: skip
    assert max(len(key) for key, _ in found) < 220
