"""Labels that some stars lack: filled in from the others, and learned from all the same."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from models.core.metrics import sigma_mad
from models.core.records import TrainSpec
from models.presets.imputation import fill_labels
from models.presets.registry import PRESETS
from tests.support.simulated import run_all, simulate


def correlated(n=500, seed=0):
    """Two labels that follow a third, to a known scatter, in units far apart."""
    rng = np.random.default_rng(seed)
    first = rng.standard_normal(n)
    second = 0.8 * first + 0.6 * rng.standard_normal(n)
    third = first - second + 0.1 * rng.standard_normal(n)
    return np.stack([5000.0 + 500.0 * first, 3.0 + 0.5 * second, -1.0 + 0.3 * third], axis=1)


def test_missing_labels_are_what_the_others_let_expect():
    truth = correlated()
    labels = truth.copy()
    labels[::3, 1] = np.nan
    labels[1::3, 2] = np.nan
    filled = fill_labels(labels)
    known = np.isfinite(labels)
    np.testing.assert_array_equal(filled[known], labels[known])
    # As good as regression on complete rows of a much larger sample.
    large = correlated(100_000, seed=1)
    for j, rows in ((1, slice(0, None, 3)), (2, slice(1, None, 3))):
        others = [i for i in range(3) if i != j]
        design = np.column_stack([np.ones(len(large)), large[:, others]])
        best = np.linalg.lstsq(design, large[:, j], rcond=None)[0]
        expected = np.column_stack([np.ones(len(truth[rows])), truth[rows][:, others]]) @ best
        left = np.std(truth[rows, j] - expected)
        assert np.std(filled[rows, j] - truth[rows, j]) < 1.1 * left < 0.5 * truth[:, j].std()


def test_what_needs_no_filling_stays_and_a_row_without_labels_gets_the_means():
    labels = correlated(50)
    np.testing.assert_array_equal(fill_labels(labels), labels)
    labels[7] = np.nan
    np.testing.assert_allclose(fill_labels(labels)[7], np.nanmean(labels, axis=0), rtol=1e-3)


@pytest.mark.parametrize("preset", [n for n, p in PRESETS.items() if not p.has_epochs])
def test_stars_without_all_labels_teach_the_labels_that_they_have(preset):
    """With a third label that nine of ten stars lack, the first two are as good as without it."""
    data = simulate(n_stars=200, repeats=0, seed=3)
    few = data.labels.copy()
    few[np.arange(len(few)) % 10 != 0, 2] = np.nan
    few_data = dataclasses.replace(data, labels=few)
    two = dataclasses.replace(
        data, labels=data.labels[:, :2], label_errors=data.label_errors[:, :2],
        names=data.names[:2],
    )  # fmt: skip
    scatter = {}
    for name, rows in (("few", few_data), ("two", two)):
        values = leave_out(preset, rows)
        assert np.isfinite(values).all()
        scatter[name] = [sigma_mad(values[:, j] - data.labels[:, j]) for j in range(2)]
    np.testing.assert_array_less(scatter["few"], 1.5 * np.array(scatter["two"]))


def leave_out(preset, data):
    """Labels of each row by a model that never saw its star."""
    spec = TrainSpec(preset, data.names, "default", folds=3)
    steps = run_all(spec, data, until=lambda step: step.out_of_fold is not None)
    return steps[-1].out_of_fold.values
