"""The Gaussian process: its formulas, what it learns, and its place in the preset `default`."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, RationalQuadratic

from models import trainer
from models.core.arrays import pack, select, unpack
from models.core.metrics import sigma_mad
from models.networks.architecture import Architecture, initialise
from models.networks.inference import predict_ensemble
from models.networks.parameters import flatten
from models.predict import load
from models.presets import gaussian_process
from models.presets.gaussian_process import covariance, left_out_pull, negative_log_likelihood
from tests.support.simulated import DEFAULT, run_all, simulate


def scores_and_labels(n, seed=0, noise=0.05):
    """Scores of falling size, and two smooth labels, the first one not linear."""
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((n, 6)) * [1.0, 0.8, 0.6, 0.4, 0.2, 0.1]
    truth = np.stack([np.sin(2.0 * scores[:, 0]) + scores[:, 1] ** 2, scores @ np.ones(6)], axis=1)
    return scores, truth - truth.mean(axis=0), noise * rng.standard_normal((n, 2))


def fit(scores, labels, known=None, errors=0.1, seed=0):
    if known is None:
        known = np.ones(labels.shape, dtype=bool)
    errors = np.broadcast_to(errors, labels.shape)
    return gaussian_process.fit(scores, np.full(scores.shape, 0.01), labels, errors, known, seed)


def test_the_gradient_of_the_likelihood_is_its_slope():
    rng = np.random.default_rng(1)
    scores, truth, scatter = scores_and_labels(40)
    known = rng.random(truth.shape) < 0.8
    given = (
        scores @ scores.T,
        gaussian_process.squared_distance(scores, scores),
        rng.uniform(0.5, 2.0, 40),
        truth + scatter,
        rng.uniform(0.0, 0.1, truth.shape),
        known,
    )
    at = np.array([0.3, -1.0, 0.2, -1.5, -2.0, -0.5, 0.4, -1.0, -1.2])
    _, gradient = negative_log_likelihood(at, *given)
    step = 1e-5
    numeric = [
        (
            negative_log_likelihood(at + step * unit, *given)[0]
            - negative_log_likelihood(at - step * unit, *given)[0]
        )
        / (2.0 * step)
        for unit in np.eye(at.size)
    ]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-5, atol=1e-5)


def test_the_likelihood_is_that_of_a_gaussian():
    scores, truth, _ = scores_and_labels(30)
    distance = gaussian_process.squared_distance(scores, scores)
    nothing, known = np.zeros(truth.shape), np.ones(truth.shape, dtype=bool)
    at = np.array([0.3, -1.0, 0.2, -1.5, -2.0, -0.5, 0.4, -1.0, -1.2])
    level = np.linspace(0.5, 2.0, 30)
    value, _ = negative_log_likelihood(
        at, scores @ scores.T, distance, level, truth, nothing, known
    )
    expected = 0.0
    for y, (a, b, n, s) in zip(truth.T, np.exp(at[1:].reshape(2, 4)), strict=True):
        full = covariance(scores, scores, np.exp(at[0]), a, b) + np.diag(n**2 + s**2 * level)
        expected += 0.5 * y @ np.linalg.solve(full, y) + 0.5 * np.linalg.slogdet(full)[1]
    assert value == pytest.approx(expected, rel=1e-10)


def test_the_mean_is_that_of_scikit_learn():
    scores, truth, scatter = scores_and_labels(80)
    labels = truth + scatter
    process = fit(scores, labels)
    length, columns = np.exp(process["parameters"][0]), np.exp(process["parameters"][1:])
    new = scores_and_labels(20, seed=1)[0]
    for j, (a, b, n, s) in enumerate(columns.reshape(2, 4)):
        kernel = ConstantKernel(a**2) * DotProduct(1e-6) + ConstantKernel(b**2) * RationalQuadratic(
            length, alpha=1.0
        )
        theirs = GaussianProcessRegressor(kernel, alpha=n**2 + s**2, optimizer=None)
        expected = theirs.fit(scores, labels[:, j]).predict(new)
        np.testing.assert_allclose(gaussian_process.mean(process, new)[:, j], expected, atol=1e-4)


def test_left_out_pulls_are_those_of_a_process_without_the_row():
    scores, truth, scatter = scores_and_labels(25)
    y, noise = (truth + scatter)[:, 0], np.linspace(0.01, 0.05, 25)
    signal = covariance(scores, scores, 1.5, 0.3, 1.2)
    expected = []
    for i in range(y.size):
        others = np.delete(np.arange(y.size), i)
        inverse = np.linalg.inv(signal[np.ix_(others, others)] + np.diag(noise[others]))
        mean = signal[i, others] @ inverse @ y[others]
        variance = signal[i, i] + noise[i] - signal[i, others] @ inverse @ signal[others, i]
        expected.append((y[i] - mean) / np.sqrt(variance))
    np.testing.assert_allclose(left_out_pull(signal, noise, y), expected, rtol=1e-8)


def test_a_smooth_truth_is_found_where_a_line_fails():
    scores, truth, scatter = scores_and_labels(400)
    process = fit(scores[:200], (truth + scatter)[:200])
    error = gaussian_process.mean(process, scores[200:]) - truth[200:]
    line = np.linalg.lstsq(scores[:200], truth[:200], rcond=None)[0]
    assert sigma_mad(error[:, 0]) < 0.2 * sigma_mad(scores[200:] @ line[:, 0] - truth[200:, 0])
    assert sigma_mad(error[:, 1]) < 0.05  # the noise of one label


def test_the_mean_is_that_of_the_textbook():
    scores, truth, scatter = scores_and_labels(80)
    labels = truth + scatter
    process = fit(scores[:60], labels[:60])
    for j, (a, b, n, s) in enumerate(np.exp(process["parameters"][1:].reshape(2, 4))):
        own = (np.exp(process["parameters"][0]), a, b)
        signal = covariance(scores[:60], scores[:60], *own)
        weights = np.linalg.solve(signal + (n**2 + s**2) * np.eye(60), labels[:60, j])
        expected = covariance(scores[60:], scores[:60], *own) @ weights
        np.testing.assert_allclose(
            gaussian_process.mean(process, scores[60:])[:, j], expected, rtol=1e-6, atol=1e-8
        )


def test_a_wrong_label_is_dropped(monkeypatch):
    scores, truth, scatter = scores_and_labels(200)
    wrong = truth + scatter
    # In the middle of the cloud, where the other rows leave no doubt.
    row = np.argmin(np.sum(scores**2, axis=1))
    wrong[row, 0] += 8.0
    process = fit(scores, wrong)
    assert process["weights"][row, 0] == 0.0
    assert process["weights"][row, 1] != 0.0
    without = np.delete(np.arange(200), row)
    error = gaussian_process.mean(process, scores[[row]]) - truth[row]
    monkeypatch.setattr(gaussian_process, "MAX_PULL", np.inf)
    pulled = gaussian_process.mean(fit(scores, wrong), scores[[row]]) - truth[row]
    clean = fit(scores[without], wrong[without])
    expected = gaussian_process.mean(clean, scores[[row]]) - truth[row]
    assert abs(error[0, 0] - expected[0, 0]) < 0.3 * abs(pulled[0, 0] - expected[0, 0])


def test_missing_labels_are_left_out_label_by_label():
    scores, truth, scatter = scores_and_labels(300)
    labels = truth + scatter
    known = np.ones((200, 2), dtype=bool)
    known[::2, 0] = False
    nonsense = np.where(known, labels[:200], 1e6)
    process = fit(scores[:200], nonsense, known)
    again = fit(scores[:200], np.where(known, labels[:200], np.nan), known)
    for name, array in process.items():
        np.testing.assert_array_equal(array, again[name])
    assert (process["weights"][::2, 0] == 0.0).all()
    error = gaussian_process.mean(process, scores[200:]) - truth[200:]
    assert (sigma_mad(error[:, 0]), sigma_mad(error[:, 1])) < (0.2, 0.05)
    assert sigma_mad(error[:, 1]) < 0.05


def test_uncertain_labels_count_less():
    scores, truth, scatter = scores_and_labels(300, noise=0.02)
    labels, errors = truth + scatter, np.full(truth.shape, 0.02)
    rng = np.random.default_rng(3)
    errors[:100] = 1.0
    labels[:100] += rng.standard_normal((100, 2))
    told = gaussian_process.mean(fit(scores[:200], labels[:200], errors=errors[:200]), scores[200:])
    not_told = gaussian_process.mean(fit(scores[:200], labels[:200]), scores[200:])
    for j in range(2):
        assert sigma_mad((told - truth[200:])[:, j]) < 0.7 * sigma_mad(
            (not_told - truth[200:])[:, j]
        )


def test_fewer_centres_than_rows_say_nearly_the_same(monkeypatch):
    scores, truth, scatter = scores_and_labels(500)
    exact = gaussian_process.mean(fit(scores[:400], (truth + scatter)[:400]), scores[400:])
    monkeypatch.setattr(gaussian_process, "MAX_CENTRES", 150)
    few = fit(scores[:400], (truth + scatter)[:400])
    assert few["centres"].shape == (150, 6)
    near = gaussian_process.mean(few, scores[400:])
    assert np.abs(near - exact).max() < 0.2
    for found in (near, exact):
        assert sigma_mad((found - truth[400:])[:, 0]) < 0.06  # the noise of a label is 0.05


@pytest.fixture(scope="module")
def few():
    return simulate(n_stars=40, repeats=0)


@pytest.fixture(scope="module")
def spec():
    return dataclasses.replace(DEFAULT, folds=2, epochs=20)


def test_a_training_goes_on_with_the_same_bits(few, spec):
    keys = trainer.plan(spec, 40)
    assert [key for key in keys if "/process/" in key] == [
        "folds/process/00000-00001",
        "folds/process/00001-00002",
        "final/process/00000-00001",
    ]
    state = None
    for key in keys[: keys.index("folds/process/00001-00002")]:
        state = trainer.run_chunk(spec, few, key, state).state
    once = trainer.run_chunk(spec, few, "folds/process/00001-00002", state).state
    again = trainer.run_chunk(spec, few, "folds/process/00001-00002", pack(unpack(state))).state
    assert once == again


def test_a_saved_model_predicts_with_its_process(few, spec):
    steps = run_all(spec, few)
    model = load(steps[-1].artifact)
    assert select("process", model.arrays)["weights"].shape == (40, 3)
    found = model.predict(few.flux, few.ivar, few.continuum)
    shares = {}
    for share in (0.0, 1.0):
        lone = dataclasses.replace(model.spec, options={"process": share})
        shares[share] = dataclasses.replace(model, spec=lone).predict(
            few.flux, few.ivar, few.continuum
        )
    np.testing.assert_allclose(
        found.values, 0.5 * (shares[0.0].values + shares[1.0].values), rtol=1e-10
    )
    apart = np.abs(shares[1.0].values - shares[0.0].values)
    assert (found.ensemble_std >= 0.4999 * apart).all()
    assert (found.raw_sigma > found.ensemble_std).all()


def test_networks_alone_have_no_process(few, spec):
    alone = dataclasses.replace(spec, options={"process": 0.0})
    assert not any("/process/" in key for key in trainer.plan(alone, 40))
    assert not select("process", load(run_all(alone, few)[-1].artifact).arrays)


def test_the_noise_of_the_inputs_is_propagated_by_the_slope_of_the_mean():
    arch = Architecture("mlp", 4, 2, 8, 2, "gelu")
    model = {}
    for i in range(3):
        model |= flatten(f"member-{i}", initialise(arch, jax.random.key(i)))
    rng = np.random.default_rng(0)
    inputs, sigma = rng.standard_normal((5, 4)), rng.uniform(0.1, 0.5, (5, 4))
    output = predict_ensemble(arch, model, 3, inputs, sigma)
    assert output.means.shape == (3, 5, 2)
    expected = np.zeros((5, 2))
    for c, unit in enumerate(1e-2 * np.eye(4)):
        sides = [predict_ensemble(arch, model, 3, inputs + s * unit, sigma) for s in (1.0, -1.0)]
        slope = (sides[0].means - sides[1].means).mean(axis=0) / 2e-2
        expected += (slope * sigma[:, [c]]) ** 2
    np.testing.assert_allclose(output.noise, expected, rtol=1e-3)


def test_raw_errors_grow_with_the_noise_of_the_spectrum(default_steps, data):
    model = load(default_steps[-1].artifact)
    sigma = [
        model.predict(data.flux, (data.ivar * scale).astype(np.float32), data.continuum).raw_sigma
        for scale in (1.0, 0.01)
    ]
    assert (np.median(sigma[1], axis=0) > 1.1 * np.median(sigma[0], axis=0)).all()
