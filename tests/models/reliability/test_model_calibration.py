"""Calibrated errors: intervals that hold what they promise, and never more than data can show."""

from __future__ import annotations

import numpy as np
import pytest

from models.core import metrics
from models.predict import median_snr
from models.reliability import calibration as uncertainty
from models.reliability import quantile_regression
from models.reliability.calibration import CalibrationFeatures, calibrate, fit_calibration

NAMES = ("teff", "logg", "fe_h")
SIZES = np.array([50.0, 0.1, 0.05])


def draw(n, seed, names=NAMES):
    """Predictions whose true errors depend on S/N, on giant or dwarf, on distance; long tails."""
    rng = np.random.default_rng(seed)
    snr = np.exp(rng.normal(4.3, 0.7, n))
    giant = rng.random(n) < 0.2
    logg = np.where(giant, rng.uniform(1.0, 3.3, n), rng.uniform(3.8, 4.8, n))
    values = np.column_stack([rng.uniform(4200, 7300, n), logg, rng.uniform(-2, 0.4, n)])
    distance = np.exp(rng.normal(2.0, 0.3, n)) * np.where(giant, 2.0, 1.0)
    sigma = SIZES * np.exp(rng.normal(0.0, 0.3, (n, 3)))
    kind = np.where(giant, 3.0, 1.5) if "logg" in names else 2.0
    factor = (1.0 + 40.0 / snr) * kind * distance / 8.0
    delta = sigma * factor[:, None] * rng.standard_t(3, (n, 3))
    chosen = [NAMES.index(name) for name in names]
    found = CalibrationFeatures(
        values[:, chosen], sigma[:, chosen], snr, distance, np.full(n, np.nan)
    )
    return found, delta[:, chosen], giant


def fit(found, delta, error=None, names=NAMES):
    error = np.full(delta.shape, np.nan) if error is None else error
    return fit_calibration(names, found, delta, error, np.arange(delta.shape[0]) % 10)


@pytest.mark.parametrize("names", [NAMES, ("teff", "fe_h")], ids=["logg", "no-logg"])
def test_intervals_hold_what_they_promise_for_all_kinds_of_spectra(names):
    """Giants and dwarfs where log g tells them apart; near and far ones where it is not learned."""
    found, delta, _ = draw(2500, 0, names)
    model = fit(found, delta, names=names)
    new, truth, giant = draw(8000, 1, names)
    if "logg" not in names:
        giant = new.distance > np.quantile(new.distance, 0.7)
    sigma, half95 = calibrate(names, model, new)
    quartile = np.searchsorted(np.quantile(new.snr, [0.25, 0.5, 0.75]), new.snr)
    for kind in (giant, ~giant):
        for cell in (kind & (quartile == q) for q in range(4)):
            inside = np.abs(truth[cell]) < sigma[cell]
            np.testing.assert_allclose(inside.mean(axis=0), 0.683, atol=0.08)
            inside = np.abs(truth[cell]) < half95[cell]
            np.testing.assert_allclose(inside.mean(axis=0), 0.95, atol=0.035)
    assert (half95 > 2.0 * sigma).mean() > 0.9  # what long tails need


def test_few_stars_still_give_intervals_that_hold():
    """120 spectra, two dozen giants: right on average over samples."""
    covered = []
    new, truth, giant = draw(4000, 99)
    for seed in range(20):
        found, delta, _ = draw(120, seed)
        sigma, half95 = calibrate(NAMES, fit(found, delta), new)
        hits = (np.abs(truth) < sigma, np.abs(truth) < half95)
        covered.append([[hit[kind].mean() for hit in hits] for kind in (giant, ~giant)])
    for kind in np.mean(covered, axis=0):
        np.testing.assert_allclose(kind, [0.683, 0.95], atol=0.04)


def test_a_reference_with_errors_of_its_own_is_taken_out_of_both_intervals():
    rng = np.random.default_rng(0)
    found, _, _ = draw(6000, 3)
    error = np.broadcast_to(SIZES, (6000, 3)) * rng.uniform(0.5, 1.0, (6000, 1))
    delta = np.hypot(2.0 * found.sigma, error) * rng.standard_normal((6000, 3))
    sigma, half95 = calibrate(NAMES, fit(found, delta, error), found)
    np.testing.assert_allclose(np.median(sigma / found.sigma, axis=0), 2.0, rtol=0.1)
    np.testing.assert_allclose(np.median(half95 / found.sigma, axis=0), 2.0 * 1.96, rtol=0.1)
    pulls = metrics.pull(delta, sigma, error)
    assert metrics.coverage(pulls) == pytest.approx(0.683, abs=0.02)


@pytest.mark.parametrize("seed", range(4))
def test_a_noisy_reference_does_not_prove_small_errors(seed):
    """Known labels with errors of 60 hide predictions that are good to 25: no less is claimed."""
    rng = np.random.default_rng(seed)
    n, truth, reference = 150, 25.0, 60.0
    logg = rng.uniform(1.0, 3.0, (n, 1))
    sigma = np.full((n, 1), 5.0)  # an error head learns little where the labels are noisy
    found = CalibrationFeatures(logg, sigma, rng.uniform(20, 60, n), np.ones(n), np.ones(n))
    delta = np.hypot(truth, reference) * rng.standard_normal((n, 1))
    error = np.full((n, 1), reference)
    stated, _ = calibrate(("logg",), fit(found, delta, error, ("logg",)), found)
    assert 0.7 * truth < stated.min()
    assert np.median(stated) < 3.0 * truth
    many = np.tile(np.arange(n), 60)
    enough = fit(found.take(many), delta[many], error[many], ("logg",))
    assert calibrate(("logg",), enough, found)[0].min() < stated.min()


def test_errors_follow_the_raw_errors_and_the_wider_interval_is_wider():
    found, delta, _ = draw(1000, 0)
    model = fit(found, delta)
    twice = CalibrationFeatures(
        found.values, 2.0 * found.sigma, found.snr, found.distance, found.chi2
    )
    for small, large in zip(
        calibrate(NAMES, model, found), calibrate(NAMES, model, twice), strict=True
    ):
        assert (large > small).all()
    sigma, half95 = calibrate(NAMES, model, found)
    assert (half95 >= sigma).all()


@pytest.mark.parametrize("n", [0, 1, 2, 7, 30])
def test_tiny_samples_give_finite_errors(n):
    found, delta, _ = draw(max(n, 1), 0)
    rows = np.arange(n)
    model = fit(found.take(rows), delta[rows])
    new, _, _ = draw(50, 1)
    for width in calibrate(NAMES, model, new):
        assert (np.isfinite(width) & (width > 0.0)).all()


def test_a_label_that_no_star_has_keeps_its_raw_error():
    found, delta, _ = draw(200, 0)
    delta[:, 1] = np.nan
    sigma, half95 = calibrate(NAMES, fit(found, delta), found)
    np.testing.assert_allclose(sigma[:, 1], found.sigma[:, 1])
    np.testing.assert_allclose(half95[:, 1], 1.959964 * found.sigma[:, 1])
    assert not np.allclose(sigma[:, 0], found.sigma[:, 0])


def test_exact_predictions_claim_a_tenth_of_their_raw_errors():
    found, delta, _ = draw(200, 0)
    sigma, _ = calibrate(NAMES, fit(found, 0.0 * delta), found)
    np.testing.assert_allclose(sigma, uncertainty.MIN_FACTOR * found.sigma, rtol=1e-6)


def test_spectra_without_information_have_no_error_and_calibrate_nothing():
    found, delta, _ = draw(300, 0)
    blind = np.arange(300) < 5
    holes = CalibrationFeatures(
        *(np.where(blind.reshape(-1, *[1] * (a.ndim - 1)), np.nan, a)
          for a in (found.values, found.sigma)),
        np.where(blind, 0.0, found.snr), np.where(blind, np.nan, found.distance), found.chi2,
    )  # fmt: skip
    model = fit(holes, np.where(blind[:, None], np.nan, delta))
    rest = np.flatnonzero(~blind)
    again = fit_calibration(
        NAMES, found.take(rest), delta[rest], np.full((295, 3), np.nan), rest % 10
    )
    for name, numbers in again.items():
        np.testing.assert_allclose(model[name], numbers, err_msg=name)
    for width in calibrate(NAMES, model, holes):
        np.testing.assert_array_equal(np.isnan(width[:, 0]), blind)


def test_a_model_without_calibration_states_its_raw_errors():
    found, _, _ = draw(10, 0)
    sigma, half95 = calibrate(NAMES, {}, found)
    np.testing.assert_array_equal(sigma, found.sigma)
    np.testing.assert_allclose(half95, 1.959964 * found.sigma)


def test_the_quantile_is_the_one_of_the_pinball_loss():
    """Exact for a step: the fraction below is the level on each side; a far outlier is only one."""
    rng = np.random.default_rng(0)
    step = (np.arange(2000) % 2).astype(float)
    x = np.column_stack([np.ones(2000), step])
    y = rng.exponential(1.0, 2000) * (1.0 + step)
    y[0] = 1e6
    weights = quantile_regression.fit_quantile(x, y, 0.9, np.zeros(2), np.zeros(2))
    for side in (0.0, 1.0):
        assert (y < x @ weights)[step == side].mean() == pytest.approx(0.9, abs=0.003)


def test_a_fold_is_calibrated_by_the_other_folds(default_steps, data):
    step = next(s for s in default_steps if s.out_of_fold is not None)
    found, fold = step.out_of_fold, step.fold_of_row
    snr = median_snr(data.ivar)
    features = CalibrationFeatures(found.values, found.raw_sigma, snr, found.distance, found.chi2)
    delta = found.values - data.labels

    def widths(rows, own):
        known = (delta[rows], data.label_errors[rows], fold[rows])
        model = fit_calibration(data.names, features.take(rows), *known)
        return calibrate(data.names, model, features.take(own))

    for left_out in range(3):
        own = np.flatnonzero(fold == left_out)
        sigma, half95 = widths(np.flatnonzero(fold != left_out), own)
        np.testing.assert_allclose(found.sigma[own], sigma, rtol=1e-6)
        np.testing.assert_allclose(found.half_width95[own], half95, rtol=1e-6)
        assert not np.allclose(widths(np.arange(fold.size), own)[0], sigma, rtol=1e-3)
