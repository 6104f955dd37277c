"""The selection of pairs, on rows made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from catalog.errors import UsageError
from catalog.sky.vectors import offset_position, separation_arcsec
from catalog.surveys.registry import SURVEYS
from jobs.samples.candidates import Candidates
from jobs.samples.counts import count_rows, label_differences, summarise
from jobs.samples.options import bad_bits, make_rules, rules_in_words
from jobs.samples.rules import PRESETS, REASONS, CleanRules, SeedRules
from models.spectra.lines import LIGHT_SPEED

BAD_BITS = bad_bits(SURVEYS["apogee"], CleanRules().aspcap_bad)
RA, DEC = 359.99999, 60.0  # the hand-made stars straddle right ascension 0


def make(*rows: dict) -> Candidates:
    """Pairs that pass every test, save for what the rows say.

    ``at`` is the fibre's offset (east, north) ["] from one place, and the separation unless
    ``sep`` gives it.
    """
    columns: dict[str, list] = {}
    for i, row in enumerate(rows):
        full = {
            "left": 1,
            "right": 100 + i,
            "star": row.get("left", 1),
            "at": (0.1, 0.0),
            "sep": None,
            "main": True,
            "reference": (4500.0, 2.0, -0.5),
            "compared": (4500.0, 2.0, -0.5),
            "flag": 0,
            "rv": 10.0,
            "state": "ok",
            "instrument": "SDSS",
            "class": "STAR",
            "superseded": False,
            "z": 10.0 / LIGHT_SPEED,
            "sn": 50.0,
            "bad": 0.01,
        } | row
        for name, value in full.items():
            columns.setdefault(name, []).append(value)
    at = np.array(columns["at"], dtype=float)
    ra, dec = offset_position(np.full(len(rows), RA), np.full(len(rows), DEC), at[:, 0], at[:, 1])
    sep = separation_arcsec(RA, DEC, ra, dec).tolist()
    sep = [a if b is None else b for a, b in zip(sep, columns["sep"], strict=True)]
    return Candidates(
        left_id=np.array(columns["left"]),
        right_id=np.array(columns["right"]),
        star_id=np.array(columns["star"]),
        sep_arcsec=np.array(sep, dtype=float),
        right_ra=ra,
        right_dec=dec,
        is_main=np.array(columns["main"]),
        reference=np.array(columns["reference"], dtype=float),
        compared=np.array(columns["compared"], dtype=float),
        is_flagged=(np.array(columns["flag"]) & BAD_BITS) != 0,
        radial_velocity=np.array(columns["rv"], dtype=float),
        spectrum_state=np.array(columns["state"]),
        instrument=np.array(columns["instrument"]),
        object_class=np.array(columns["class"]),
        superseded=np.array(columns["superseded"]),
        z=np.array(columns["z"], dtype=float),
        sn_median=np.array(columns["sn"], dtype=float),
        bad_fraction=np.array(columns["bad"], dtype=float),
    )


def reasons(preset: str, *rows: dict) -> list[str]:
    return PRESETS[preset].judge(make(*rows)).reason.tolist()


NAN = np.nan
NO_LABELS = (NAN, NAN, NAN)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_good_pair_is_accepted_and_reasons_are_explained(preset):
    assert reasons(preset, {}) == [""]
    assert set(PRESETS[preset].reasons) <= set(REASONS)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"main": False}, "DUPLICATE"),
        ({"reference": (4500.0, NAN, -0.5)}, "NO_LABELS"),
        ({"superseded": True}, "OLD_REDUCTION"),
        ({"state": ""}, "NO_SPECTRUM"),
        ({"state": "ZERO_SPECTRUM"}, "ZERO_SPECTRUM"),
        ({"state": "NO_GOOD_PIXELS"}, "NO_GOOD_PIXELS"),
    ],
)
def test_what_both_presets_reject(preset, row, reason):
    assert reasons(preset, row) == [reason]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"flag": 1 << 23}, "ASPCAP_FLAG"),
        ({"flag": 1 << 16}, "ASPCAP_FLAG"),
        ({"flag": 1 << 17 | 1}, "ASPCAP_FLAG"),
        ({"flag": 1 << 19}, "ASPCAP_FLAG"),
        ({"flag": 1 << 7 | 1 << 11 | 1}, ""),  # warnings
        ({"class": "QSO"}, "NOT_A_STAR"),
        ({"class": ""}, ""),
        ({"rv": 75.0}, "RV_MISMATCH"),
        ({"rv": -55.0}, "RV_MISMATCH"),
        ({"rv": 65.0}, ""),
        ({"rv": NAN}, ""),
        ({"z": NAN}, ""),
        ({"sn": 9.0}, "LOW_SNR"),
        ({"sn": NAN}, ""),
        ({"bad": 0.3}, "BAD_PIXELS"),
        # The first reason in the order of the rules, not the first in the row.
        ({"bad": 0.3, "sn": 1.0, "flag": 1 << 23}, "ASPCAP_FLAG"),
        # A label far off is what the sample must show, not hide.
        ({"compared": (9000.0, 5.0, 0.5)}, ""),
        ({"compared": NO_LABELS}, ""),
    ],
)
def test_clean(row, reason):
    assert reasons("clean", row) == [reason]


def test_clean_accepts_repeats_at_one_position():
    rows = [{"at": (0.1, 0)}, {"at": (0.3, 0)}, {"at": (0.1, 0.3)}]
    assert reasons("clean", *rows) == ["", "", ""]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("at", [(0.1, 0), (0.9, 0)])
def test_a_replaced_reduction_does_not_stand_in_the_way(preset, at):
    """Neither where it is listed first, nor where its position was another."""
    rows = [{"superseded": True, "at": (0.1, 0)}, {"at": at}]
    assert reasons(preset, *rows) == ["OLD_REDUCTION", ""]


def test_clean_rejects_the_star_when_candidates_lie_apart():
    """A chance neighbour nearer than the truth: nothing in the positions tells them apart."""
    rows = [{"at": (0.3, 0)}, {"at": (-1.2, 0)}, {"left": 2, "at": (5.0, 5.0), "sep": 0.1}]
    assert reasons("clean", *rows) == ["AMBIGUOUS", "AMBIGUOUS", ""]
    # The notebook takes the nearest.
    assert reasons("seed-2018", *rows) == ["", "NOT_NEAREST", ""]


def test_clean_and_two_stars_at_one_spectrum():
    near, tied, far = ({"left": i, "right": 7, "sep": s} for i, s in [(1, 0.2), (2, 0.6), (3, 1.5)])
    assert reasons("clean", near, tied) == ["AMBIGUOUS", "AMBIGUOUS"]
    assert reasons("clean", near, far) == ["", "AMBIGUOUS"]
    # Another row of the same star, and a duplicate row, are no rivals.
    assert reasons("clean", near, tied | {"star": 1, "main": False}) == ["", "DUPLICATE"]
    # A rival without labels is one all the same.
    unlabelled = tied | {"reference": NO_LABELS}
    assert reasons("clean", near, unlabelled) == ["AMBIGUOUS", "NO_LABELS"]


def test_one_doubtful_spectrum_rejects_all_of_the_star():
    rows = [
        {"left": 1, "right": 7, "at": (0.1, 0)},
        {"left": 1, "right": 8, "at": (0.3, 0)},
        {"left": 2, "right": 8, "at": (0.3, 0), "sep": 0.4},
    ]
    assert reasons("clean", *rows) == ["AMBIGUOUS"] * 3


def test_seed_rejects_a_spectrum_nearest_to_two_stars():
    rows = [{"left": 1, "right": 7, "sep": 0.2}, {"left": 2, "right": 7, "sep": 1.5}]
    assert reasons("seed-2018", *rows) == ["AMBIGUOUS", "AMBIGUOUS"]


def test_of_equally_near_spectra_the_first_listed_counts():
    rows = [{"right": 9, "sep": 0.2}, {"right": 3, "sep": 0.2}]
    assert reasons("seed-2018", *rows) == ["", "NOT_NEAREST"]


def test_seed_distance_by_hand():
    """Four stars with both labels give the scales; the numbers were worked out on paper."""
    rows = [
        {"left": 1, "compared": (4600.0, 2.2, -0.4), "sep": 0.05},
        {"left": 2, "compared": (4400.0, 1.8, -0.6), "sep": 0.2},
        {"left": 3, "compared": (4600.0, 2.2, -0.4), "sep": 0.3},
        {"left": 4, "compared": (4400.0, 1.8, -0.6), "sep": 0.4},
        {"left": 5, "compared": NO_LABELS, "sep": 0.1},
        {"left": 6, "compared": NO_LABELS, "sep": 0.3},
        {"left": 7, "compared": (NAN, 2.0, -0.5), "sep": 0.5},
    ]
    # Standard deviations: teff 100, logg sqrt(4 * .2^2 / 5) and fe_h sqrt(4 * .1^2 / 5) with the
    # zero of star 7.
    scale = np.sqrt(0.8)
    one = 1 + 1 / scale + 2 / scale
    verdict = SeedRules().judge(make(*rows))
    expected = [one + 0.1, one + 0.4, one + 0.6, one + 0.8, 4.2, 4.6, 1 + 1.0]
    np.testing.assert_allclose(verdict.label_distance, expected, rtol=1e-12)
    far = "LABEL_DISTANCE"
    assert verdict.reason.tolist() == [far if d >= 4.5 else "" for d in expected]
    assert verdict.reason.tolist() == ["", far, far, far, "", far, ""]


def test_seed_scales_ignore_pairs_rejected_before():
    """A wild difference of a rejected pair must not widen the scale of the others."""
    good = [
        {"left": i, "compared": (4500.0 + (-1) ** i * 50, 2.0, -0.5), "sep": 0.1} for i in (1, 2)
    ]
    wild = {"left": 9, "compared": (9500.0, 2.0, -0.5), "state": "ZERO_SPECTRUM"}
    alone = SeedRules().judge(make(*good)).label_distance
    beside = SeedRules().judge(make(*good, wild)).label_distance
    np.testing.assert_array_equal(beside[:2], alone)
    np.testing.assert_allclose(alone, 1.2)
    assert np.isnan(beside[2])


def test_numbers_of_the_rules_are_used():
    assert SeedRules(max_distance=0.1).judge(make({"at": (0.3, 0)})).reason == ["LABEL_DISTANCE"]
    assert CleanRules(min_sn=60).judge(make({})).reason == ["LOW_SNR"]
    assert bad_bits(SURVEYS["apogee"], ()) == bad_bits(SURVEYS["lamost"], ("STAR_BAD",)) == 0
    assert bad_bits(SURVEYS["apogee"], ("STAR_BAD", "TEFF_BAD")) == 1 << 23 | 1 << 16


@pytest.mark.parametrize("rules", PRESETS.values(), ids=PRESETS)
def test_only_the_instruments_that_were_asked_for(rules):
    pairs = make({"instrument": "BOSS"}, {"left": 2, "at": (60.0, 0.0), "sep": 0.1})
    assert rules.judge(pairs).reason.tolist() == ["", ""]
    only = replace(rules, instruments=("SDSS",)).judge(pairs)
    assert only.reason.tolist() == ["OTHER_INSTRUMENT", ""]
    both = replace(rules, instruments=("SDSS", "BOSS")).judge(pairs)
    assert both.reason.tolist() == ["", ""]


def test_temperature_range_is_inclusive():
    pairs = make({}, {"reference": (4600.0, 2.0, -0.5)}, {"reference": (4700.0, 2.0, -0.5)})
    judged = CleanRules(min_teff=4600.0, max_teff=4600.0).judge(pairs)
    assert judged.reason.tolist() == ["TEFF_RANGE", "", "TEFF_RANGE"]


def test_a_star_needs_no_more_labels_than_asked_for():
    pairs = make({"reference": (4500.0, 2.0, NAN)}, {"reference": (4500.0, NAN, NAN)})
    judged = CleanRules(needs=("teff", "logg")).judge(pairs)
    assert judged.reason.tolist() == ["", "NO_LABELS"]
    assert CleanRules().judge(pairs).reason.tolist() == ["NO_LABELS", "NO_LABELS"]


def test_options_become_rules():
    rules = make_rules("clean", {"min_sn": 30.0, "max_teff": None, "instruments": ("SDSS",)})
    assert rules == CleanRules(min_sn=30.0, instruments=("SDSS",))
    assert rules_in_words(rules, "clean") == "min_sn 30.0, instruments SDSS"
    assert rules_in_words(PRESETS["clean"], "clean") == ""
    with pytest.raises(UsageError, match="no instrument APOGEE"):
        make_rules("clean", {"instruments": ("APOGEE",)})
    with pytest.raises(UsageError, match="no bit of ASPCAPFLAG BAD"):
        make_rules("clean", {"aspcap_bad": ("BAD",)})
    for needs in ((), ("mass",)):
        with pytest.raises(UsageError, match=r"without any label|no main label mass"):
            make_rules("clean", {"needs": needs})
    with pytest.raises(UsageError, match="seed-2018 are not selected by min_sn"):
        make_rules("seed-2018", {"min_sn": 30.0})


def test_no_pairs_at_all():
    empty = make({})
    empty = Candidates(**{k: v[:0] for k, v in vars(empty).items()})
    for rules in PRESETS.values():
        assert rules.judge(empty).reason.size == 0


def test_columns_of_two_lengths_are_refused():
    with pytest.raises(ValueError, match="differ in length"):
        replace(make({}), z=np.zeros(2))


def test_every_row_ends_once_and_the_sums_are_exact():
    rows = [
        {"left": 1, "at": (0.1, 0)},
        {"left": 1, "at": (0.2, 0), "sn": 1.0},  # accepted all the same, by its other spectrum
        {"left": 2, "at": (0.1, 0), "state": ""},
        {"left": 2, "at": (0.2, 0), "sn": 1.0},  # came farther than the one without spectrum
        {"left": 3, "main": False, "star": 1, "right": 100},
        {"left": 4, "reference": NO_LABELS},
    ]
    pairs, rules = make(*rows), CleanRules()
    reason = rules.judge(pairs).reason
    left_id = np.array([6, 5, 4, 3, 2, 1])
    is_main = np.array([False, True, True, False, True, True])
    labelled = np.array([True, True, False, True, True, True])
    counted = count_rows(left_id, is_main, labelled, pairs, reason, rules.reasons)
    ends = {"DUPLICATE": 2, "NO_LABELS": 1, "NO_CANDIDATE": 1, "LOW_SNR": 1, "accepted": 1}
    assert {k: v for k, v in counted.items() if v} == ends

    counts = summarise((left_id, is_main, labelled), 3, pairs, reason, rules.reasons)
    for part, total in (("rows", 9), ("pairs", 6)):
        assert counts[part].pop("total") == total == sum(counts[part].values())
    assert counts["pairs"]["accepted"] == 1
    assert counts["differences"]["before"]["pairs"] == 1
    assert counts["differences"]["after"]["pairs"] == 1


def test_differences_by_hand():
    offsets = [0.0, 1.0, 2.0, 9.0]
    pairs = make(
        *({"left": i, "compared": (4500 + d, 2.0, NAN)} for i, d in enumerate(offsets, start=1))
    )
    found = label_differences(pairs, np.array([True, True, True, True]))
    assert found["teff"] == {
        "n": 4,
        "median": 1.5,
        "sigma_mad": pytest.approx(1.4826, rel=1e-6),
        "mean": 3.0,
        "mean_abs_dev": 3.0,
    }
    assert found["logg"]["sigma_mad"] == 0.0
    assert found["fe_h"] == {
        "n": 0, "median": None, "sigma_mad": None, "mean": None, "mean_abs_dev": None
    }  # fmt: skip
    assert label_differences(pairs, np.array([True, False, False, False]))["teff"]["n"] == 1
