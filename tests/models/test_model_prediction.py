"""Prediction, projection, continuum pixels and calibration."""

from __future__ import annotations

import numpy as np
import pytest

from models import predict
from models.predict import FLAG_BITS
from models.presets import continuum_pixels
from models.projection.projection import fit_projection
from tests.support.simulated import FIRST_INDEX, N_PIXELS, simulate

BIT = {name: bit for bit, (name, _) in FLAG_BITS.items()}


@pytest.fixture(scope="module", params=["seed_steps", "default_steps"])
def trained(request):
    artifact = request.getfixturevalue(request.param)[-1].artifact
    return artifact, predict.load(artifact)


def has(predictions, name):
    return (predictions.flags >> BIT[name] & 1).astype(bool)


def test_a_loaded_model_predicts_the_same(trained, data):
    artifact, model = trained
    first = model.predict(data.flux, data.ivar, data.continuum)
    second = predict.load(artifact).predict(data.flux, data.ivar, data.continuum)
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(first.flags, second.flags)
    alone = model.predict(data.flux[7:8], data.ivar[7:8], data.continuum[7:8])
    np.testing.assert_allclose(alone.values, first.values[7:8], rtol=1e-5)
    np.testing.assert_allclose(alone.distance, first.distance[7:8], rtol=1e-3)


def test_the_manifest_says_what_the_model_is(trained, data):
    _, model = trained
    assert model.manifest["preset"] == model.spec.preset
    assert model.manifest["units"] == {"teff": "K", "logg": "dex", "fe_h": "dex"}
    assert model.manifest["grid"] == {"first_index": FIRST_INDEX, "n_pixels": N_PIXELS}
    assert model.manifest["recipe"] == {"name": model.spec.recipe, "version": 1}
    assert model.manifest["label_ranges"]["teff"] == [
        data.labels[:, 0].min(),
        data.labels[:, 0].max(),
    ]


def test_a_spectrum_without_information_gets_no_labels(trained, data):
    _, model = trained
    ivar = data.ivar[:3].copy()
    ivar[1] = 0.0
    out = model.predict(data.flux[:3], ivar, data.continuum[:3])
    assert np.isnan(out.values[1]).all()
    assert np.isnan(out.sigma[1]).all()
    assert np.isnan([out.chi2[1], out.distance[1]]).all()
    assert np.isfinite(out.values[[0, 2]]).all()
    assert has(out, "NO_INFORMATION").tolist() == [False, True, False]
    assert not has(out, "FAR_FROM_TRAINING")[1]


def test_values_at_masked_pixels_never_matter(trained, data):
    _, model = trained
    odd = np.where(data.ivar > 0, data.flux, np.float32(50.0))
    np.testing.assert_array_equal(
        model.predict(odd, data.ivar, data.continuum).values,
        model.predict(data.flux, data.ivar, data.continuum).values,
    )


def test_flags_tell_poor_spectra_from_good_ones(trained, data):
    _, model = trained
    flux, ivar = data.flux[:4].copy(), data.ivar[:4].copy()
    ivar[1] /= 100.0  # S/N 10
    ivar[2, : N_PIXELS // 2] = 0.0
    flux[3] = 1.0 + 0.5 * np.sin(np.arange(N_PIXELS) / 5.0)  # no star
    out = model.predict(flux, ivar, data.continuum[:4])
    assert has(out, "LOW_SNR").tolist() == [False, True, False, False]
    assert has(out, "MASKED").tolist() == [False, False, True, False]
    assert has(out, "MISSING_ARM").tolist() == [False, False, True, False]
    assert has(out, "FAR_FROM_TRAINING")[3]
    assert has(model.predict(data.flux, data.ivar, data.continuum), "FAR_FROM_TRAINING").sum() <= 2


def test_labels_beyond_the_training_range_are_flagged(trained, data):
    _, model = trained
    out = model.predict(data.flux, data.ivar, data.continuum)
    low, high = data.labels.min(axis=0), data.labels.max(axis=0)
    outside = ((out.values < low) | (out.values > high)).any(axis=1)
    low, high = model.arrays["limit/low"], model.arrays["limit/high"]
    beyond = ((out.linear < low) | (out.linear > high)).any(axis=(1, 2))
    np.testing.assert_array_equal(has(out, "OUT_OF_RANGE"), outside | beyond)


def test_another_grid_is_refused(trained, data):
    _, model = trained
    with pytest.raises(ValueError, match="expects flux, ivar and continuum"):
        model.predict(data.flux[:, 1:], data.ivar[:, 1:], data.continuum[:, 1:])


def test_errors_grow_with_noise(default_steps, data):
    model = predict.load(default_steps[-1].artifact)
    noisy = simulate(noise=0.1)
    clean = model.predict(data.flux, data.ivar, data.continuum)
    rough = model.predict(noisy.flux, noisy.ivar, noisy.continuum)
    both = [np.abs(p.values - data.labels).mean(axis=0) for p in (clean, rough)]
    assert (both[0] < both[1]).all()
    np.testing.assert_array_less(clean.ensemble_std, clean.raw_sigma)


def low_rank(n=150, p=200, seed=0, noise=0.01):
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((p, 3)))[0]
    truth = 1.0 + rng.standard_normal((n, 3)) * [1.0, 0.6, 0.3] @ basis.T
    ivar = np.full((n, p), noise**-2)
    ivar[rng.random((n, p)) < 0.05] = 0.0
    flux = truth + noise * rng.standard_normal((n, p))
    return truth, flux.astype(np.float32), ivar.astype(np.float32)


def test_the_projection_finds_the_components_through_gaps():
    truth, flux, ivar = low_rank()
    fit = fit_projection(flux, ivar, 3, seed=0)
    np.testing.assert_allclose(fit.basis.T @ fit.basis, np.eye(3), atol=1e-5)
    scores = fit.scores(flux, ivar)
    restored = fit.mean + scores.values @ fit.basis.T
    assert np.std(restored - truth) < 0.004  # of a noise of 0.01
    assert np.median(scores.chi2) == pytest.approx(1.0, abs=0.1)


def test_scores_of_a_noisy_spectrum_shrink_and_their_noise_is_right():
    _, flux, ivar = low_rank()
    fit = fit_projection(flux, ivar, 3, seed=0)
    rng = np.random.default_rng(1)
    draws = fit.mean + 0.05 * rng.standard_normal((400, 200))
    scores = fit.scores(draws.astype(np.float32), np.full((400, 200), 400.0, np.float32))
    np.testing.assert_allclose(scores.values.std(axis=0), scores.noise[0], rtol=0.15)
    blind = fit.scores(flux[:1], np.zeros_like(ivar[:1]))
    np.testing.assert_allclose(blind.values, 0.0, atol=1e-9)


def test_spectra_without_common_pixels_cannot_be_projected():
    with pytest.raises(ValueError, match="hardly any good pixels"):
        fit_projection(np.ones((20, 30), np.float32), np.zeros((20, 30), np.float32), 3, seed=0)


def test_continuum_pixels_are_the_least_sensitive_of_their_windows():
    sensitivity = np.full(3577, 0.5)
    quiet = np.arange(36, 3577, 73)
    sensitivity[quiet] = 0.001
    chosen = np.flatnonzero(continuum_pixels.choose_pixels(sensitivity, 966))
    assert chosen.tolist() == [*quiet.tolist(), 3576]


def test_a_fit_is_never_left_without_pixels():
    chosen = continuum_pixels.choose_pixels(np.full(3577, 0.5), 966)
    assert chosen[:2168].sum() >= continuum_pixels.MIN_PER_ARM
    assert chosen[2168:].sum() >= continuum_pixels.MIN_PER_ARM


def test_the_second_round_undoes_a_wrong_first_one():
    x = np.linspace(-1, 1, N_PIXELS)
    truth = 20.0 * (1.0 + 0.3 * x + 0.1 * x**2)
    lines = 1.0 - 0.3 * (np.arange(N_PIXELS) % 7 == 3)
    wrong = truth * (1.0 + 0.1 * x)
    chosen = continuum_pixels.choose_pixels(1.0 - lines, FIRST_INDEX)
    flux = (truth * lines / wrong)[None].astype(np.float32)
    ivar = np.ones_like(flux)
    ivar[0, 5] = 0.0
    out = continuum_pixels.refit(flux, ivar, wrong[None].astype(np.float32), chosen, FIRST_INDEX)
    np.testing.assert_allclose(out[0, 6:], lines[6:], atol=1e-4)
    assert out[0, 5] == 1.0


def test_an_arm_without_good_continuum_pixels_keeps_the_first_round():
    rng = np.random.default_rng(0)
    flux = (1.0 + 0.01 * rng.standard_normal((2, N_PIXELS))).astype(np.float32)
    chosen = continuum_pixels.choose_pixels(np.full(N_PIXELS, 0.5), FIRST_INDEX)
    ivar = np.ones_like(flux)
    ivar[0, : N_PIXELS // 2] = np.where(chosen[: N_PIXELS // 2], 0.0, 1.0)
    out = continuum_pixels.refit(flux, ivar, np.full_like(flux, 9.0), chosen, FIRST_INDEX)
    good = ivar[0] > 0
    good[N_PIXELS // 2 :] = False
    np.testing.assert_array_equal(out[0, good], flux[0, good])
    assert (out[1] != flux[1]).any()


def test_the_label_grid_spans_the_middle_of_the_labels():
    labels = np.random.default_rng(0).uniform(0, 1, (500, 3)) * [1000, 2, 1]
    grid = continuum_pixels.label_grid(labels)
    assert grid.shape == (1000, 3)
    np.testing.assert_allclose(grid.min(axis=0), [160, 0.32, 0.16], rtol=0.3)
    np.testing.assert_allclose(grid.max(axis=0), [840, 1.68, 0.84], rtol=0.1)
