"""ssppOut against an independent reading by astropy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from catalog.records import Block
from catalog.surveys.specobjid import pack_specobjid
from catalog.surveys.sspp import open_sspp


def read_all(path: Path) -> Block:
    with open_sspp(path, "dr12") as catalog:
        return catalog.read(0, catalog.n_rows)


@pytest.fixture(scope="module")
def raw(kit_dr14: Path) -> np.ndarray:
    with fits.open(kit_dr14 / "ssppOut-dr12.fits", memmap=False) as hdus:
        return np.array(hdus[1].data.view(np.ndarray))


@pytest.fixture(scope="module")
def block(kit_dr14: Path) -> Block:
    return read_all(kit_dr14 / "ssppOut-dr12.fits")


@pytest.mark.kit
def test_counts(kit_dr14: Path, block: Block) -> None:
    expected = json.loads((kit_dr14 / "summary.json").read_text())["sspp"]
    assert (block.n_good, block.bad) == (expected["rows"], ())
    assert (~block.columns["has_labels"]).sum() == expected["rows_without_labels"]
    ids = [int(text) for text in block.columns["specobjid"].tolist()]
    assert sum(i >= 2**63 for i in ids) == expected["ids_above_2**63"] > 0


@pytest.mark.kit
def test_ids_are_exact(raw: np.ndarray, block: Block) -> None:
    assert block.columns["specobjid"].tolist() == [x.strip() for x in raw["SPECOBJID"].tolist()]


@pytest.mark.kit
def test_keys_are_plain_integers(raw: np.ndarray, block: Block) -> None:
    expected = [
        f"{p}-{m}-{f}-{r.decode().strip()}".encode()
        for p, m, f, r in raw[["PLATE", "MJD", "FIBER", "RUN2D"]].tolist()
    ]
    assert block.columns["survey_key"].tolist() == expected


@pytest.mark.kit
@pytest.mark.parametrize(
    ("name", "original"),
    [
        ("ra", "PLUG_RA"),
        ("dec", "PLUG_DEC"),
        ("teff", "TEFF_ADOP"),
        ("teff_err", "TEFF_ADOP_UNC"),
        ("logg", "LOGG_ADOP"),
        ("fe_h", "FEH_ADOP"),
        ("fe_h_err", "FEH_ADOP_UNC"),
        ("alpha_m", "AFE"),
        ("bv", "BV"),
        ("v_mag", "V_MAG"),
        ("g_mag", "G_MAG"),
        ("snr_sspp", "SNR"),
        ("rv_adop", "RV_ADOP"),
        ("rv_adop_err", "RV_ADOP_UNC"),
    ],
)
def test_floats_are_those_of_astropy(
    raw: np.ndarray, block: Block, name: str, original: str
) -> None:
    values = raw[original].astype(raw.dtype[original].newbyteorder("="))
    np.testing.assert_array_equal(
        block.columns[name], np.where(values == -9999, np.nan, values).astype(values.dtype)
    )


@pytest.mark.kit
def test_flags_are_kept(raw: np.ndarray, block: Block) -> None:
    assert block.columns["sspp_flag"].tolist() == [x.strip() for x in raw["FLAG"].tolist()]
    np.testing.assert_array_equal(block.columns["zwarning"], raw["ZWARNING"])
    np.testing.assert_array_equal(block.columns["is_primary"], raw["SPECPRIMARY"] != 0)


@pytest.mark.kit
def test_the_epoch_follows_the_mjd(raw: np.ndarray, block: Block) -> None:
    np.testing.assert_allclose(
        block.columns["epoch"], 2000 + (raw["MJD"] - 51544.5) / 365.25, rtol=0, atol=1e-9
    )


@pytest.mark.kit
@pytest.mark.parametrize("size", [1, 7])
def test_the_block_size_does_not_matter(kit_dr14: Path, block: Block, size: int) -> None:
    with open_sspp(kit_dr14 / "ssppOut-dr12.fits", "dr12") as catalog:
        parts = [catalog.read(i, min(i + size, 40)) for i in range(0, 40, size)]
    for name, values in block.columns.items():
        joined = np.ma.concatenate([part.columns[name] for part in parts])
        np.testing.assert_array_equal(joined, values[:40], err_msg=name)


@pytest.mark.kit
def test_compressed_and_plain_give_the_same(bad_inputs: Path) -> None:
    plain = read_all(bad_inputs / "good" / "ssppOut-dr12.fits")
    packed = read_all(bad_inputs / "gzip" / "ssppOut-dr12.fits.gz")
    for name, values in plain.columns.items():
        np.testing.assert_array_equal(packed.columns[name], values)


def cas_rows() -> np.ndarray:
    """Two rows under the column names of the CAS table sppParams."""
    fields = "SPECOBJID:u8 PLUG_RA:f8 PLUG_DEC:f8 PLATE:i8 MJD:i8 FIBERID:i8 RUN2D:S32 FLAG:S32"
    fields += " TEFFADOP:f4 LOGGADOP:f4 FEHADOP:f4 TEFFADOPUNC:f4 FEHADOPUNC:f4"
    rows = np.zeros(2, [tuple(word.split(":")) for word in fields.split()])
    rows["PLATE"], rows["MJD"], rows["FIBERID"] = [2344, 8954], [53740, 57453], [358, 12]
    rows["RUN2D"], rows["FLAG"] = [b"103", b"v5_13_2"], b"nnnnn"
    keys = zip(rows["PLATE"], rows["MJD"], rows["FIBERID"], rows["RUN2D"], strict=True)
    rows["SPECOBJID"] = [pack_specobjid(int(p), int(m), int(f), r.decode()) for p, m, f, r in keys]
    rows["TEFFADOP"], rows["LOGGADOP"], rows["FEHADOP"] = [4800, -9999], 2.5, -1.0
    rows["TEFFADOPUNC"], rows["FEHADOPUNC"] = 50, -9.999
    return rows


def test_names_of_cas_and_integer_ids_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "sppParams.fits"
    fits.BinTableHDU(cas_rows()).writeto(path)
    block = read_all(path)
    columns = block.columns
    assert block.bad == ()
    assert columns["survey_key"].tolist() == [b"2344-53740-358-103", b"8954-57453-12-v5_13_2"]
    assert int(columns["specobjid"][1]) == pack_specobjid(8954, 57453, 12, "v5_13_2") > 2**63
    assert columns["has_labels"].tolist() == [True, False]
    np.testing.assert_array_equal(columns["teff_err"], [50, np.nan])
    assert np.isnan(columns["fe_h_err"]).all()  # -9.999 in old tables
    assert columns["is_primary"].all()


def test_one_key_with_two_answers_is_refused(tmp_path: Path) -> None:
    rows = np.repeat(cas_rows(), [3, 1])
    rows["TEFFADOP"][2] = 5000
    path = tmp_path / "sppParams.fits"
    fits.BinTableHDU(rows).writeto(path)
    block = read_all(path)
    assert [(item.row, item.reason_code) for item in block.bad] == [
        (row, "DUP_CONFLICT") for row in range(3)
    ]
    assert block.n_good == 1


@pytest.mark.parametrize(
    ("column", "value"), [("PLATE", 2345), ("MJD", 53741), ("FIBERID", 359), ("RUN2D", b"104")]
)
def test_every_part_of_the_key_must_agree_with_the_id(
    tmp_path: Path, column: str, value: object
) -> None:
    rows = cas_rows()
    rows[column][0] = value
    path = tmp_path / "sppParams.fits"
    fits.BinTableHDU(rows).writeto(path)
    assert [(item.row, item.reason_code) for item in read_all(path).bad] == [(0, "BAD_ID")]
