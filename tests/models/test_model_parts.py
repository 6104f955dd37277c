"""The small parts: optimiser, networks, scaling, folds, metrics, artifact, records."""

from __future__ import annotations

import io
import json
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.core import arrays, artifact, crossval, metrics
from models.core.records import TrainSpec
from models.core.scaling import LabelScaler
from models.networks.architecture import Architecture, apply, initialise, template
from models.networks.optimisers import Optimiser, keras_amsgrad
from models.networks.parameters import flatten, unflatten
from models.presets import default
from models.presets.registry import resolve

pytestmark = pytest.mark.usefixtures("_strict_types")
SPEC = TrainSpec("seed-2018", ("teff", "logg"), "seed-2018", folds=3, epochs=4)
MLP = (64, 2, "gelu")


def keras_reference(gradients, start, lr=3e-4, b1=0.9, b2=0.999, eps=1e-7):
    """Keras's Adam.update_step with amsgrad, line by line, in float64."""
    p = np.array(start, dtype=np.float64)
    m, v, v_hat = np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    for iteration, g in enumerate(gradients):
        local_step = iteration + 1
        alpha = lr * np.sqrt(1 - b2**local_step) / (1 - b1**local_step)
        m += (g - m) * (1 - b1)
        v += (g**2 - v) * (1 - b2)
        v_hat = np.maximum(v_hat, v)
        p -= m * alpha / (np.sqrt(v_hat) + eps)
    return p


def test_amsgrad_is_that_of_keras():
    rng = np.random.default_rng(0)
    gradients = rng.standard_normal((200, 7)) * np.exp(-np.arange(200) / 40)[:, None]
    optimiser = keras_amsgrad(3e-4)
    params = jnp.zeros(7, jnp.float32)
    state = optimiser.init(params)
    for g in gradients.astype(np.float32):
        updates, state = optimiser.update(jnp.asarray(g), state, params)
        params = params + updates
    expected = keras_reference(gradients, np.zeros(7))
    np.testing.assert_allclose(params, expected, rtol=2e-5, atol=1e-7)


def test_amsgrad_is_not_that_of_optax():
    rng = np.random.default_rng(0)
    gradients = rng.standard_normal((200, 7)) * np.exp(-np.arange(200) / 40)[:, None]
    other = optax.amsgrad(3e-4)
    params = jnp.zeros(7, jnp.float32)
    with jax.numpy_dtype_promotion("standard"):
        state = other.init(params)
        for g in gradients.astype(np.float32):
            updates, state = other.update(jnp.asarray(g), state, params)
            params = params + updates
    assert np.abs(params / keras_reference(gradients, np.zeros(7)) - 1).max() > 0.02


@pytest.mark.parametrize(
    ("kind", "n_in", "n_out", "count", "width"),
    [
        ("seed-forward", 3577, 3, 3577 * 32 + 32 + 32 * 32 + 32 + 32 * 3 + 3, 3),
        ("seed-reverse", 3, 3577, 3 * 36 + 36 + 36 * 36 + 36 + 36 * 3577 + 3577, 3577),
        ("mlp", 64, 3, 64 * 64 + 64 + 64 * 64 + 64 + 64 * 6 + 6, 6),
    ],
)
def test_parameter_counts_and_shapes(kind, n_in, n_out, count, width):
    sizes = {"seed-forward": (32, 1, "relu"), "seed-reverse": (36, 1, "relu"), "mlp": MLP}
    arch = Architecture(kind, n_in, n_out, *sizes[kind])
    params = initialise(arch, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count
    assert apply(arch, params, jnp.ones((2, n_in))).shape == (2, width)


def test_seed_networks_start_as_keras_random_uniform_did():
    params = initialise(Architecture("seed-forward", 500, 3, 32, 1, "relu"), jax.random.key(1))
    kernel = np.asarray(params["first"]["kernel"])
    assert np.abs(kernel).max() <= 0.05
    assert kernel.std() == pytest.approx(0.1 / np.sqrt(12), rel=0.02)
    assert not np.asarray(params["first"]["bias"]).any()


def test_the_first_layer_is_linear():
    arch = Architecture("seed-forward", 20, 3, 32, 1, "relu")
    params = initialise(arch, jax.random.key(1))
    params["hidden"][0]["bias"] = jnp.full(
        32, 10.0
    )  # no ReLU bends here: all that is left is linear
    x = jax.random.normal(jax.random.key(2), (2, 20))
    zero = apply(arch, params, jnp.zeros((1, 20)))
    parts = apply(arch, params, x[:1]) + apply(arch, params, x[1:]) - zero
    np.testing.assert_allclose(apply(arch, params, x[:1] + x[1:]), parts, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 40), st.integers(1, 4), st.integers(0, 10**6))
def test_scaling_goes_back_and_forth(n, k, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(rng.uniform(-1e4, 1e4, k), rng.uniform(0.1, 1e3, k), (n, k))
    scaler = LabelScaler.from_data(values, tuple("abcd"[:k]))
    np.testing.assert_allclose(scaler.inverse(scaler.transform(values)), values, rtol=1e-9)
    np.testing.assert_allclose(scaler.transform(values).mean(axis=0), 0.0, atol=1e-6)
    np.testing.assert_allclose(scaler.transform(values).std(axis=0), 1.0, rtol=1e-6)
    errors = np.abs(values) + 1
    np.testing.assert_allclose(scaler.inverse_errors(scaler.transform_errors(errors)), errors)


def test_scaling_ignores_missing_values_and_names_constant_ones():
    values = np.array([[1.0, 5.0, np.nan], [3.0, 5.0, np.nan], [np.nan, 5.0, 1.0]])
    assert LabelScaler.from_data(values[:, :1], ("teff",)).center == pytest.approx(2.0)
    with pytest.raises(ValueError, match="logg, fe_h"):
        LabelScaler.from_data(values, ("teff", "logg", "fe_h"))


def test_repeats_of_a_star_share_a_fold_and_folds_are_balanced():
    group = np.repeat(np.arange(50), np.random.default_rng(0).integers(1, 6, 50))
    fold = crossval.assign_folds(group, 10, seed=3)
    assert all(len(set(fold[group == star])) == 1 for star in range(50))
    sizes = np.bincount(fold, minlength=10)
    assert sizes.max() - sizes.min() <= 1
    for split in crossval.fold_splits(fold):
        assert not set(group[split.train]) & set(group[split.test])


def test_folds_depend_on_the_stars_and_the_seed_only():
    group = np.repeat(np.arange(30), 2)
    order = np.random.default_rng(0).permutation(60)
    fold = crossval.assign_folds(group, 5, seed=1)
    np.testing.assert_array_equal(crossval.assign_folds(group[order], 5, seed=1), fold[order])
    assert (crossval.assign_folds(group, 5, seed=2) != fold).any()


def test_fewer_stars_than_folds_are_refused():
    with pytest.raises(ValueError, match=r"10 different stars.*hold 3"):
        crossval.assign_folds(np.array([1, 1, 2, 3]), 10, seed=0)


def test_a_validation_split_parts_no_star():
    group = np.repeat(np.arange(20), 3)
    split = crossval.validation_split(group, 0.3, 0, -1)
    assert len(set(group[split.test])) == 6
    assert not set(group[split.train]) & set(group[split.test])
    with pytest.raises(ValueError, match=r"Setting aside 0\.01"):
        crossval.validation_split(group, 0.01, 0, -1)


def test_metrics_against_numbers_made_by_hand():
    result = metrics.score([1.0, 2.0, 3.0, 4.0, 100.0, np.nan])
    assert result.n == 5
    assert result.bias == 3.0
    assert result.sigma_mad == pytest.approx(1.4826)
    assert result.seed_bias == 22.0
    assert result.seed_scatter == pytest.approx((21 + 20 + 19 + 18 + 78) / 5)
    assert result.mae == 22.0
    assert result.outliers == pytest.approx(0.2)
    np.testing.assert_allclose(
        metrics.pull([5.0, 1.0, 1.0], [3.0, 0.5, np.nan], [4.0, np.nan, 0]), [1.0, 2.0, np.nan]
    )
    assert metrics.coverage([0.5, -0.9, 1.5, np.nan]) == pytest.approx(2 / 3)
    assert np.isnan(metrics.score([np.nan]).bias)


def test_an_artifact_comes_back_as_it_was():
    members = {"a/b": np.arange(6.0).reshape(2, 3), "c": np.array(3)}
    data = artifact.to_bytes({"x": [1, "ü"]}, members)
    manifest, found = artifact.from_bytes(data)
    assert manifest["x"] == [1, "ü"]
    assert found.keys() == members.keys()
    np.testing.assert_array_equal(found["a/b"], members["a/b"])
    assert artifact.to_bytes({"x": [1, "ü"]}, members) == data


def test_damaged_and_unknown_artifacts_are_refused():
    data = artifact.to_bytes({"x": 1}, {"a": np.arange(1000)})
    for harmed in (b"", data[:-40], b"not a model", b"\x00" * 300):
        with pytest.raises(ValueError, match=r"damaged|not a model"):
            artifact.from_bytes(harmed)
    members = arrays.unpack(data)
    members["a"] = members["a"] + 1
    with pytest.raises(ValueError, match="checksum"):
        artifact.from_bytes(arrays.pack(members))


def test_archives_that_others_made_raise_nothing_else():
    random = np.random.default_rng(0)
    packed = io.BytesIO()
    np.savez_compressed(packed, manifest=np.arange(300), sha256=np.zeros(32, np.uint8))
    for _ in range(300):
        harmed = bytearray(packed.getvalue())
        harmed[random.integers(len(harmed))] ^= random.integers(1, 256)
        with pytest.raises(ValueError, match=r"not a model|checksum"):
            artifact.from_bytes(bytes(harmed))
    head = b"\x93NUMPY\x01\x00\x76\x00"
    shape = b"{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,)}"
    for member in (head + shape.ljust(117) + b"\n", head + b"(" * 117 + b"\n", b"no array"):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as stream:
            stream.writestr("manifest.npy", member)
        with pytest.raises(ValueError, match="not a model"):
            artifact.from_bytes(archive.getvalue())


def test_an_unknown_format_version_is_refused(monkeypatch):
    monkeypatch.setattr(artifact, "FORMAT_VERSION", 99)
    data = artifact.to_bytes({}, {})
    monkeypatch.undo()
    with pytest.raises(ValueError, match="format version 99"):
        artifact.from_bytes(data)


def test_trees_survive_and_foreign_ones_are_refused():
    arch = Architecture("mlp", 5, 2, *MLP)
    params = initialise(arch, jax.random.key(0))
    saved = arrays.unpack(arrays.pack(flatten("net", params)))
    back = unflatten("net", saved, template(arch))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), params, back))
    with pytest.raises(ValueError, match="does not fit"):
        unflatten("net", saved, template(Architecture("mlp", 6, 2, *MLP)))


def test_a_specification_survives_json():
    spec = TrainSpec("default", ("teff",), "default", error_floors=(10.0,), validation=0.2)
    assert TrainSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert SPEC.floors.tolist() == [30.0, 0.05]
    raised = TrainSpec("default", ("teff", "o_fe"), "default", options={"error_floor": 2.0})
    assert default._error_floors(raised).tolist() == [60.0, 0.04]


@pytest.mark.parametrize(
    "change",
    [
        {"folds": 1},
        {"rounds": 3},
        {"validation": 1.0},
        {"labels": ()},
        {"preset": "x"},
        {"epochs": 0},
        {"error_floors": (1.0,)},
    ],
)
def test_senseless_specifications_are_refused(change):
    with pytest.raises(ValueError, match="cannot be done"):
        resolve(TrainSpec.from_dict({**SPEC.to_dict(), **change}))


def test_optimisers_can_be_hashed():
    assert len({Optimiser("keras_amsgrad", 1e-4), Optimiser("keras_amsgrad", 1e-4)}) == 1
