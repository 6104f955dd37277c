"""The presets that are solved at once: ridge regression and The Cannon."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models import predict, trainer
from models.core import metrics
from models.core.crossval import Split
from models.core.records import TrainingData, TrainSpec
from models.predict import FLAG_BITS
from models.presets import cannon, label_terms, ridge
from tests.support.simulated import FIRST_INDEX, N_PIXELS, NAMES, run_all, simulate

ROOT = Path(__file__).resolve().parents[3]
BIT = {name: bit for bit, (name, _) in FLAG_BITS.items()}
RIDGE = TrainSpec("ridge", NAMES, "default", folds=3, components=8)
CANNON = TrainSpec("cannon", NAMES, "default", folds=3)
BOTH = pytest.mark.parametrize("spec", [RIDGE, CANNON], ids=["ridge", "cannon"])


def quadratic_spectra(n=240, p=120, seed=0, noise=0.01, curve=0.02, scatter=None):
    """Spectra whose pixels are quadratic in the labels, with scatter of their own."""
    rng = np.random.default_rng(seed)
    unit = rng.uniform(-1.5, 1.5, (n, 3))
    truth_rng = np.random.default_rng(99)  # the same stars' physics for every seed
    theta = truth_rng.standard_normal((p, 10)) * [0.0, *[0.05] * 3, *[curve] * 6]
    s = np.zeros(p) if scatter is None else scatter
    flux = 1.0 + label_terms.terms(unit) @ theta.T
    flux += np.hypot(noise, s) * rng.standard_normal(flux.shape)
    ivar = np.full(flux.shape, noise**-2)
    bad = rng.random(flux.shape) < 0.03
    flux[bad], ivar[bad] = 40.0, 0.0
    labels = unit * [600.0, 1.0, 0.7] + [4800.0, 2.5, -0.5]
    return TrainingData(
        flux=flux.astype(np.float32),
        ivar=ivar.astype(np.float32),
        continuum=np.ones(flux.shape, np.float32),
        labels=labels,
        label_errors=np.full(labels.shape, np.nan),
        group=np.arange(n),
        names=NAMES,
        first_index=FIRST_INDEX,
    )


@pytest.fixture(scope="module")
def finished(data):
    return {spec.preset: run_all(spec, data) for spec in (RIDGE, CANNON)}


def out_of_fold(spec, data):
    return run_all(spec, data, until=lambda s: s.out_of_fold is not None)[-1].out_of_fold


def scatter_of(predictions, data):
    return np.array([metrics.sigma_mad(d) for d in (predictions.values - data.labels).T])


def test_ridge_recovers_a_linear_truth_to_the_noise():
    data = quadratic_spectra(curve=0.0)
    found = out_of_fold(RIDGE, data)
    # 117 good pixels of slope 0.05 and noise 0.01 tell a scaled label to 0.01 / 0.05 / 117^0.5.
    ideal = 0.01 / 0.05 / np.sqrt(117) * np.array([600.0, 1.0, 0.7])
    assert (scatter_of(found, data) < 3.0 * ideal).all()
    pulls = (found.values - data.labels) / found.raw_sigma
    assert (np.abs(np.mean(np.abs(pulls) < 1.0, axis=0) - 0.683) < 0.12).all()


def test_cannon_recovers_a_quadratic_truth_to_the_noise_and_ridge_does_not():
    data = quadratic_spectra()
    found = out_of_fold(CANNON, data)
    ideal = 0.01 / 0.05 / np.sqrt(117) * np.array([600.0, 1.0, 0.7])
    assert (scatter_of(found, data) < 1.7 * ideal).all()
    assert (scatter_of(out_of_fold(RIDGE, data), data) > 2.0 * scatter_of(found, data)).all()
    assert np.median(found.chi2) == pytest.approx(1.0, abs=0.15)
    pulls = (found.values - data.labels) / found.raw_sigma
    assert (np.abs(np.mean(np.abs(pulls) < 1.0, axis=0) - 0.683) < 0.15).all()


def test_cannon_recovers_the_scatter_and_the_coefficients_of_each_pixel():
    scatter = np.repeat([0.0, 0.01, 0.05, 0.1], 30)
    data = quadratic_spectra(n=1000, scatter=scatter)
    fit = cannon.fit(CANNON, data, Split(0, np.arange(1000), np.arange(0)))
    found = np.sqrt(fit["scatter"])
    for s in (0.01, 0.05, 0.1):
        assert np.median(found[scatter == s]) == pytest.approx(s, rel=0.1)
    assert np.median(found[scatter == 0.0]) < 0.003
    labels = (data.labels - fit["center"]) / fit["scale"]
    clean = quadratic_spectra(n=1000, noise=1e-9)
    model = fit["mean"] + label_terms.terms(labels) @ fit["theta"].T
    seen = clean.ivar > 0.0
    wrong = np.where(seen, model - clean.flux, 0.0)[:, scatter < 0.02]
    assert np.sqrt(np.mean(wrong**2)) < 0.01 * np.sqrt(2 * 10 / 1000) * 2


def test_many_starting_points_find_what_a_bad_one_misses():
    data = quadratic_spectra(curve=0.05)
    rows = np.arange(240)
    fit = cannon.fit(CANNON, data, Split(0, rows, rows[:0]))
    args = (CANNON, fit, 0, data.flux, data.ivar, data.continuum)
    many = cannon.predict_raw(*args)
    alone = cannon.predict_raw(*args[:1], fit | {"starts": np.full((1, 3), -12.0)}, *args[2:])
    missed = alone.chi2 > 2.0 * many.chi2
    assert missed.mean() > 0.02
    assert (many.chi2 <= alone.chi2 * (1.0 + 1e-6)).all()
    assert np.median(np.abs(many.values - data.labels)[missed], axis=0)[0] < 60.0


def test_the_search_ends_where_the_slope_is_zero():
    rng = np.random.default_rng(1)
    root = rng.standard_normal((5, 40, 10))
    gram = np.swapaxes(root, 1, 2) @ root
    truth = rng.uniform(-1.0, 1.0, (5, 3))
    right = np.einsum("nde,ne->nd", gram, label_terms.terms(truth))
    found = label_terms.minimise(gram, right, np.zeros((1, 3)))
    np.testing.assert_allclose(found.labels, truth, atol=1e-6)
    step = 1e-6
    for a in range(3):
        moved = truth.copy()
        moved[:, a] += step
        numeric = (label_terms.terms(moved) - label_terms.terms(truth)) / step
        np.testing.assert_allclose(label_terms.term_derivatives(truth)[..., a], numeric, atol=1e-5)


@pytest.mark.parametrize("p", [50, 12], ids=["more pixels than rows", "more rows than pixels"])
def test_residuals_of_left_out_stars_are_those_of_a_fit_without_them(p):
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((30, p)), rng.standard_normal(30)
    group = np.concatenate([np.arange(25), [0, 0, 1, 2, 2]])
    x, y = x - x.mean(axis=0), y - y.mean()
    u, eigenvalues = ridge.decompose(x)
    beta, left_out = ridge.solve(x, y, group, u, eigenvalues)
    grid = ridge.PENALTIES * eigenvalues[-1]
    fits = [np.linalg.solve(x.T @ x + lam * np.eye(p), x.T @ y) for lam in grid]
    best = int(np.argmin([np.abs(fit - beta).max() for fit in fits]))
    np.testing.assert_allclose(fits[best], beta, rtol=1e-6, atol=1e-9)
    for star in (0, 1, 7):
        out, kept = group == star, group != star
        center, target = x[kept].mean(axis=0), y[kept].mean()
        part = x[kept] - center
        fit = np.linalg.solve(part.T @ part + grid[best] * np.eye(p), part.T @ (y[kept] - target))
        expected = y[out] - target - (x[out] - center) @ fit
        np.testing.assert_allclose(left_out[out], expected, rtol=1e-4, atol=1e-6)


@BOTH
def test_permuted_labels_teach_nothing(spec):
    data = quadratic_spectra()
    spread = np.abs(data.labels - np.median(data.labels, axis=0)).mean(axis=0)
    order = np.random.default_rng(5).permutation(240)
    shuffled = dataclasses.replace(data, labels=data.labels[order])
    nothing = np.abs(out_of_fold(spec, shuffled).values - shuffled.labels).mean(axis=0)
    assert (nothing > 0.9 * spread).all()
    if spec.preset == "ridge":
        assert (nothing < 1.2 * spread).all()


@BOTH
def test_what_a_training_leaves(spec, finished, data):
    steps = finished[spec.preset]
    (last_fold,) = [step for step in steps if step.out_of_fold is not None]
    assert set(last_fold.fold_of_row) == {0, 1, 2}
    assert [step.artifact is not None for step in steps] == [False] * (len(steps) - 1) + [True]
    assert all(step.history == () for step in steps)
    found = last_fold.out_of_fold
    for numbers in (found.values, found.raw_sigma, found.sigma, found.distance):
        assert np.isfinite(numbers).all()
    assert np.isnan(found.ensemble_std).all()
    assert np.isfinite(found.chi2).all() == (spec.preset == "cannon")
    assert {"teff.coverage", "teff.raw_coverage", "fe_h.sigma_mad"} <= last_fold.metrics.keys()
    spread = np.abs(data.labels - np.median(data.labels, axis=0)).mean(axis=0)
    assert (np.abs(found.values - data.labels).mean(axis=0) < 0.5 * spread).all()


@BOTH
def test_chunks_are_whole_splits(spec):
    keys = trainer.plan(spec, 66)
    assert keys[-1] == f"final/{spec.preset}/00000-00001"
    assert len(keys) == {"ridge": 3, "cannon": 4}[spec.preset]


@BOTH
def test_resuming_in_another_process_gives_the_same_bits(spec, finished, data, tmp_path):
    steps, keys = finished[spec.preset], trainer.plan(spec, data.flux.shape[0])
    (tmp_path / "state").write_bytes(steps[0].state)
    code = (
        "import pathlib\n"
        "from models import trainer\n"
        "from tests.support.simulated import simulate\n"
        f"spec = trainer.TrainSpec.from_dict({spec.to_dict()!r})\n"
        "state = pathlib.Path('state').read_bytes()\n"
        f"for key in {keys[1:]!r}:\n"
        "    step = trainer.run_chunk(spec, simulate(), key, state)\n"
        "    state = step.state\n"
        "pathlib.Path('artifact').write_bytes(step.artifact)\n"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        timeout=120,
    )
    assert (tmp_path / "artifact").read_bytes() == steps[-1].artifact


@BOTH
def test_a_loaded_model_predicts_the_same(spec, finished, data):
    artifact = finished[spec.preset][-1].artifact
    first, second = (
        predict.load(artifact).predict(data.flux, data.ivar, data.continuum) for _ in range(2)
    )
    np.testing.assert_array_equal(first.values, second.values)
    model = predict.load(artifact)
    assert model.spec == spec
    alone = model.predict(data.flux[7:8], data.ivar[7:8], data.continuum[7:8])
    np.testing.assert_allclose(alone.values, first.values[7:8], rtol=1e-5)
    np.testing.assert_allclose(alone.sigma, first.sigma[7:8], rtol=1e-5)
    odd = np.where(data.ivar > 0, data.flux, np.float32(50.0))
    masked = model.predict(odd, data.ivar, data.continuum)
    np.testing.assert_array_equal(masked.values, first.values)


@BOTH
def test_spectra_without_information_and_spectra_of_no_star(spec, finished, data):
    model = predict.load(finished[spec.preset][-1].artifact)
    flux, ivar = data.flux[:3].copy(), data.ivar[:3].copy()
    ivar[1] = 0.0
    flux[2] = 1.0 + 0.5 * np.sin(np.arange(N_PIXELS) / 5.0)
    out = model.predict(flux, ivar, data.continuum[:3])
    assert np.isnan(out.values[1]).all()
    assert np.isnan(out.sigma[1]).all()
    assert np.isnan([out.chi2[1], out.distance[1]]).all()
    assert np.isfinite(out.values[0]).all()
    flags = {name: (out.flags >> bit & 1).tolist() for name, bit in BIT.items()}
    assert flags["NO_INFORMATION"] == [0, 1, 0]
    assert flags["HIGH_CHI2" if spec.preset == "cannon" else "FAR_FROM_TRAINING"][2] == 1


def test_two_pixels_cannot_tell_three_labels(finished, data):
    ivar = np.zeros((2, N_PIXELS), np.float32)
    ivar[:, [44, 92]] = 1e4
    ivar[1, ::5] = 1e4
    flux, continuum = data.flux[:2], data.continuum[:2]
    found = {
        name: predict.load(steps[-1].artifact).predict(flux, ivar, continuum)
        for name, steps in finished.items()
    }
    assert np.isnan(found["cannon"].values[0]).all()
    assert np.isnan(found["cannon"].sigma[0]).all()
    assert np.isfinite(found["cannon"].values[1]).all()
    # For ridge, what is missing is the mean star, with errors as large as stars differ.
    few, many = found["ridge"].raw_sigma
    assert (few > 0.5 * many).all()
    assert (few > 0.1 * data.labels.std(axis=0)).all()


@BOTH
def test_a_star_has_no_say_in_its_own_prediction(spec, data):
    honest = out_of_fold(spec, data)
    rows = data.group == data.group[2]
    labels = data.labels.copy()
    labels[rows] = [9000.0, 9.0, 9.0]
    corrupt = out_of_fold(spec, dataclasses.replace(data, labels=labels))
    np.testing.assert_array_equal(corrupt.values[rows], honest.values[rows])
    np.testing.assert_array_equal(corrupt.raw_sigma[rows], honest.raw_sigma[rows])
    assert (corrupt.values[~rows] != honest.values[~rows]).any()


@BOTH
def test_a_blank_spectrum_teaches_nothing_and_gets_no_labels(spec, data):
    blank = data.group == data.group[10]
    ivar = np.where(blank[:, None], np.float32(0.0), data.ivar)
    result = out_of_fold(spec, dataclasses.replace(data, ivar=ivar))
    assert np.isnan(result.values[blank]).all()
    assert np.isfinite(result.values[~blank]).all()
    assert (result.flags[blank] >> BIT["NO_INFORMATION"] & 1).all()
    labels = np.where(blank[:, None], 9000.0, data.labels)
    other = out_of_fold(spec, dataclasses.replace(data, ivar=ivar, labels=labels))
    np.testing.assert_array_equal(other.values, result.values)


def test_ridge_learns_each_label_from_the_rows_that_have_it(data):
    labels = data.labels.copy()
    labels[::4, 1] = np.nan
    gaps = dataclasses.replace(data, labels=labels)
    with_gaps, whole = out_of_fold(RIDGE, gaps), out_of_fold(RIDGE, data)
    assert np.isfinite(with_gaps.values).all()
    np.testing.assert_allclose(with_gaps.values[:, [0, 2]], whole.values[:, [0, 2]])
    assert (with_gaps.values[:, 1] != whole.values[:, 1]).all()


def test_cannon_learns_from_rows_with_half_of_the_labels_or_more(data):
    labels = data.labels.copy()
    labels[::4, 1:] = np.nan
    other = labels.copy()
    other[::4, 0] = 9000.0  # of rows that lack both other labels
    first, second = (
        out_of_fold(CANNON, dataclasses.replace(data, labels=table)) for table in (labels, other)
    )
    assert np.isfinite(first.values).all()
    np.testing.assert_array_equal(first.values, second.values)
    labels[6:, 1:] = np.nan
    with pytest.raises(ValueError, match="10 coefficients per pixel"):
        out_of_fold(CANNON, dataclasses.replace(data, labels=labels))


@BOTH
def test_epochs_and_validation_make_no_sense(spec):
    for changes in ({"epochs": 5}, {"validation": 0.2}):
        with pytest.raises(ValueError, match="solved without epochs"):
            trainer.plan(dataclasses.replace(spec, **changes), 66)


def test_noisier_spectra_have_larger_errors(finished, data):
    noisy = simulate(noise=0.1)
    for steps in finished.values():
        model = predict.load(steps[-1].artifact)
        clean, rough = (model.predict(d.flux, d.ivar, d.continuum).raw_sigma for d in (data, noisy))
        assert (np.median(rough, axis=0) > np.median(clean, axis=0)).all()
