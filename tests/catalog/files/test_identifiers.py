"""Identifiers in the forms in which files hold them become the one text that the catalog has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.files.identifiers import BadId, plain_id, spectrum_id, two_mass_id

NAME = "2M05320969+0011233"


@pytest.mark.parametrize("cell", [
    NAME, f"  {NAME} ", NAME.encode(), NAME.encode() + b"  ", f"b'{NAME}'", f'b"{NAME}  "',
    f"'{NAME}'", "05320969+0011233", "J05320969+0011233", "2MASS J05320969+0011233",
    "2MASSJ05320969+0011233", "2MASS_J05320969+0011233", "2m05320969+0011233", np.str_(NAME),
    np.bytes_(NAME.encode()), "\ufeff" + NAME, NAME + "\0\0",
])  # fmt: skip
def test_forms_of_a_2mass_name(cell):
    assert two_mass_id(cell) == NAME


@pytest.mark.parametrize("cell", ["AP05320969+0011233", "VESTA", "dr14/apogee.x.y.2M1", "2M1"])
def test_what_is_no_2mass_name_stays(cell):
    assert two_mass_id(cell) == cell


def test_the_minus_of_a_typesetter_is_a_minus():
    assert two_mass_id("05320969\u22120011233") == "2M05320969-0011233"


@given(st.integers(0, 2**64 - 1))
def test_forms_of_a_spectrum_id(value):
    forms = [value, str(value), f" {value} ", f"b'{value}'", f"0x{value:x}", np.uint64(value)]
    if value >= 2**63:
        forms += [value - 2**64, np.int64(value - 2**64), str(value - 2**64)]
    assert {spectrum_id(form) for form in forms} == {str(value)}


def test_keys_of_spectra_and_longer_ids_stay():
    assert spectrum_id("1000-52000-1-26") == "1000-52000-1-26"
    assert spectrum_id("11236060000027021598150202075") == "11236060000027021598150202075"


@pytest.mark.parametrize("read", [plain_id, two_mass_id, spectrum_id])
@pytest.mark.parametrize("cell", [
    "1.12590021527499E+18", "1e18", "7.0", "7.", "-1.5", 7.0, np.float32(7), True,
])  # fmt: skip
def test_what_went_through_floating_point_is_refused(read, cell):
    with pytest.raises(BadId, match="ids lose digits"):
        read(cell)


@pytest.mark.parametrize("cell", ["", "  ", "--", "nan", "NULL", b"", b"\0\0", "b''"])
def test_no_identifier(cell):
    assert plain_id(cell) == ""


def test_numbers_below_64_bits_are_refused():
    with pytest.raises(BadId, match="64-bit"):
        spectrum_id(-(2**63) - 1)
