"""Declared units in the spellings that files have: what they are worth, and which are refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from catalog.errors import BadInputError
from catalog.files.units import scale_to

FLUX, GRAVITY = "1e-17 erg/s/cm2/Angstrom", "dex(cm/s2)"


@pytest.mark.parametrize(("wanted", "factor", "spellings"), [
    (FLUX, 1.0, ["1E-17 erg/cm^2/s/Ang", "10^-17 ergs/s/cm^2/Angs", "1e-17 erg s-1 cm-2 A-1",
                 "10**(-17) erg/s/cm2/Angstrom", "1e-17erg/s/cm2/AA"]),
    (FLUX, 1e17, ["erg/s/cm2/Angstrom", "erg/(s cm2 Angstrom)", "erg/cm^2/s/A"]),
    (FLUX, 1e-4, ["10-20W/m2/um"]),
    ("deg", 1.0, ["deg", "degrees", "DEG"]),
    ("deg", 180 / math.pi, ["rad", "radians"]),
    ("deg", 1 / 3600, ["arcsec", "arcseconds"]),
    ("K", 1000.0, ["kK", "1000 K", "10**3 K"]),
    ("mas/yr", 1.0, ["mas/yr", "mas.yr-1", "mas yr^-1", "MAS/YR", "mas/year"]),
    ("mas/yr", 1000.0, ["arcsec/yr"]),
    ("km/s", 1.0, ["km/s", "km.s**-1", "KM/S", "kms-1"]),
    ("km/s", 0.001, ["m/s"]),
    ("mag", 1.0, ["mag", "Vega", "mag(AB)"]),
    ("mag", 0.001, ["mmag"]),
    ("dex", 1.0, ["dex", "[-]", "[Sun]", "dex(Sun)", "log(Sun)", "solar", "[sun]", "Sun"]),
    (GRAVITY, 1.0, ["[cm/s2]", "log(cm.s**-2)", "log10(cm/s^2)", "log (cgs)", "dex(cm/s2)",
                    "dex(cm / s2)", "log(cm s-2)", "log10(cm s^-2)", "dex", "cgs"]),
])  # fmt: skip
def test_spellings_of_one_unit(wanted: str, factor: float, spellings: list[str]) -> None:
    for spelling in spellings:
        scale = scale_to(spelling, wanted, "column x")
        assert (scale.factor, scale.offset) == (pytest.approx(factor, rel=1e-15), 0), spelling
        assert not scale.assumed


@pytest.mark.parametrize(("wanted", "unit"), [
    ("K", "km"), ("K", "deg_C"), ("K", "dex(K)"), ("K", "pint"), ("deg", '"h:m:s"'), ("K", "s"),
    ("mas/yr", "mas"), ("km/s", "km"), ("mag", "nmgy"), (FLUX, "nanomaggy"), (FLUX, "counts"),
    ("dex", "mag"), ("dex", "%"), ("dex", "[cm/s2]"), (GRAVITY, "cm/s2"), (GRAVITY, "m / s2"),
    (GRAVITY, "[K]"), (GRAVITY, "K"),
])  # fmt: skip
def test_what_is_no_unit_of_the_quantity(wanted: str, unit: str) -> None:
    with pytest.raises(BadInputError, match="column x of f") as refused:
        scale_to(unit, wanted, "column x of f")
    assert refused.value.reason_code == "BAD_UNIT"
    assert unit.strip('"') in refused.value.reason
    assert refused.value.todo


def test_gravity_itself_is_told_from_its_logarithm() -> None:
    with pytest.raises(BadInputError, match=r"If it holds logarithms.*\[cm/s2\] or dex\(cm/s2\)"):
        scale_to("cm/s2", GRAVITY, "column logg")
    for spelling in ("dex(m/s2)", "[m/s2]", "log10(m.s**-2)"):
        scale = scale_to(spelling, GRAVITY, "column logg")
        assert scale.value(np.array([0.4])) == pytest.approx([2.4])
        assert scale.error(np.array([0.1])) == pytest.approx([0.1])


def test_hours_are_angles_of_right_ascensions_only() -> None:
    for unit in ("h", "hours", "hourangle"):
        scale = scale_to(unit, "deg", "column RA", right_ascension=True)
        assert scale.value(np.array([1.0, 23.5])).tolist() == [15.0, 352.5]
    with pytest.raises(BadInputError, match="BAD_UNIT"):
        scale_to("h", "deg", "column DEC")


def test_no_unit_leaves_the_numbers_and_says_so() -> None:
    numbers = np.array([1.0])
    for unit in (None, "", " ", "---"):
        scale = scale_to(unit, "K", "column teff")
        assert scale.assumed
        assert scale.value(numbers) is numbers
