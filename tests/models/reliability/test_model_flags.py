"""Flags: where a model should not be believed, on real spectra and by hand-made numbers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from benchmarks import flags as benchmark
from benchmarks.real_spectra import RECIPE, read_spectra
from models.core.records import Predictions, TrainSpec
from models.presets import default
from models.reliability import applicability_domain
from models.reliability.flags import (
    BIT,
    FLAG_BITS,
    fit_limits,
    limit_flags,
    mark_trained_on,
    spectrum_flags,
)

QUICK = {
    "default": {"members": 2, "components": 32, "epochs": 120, "options": {"process": 0.0}},
    "cannon": {},
}


@pytest.fixture(scope="module")
def halves(kit):
    """Spectra to train on, and the others."""
    data = read_spectra(None, 0)
    stars = np.random.default_rng(0).permutation(np.unique(data.group))[:400]
    seen = np.isin(data.group, stars)
    return benchmark.part(data, seen), benchmark.part(data, ~seen)


@pytest.mark.kit
@pytest.mark.parametrize("preset", ["cannon", "default"])
def test_odd_spectra_are_flagged_and_good_ones_are_not(preset, halves, monkeypatch):
    monkeypatch.setattr(default, "UPDATES_PER_CHUNK", 10_000)
    seen, unseen = halves
    spec = TrainSpec(preset, seen.names, RECIPE.name, folds=5, **QUICK[preset])
    kinds = benchmark.count(benchmark.train(spec, seen), unseen, 40)
    benchmark.report(kinds)
    flagged = {name: float(np.mean(found.flags != 0)) for name, found in kinds.items()}
    assert flagged.pop("good stars, unseen") <= 0.05
    assert min(flagged.values()) >= 0.95, flagged


def test_every_bit_has_a_name_of_its_own_and_a_meaning():
    names = [name for name, _ in FLAG_BITS.values()]
    assert len(set(names)) == len(names)
    assert list(FLAG_BITS) == list(range(len(FLAG_BITS)))
    assert all(BIT[name] == 1 << bit for bit, (name, _) in FLAG_BITS.items())
    assert all(len(meaning) > 20 for _, meaning in FLAG_BITS.values())


def numbers(n, **changes):
    """Predictions of n good spectra."""
    rng = np.random.default_rng(0)
    found = Predictions.empty(n, 2)
    values = rng.uniform(0.0, 1.0, (n, 2))
    return dataclasses.replace(
        found,
        values=values,
        linear=values[:, None] + 0.05 * rng.standard_normal((n, 2, 2)),
        ensemble_std=rng.uniform(0.01, 0.02, (n, 2)),
        distance=rng.uniform(4.0, 6.0, n),
        chi2=rng.uniform(0.8, 1.2, n),
        **changes,
    )


def named(flags):
    return [sorted(name for name, bit in BIT.items() if f & bit) for f in flags]


def test_each_limit_has_its_bit_and_holds_for_what_it_was_fitted_to():
    found, snr = numbers(1000), np.geomspace(20.0, 300.0, 1000)
    limits = fit_limits(found, snr, found.values)
    flags = limit_flags(limits, found, snr)
    for name in ("FAR_FROM_TRAINING", "HIGH_CHI2", "DISAGREEMENT", "OUT_OF_RANGE"):
        assert 0 < np.mean(flags & BIT[name] != 0) <= 0.03
    odd = found.take(np.full(6, np.argmin(np.abs(found.values - 0.5).max(axis=1))))
    odd.distance[1], odd.chi2[2], odd.ensemble_std[3, 1] = 20.0, 3.0, 0.2
    odd.linear[4, 0, 0] = 1.4
    odd.linear[5, 1, 1] = -0.4
    assert named(limit_flags(limits, odd, np.full(6, 60.0))) == [
        [],
        ["FAR_FROM_TRAINING"],
        ["HIGH_CHI2"],
        ["DISAGREEMENT"],
        ["OUT_OF_RANGE"],
        ["OUT_OF_RANGE"],
    ]


def test_limits_follow_what_is_usual_at_an_s_n():
    """Chi-square grows with S/N where a basis leaves something unexplained: that is no flag."""
    rng = np.random.default_rng(1)
    snr = np.geomspace(20.0, 500.0, 2000)
    usual = 0.8 + snr / 100.0
    found = dataclasses.replace(numbers(2000), chi2=usual * np.exp(0.1 * rng.standard_normal(2000)))
    limits = fit_limits(found, snr, found.values)
    high = limit_flags(limits, found, snr) & BIT["HIGH_CHI2"] != 0
    assert high.mean() <= 0.01
    spoilt = dataclasses.replace(found, chi2=2.0 * usual)
    assert (limit_flags(limits, spoilt, snr) & BIT["HIGH_CHI2"] != 0).mean() > 0.95


def test_a_model_without_an_ensemble_or_chi_square_is_judged_by_the_rest():
    nothing = np.full((200, 2), np.nan)
    found = dataclasses.replace(
        numbers(200), ensemble_std=nothing, chi2=nothing[:, 0], sigma=nothing
    )
    snr = np.full(200, 50.0)
    limits = fit_limits(found, snr, found.values)
    assert not {"limit/chi2", "limit/spread"} & set(limits)
    odd = found.take(np.zeros(2, np.int64))
    odd.distance[1] = 30.0
    assert named(limit_flags(limits, odd, snr[:2])) == [[], ["FAR_FROM_TRAINING"]]


@pytest.mark.parametrize("n", [0, 1, 5])
def test_hardly_any_spectra_still_give_limits(n):
    found = numbers(n)
    limits = fit_limits(found, np.full(n, 50.0), found.values)
    assert not limit_flags(limits, found, np.full(n, 50.0)).any()


def test_unknown_numbers_are_within_all_limits():
    found, snr = numbers(300), np.full(300, 50.0)
    limits = fit_limits(found, snr, found.values)
    assert not limit_flags(limits, Predictions.empty(4, 2), np.zeros(4)).any()


def test_spectra_are_flagged_for_how_much_there_is_to_read():
    ivar = np.full((5, 100), 50.0**2, np.float32)
    ivar[1] = 10.0**2
    ivar[2, :30] = 0.0
    ivar[3, 50:] = 0.0
    ivar[4] = 0.0
    flags = spectrum_flags(ivar, np.array([50.0, 10.0, 50.0, 50.0, 0.0]))
    assert named(flags) == [
        [], ["LOW_SNR"], ["MASKED"], ["MASKED", "MISSING_ARM"],
        ["LOW_SNR", "MASKED", "MISSING_ARM", "NO_INFORMATION"],
    ]  # fmt: skip


def test_known_spectra_are_not_judged_by_what_a_model_knows_of_them():
    judged = BIT["FAR_FROM_TRAINING"] | BIT["HIGH_CHI2"] | BIT["DISAGREEMENT"]
    flags = np.array([judged | BIT["LOW_SNR"], judged | BIT["LOW_SNR"]])
    marked = mark_trained_on(flags, np.array([True, False]))
    assert named(marked) == [["LOW_SNR", "TRAINED_ON"], named(flags)[1]]


def bent(label, rng):
    """Spectra whose lines grow ever more slowly, and others that turn back where training ends."""
    first = 2.0 * label - 0.2 * label**2
    second = np.where(label < 2.0, 0.4 * label**2, 6.4 - 2.4 * label)
    return np.stack([first, second], axis=1) + 0.05 * rng.standard_normal((label.size, 2))


def test_the_coarse_fit_goes_on_where_bent_spectra_mislead_the_fine_one():
    rng = np.random.default_rng(0)
    labels = rng.uniform(-3.0, 2.0, 500)
    model = applicability_domain.fit(bent(labels, rng), labels[:, None])
    beyond = bent(np.full(100, 4.0), rng)
    fine, coarse = applicability_domain.linear_labels(model, beyond)[:, :, 0].T
    assert np.median(fine) < labels.max() < np.median(coarse) < 4.5


def test_the_longest_axis_is_that_of_the_spectra_whatever_their_coordinates():
    """Coordinates of a basis that is not orthonormal come with a metric."""
    rng = np.random.default_rng(0)
    spectra = rng.standard_normal((300, 4)) * [5.0, 2.0, 1.0, 0.5]
    labels = spectra[:, :1] + 0.1 * rng.standard_normal((300, 1))
    basis = rng.standard_normal((4, 4))  # spectra = coordinates @ basis
    coordinates = spectra @ np.linalg.inv(basis)
    plain = applicability_domain.fit(spectra, labels)
    other = applicability_domain.fit(coordinates, labels, basis @ basis.T)
    expected = applicability_domain.linear_labels(plain, spectra)[:, 1]
    found = applicability_domain.linear_labels(other, coordinates)[:, 1]
    assert np.corrcoef(found[:, 0], expected[:, 0])[0, 1] > 0.99
    assert np.corrcoef(found[:, 0], labels[:, 0])[0, 1] > 0.95


def test_the_linear_fit_goes_on_beyond_the_training_labels_and_heeds_no_outliers():
    rng = np.random.default_rng(0)
    points = rng.standard_normal((400, 20)) * np.geomspace(3.0, 0.1, 20)
    slopes = rng.standard_normal((5, 2))
    labels = points[:, :5] @ slopes + [5800.0, -0.5]
    wrong = np.argsort(labels[:, 0])[-12:]  # the highest of the first label are said to be low
    spoilt = labels + 0.05 * rng.standard_normal(labels.shape)
    spoilt[wrong, 0] -= 15.0
    spoilt[::9, 1] = np.nan
    model = applicability_domain.fit(points, spoilt)
    far = 3.0 * points
    truth = far[:, :5] @ slopes + [5800.0, -0.5]
    linear = applicability_domain.linear_labels(model, far)[:, 0]
    np.testing.assert_allclose(linear, truth, atol=1.0)
    near = np.median(applicability_domain.distance(model, points))
    assert near == pytest.approx(20**0.5, rel=0.1)
    assert applicability_domain.distance(model, far).mean() > 12.0
