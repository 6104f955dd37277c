"""Options of the presets: what is taken, what it changes, what is refused."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import predict, trainer
from models.core.crossval import Split
from models.core.records import TrainSpec
from models.networks.architecture import Architecture, apply, initialise
from models.networks.losses import Tables, batch_loss
from models.presets import LISTED, default, seed2018
from models.presets.registry import PRESETS, resolve
from tests.support.simulated import DEFAULT, NAMES, SEED, run_all

ROOT = Path(__file__).resolve().parents[3]
ONCE = dataclasses.replace(SEED, rounds=1, epochs=3)


def with_options(spec, **options):
    return dataclasses.replace(spec, options=options)


def test_every_preset_has_its_options_and_every_field_is_one_of_the_specification():
    names = {f.name for f in dataclasses.fields(TrainSpec)}
    assert list(PRESETS) == list(LISTED)
    for called, preset in PRESETS.items():
        assert preset.name == called
        assert set(preset.fields) <= names
        assert not set(preset.options) & names
        for name, option in preset.settings.items():
            assert option.default is None or option.check(name, option.default) == option.default


def test_names_of_presets_are_read_without_jax():
    code = (
        "import sys\n"
        "from jobs.training import params\n"
        "from models.presets.registry import PRESETS\n"
        "assert 'ridge' in list(PRESETS) and 'deep' not in PRESETS\n"
        "assert 'jax' not in sys.modules\n"
        "assert PRESETS['default'].has_epochs and 'jax' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)


def test_options_survive_json_in_one_order_and_type():
    preset, spec = resolve(with_options(SEED, rate=1, neurons=24.0, activation="elu"))
    assert spec.options == (("activation", "elu"), ("neurons", 24), ("rate", 1.0))
    values = preset.option_values(spec)
    assert isinstance(values["neurons"], int)
    assert isinstance(values["rate"], float)
    assert values["batch"] == 16
    assert TrainSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    older = {k: v for k, v in SEED.to_dict().items() if k != "options"}
    assert TrainSpec.from_dict(older) == SEED


@pytest.mark.parametrize(
    ("preset", "options", "complaint"),
    [
        ("seed-2018", {"nurons": 24}, "no setting 'nurons'; it has activation, batch, epochs"),
        ("seed-2018", {"neurons": 24.5}, "neurons = 24.5 is not a whole number from 1 to 1024"),
        ("seed-2018", {"neurons": True}, "neurons = True is not a whole number"),
        ("seed-2018", {"neurons": float("nan")}, "neurons = nan is not a whole number"),
        ("seed-2018", {"rate": float("inf")}, "rate = inf is not a number from 1e-06 to 1"),
        ("seed-2018", {"activation": "sigmoid"}, "not one of relu, elu, gelu, tanh"),
        ("seed-2018", {"epochs": 3}, "epochs is a field of its own"),
        ("ridge", {"rate": 0.1}, "ridge has no setting 'rate'; it has components"),
        ("cannon", {"rate": 0.1}, "cannon has no setting 'rate'; it has none"),
    ],
)
def test_unknown_names_and_values_are_refused(preset, options, complaint):
    with pytest.raises(ValueError, match="cannot be done") as caught:
        resolve(TrainSpec(preset, NAMES, "default", options=options))
    assert complaint in str(caught.value)


def tasks(spec):
    """The compiled programs of a training of 66 rows of 320 pixels, all phases."""
    task = {"seed-2018": seed2018._task, "default": default._task}[spec.preset]
    rows = np.arange(66)
    more = () if spec.preset == "seed-2018" else ((Split(0, rows[22:], rows[:22]),), 8)
    chunks = [c for c in trainer._chunks(spec, 66) if c.stage.name != "projection"]
    return [task(c.stage, spec, *(more or (320,))) for c in chunks]


@pytest.mark.parametrize("spec", [SEED, DEFAULT])
def test_the_defaults_written_out_are_the_same_programs(spec):
    options = {
        n: o.default for n, o in PRESETS[spec.preset].options.items() if o.default is not None
    }
    written = with_options(spec, **options)
    assert trainer.plan(written, 66) == trainer.plan(spec, 66)
    assert tasks(written) == tasks(spec)


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        (ONCE, {"hidden_layers": 3, "neurons": 10, "activation": "elu", "loss": "mse"}),
        (dataclasses.replace(DEFAULT, epochs=3), {"layers": 3, "weight_decay": 0.0, "width": 20}),
    ],
)
def test_a_model_with_options_is_trained_and_read_back(spec, options, data):
    changed = with_options(spec, **options)
    assert tasks(changed) != tasks(spec)
    steps = run_all(changed, data)
    (folds,) = [step for step in steps if step.out_of_fold is not None]
    assert np.isfinite(folds.out_of_fold.values).all()
    model = predict.load(steps[-1].artifact)
    assert dict(model.spec.options) == options
    assert np.isfinite(model.predict(data.flux, data.ivar, data.continuum).values).all()


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_hidden_layers_are_counted_behind_the_linear_one(layers):
    params = initialise(Architecture("seed-forward", 50, 3, 8, layers, "elu"), jax.random.key(0))
    kernels = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim == 2]
    assert sorted(k.shape for k in kernels) == sorted([(50, 8), (8, 3), *[(8, 8)] * layers])
    deep = initialise(Architecture("mlp", 50, 3, 8, layers, "gelu"), jax.random.key(0))
    kernels = [leaf for leaf in jax.tree.leaves(deep) if leaf.ndim == 2]
    assert sorted(k.shape for k in kernels) == sorted([(50, 8), (8, 6), *[(8, 8)] * (layers - 1)])


def test_the_squared_loss_is_the_mean_square_of_known_targets():
    arch = Architecture("seed-forward", 4, 2, 8, 1, "tanh")
    params = initialise(arch, jax.random.key(0))
    rng = np.random.default_rng(0)
    inputs = jnp.asarray(rng.normal(size=(1, 5, 4)), jnp.float32)
    targets = jnp.asarray(rng.normal(size=(1, 5, 2)), jnp.float32)
    weights = jnp.ones((1, 5, 2), jnp.float32).at[0, 3, 1].set(0.0)
    rows = jnp.arange(5)
    loss, total = batch_loss(
        arch, "mse", params, Tables(inputs, targets, weights), jnp.int32(0), rows
    )
    squares = np.asarray(weights[0] * (apply(arch, params, inputs[0]) - targets[0]) ** 2)
    assert total == 9.0
    assert loss == pytest.approx(squares.sum() / 9.0, rel=1e-6)
