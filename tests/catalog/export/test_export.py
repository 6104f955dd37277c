"""Exports hold what the database holds, and the same content gives the same bytes."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from astropy import units
from astropy.io import fits
from astropy.table import Table

from catalog.errors import BadInputError, LockedError, UsageError
from catalog.export.selection import Selection
from catalog.fits.checksum import verify_checksums
from catalog.fits.file import open_fits
from catalog.store import labels, spectra
from catalog.store.bulk import upsert_arrays
from catalog.store.columns import LABELS, VOCABULARY
from catalog.store.names import TABLES
from catalog.store.schema import (
    normalized_spectrum,
    prediction_detail,
    spectrum_blob,
    stellar_label,
)
from catalog.store.views import VIEWS
from catalog.writing import replace_files
from models.spectra.normalize import RECIPES
from tests.support import factories
from tests.support.export_survey import BIG, N, make_survey, written


@pytest.fixture
def survey(db):
    return make_survey(db)


def test_fits_columns_say_what_they_are(db, survey, tmp_path):
    path = written(db, "clean", tmp_path / "x.fits")
    with fits.open(path, checksum=True) as file:  # a wrong checksum is a warning: an error here
        header = file[1].header
        assert header["CHECKSUM"]
        assert header["DATASUM"]
        number = {header[f"TTYPE{i}"]: i for i in range(1, header["TFIELDS"] + 1)}
        for name, i in number.items():
            assert header[f"TUCD{i}"] == VOCABULARY[name].ucd
            assert header[f"TCOMM{i}"].startswith(VOCABULARY[name].description)
        assert header[f"TUNIT{number['left_ra']}"] == "deg"
        assert header[f"TUNIT{number['teff']}"] == "K"
        assert f"TUNIT{number['fe_h']}" not in header
        assert header[f"TCOMM{number['fe_h']}"].endswith("[dex]")
        assert header[f"TNULL{number['plate']}"] == -(2**31)
        assert header[f"TNULL{number['flags']}"] == -(2**63)
        assert header["EXTNAME"] == "clean"
        provenance = json.loads(header["PROV"])
        assert provenance["reference"]["label_set"] == "aspcap/dr14@1"
        assert provenance["reference"]["inputs_hash"] == "inputs of aspcap/dr14"
        assert "flags bit 0: TEFF_WARN, Teff is doubtful" in list(header["COMMENT"])
        assert file[1].data["specobjid"].tolist() == [str(BIG), "", str(BIG + 1), "42"]


def test_header_texts_become_ascii_and_the_date_is_that_of_the_edition(db, survey, tmp_path):
    with db.begin() as conn:
        published = conn.scalar(
            sa.text(
                "UPDATE label_set SET description = E'café\\nlabels' WHERE name = 'sspp/dr12' "
                "RETURNING published_at"
            )
        )
    with fits.open(written(db, "sspp/dr12", tmp_path / "x.fits")) as file:
        assert file[1].header["DESCR"] == "caf\\xe9 labels"
        assert file[1].header["DATE"] == f"{published:%Y-%m-%dT%H:%M:%S}"


def test_logicals_in_fits_tell_null_from_false(db, survey, tmp_path):
    raw = written(db, "sdss_spectrum", tmp_path / "x.fits")
    with fits.open(raw) as file:
        codes = file[1].data.view(np.ndarray)["is_primary"].view("u1").tolist()
    assert codes == [ord("T"), ord("F"), 0, ord("T")]


def test_our_own_reader_trusts_the_file(db, survey, tmp_path):
    path = written(db, "sdss_spectrum", tmp_path / "x.fits")
    with open_fits(path) as file:
        for hdu in file.hdus:
            verify_checksums(file, hdu)
    damaged = bytearray(path.read_bytes())
    damaged[-2880] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(BadInputError, match="CHECKSUM"), open_fits(path) as file:
        verify_checksums(file, file.hdus[1])


def test_what_only_networks_know_is_exported_with_their_labels(db, survey, tmp_path):
    with db.begin() as conn:
        model = factories.add_model(conn, "net", survey["right"][:1], [1])
        run_id = factories.add_run(conn)
        edition = labels.begin_edition(conn, "net/all", "prediction", run_id=run_id, model_id=model)
        for table, columns in (
            (stellar_label, {"teff": np.float32([1, 2, 3, 4])}),
            (prediction_detail, {"chi2": np.float32([0.5, np.nan, 1, 2])}),
        ):
            ids = {"label_set_id": np.full(N, edition), "source_id": survey["right"]}
            upsert_arrays(conn, table, ids | columns)
        labels.publish(conn, edition)
    table = Table.read(written(db, "net/all", tmp_path / "x.fits"))
    assert table["chi2"].filled(-1).tolist() == [0.5, -1.0, 1.0, 2.0]
    assert "distance" not in table.colnames
    assert json.loads(table.meta["PROV"])["model"] == "net@1"


def test_all_units_can_be_written():
    for meaning in VOCABULARY.values():
        if meaning.unit and meaning.unit != "dex":
            assert units.Unit(units.Unit(meaning.unit).to_string("fits"), format="fits")


def test_fits_refuses_what_it_cannot_hold(db, survey, tmp_path):
    with db.begin() as conn:
        conn.execute(sa.text("UPDATE apogee_star SET field = 'α' WHERE field = '@x'"))
        conn.execute(sa.text("UPDATE sdss_spectrum SET fiberid = -2147483648 WHERE fiberid = 0"))
    with pytest.raises(UsageError, match="column field of apogee_star holds 'α' in row 4"):
        written(db, "apogee_star", tmp_path / "x.fits")
    with pytest.raises(UsageError, match="column fiberid holds -2147483648, which is NULL"):
        written(db, "sdss_spectrum", tmp_path / "x.fits")
    assert list(tmp_path.iterdir()) == []


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_csv_is_exact_and_null_is_empty(db, survey, tmp_path):
    path = written(db, "aspcap/dr14", tmp_path / "x.csv")
    rows = read_csv(path)
    assert [r["survey_key"] for r in rows] == [f"dr14/star.{i}" for i in "abcd"]
    by_key = np.argsort(["c", "a", "b", "d"])
    got = np.array([float(r["teff"] or "nan") for r in rows], np.float32)
    np.testing.assert_array_equal(got, survey["teff"][by_key])
    assert rows[2]["teff"] == "4321.1"  # shortest text of the float32, not 4321.10009765625
    assert rows[0]["teff"] == rows[0]["teff_err"] == ""
    assert rows[0]["ra"] == "359.99999999"
    assert rows[1]["flags"] == str(1 << 40)
    assert "plate" not in rows[0]
    assert "logg" not in rows[0]
    assert rows[0]["fe_h_err"] == ""  # an error stays with its label
    spectrum = read_csv(written(db, "sdss_spectrum", tmp_path / "y.csv"))
    assert [r["specobjid"] for r in spectrum] == [str(BIG), "", str(BIG + 1), "42"]
    assert [r["is_primary"] for r in spectrum] == ["true", "false", "", "true"]


def test_csv_sidecar(db, survey, tmp_path):
    path = written(db, "clean", tmp_path / "x.csv")
    schema = json.loads((tmp_path / "x.csv.schema.json").read_text())
    assert schema["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert schema["n_rows"] == N
    columns = {c["name"]: c for c in schema["columns"]}
    assert list(columns) == list(read_csv(path)[0])
    assert columns["teff"] == {
        "name": "teff", "type": "float32", "unit": "K", "ucd": LABELS["teff"].ucd,
        "description": LABELS["teff"].description,
    }  # fmt: skip
    assert columns["specobjid"]["type"] == "text"
    assert schema["provenance"]["crossmatch"]["radius_arcsec"] == 2.0
    assert schema["notes"] == ["flags bit 0: TEFF_WARN, Teff is doubtful"]


def test_formulas_are_defused_only_when_asked(db, survey, tmp_path):
    plain = read_csv(written(db, "apogee_star", tmp_path / "x.csv"))
    safe = read_csv(written(db, "apogee_star", tmp_path / "y.csv", safe_cells=True))
    assert [r["field"] for r in plain] == ["", 'a,"b"', "=1+1", "@x"]
    assert [r["field"] for r in safe] == ["", 'a,"b"', "'=1+1", "'@x"]
    assert safe[2]["starflag"] == str(1 << 62)


#: What a spreadsheet takes for the beginning of a formula, and what may hide it.
SIGNS = "=+-@\uff1d\uff0b\uff0d\uff20\u2212"
BLANKS = (
    "", " ", "  \t ", "\r", "\n", "\x01", "\x1f", "\x7f", "\xa0", "\xad", "\u1680", "\u200b",
    "\u2003", "\u2028", "\u202f", "\u2060", "\u3000", "\ufeff", "\u3000 \ufeff",
)  # fmt: skip
HARMLESS = [
    "1-2",
    "a=1",
    "a; =1+1",
    "'=1",
    "a\u2212b",
    "N 1 + 2",
    "\u00e9=",
    "",
    " ",
    "x\n=1",
    "\u4e2d=1",
]


def test_formulas_in_disguise_are_defused_and_nothing_else(db, tmp_path):
    hidden = [f"{blank}{sign}cmd|' /C calc'!A0" for blank in BLANKS for sign in SIGNS]
    hidden += ["\tx", "\rx", "\nx"]
    texts = [*hidden, *HARMLESS]
    query = " UNION ALL ".join(
        "SELECT {} AS i, {} AS field".format(i, "'" + text.replace("'", "''") + "'")
        for i, text in enumerate(texts)
    )
    selection = Selection("texts", "Texts", query + " UNION ALL SELECT -1, NULL", ("i",))
    for safe in (False, True):
        path = written(db, selection, tmp_path / f"{safe}.csv", safe_cells=safe)
        wanted = [f"'{t}" if safe and t in hidden else t for t in texts]
        assert [r["field"] for r in read_csv(path)] == ["", *wanted]
    lines = path.read_text().split("\n")
    assert lines[:2] == ["i,field", "-1,"]  # NULL stays an empty field
    assert f'{texts.index("1-2")},"1-2"' in lines  # so that no other separator cuts a text


@pytest.mark.parametrize("suffix", [".csv", ".fits"])
def test_everything_can_be_exported_and_repeats_to_the_byte(db, survey, tmp_path, suffix):
    first, again = tmp_path / "1", tmp_path / "2"
    for folder in (first, again):
        folder.mkdir()
        for i, what in enumerate(
            [*TABLES, *(v.name for v in VIEWS), "aspcap/dr14", "sspp/dr12@1", "clean"]
        ):
            written(db, what, folder / f"{i}{suffix}")
    names = sorted(p.name for p in first.iterdir())
    assert names == sorted(p.name for p in again.iterdir())
    for name in names:
        assert (first / name).read_bytes() == (again / name).read_bytes(), name


@pytest.fixture
def normalized(db, survey):
    """Normalized spectra of all pairs; the flux of each is its number."""
    recipe = RECIPES["default"]
    flux = np.arange(N, dtype=np.float32)[:, None] + np.zeros((N, recipe.n_pixels), np.float32)
    blobs = np.array([spectra.encode(f) for f in flux], object)
    with db.begin() as conn:
        input_file_id = conn.scalar(
            sa.text(
                "INSERT INTO input_file (path, size, sha256, kind) VALUES ('x', 1, 'x', 'x') "
                "RETURNING input_file_id"
            )
        )
        upsert_arrays(conn, spectrum_blob, {
            "source_id": survey["right"], "input_file_id": np.full(N, input_file_id),
            "instrument": np.array(["BOSS"] * N, object), "z": np.zeros(N, "f4"),
            "spectrum_state": np.array(["ok"] * N, object), "flux": blobs,
            "sha256": np.array(list("0123"), object),
        })  # fmt: skip
        upsert_arrays(conn, normalized_spectrum, {
            "source_id": survey["right"], "recipe": np.array([recipe.name] * N, object),
            "recipe_version": np.full(N, recipe.version, "i4"), "z": np.zeros(N, "f4"),
            "spectrum_sha256": np.array(list("0123"), object),
            "normalize_flags": np.zeros(N, "i8"), "good_fraction": np.ones(N, "f4"),
            "flux": blobs, "ivar": blobs, "continuum": blobs,
        })  # fmt: skip
    return survey


def test_npz_needs_no_pickle_and_repeats_to_the_byte(db, normalized, tmp_path):
    first = written(db, "clean", tmp_path / "1.npz")
    again = written(db, "clean", tmp_path / "2.npz")
    assert first.read_bytes() == again.read_bytes()
    with zipfile.ZipFile(first) as archive:
        assert {i.date_time for i in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    with np.load(first, allow_pickle=False) as file:
        arrays = dict(file)
    recipe = RECIPES["default"]
    row = [int(key.split("-")[2]) for key in arrays["right_key"]]
    assert sorted(row) == [0, 1, 2, 3]
    np.testing.assert_array_equal(arrays["flux"][:, 7], row)
    assert arrays["flux"].shape == arrays["ivar"].shape == (N, recipe.n_pixels)
    np.testing.assert_allclose(10 ** arrays["loglam"], recipe.wavelength, rtol=1e-12)
    names = arrays["label_names"].tolist()
    assert names == ["teff", "fe_h"]
    np.testing.assert_array_equal(np.float32(arrays["labels"][:, 0]), normalized["teff"][row])
    np.testing.assert_array_equal(arrays["group"], normalized["owner"][row])
    assert arrays["star_key"].tolist() == [f"2M{i}" for i in normalized["owner"][row]]
    assert arrays["left_key"].tolist() == [f"dr14/star.{'cabd'[i]}" for i in row]
    assert json.loads(str(arrays["provenance"]))["reference"]["label_set"] == "aspcap/dr14@1"


def test_npz_without_normalized_spectra_says_what_to_run(db, survey, tmp_path):
    with pytest.raises(UsageError, match="no spectrum of sample clean has any of teff, fe_h"):
        written(db, "clean", tmp_path / "x.npz")
    with pytest.raises(UsageError, match="aspcap/dr14@1 is no sample"):
        written(db, "aspcap/dr14", tmp_path / "x.npz")
    assert list(tmp_path.iterdir()) == []


def test_wrong_names_list_the_right_ones(db, survey, tmp_path):
    with pytest.raises(UsageError, match=r"\.csv, \.fits, \.ecsv, \.vot, \.parquet, \.npz"):
        written(db, "clean", tmp_path / "x.xls")
    with pytest.raises(UsageError, match=r"Samples: clean\. Tables and views: apogee_star"):
        written(db, "spectrum_blob", tmp_path / "x.csv")
    with pytest.raises(UsageError, match="there is no label set aspcap/dr14@7"):
        written(db, "aspcap/dr14@7", tmp_path / "x.csv")
    with pytest.raises(UsageError, match="there is no folder"):
        written(db, "clean", tmp_path / "nowhere" / "x.csv")


def test_a_name_of_two_things_is_refused(db, survey, tmp_path):
    with db.begin() as conn:
        conn.execute(sa.text("UPDATE sample SET name = 'source'"))
    with pytest.raises(UsageError, match="source is the name of several things"):
        written(db, "source", tmp_path / "x.csv")


def test_unpublished_editions_are_not_exported(db, survey, tmp_path):
    with db.begin() as conn:
        labels.begin_edition(conn, "new", "survey", run_id=factories.add_run(conn))
    rows = read_csv(written(db, "label_set", tmp_path / "x.csv"))
    assert [r["name"] for r in rows] == ["aspcap/dr14", "sspp/dr12"]


def test_links_stay_and_what_is_no_file_is_not_replaced(tmp_path):
    link, target = tmp_path / "link.csv", tmp_path / "target.csv"
    link.symlink_to(target)
    with replace_files(link) as (stream,):
        stream.write(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    for taken in (pipe, tmp_path):
        with pytest.raises(UsageError, match="no regular file"), replace_files(taken):
            pass
    assert pipe.is_fifo()


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), replace_files(path) as (stream,):
        stream.write("text, not bytes")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    with replace_files(path) as (stream,):
        stream.write(b"new")
        stream.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    with pytest.raises(UsageError, match="cannot be written"), replace_files(tmp_path / "a" / "b"):
        pass


def test_of_two_that_write_one_file_the_second_is_told(tmp_path):
    path = tmp_path / "x.csv"
    (tmp_path / "x.csv.part").write_bytes(b"what a process left that was killed")
    with replace_files(path) as (stream,):
        stream.write(b"first")
        with pytest.raises(LockedError, match="another process"), replace_files(path) as (second,):
            second.write(b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]
