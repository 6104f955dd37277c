"""Splits within splits: no star on both sides of any of them; losses of one meaning."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from models import nested
from models.core.records import FINAL_FOLD, TrainSpec
from tests.support.simulated import NAMES, SEED, simulate

RIDGE = TrainSpec("ridge", NAMES, "default", folds=3, components=8)


def test_no_star_is_on_two_sides(data):
    outer = nested.outer_splits(data.group, 3, seed=5)
    inner = nested.inner_splits(data.group, 3, 0.25, seed=5, with_all=True)
    assert [s.fold for s in inner] == [0, 1, 2, FINAL_FOLD]
    for split, around in zip(inner, outer, strict=False):
        stars = [set(data.group[rows]) for rows in (split.train, split.test, around.test)]
        assert not stars[0] & stars[1]
        assert not (stars[0] | stars[1]) & stars[2]
        assert set(split.train) | set(split.test) == set(around.train)
        assert len(stars[1]) == round(0.25 * len(set(data.group[around.train])))
    assert set(inner[-1].train) | set(inner[-1].test) == set(range(66))
    other = nested.inner_splits(data.group, 3, 0.25, seed=6, with_all=False)
    assert len(other) == 3
    assert not np.array_equal(other[0].test, inner[0].test)


def test_a_fit_of_some_splits_is_that_of_each(data):
    splits = nested.outer_splits(data.group, 3, seed=0)
    found = {}
    for some in (splits, splits[1:2]):
        state = {}
        for chunk in nested.fit_plan(RIDGE, nested.OUTER, some):
            state = nested.advance(RIDGE, data, some, chunk, state)
        for split, values in nested.predict_left_out(RIDGE, data, some, state):
            assert values.shape == (split.test.size, 3)
            found.setdefault(split.fold, []).append(values)
    np.testing.assert_array_equal(*found[1])


def test_losses_are_of_labels_scaled_by_the_training_rows(data):
    split = nested.outer_splits(data.group, 3, seed=0)[0]
    mean, std = (f(data.labels[split.train], axis=0) for f in (np.mean, np.std))
    guess = np.broadcast_to(mean, (split.test.size, 3))
    scaled = (data.labels[split.test] - mean) / std
    assert nested.loss(data, split, guess, "mae") == pytest.approx(np.abs(scaled).mean())
    assert nested.loss(data, split, guess, "mse") == pytest.approx((scaled**2).mean())
    assert nested.loss(data, split, data.labels[split.test], "mse") == 0.0
    labels = data.labels.copy()
    labels[split.test[0], 1] = np.nan  # what is not known is not judged
    partly = dataclasses.replace(data, labels=labels)
    expected = np.abs(scaled).sum() - np.abs(scaled[0, 1])
    found = nested.loss(partly, split, guess, "mae")
    assert found == pytest.approx(expected / (scaled.size - 1))
    labels[split.test] = np.nan
    nothing = dataclasses.replace(data, labels=labels)
    assert np.isnan(nested.loss(nothing, split, guess, "mae"))


def test_a_training_whose_loss_is_not_finite_ends():
    data = simulate()
    wild = dataclasses.replace(data, flux=data.flux * np.float32(1e38))
    spec = dataclasses.replace(SEED, rounds=1, epochs=2)
    splits = nested.outer_splits(data.group, 3, seed=0)
    chunk = nested.fit_plan(spec, nested.INNER, splits)[0]
    with pytest.raises(FloatingPointError, match="not finite in epoch 2"):
        nested.advance(spec, wild, splits, chunk, {})
