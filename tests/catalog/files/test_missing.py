"""Sentinels belong to their quantity: the sentinel of one is a measurement of another."""

from __future__ import annotations

import numpy as np
import pytest

from catalog.files.missing import is_missing, is_missing_error, is_word
from catalog.files.units import Scale
from catalog.fits.cells import forget_zeros

SAME = Scale()


@pytest.mark.parametrize(("name", "missing", "values"), [
    ("teff", [-9999, -9.99, -99, -1, 0, 99.99, -999.9, 1e20, 1e30, -9998],
     [9999.99, 9999, 999, 99_999, 4000.0, 3.2e4]),
    ("logg", [-9999, -9.99, -9.999, -99.9, 99, 99.99, 999, 9999.99], [0, 9.99, 9, -0.5, 4.44]),
    ("fe_h", [-9999, -9.99, -9.999, 9.99, -99, 99.99, 9999.99, -999], [0, -0.99, -4.9, -9, 0.5]),
    ("mg_fe", [-9.99, -9999.99, 99.999], [0.3, -0.99]),
    ("vhelio_avg", [-9999, 9999.99, 99_999, -99_999], [-9.99, 99.99, 0, -999.0, 550.5]),
    ("rv_adop", [-9999, 9999.99], [-9.99, -99.9, 0]),
    ("pmra", [-9999, 9999.99, 99_999.0], [-9.99, 99.99, 0, 999.0, 6491.0]),
    ("pmdec", [-9999, 9999.99], [10_362.54, -9.99]),  # Barnard's star
    ("j", [-9999, 99.999, 99, -9.99], [9.99, 0, -1.4, 9.999]),
    ("snr", [-9999, -999, -99.99], [99.99, 999, 9999.0, 0]),
])  # fmt: skip
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_sentinel_belongs_to_its_quantity(name, missing, values, dtype):
    assert is_missing(np.array(missing, dtype), name, SAME).all()
    assert not is_missing(np.array(values, dtype), name, SAME).any()


def test_sentinels_are_those_of_the_file_and_limits_those_of_the_catalog():
    kilo = Scale(1000.0)
    assert is_missing(np.array([-9.99, 9.999, 5.5, 0.0]), "teff", kilo).tolist() == [
        True, False, False, True,
    ]  # fmt: skip
    si = Scale(1.0, 2.0)
    assert is_missing(np.array([-9.99, 2.4]), "logg", si).tolist() == [True, False]


def test_infinities_are_damage_and_no_sentinels():
    assert not is_missing(np.array([np.inf, -np.inf]), "teff", SAME).any()
    assert is_missing(np.array([np.nan]), "teff", SAME).all()


def test_errors_that_are_none():
    errors = np.array([-1, np.inf, np.nan, 9.99, 99.99, -9999, 0.1, 0])
    assert is_missing_error(errors, "fe_h", SAME).tolist() == [True] * 6 + [False] * 2
    assert is_missing_error(np.array([99.99, 9999.99, -1]), "teff", SAME).tolist() == [
        False, False, True,
    ]  # fmt: skip


def test_zeros_beside_a_teff_of_zero_are_no_labels():
    labels = {"teff": np.array([np.nan, 5000]), "logg": np.zeros(2), "fe_h": np.array([0.0, 0.0])}
    labels["m_h"] = np.array([-0.5, 0.0])
    forget_zeros(labels, np.array([True, False]))
    assert np.isnan(labels["logg"]).tolist() == [True, False]
    assert np.isnan(labels["fe_h"]).tolist() == [True, False]
    assert labels["m_h"].tolist() == [-0.5, 0.0]


@pytest.mark.parametrize("word", [
    "", " ", "--", "...", "\\N", "<NA>", "NULL", "nan", "N/A", "-", "None", "#N/A", "b''",
])  # fmt: skip
def test_words_for_no_value(word):
    assert is_word(word)


@pytest.mark.parametrize("word", ["0", "-9999", "hot", "inf", "1-", "NaCl", "no"])
def test_words_that_are_something_else(word):
    assert not is_word(word)
