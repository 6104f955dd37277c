"""specObjID: exact beyond 2**53 and 2**63, and the ids of real spectra."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.surveys.specobjid import pack_specobjid, parse_ids, run2d_code, unpack_specobjid


@given(
    plate=st.integers(1, 2**14 - 1),
    mjd=st.integers(50_000, 50_000 + 2**14 - 1),
    fiberid=st.integers(1, 2**12 - 1),
    run2d=st.integers(0, 2**14 - 1),
)
def test_pack_and_unpack_are_inverse(plate: int, mjd: int, fiberid: int, run2d: int) -> None:
    packed = pack_specobjid(plate, mjd, fiberid, str(run2d))
    assert packed is not None
    assert (packed >= 2**63) == (plate >= 8192)
    parts = unpack_specobjid(np.array([packed], np.uint64))
    assert [int(part[0]) for part in parts] == [plate, mjd, fiberid, run2d]
    ids, good = parse_ids(np.array([str(packed).encode()]))
    assert good.tolist() == [True]
    assert int(ids[0]) == packed


@given(st.integers(0, 2**64 - 1))
def test_decimal_text_is_read_exactly(value: int) -> None:
    ids, good = parse_ids(np.array([str(value).encode()]))
    assert good[0]
    assert int(ids[0]) == value
    assert ids.astype("S20")[0] == str(value).encode()


@given(st.one_of(st.integers(2**64, 10**22 - 1), st.integers(-(10**20), -(2**63) - 1)))
def test_numbers_beyond_64_bits_are_refused(value: int) -> None:
    ids, good = parse_ids(np.array([str(value).encode()]))
    assert (good.tolist(), ids.tolist()) == ([False], [0])


@pytest.mark.parametrize("text", [b"", b"1.2345e+18", b"12 34", b"nan", b"0xG", b"+-12", b"\xb9"])
def test_what_is_no_number_is_refused(text: bytes) -> None:
    assert not parse_ids(np.array([text, b"12"]))[1][0]


@given(st.integers(2**63, 2**64 - 1))
def test_ids_of_a_signed_column_and_in_hexadecimal_are_the_same_ids(value: int) -> None:
    forms = [str(value - 2**64), f"0x{value:016x}", f"0X{value:X}", f"b'{value}'", f"'{value}'"]
    ids, good = parse_ids(np.array([form.encode() for form in forms]))
    assert good.all()
    assert {int(i) for i in ids} == {value}


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ((266, 51602, 31, "26"), 299497923312379904),
        ((3586, 55181, 500, "v5_10_0"), 4037614591814901760),
        ((7454, 56751, 770, "v5_7_0"), 8392669674856968192),
    ],
)
def test_real_ids(key: tuple[int, int, int, str], expected: int) -> None:
    assert pack_specobjid(*key) == expected


def test_plate_8192_is_where_signed_integers_end() -> None:
    assert pack_specobjid(8191, 57000, 1, "26") < 2**63  # type: ignore[operator]
    assert pack_specobjid(8192, 57000, 1, "26") >= 2**63  # type: ignore[operator]


@pytest.mark.parametrize(("run2d", "code"), [("v5_13_2", 1302), ("103", 103), ("master", None)])
def test_run2d_code(run2d: str, code: int | None) -> None:
    assert run2d_code(run2d) == code


@pytest.mark.parametrize(
    "key", [(16384, 55000, 1, "26"), (1, 49999, 1, "26"), (1, 55000, 4096, "26")]
)
def test_what_does_not_fit_its_bits_has_no_id(key: tuple[int, int, int, str]) -> None:
    assert pack_specobjid(*key) is None
