"""Units and missing values in surveys' catalogs that others have rewritten."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from catalog.errors import BadInputError
from catalog.records import Block
from catalog.surveys.allstar import open_allstar
from catalog.surveys.specobj import open_specobj
from catalog.surveys.spectrum import check_position
from catalog.surveys.sspp import open_sspp
from tests.support.specobj_file import specobj_rows, write_specobj

N = 4


def write_table(path: Path, columns: dict[str, np.ndarray], units: dict[str, str]) -> Path:
    """Write a table of FITS with TUNITs."""
    hdu = fits.BinTableHDU(np.rec.fromarrays(list(columns.values()), names=list(columns)))
    for name, unit in units.items():
        hdu.header[f"TUNIT{list(columns).index(name) + 1}"] = unit
    hdu.writeto(path)
    return path


def allstar(
    path: Path, *, without: str = "", units: dict[str, str] | None = None, **change: object
) -> Path:
    """Write an allStar of a few rows with the names of DR14."""
    i = np.arange(1, N + 1)
    names = np.array([f"2M{k:08d}+{k:07d}" for k in i])
    columns = {
        "APSTAR_ID": np.array([f"apogee.apo25m.{s}" for s in names]), "APOGEE_ID": names,
        "RA": 10.0 * i, "DEC": 1.0 * i, "STARFLAG": np.zeros(N, "i4"),
        "ASPCAPFLAG": np.zeros(N, "i4"), "EXTRATARG": np.zeros(N, "i2"),
        "VHELIO_AVG": np.full(N, -9.99, "f4"), "J": np.full(N, 9.99, "f4"),
        "PMRA": np.full(N, 5, "f4"), "PMDEC": np.full(N, 5, "f4"),
        "TEFF": (4000 + 100 * i).astype("f4"), "LOGG": (1 + 0.2 * i).astype("f4"),
        "FE_H": (-0.1 * i).astype("f4"), "FE_H_ERR": np.full(N, 0.1, "f4"),
    }  # fmt: skip
    columns |= {name: np.asarray(value) for name, value in change.items()}
    columns.pop(without, None)
    return write_table(path, columns, units or {})


def read(path: Path) -> Block:
    with open_allstar(path, "dr14") as catalog:
        return catalog.read(0, N)


def test_positions_in_other_units_are_converted(tmp_path: Path) -> None:
    ra, dec = 10.0 * np.arange(1, N + 1), np.arange(1.0, N + 1)
    for unit, values in {
        "deg": (ra, dec), "degrees": (ra, dec), "rad": (np.radians(ra), np.radians(dec)),
        "arcsec": (ra * 3600, dec * 3600), "": (ra, dec),
    }.items():  # fmt: skip
        path = allstar(tmp_path / f"{unit}.fits", RA=values[0], DEC=values[1],
                       units={"RA": unit, "DEC": unit})  # fmt: skip
        found = read(path).columns
        np.testing.assert_allclose(found["ra"], ra, rtol=1e-14)
        np.testing.assert_allclose(found["dec"], dec, rtol=1e-14)
    for unit in ("h", "hourangle", "hours"):
        path = allstar(tmp_path / f"{unit}.fits", RA=ra / 15, units={"RA": unit, "DEC": "deg"})
        np.testing.assert_allclose(read(path).columns["ra"], ra, rtol=1e-14)


def test_a_right_ascension_of_360_is_0_and_none_beyond_is_wrapped(tmp_path: Path) -> None:
    ra = np.array([360.0, np.nextafter(360, 0), 0.0, np.nextafter(360, 361), -1e-9, np.nan])
    found = read(allstar(tmp_path / "x.fits", RA=np.resize(ra, N)))
    assert found.columns["ra"][:3].tolist() == [0.0, ra[1], 0.0]
    assert {bad.reason_code for bad in found.bad} == {"BAD_COORD"}
    assert check_position(tmp_path, 360.0, -90.0) == (0.0, -90.0)
    with pytest.raises(BadInputError, match="BAD_COORD"):
        check_position(tmp_path, -1e-9, 0.0)


def test_labels_and_measurements_in_other_units_are_converted(tmp_path: Path) -> None:
    teff = 4000.0 + 100 * np.arange(1, N + 1)
    path = allstar(
        tmp_path / "x.fits",
        TEFF=(teff / 1000).astype("f4"), LOGG=np.full(N, 0.5, "f4"),
        VHELIO_AVG=np.full(N, 12_000.0, "f4"), PMRA=np.full(N, 0.005, "f4"),
        units={"TEFF": "kK", "LOGG": "dex(m/s2)", "VHELIO_AVG": "m/s", "PMRA": "arcsec/yr",
               "FE_H": "[Sun]"},
    )  # fmt: skip
    found = read(path).columns
    np.testing.assert_allclose(found["teff"], teff, rtol=1e-6)
    np.testing.assert_allclose(found["logg"], 2.5)
    np.testing.assert_allclose(found["vhelio_avg"], 12.0)
    np.testing.assert_allclose(found["pmra"], 5.0)


@pytest.mark.parametrize(("column", "unit"), [
    ("RA", "K"), ("DEC", "h"), ("TEFF", "km"), ("LOGG", "cm/s2"), ("FE_H", "mag"), ("J", "nmgy"),
    ("VHELIO_AVG", "km"), ("PMRA", "mas"), ("FE_H_ERR", "%"),
])  # fmt: skip
def test_other_quantities_are_refused_before_a_row_is_read(
    tmp_path: Path, column: str, unit: str
) -> None:
    path = allstar(tmp_path / "x.fits", units={column: unit})
    said = re.escape(f"column {column} of {path} is in '{unit}'")
    with pytest.raises(BadInputError, match=f"BAD_UNIT.*{said}"), open_allstar(path, "dr14"):
        pass


def test_units_of_the_documented_layouts_are_taken(tmp_path: Path) -> None:
    units = {"RA": "degrees", "DEC": "degrees", "TEFF": "K", "LOGG": "log (cgs)", "FE_H": "dex",
             "VHELIO_AVG": "km/s", "PMRA": "mas/yr"}  # fmt: skip
    assert read(allstar(tmp_path / "x.fits", units=units)).n_good == N


def test_sentinels_of_one_quantity_are_values_of_another(tmp_path: Path) -> None:
    path = allstar(
        tmp_path / "x.fits",
        PMRA=np.array([9999.99, 99_999, -9999, 99.99], "f4"),
        PMDEC=np.array([9999.99, 99_999, -9999, -9.99], "f4"),
        TEFF=np.array([9999.99, -9.99, 5000, 0], "f4"),
        LOGG=np.array([4.0, 2.0, -9.99, 0], "f4"),
        FE_H=np.array([-9.99, -0.5, -0.99, 0], "f4"),
    )
    block = read(path)
    assert block.bad == ()
    found = block.columns
    nan = np.nan

    def assert_same(name: str, values: list[float]) -> None:
        assert np.array_equal(found[name], np.array(values, "f4"), equal_nan=True), name

    assert_same("pmra", [nan, nan, nan, 99.99])
    assert_same("pmdec", [nan, nan, nan, -9.99])
    assert_same("teff", [9999.99, nan, 5000, nan])
    assert_same("logg", [4.0, 2.0, nan, nan])
    assert_same("fe_h", [nan, -0.5, -0.99, nan])
    assert_same("vhelio_avg", [-9.99] * N)
    assert_same("j", [9.99] * N)


def test_dr10_names_of_metallicity_are_read(tmp_path: Path) -> None:
    values = np.full(N, -0.5, "f4")
    path = allstar(tmp_path / "x.fits", without="FE_H", METALS=values, ALPHAFE=-values)
    found = read(path).columns
    assert "fe_h" not in found
    assert found["m_h"].tolist() == [-0.5] * N
    assert found["alpha_m"].tolist() == [0.5] * N
    assert found["has_labels"].all()
    with pytest.raises(BadInputError, match=r"MISSING_COLUMN.*FE_H"):
        read(allstar(tmp_path / "y.fits", without="FE_H"))


def sspp(path: Path, units: dict[str, str], **change: object) -> Path:
    """Write an ssppOut of one row."""
    columns = {
        "SPECOBJID": np.array(["1125900215274989568"]), "PLUG_RA": np.array([10.0]),
        "PLUG_DEC": np.array([1.0]), "PLATE": np.array([1000], "i2"),
        "MJD": np.array([52000], "i4"), "FIBER": np.array([1], "i2"),
        "RUN2D": np.array(["26"]), "FLAG": np.array(["nnnnn"]),
        "TEFF_ADOP": np.array([5000], "f4"), "LOGG_ADOP": np.array([4.0], "f4"),
        "FEH_ADOP": np.array([-1.0], "f4"), "RV_ADOP": np.array([-9.99], "f4"),
    }  # fmt: skip
    return write_table(path, columns | change, units)


def test_ssppout_is_read_by_the_same_units_and_sentinels(tmp_path: Path) -> None:
    path = sspp(tmp_path / "x.fits", {"TEFF_ADOP": "kK", "PLUG_RA": "rad"},
                TEFF_ADOP=np.array([5.0], "f4"), FEH_ADOP=np.array([-9.99], "f4"),
                PLUG_RA=np.radians([10.0]))  # fmt: skip
    with open_sspp(path, "dr12") as catalog:
        found = catalog.read(0, 1).columns
    assert found["teff"].tolist() == [5000.0]
    assert np.isnan(found["fe_h"]).all()
    assert found["rv_adop"].tolist() == [pytest.approx(-9.99)]
    np.testing.assert_allclose(found["ra"], [10.0], rtol=1e-14)
    path = sspp(tmp_path / "y.fits", {"RV_ADOP": "km"})
    with pytest.raises(BadInputError, match=r"BAD_UNIT.*RV_ADOP"), open_sspp(path, "dr12"):
        pass


def test_positions_of_specobj_have_units_too(tmp_path: Path) -> None:
    path = write_specobj(tmp_path / "x.fits", specobj_rows({}))
    with open_specobj(path, "dr17") as catalog:
        want = catalog.read(0, 1).columns
    with fits.open(path, mode="update") as file:
        for name in ("PLUG_RA", "PLUG_DEC"):
            file[1].data[name] = np.radians(file[1].data[name])
            file[1].header[f"TUNIT{file[1].columns.names.index(name) + 1}"] = "rad"
    with open_specobj(path, "dr17") as catalog:
        found = catalog.read(0, 1).columns
    for name in ("ra", "dec"):
        np.testing.assert_allclose(found[name], want[name], rtol=1e-14)
