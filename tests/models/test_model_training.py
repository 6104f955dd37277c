"""Training: the same result however it is cut, nothing learned from rows that are left out."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from models import predict, trainer
from models.core import arrays, artifact, metrics
from models.core.crossval import Split
from models.networks import loop
from models.networks.architecture import Architecture
from models.networks.losses import Tables
from models.networks.optimisers import Optimiser
from models.presets import seed2018
from models.trainer import TrainSpec
from tests.support.simulated import DEFAULT, NAMES, SEED, run_all, simulate

ROOT = Path(__file__).resolve().parents[2]


def ends_folds(step):
    return step.out_of_fold is not None


def out_of_fold(spec, data):
    return run_all(spec, data, until=ends_folds)[-1].out_of_fold


def test_the_plan_names_phases_stages_and_epochs():
    keys = trainer.plan(dataclasses.replace(SEED, validation=0.25), 66)
    assert keys[0].startswith("folds/reverse/00000-")
    assert len(keys) == len(set(keys)) > 10
    phases = [key.split("/")[0] for key in keys]
    assert phases == sorted(phases, key=["folds", "validation", "final"].index)
    once = dataclasses.replace(SEED, rounds=1, validation=0.0)
    assert {key.rsplit("/", 1)[0] for key in trainer.plan(once, 66)} == {
        "folds/forward",
        "final/forward",
    }


def test_nominal_epochs_are_those_of_the_notebook():
    keys = trainer.plan(TrainSpec("seed-2018", NAMES, "seed-2018"), 393)
    assert "16000" in [k for k in keys if k.startswith("folds/forward")][-1]
    assert "01800" in [k for k in keys if k.startswith("folds/reverse")][-1]


@pytest.mark.parametrize("name", ["seed_steps", "default_steps"])
def test_what_a_training_leaves(name, request, data):
    steps = request.getfixturevalue(name)
    (last_fold,) = [step for step in steps if ends_folds(step)]
    assert [step.artifact is not None for step in steps] == [False] * (len(steps) - 1) + [True]
    assert set(last_fold.fold_of_row) == {0, 1, 2}
    for star in set(data.group):
        assert len(set(last_fold.fold_of_row[data.group == star])) == 1
    assert np.isfinite(last_fold.out_of_fold.values).all()
    assert np.isfinite(last_fold.out_of_fold.distance).all()
    assert np.isfinite(last_fold.out_of_fold.sigma).all() == (name == "default_steps")
    assert last_fold.metrics["teff.n"] == 66
    delta = last_fold.out_of_fold.values[:, 0] - data.labels[:, 0]
    assert last_fold.metrics["teff.sigma_mad"] == pytest.approx(metrics.sigma_mad(delta))


def test_every_epoch_is_in_the_history(seed_steps):
    rows = [row for step in seed_steps for row in step.history]
    for network, fold in [(n, f) for n in ("forward", "reverse") for f in (0, 1, 2, -2)]:
        curve = [row for row in rows if (row.network, row.fold) == (network, fold)]
        assert [row.epoch for row in curve] == list(range(30))
        assert np.isfinite([row.loss for row in curve]).all()
        assert np.isnan([row.val_loss for row in curve]).all()
        assert curve[-1].loss < curve[0].loss


def test_the_validation_run_has_a_loss_of_rows_that_it_never_saw(data):
    spec = dataclasses.replace(SEED, rounds=1, validation=0.25)
    keys = [key for key in trainer.plan(spec, 66) if key.startswith("validation")]
    last_fold = [key for key in trainer.plan(spec, 66) if key.startswith("folds")][-1]
    after, rows = np.frombuffer(last_fold.encode(), np.uint8), []
    with pytest.raises(ValueError, match="Another version of the program began this training"):
        trainer.run_chunk(spec, data, keys[0], arrays.pack({"after": after}))
    state = arrays.pack({"after": after, "format": np.array(artifact.FORMAT_VERSION)})
    for key in keys:
        step = trainer.run_chunk(spec, data, key, state)
        state, rows = step.state, [*rows, *step.history]
    assert [(row.network, row.fold, row.epoch) for row in rows] == [
        ("forward", -1, i) for i in range(30)
    ]
    assert rows[-1].val_loss < rows[0].val_loss
    assert all(row.val_loss != row.loss for row in rows)


@pytest.mark.parametrize(("spec", "name"), [(SEED, "seed_steps"), (DEFAULT, "default_steps")])
def test_the_same_seed_gives_the_same_bits_and_another_does_not(spec, name, request, data):
    steps = request.getfixturevalue(name)
    again = out_of_fold(spec, data).values
    np.testing.assert_array_equal(again, next(filter(ends_folds, steps)).out_of_fold.values)
    other = out_of_fold(dataclasses.replace(spec, seed=1), data).values
    assert not np.array_equal(again, other)


@pytest.mark.parametrize(("spec", "name"), [(SEED, "seed_steps"), (DEFAULT, "default_steps")])
def test_resuming_in_another_process_gives_the_same_bits(spec, name, request, data, tmp_path):
    steps = request.getfixturevalue(name)
    keys = trainer.plan(spec, data.flux.shape[0])
    # From the middle of the final forward network to the end.
    position = len(keys) - 2
    (tmp_path / "state").write_bytes(steps[position - 1].state)
    code = (
        "import pathlib\n"
        "from models import trainer\n"
        "from models.presets import default, seed2018\n"
        "from tests.support.simulated import simulate\n"
        "seed2018.STEPS_PER_CHUNK, default.UPDATES_PER_CHUNK = 120, 400\n"
        f"spec = trainer.TrainSpec.from_dict({spec.to_dict()!r})\n"
        "state = pathlib.Path('state').read_bytes()\n"
        f"for key in {keys[position:]!r}:\n"
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


def test_chunks_of_other_lengths_give_the_same_networks(seed_steps, data, monkeypatch):
    def reverse_networks(step):
        return arrays.select("reverse", arrays.unpack(step.state))

    expected = reverse_networks(next(step for step in seed_steps if reverse_networks(step)))
    monkeypatch.setattr(seed2018, "STEPS_PER_CHUNK", 170)
    found = reverse_networks(run_all(SEED, data, until=reverse_networks)[-1])
    assert expected.keys() == found.keys() != set()
    for name, parameters in expected.items():
        np.testing.assert_allclose(found[name], parameters, rtol=1e-4, atol=1e-6)


def test_later_chunks_compile_nothing(data):
    keys = trainer.plan(SEED, data.flux.shape[0])
    state = trainer.run_chunk(SEED, data, keys[0], None).state
    state = trainer.run_chunk(SEED, data, keys[1], state).state
    before = loop.run_epochs._cache_size()
    trainer.run_chunk(SEED, data, keys[2], state)
    assert loop.run_epochs._cache_size() == before


def test_the_second_round_is_not_the_first(seed_steps, data):
    first = out_of_fold(dataclasses.replace(SEED, rounds=1), data)
    second = next(filter(ends_folds, seed_steps)).out_of_fold
    assert np.abs(first.values - second.values).max() > 1.0
    assert np.isnan(first.chi2).all()
    assert np.isfinite(second.chi2).all()
    model = predict.load(seed_steps[-1].artifact)
    assert 16 <= model.arrays["pixels"].sum() <= 50


@pytest.mark.parametrize("spec", [SEED, DEFAULT], ids=["seed", "default"])
def test_a_star_has_no_say_in_its_own_prediction(spec, data):
    honest = out_of_fold(spec, data)
    rows = data.group == data.group[2]
    labels = data.labels.copy()
    labels[rows] = [9000.0, 9.0, 9.0]
    corrupt = out_of_fold(spec, dataclasses.replace(data, labels=labels))
    np.testing.assert_array_equal(corrupt.values[rows], honest.values[rows])
    np.testing.assert_array_equal(corrupt.raw_sigma[rows], honest.raw_sigma[rows])
    assert (corrupt.values[~rows] != honest.values[~rows]).any()


def test_permuted_labels_teach_nothing():
    data = simulate(repeats=0)
    spread = np.abs(data.labels - np.median(data.labels, axis=0)).mean(axis=0)
    learned = np.abs(out_of_fold(DEFAULT, data).values - data.labels).mean(axis=0)
    assert (learned < 0.5 * spread).all()
    order = np.random.default_rng(5).permutation(60)
    shuffled = dataclasses.replace(data, labels=data.labels[order])
    nothing = np.abs(out_of_fold(DEFAULT, shuffled).values - shuffled.labels).mean(axis=0)
    assert (nothing > 0.9 * spread).all()


def test_a_network_can_learn_eight_spectra_by_heart(data):
    task = loop.Task(
        Architecture("seed-forward", 320, 3, 32, 1, "relu"),
        "mae",
        Optimiser("keras_amsgrad", 2e-3),
        8,
        600,
    )
    labels = (data.labels - data.labels.mean(axis=0)) / data.labels.std(axis=0)
    tables = Tables(
        data.flux[None] - np.float32(1.0),
        labels[None].astype(np.float32),
        np.ones((1, 66, 3), np.float32),
    )
    splits = (Split(0, np.arange(8), np.arange(0)),)
    keys = loop.network_keys(0, "test", splits)
    _, losses, _ = loop.train(
        task, loop.start(task, keys), tables, loop.make_rows(splits), keys, 0, 600
    )
    assert losses[0, -1] < 0.05 < 0.5 < losses[0, 0]


@pytest.mark.usefixtures("_strict_types")
def test_networks_in_turn_and_side_by_side_do_the_same(data):
    task = loop.Task(
        Architecture("seed-forward", 320, 3, 32, 1, "relu"),
        "mae",
        Optimiser("keras_amsgrad", 1e-3),
        16,
        5,
    )
    tables = Tables(
        data.flux[None], data.labels[None].astype(np.float32), np.ones((1, 66, 3), np.float32)
    )
    rows = np.arange(66)
    # The second network has a batch less than the first.
    splits = (Split(0, rows[:40], rows[:0]), Split(1, rows[:30], rows[:0]))
    keys = loop.network_keys(0, "test", splits)
    carry, laid = loop.start(task, keys), loop.make_rows(splits)
    results = [
        loop.run_epochs(task, mode, True, carry, tables, laid, keys, 0, 5)
        for mode in ("map", "vmap")
    ]
    for one, other in zip(*(jax.tree.leaves(result[0].params) for result in results), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=1e-5)
    # Padding is never trained on: alone, the smaller network comes out the same.
    alone = loop.run_epochs(
        task,
        "map",
        False,
        loop.start(task, keys[1:]),
        tables,
        loop.make_rows(splits[1:]),
        keys[1:],
        0,
        1,
    )
    assert np.isfinite(alone[1][0, 0])


def test_missing_labels_are_skipped(data):
    labels = data.labels.copy()
    labels[::5, 1] = np.nan
    labels[3] = np.nan
    gaps = dataclasses.replace(data, labels=labels)
    errors = np.full(labels.shape, np.nan)
    errors[::5, 1] = 5.0  # an error without a label means nothing
    other = dataclasses.replace(gaps, label_errors=errors)
    for spec in (DEFAULT, dataclasses.replace(SEED, rounds=1)):
        step = run_all(spec, gaps, until=ends_folds)[-1]
        assert np.isfinite(step.out_of_fold.values).all()
        assert step.metrics["logg.n"] == np.isfinite(labels[:, 1]).sum()
    first, second = out_of_fold(DEFAULT, gaps), out_of_fold(DEFAULT, other)
    np.testing.assert_array_equal(first.values, second.values)


@pytest.mark.parametrize(
    "spec", [DEFAULT, dataclasses.replace(SEED, rounds=1)], ids=["default", "seed"]
)
def test_a_blank_spectrum_teaches_nothing_and_gets_no_labels(spec, data):
    blank = data.group == data.group[10]
    ivar = np.where(blank[:, None], np.float32(0.0), data.ivar)
    result = out_of_fold(spec, dataclasses.replace(data, ivar=ivar))
    assert np.isnan(result.values[blank]).all()
    assert np.isfinite(result.values[~blank]).all()
    assert (result.flags[blank] >> 5 & 1).all()


def test_labels_with_large_errors_loosen_their_hold(data):
    wrong = np.arange(len(data.labels)) % 3 == 0
    labels, errors = data.labels.copy(), np.full(data.labels.shape, np.nan)
    labels[wrong, 0] += np.where(np.arange(wrong.sum()) % 4 < 3, 600.0, -600.0)
    errors[wrong, 0] = 1500.0
    spoilt = dataclasses.replace(data, labels=labels)
    told = out_of_fold(DEFAULT, dataclasses.replace(spoilt, label_errors=errors))
    untold = out_of_fold(DEFAULT, spoilt)
    off = [np.abs(p.values[:, 0] - data.labels[:, 0]).mean() for p in (told, untold)]
    assert off[0] < 0.7 * off[1]


def test_impossible_trainings_say_why(data):
    keys = trainer.plan(DEFAULT, 66)
    labels = data.labels.copy()
    labels[:, 1] = 2.5
    projected = trainer.run_chunk(DEFAULT, data, keys[0], None).state
    seed_key = trainer.plan(SEED, 66)[0]
    with pytest.raises(ValueError, match="different values in the training rows: logg"):
        trainer.run_chunk(SEED, dataclasses.replace(data, labels=labels), seed_key, None)
    one_star = dataclasses.replace(data, group=np.zeros(66, np.int64))
    with pytest.raises(ValueError, match="different stars"):
        trainer.run_chunk(DEFAULT, one_star, keys[0], None)
    with pytest.raises(ValueError, match="needed is"):
        trainer.run_chunk(DEFAULT, data, keys[2], projected)
    with pytest.raises(ValueError, match="needs the state"):
        trainer.run_chunk(DEFAULT, data, keys[1], None)
    with pytest.raises(ValueError, match="no chunk 'x'"):
        trainer.run_chunk(DEFAULT, data, "x", None)
    with pytest.raises(ValueError, match="hold the labels"):
        trainer.run_chunk(dataclasses.replace(DEFAULT, labels=("a", "b", "c")), data, "x", None)
