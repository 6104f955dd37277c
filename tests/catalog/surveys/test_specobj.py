"""specObj: which rows are read, exact ids, what is left out and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from catalog.errors import BadInputError
from catalog.records import Block
from catalog.surveys.sdss_spectrum import read_spectrum
from catalog.surveys.specobj import (
    NO_CLASS,
    NO_OBJECT,
    NODATA,
    REQUIRED,
    SKY,
    UNPLUGGED,
    open_specobj,
)
from catalog.surveys.specobjid import pack_specobjid
from tests.support.specobj_file import specobj_rows, write_specobj

BOSS = {"plate": 8954, "mjd": 57453, "run2d": "v5_7_0"}
STARS = (
    {},
    {"plate": 2344, "mjd": 53740, "run2d": "103", "primary": 0, "z": np.nan},
    BOSS,
    {"zwarning": 4},  # a doubtful redshift is no reason to leave a star out
)
OTHERS = (
    {"class": "GALAXY"}, {"class": "GALAXY", "ra": np.nan}, {"class": "QSO"}, {"class": ""},
    {"zwarning": SKY}, {"zwarning": UNPLUGGED | 4}, {"class": "GALAXY", "zwarning": NODATA},
)  # fmt: skip


def read(path: Path, **kw: tuple[str, ...]) -> tuple[Block, dict[str, int]]:
    with open_specobj(path, "dr17", **kw) as catalog:
        return catalog.read(0, catalog.n_rows), dict(catalog.left_out)


def test_stars_are_read_and_the_rest_is_counted(tmp_path: Path) -> None:
    path = write_specobj(
        tmp_path / "specObj-dr17.fits", specobj_rows(*OTHERS[:3], *STARS, *OTHERS[3:])
    )
    block, left_out = read(path)
    assert left_out == {"GALAXY": 2, "QSO": 1, NO_CLASS: 1, NO_OBJECT: 3}
    assert (block.bad, block.n_good, block.n_left_out, block.n_rows) == ((), 4, 7, 11)
    columns = block.columns
    assert columns["survey_key"].tolist() == [
        b"266-51602-4-26", b"2344-53740-5-103", b"8954-57453-6-v5_7_0", b"266-51602-7-26",
    ]  # fmt: skip
    assert int(columns["specobjid"][2]) == pack_specobjid(8954, 57453, 6, "v5_7_0") > 2**63
    assert columns["is_primary"].tolist() == [True, False, True, True]
    np.testing.assert_array_equal(columns["ra"], [13.0, 14.0, 15.0, 16.0])
    np.testing.assert_allclose(columns["epoch"], 2000 + (columns["mjd"] - 51544.5) / 365.25)


def test_classes_are_those_asked_for(tmp_path: Path) -> None:
    path = write_specobj(tmp_path / "x.fits", specobj_rows(*STARS, *OTHERS))
    block, left_out = read(path, classes=("QSO", "STAR"))
    assert (block.n_good, left_out) == (5, {"GALAXY": 2, NO_CLASS: 1, NO_OBJECT: 3})
    block, left_out = read(path, classes=())
    assert left_out == {NO_OBJECT: 3}
    assert [(b.row, b.reason_code) for b in block.bad] == [(5, "BAD_COORD")]


@pytest.mark.parametrize("kind", ["u8", "i8"])
def test_ids_may_be_numbers_signed_or_not(tmp_path: Path, kind: str) -> None:
    rows = specobj_rows(*STARS)
    ids = [int(x) for x in rows["SPECOBJID"]]
    fields = [(n, kind) if n == "SPECOBJID" else (n, *rest) for n, *rest in rows.dtype.descr]
    numbers = np.zeros(len(rows), fields)
    for name in rows.dtype.names:
        numbers[name] = np.array(ids, "u8").astype(kind) if name == "SPECOBJID" else rows[name]
    block, _ = read(write_specobj(tmp_path / "x.fits", numbers))
    assert [int(x) for x in block.columns["specobjid"]] == ids
    assert max(ids) > 2**63


def test_names_of_cas_are_understood(tmp_path: Path) -> None:
    names = {"PLUG_RA": "ra", "PLUG_DEC": "dec", "FIBERID": "fiber", "CLASS": "class"}
    path = write_specobj(tmp_path / "x.fits", specobj_rows(*STARS), **names)
    assert read(path)[0].n_good == 4


def test_a_file_that_does_not_say_what_is_primary_leaves_that_open(tmp_path: Path) -> None:
    path = write_specobj(tmp_path / "x.fits", specobj_rows({}), SPECPRIMARY="OTHER")
    assert "is_primary" not in read(path)[0].columns


def test_primary_may_be_a_logical(tmp_path: Path) -> None:
    """As copies of the catalog have it that Astropy wrote."""
    rows = specobj_rows({}, {"primary": 0})
    logical = [(n, "?") if n == "SPECPRIMARY" else (n, *rest) for n, *rest in rows.dtype.descr]
    block, _ = read(write_specobj(tmp_path / "x.fits", rows.astype(logical)))
    assert block.columns["is_primary"].tolist() == [True, False]


def test_bad_rows_have_reasons(tmp_path: Path) -> None:
    rows = specobj_rows(
        {}, {"specobjid": ""}, {"specobjid": "-17"}, {"specobjid": "1.2e18"}, {"ra": np.nan},
        {"dec": 91.0}, {"ra": 370.0}, {"run2d": ""}, {"fiberid": -9999},
        {"plate": 267, "fiberid": 1},
    )  # fmt: skip
    rows["SPECOBJID"][9] = rows["SPECOBJID"][0]  # another spectrum's
    block, left_out = read(write_specobj(tmp_path / "x.fits", rows))
    codes = ["BAD_ID"] * 3 + ["BAD_COORD"] * 3 + ["BAD_ID"] * 3
    assert [(b.row, b.reason_code) for b in block.bad] == list(enumerate(codes, start=1))
    assert (left_out, block.columns["survey_key"].tolist()) == ({}, [b"266-51602-1-26"])


def test_repeated_rows(tmp_path: Path) -> None:
    same, other = {"fiberid": 7, "ra": 1.0, "dec": 2.0}, {"fiberid": 8, "dec": 2.0}
    galaxies = [{"class": "GALAXY", "fiberid": 9}] * 2
    rows = specobj_rows(same, same, other | {"ra": 3.0}, other | {"ra": 4.0}, *galaxies)
    block, _ = read(write_specobj(tmp_path / "x.fits", rows))
    assert [(b.row, b.reason_code) for b in block.bad] == [
        (1, "DUP_EQUAL"), (2, "DUP_CONFLICT"), (3, "DUP_CONFLICT"),
    ]  # fmt: skip


def test_blocks_of_any_size_give_the_same(tmp_path: Path) -> None:
    path = write_specobj(tmp_path / "x.fits", specobj_rows(*(STARS + OTHERS) * 3))
    with open_specobj(path, "dr17") as catalog:
        whole = catalog.read(0, catalog.n_rows)
        parts = [catalog.read(i, i + 5) for i in range(0, catalog.n_rows, 5)]
    assert sum(p.n_rows for p in parts) == whole.n_rows
    assert tuple(b for p in parts for b in p.bad) == whole.bad
    for name, values in whole.columns.items():
        np.testing.assert_array_equal(np.concatenate([p.columns[name] for p in parts]), values)


@pytest.mark.parametrize(
    ("rename", "code"),
    [({"CLASS": "KIND"}, "MISSING_COLUMN"), ({"PLUG_RA": "X"}, "MISSING_COLUMN")],
)
def test_a_table_that_is_no_specobj_is_refused(
    tmp_path: Path, rename: dict[str, str], code: str
) -> None:
    path = write_specobj(tmp_path / "x.fits", specobj_rows({}), **rename)
    with pytest.raises(BadInputError, match=rf"\[{code}\]"):
        read(path)


def test_columns_of_another_type_are_refused(tmp_path: Path) -> None:
    rows = specobj_rows({})
    swapped = {"PLATE": "Z", "Z": "PLATE"}
    with pytest.raises(BadInputError, match=r"\[BAD_DTYPE\] column PLATE"):
        read(write_specobj(tmp_path / "x.fits", rows, **swapped))


@pytest.mark.parametrize(
    ("length", "code"), [(0, "EMPTY_FILE"), (5760, "NO_TABLE_HDU|TRUNCATED"), (-2880, "TRUNCATED")]
)
def test_damaged_files_are_refused(tmp_path: Path, length: int, code: str) -> None:
    path = write_specobj(tmp_path / "x.fits", specobj_rows(*STARS * 20))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(BadInputError) as refusal:
        read(path)
    assert re.fullmatch(code, refusal.value.reason_code)


@pytest.mark.kit
def test_the_columns_are_those_of_the_data_model(kit: Path) -> None:
    schema = json.loads((kit / "schemas" / "specObj.json").read_text())
    names = {column["name"].lower() for column in schema["columns"]}
    assert {accepted[0] for _, accepted in REQUIRED.values()} <= names
    assert {"specprimary", "zwarning"} <= names


@pytest.mark.kit
def test_rows_of_the_archive_agree_with_their_spectrum_files(kit: Path, tmp_path: Path) -> None:
    """Behind a spectrum its file has the row of specObj, or for BOSS that of spAll."""
    dark = []
    for number, path in enumerate(sorted((kit / "data" / "sdss").glob("spec-*.fits"))):
        with fits.open(path) as file:
            file[2].writeto(tmp_path / f"{number}.fits")
        block, left_out = read(tmp_path / f"{number}.fits", classes=())
        if left_out:
            assert left_out == {NO_OBJECT: 1}
            dark.append(path.name)
            continue
        spectrum, columns = read_spectrum(path), block.columns
        assert columns["survey_key"].tolist() == [spectrum.survey_key.encode()]
        assert columns["specobjid"].tolist() == [str(spectrum.specobjid).encode()]
        assert (columns["ra"][0], columns["dec"][0]) == (spectrum.ra, spectrum.dec)
    assert dark == ["spec-2297-53738-0042.fits", "spec-2344-53740-0358.fits"]  # of the sky
