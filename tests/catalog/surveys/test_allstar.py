"""allStar of DR12, DR14 and DR17 against an independent reading by astropy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from catalog.errors import BadInputError
from catalog.records import Block
from catalog.surveys.allstar import EPOCH_2MASS, open_allstar

pytestmark = pytest.mark.kit


def astropy_rows(path: Path) -> np.ndarray:
    """All rows as astropy has them, in native byte order."""
    with fits.open(path, memmap=False) as hdus:
        data = np.array(hdus[1].data.view(np.ndarray))
    return data.astype(data.dtype.newbyteorder("="))


def read_all(path: Path, release: str) -> Block:
    with open_allstar(path, release) as catalog:
        return catalog.read(0, catalog.n_rows)


def null_where(values: np.ndarray, sentinel: np.ndarray) -> np.ndarray:
    return np.where(sentinel, np.nan, values)


@pytest.fixture(scope="module")
def genuine(kit: Path) -> Path:
    return kit / "data" / "apogee" / "allStar-v603-Hipparcos.fits.gz"


def test_genuine_dr12_file_has_its_counts(genuine: Path) -> None:
    block = read_all(genuine, "dr12")
    columns, raw = block.columns, astropy_rows(genuine)
    assert (block.n_good, block.bad) == (3244, ())
    with_two = np.isfinite(columns["teff"]) & np.isfinite(columns["logg"])
    assert with_two.sum() == 773
    assert (
        columns["has_labels"].sum()
        == ((raw["TEFF"] > -9999) & (raw["LOGG"] > -9999) & (raw["FE_H"] > -9999)).sum()
    )
    assert len(np.unique(columns["survey_key"])) == 3244
    assert (~columns["is_primary"]).sum() == ((raw["EXTRATARG"] & 16) != 0).sum()


def test_genuine_dr12_values_are_those_of_astropy(genuine: Path) -> None:
    columns, raw = read_all(genuine, "dr12").columns, astropy_rows(genuine)
    pairs = {"teff": "TEFF", "m_h": "PARAM_M_H", "alpha_m": "PARAM_ALPHA_M", "fe_h": "FE_H"}
    for name, original in pairs.items():
        expected = null_where(raw[original], raw[original] == -9999)
        np.testing.assert_array_equal(columns[name], expected.astype("f4"))
    for name in ("ra", "dec", "snr", "vhelio_avg"):
        np.testing.assert_array_equal(columns[name], raw[name.upper()])
    known = raw["PMRA_2"] > -9999
    np.testing.assert_array_equal(np.isfinite(columns["pmra"]), known)
    np.testing.assert_array_equal(columns["pmra"][known], raw["PMRA_2"][known])


def test_dr12_abundances_over_hydrogen_become_over_iron(genuine: Path) -> None:
    columns, raw = read_all(genuine, "dr12").columns, astropy_rows(genuine)
    known = (raw["O_H"] > -9999) & (raw["FE_H"] > -9999)
    np.testing.assert_allclose(
        columns["o_fe"][known], raw["O_H"][known] - raw["FE_H"][known], atol=1e-6
    )
    np.testing.assert_array_equal(np.isfinite(columns["o_fe"]), known)
    both = np.hypot(raw["O_H_ERR"][known], raw["FE_H_ERR"][known])
    np.testing.assert_allclose(columns["o_fe_err"][known], both, rtol=1e-5)
    assert "ce_fe" not in columns


def test_abundances_whose_flag_says_bad_are_no_labels(genuine: Path, tmp_path: Path) -> None:
    before = read_all(genuine, "dr12").columns
    with fits.open(genuine, memmap=False) as hdus:
        data = hdus[1].data
        known = np.flatnonzero((data["O_H"] > -9999) & (data["FE_H"] > -9999))
        bad_oxygen, bad_iron, warned = known[0], known[1], known[2]
        data["O_H_FLAG"][bad_oxygen] = 1 << 1
        data["FE_H_FLAG"][bad_iron] = 1 << 0
        data["O_H_FLAG"][warned] = data["FE_H_FLAG"][warned] = 1 << 9
        for hdu in hdus:
            hdu.header.remove("CHECKSUM", ignore_missing=True)
            hdu.header.remove("DATASUM", ignore_missing=True)
        hdus.writeto(tmp_path / "allStar.fits")
    after = read_all(tmp_path / "allStar.fits", "dr12").columns
    gone = np.flatnonzero(np.isfinite(before["o_fe"]) & np.isnan(after["o_fe"]))
    assert gone.tolist() == sorted([bad_oxygen, bad_iron])
    assert np.isnan(after["o_fe_err"][gone]).all()
    assert np.flatnonzero(np.isfinite(before["fe_h"]) & np.isnan(after["fe_h"])) == [bad_iron]
    assert after["has_labels"].sum() == before["has_labels"].sum() - 1


@pytest.mark.parametrize("release", ["dr14", "dr17"])
def test_kit_counts(release: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(f"kit_{release}")
    expected = json.loads((folder / "summary.json").read_text())["allstar"]
    path = next(folder.glob("allStar-*.fits"))
    block = read_all(path, release)
    columns = block.columns
    lost = expected["rows_without_position"]
    assert block.n_rows == expected["rows"]
    assert [item.reason_code for item in block.bad] == ["BAD_COORD"] * lost
    # The summary also counts what the rows without a position say; these are left out here.
    out = astropy_rows(path)[[item.row for item in block.bad]]
    labelled = np.isfinite(out["TEFF"]) & np.isfinite(out["LOGG"]) & np.isfinite(out["FE_H"])
    first = (out["EXTRATARG"] & 16) == 0
    assert {
        "rows_with_all_three_labels": columns["has_labels"].sum() + labelled.sum(),
        "duplicate_rows_extratarg_bit4": (~columns["is_primary"]).sum() + (~first).sum(),
        "primary_rows_with_all_three_labels": (columns["has_labels"] & columns["is_primary"]).sum()
        + (labelled & first).sum(),
        "rows_star_bad": sum((flags >> 23 & 1).sum() for flags in _flags(columns, out)),
        "unique_apogee_id": len({*columns["apogee_id"].tolist(), *_ids(out)}),
    }.items() <= expected.items()


def _flags(columns: dict[str, np.ndarray], out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return columns["aspcapflag"], out["ASPCAPFLAG"]


def _ids(out: np.ndarray) -> list[bytes]:
    return [text.strip() for text in out["APOGEE_ID"].tolist()]


@pytest.mark.parametrize("release", ["dr14", "dr17"])
def test_kit_values_are_those_of_astropy(release: str, request: pytest.FixtureRequest) -> None:
    path = next(request.getfixturevalue(f"kit_{release}").glob("allStar-*.fits"))
    block, raw = read_all(path, release), astropy_rows(path)
    keep = np.ones(len(raw), bool)
    keep[[item.row for item in block.bad]] = False
    raw, columns = raw[keep], block.columns
    for name in ("teff", "logg_err", "fe_h", "o_fe", "si_fe", "si_fe_err"):
        values = raw[name.upper()]
        expected = null_where(values, values == -9999)
        np.testing.assert_array_equal(columns[name], expected.astype("f4"), err_msg=name)
    bad_magnitude = (raw["J"] > 90) | (raw["J"] == -9999)
    np.testing.assert_array_equal(columns["j"], null_where(raw["J"], bad_magnitude).astype("f4"))
    for name in ("starflag", "aspcapflag", "extratarg", "nvisits"):
        assert columns[name].dtype == np.int64
        np.testing.assert_array_equal(columns[name], raw[name.upper()])
    assert columns["apogee_id"].tolist() == [x.strip() for x in raw["APOGEE_ID"].tolist()]
    assert columns["survey_key"][0] == f"{release}/".encode() + raw["APSTAR_ID"][0].strip()
    assert np.all(columns["epoch"] == EPOCH_2MASS)


def test_proper_motions_of_dr17_come_from_gaia_and_zero_is_missing(kit_dr17: Path) -> None:
    path = next(kit_dr17.glob("allStar-*.fits"))
    block, raw = read_all(path, "dr17"), astropy_rows(path)
    keep = np.setdiff1d(np.arange(len(raw)), [item.row for item in block.bad])
    gaia, target = raw["GAIAEDR3_PMRA"][keep], raw["TARG_PMRA"][keep]
    missing = np.isnan(gaia) & (target == 0)
    assert missing.any()
    assert np.isnan(block.columns["pmra"][missing]).all()
    np.testing.assert_array_equal(block.columns["pmra"][~missing], gaia[~missing])


def test_every_array_is_native_and_flat(kit_dr14: Path) -> None:
    for name, values in read_all(next(kit_dr14.glob("allStar-*.fits")), "dr14").columns.items():
        assert values.dtype.isnative, name
        assert values.ndim == 1, name
        assert values.dtype.kind in "Sfib", name


@pytest.mark.parametrize("size", [1, 7, 50])
def test_the_block_size_does_not_matter(genuine: Path, size: int) -> None:
    with open_allstar(genuine, "dr12") as catalog:
        whole = catalog.read(0, 50)
        parts = [catalog.read(i, min(i + size, 50)) for i in range(0, 50, size)]
        past_the_end = catalog.read(catalog.n_rows - 3, catalog.n_rows + 10)
    assert past_the_end.n_rows == 3
    for name, values in whole.columns.items():
        joined = np.ma.concatenate([part.columns[name] for part in parts])
        np.testing.assert_array_equal(joined, values, err_msg=name)


def test_a_block_reads_no_more_than_its_rows(
    genuine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What bounds the memory: the rows asked for, and blocks of 8 MiB for the keys."""
    asked: list[int] = []
    original = np.fromfile

    def counting(stream: object, dtype: np.dtype, count: int) -> np.ndarray:
        asked.append(count * np.dtype(dtype).itemsize)
        return original(stream, dtype, count)

    monkeypatch.setattr(np, "fromfile", counting)
    with open_allstar(genuine, "dr12") as catalog:
        assert sum(asked) == catalog.n_rows * catalog.table.row_bytes
        assert max(asked) <= 1 << 23
        asked.clear()
        catalog.read(100, 110)
        assert asked == [10 * catalog.table.row_bytes]


def test_a_spectrum_is_no_allstar(kit_dr14: Path) -> None:
    path = next(kit_dr14.rglob("spec-*.fits"))
    with (
        pytest.raises(BadInputError, match=r"OTHER_PRODUCT.*ingest spectra spec-"),
        open_allstar(path, "dr14"),
    ):
        pass


def rows_of_schema(schema: Path) -> np.ndarray:
    """Three rows with every column of a documented layout, text and numbers in place."""
    codes = {"float32": ">f4", "float64": ">f8", "int16": ">i2", "int32": ">i4", "int64": ">i8"}
    fields: list[tuple] = []
    for column in json.loads(schema.read_text())["hdus"]["hdu1"]:
        base, _, size = column["type"].rstrip("]").partition("[")
        kind = f"S{size}" if base == "char" else codes[base]
        shape = (int(size),) if size and base != "char" else ()
        fields.append((column["name"], kind, shape))
    rows = np.zeros(3, fields)
    for name in ("APSTAR_ID", "APOGEE_ID"):
        rows[name] = [f"{name[:4]}{i}".encode() for i in range(3)]
    rows["TEFF"], rows["LOGG"], rows["FE_H"] = 4800, [2.5, -9999, np.nan], -0.5
    rows["J"], rows["VHELIO_AVG"] = [99.999, -9999, 12.5], [999_999, -9999, -30]
    return rows


@pytest.mark.parametrize("release", ["DR14", "DR16", "DR17"])
def test_the_documented_layouts_are_read(kit: Path, tmp_path: Path, release: str) -> None:
    rows = rows_of_schema(kit / "schemas" / f"allStar_{release}.json")
    gaia = {"DR16": "GAIA", "DR17": "GAIAEDR3"}.get(release)
    for axis, value in (("PMRA", [3.5, 0, -9999]), ("PMDEC", [-1, 0, -9999])):
        rows[f"{gaia}_{axis}" if gaia else axis] = value
    fits.BinTableHDU(rows).writeto(tmp_path / "a.fits")
    columns = read_all(tmp_path / "a.fits", release).columns
    assert columns["has_labels"].tolist() == [True, False, False]
    # Exactly zero is a proper motion in DR14, and a missing one in releases with Gaia's.
    expected = [3.5, np.nan if gaia else 0.0, np.nan]
    np.testing.assert_array_equal(columns["pmra"], expected)
    np.testing.assert_array_equal(columns["j"], [np.nan, np.nan, 12.5])
    np.testing.assert_array_equal(columns["vhelio_avg"], [np.nan, np.nan, -30])
    elements = {name[:-3].lower() for name in rows.dtype.names if name.endswith("_FE")}
    assert {n.removesuffix("_fe") for n in columns if n.endswith("_fe")} == elements
    assert len(elements) >= 20
