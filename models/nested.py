"""Nested cross-validation: choose settings without the stars by which the choice is scored.

Each outer fold holds test stars out. Of its training stars a part is set aside; settings are
compared on that part, by models trained on the rest. The settings that the fold chooses are then
trained on all its training stars, and its test stars score this way of choosing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.core import crossval
from models.core.arrays import Arrays, FloatArray
from models.core.crossval import Split
from models.core.records import FINAL_FOLD, TrainingData, TrainSpec
from models.core.scaling import LabelScaler
from models.core.schedule import Chunk, phase_chunks
from models.presets.registry import resolve

Objective = Literal["mae", "mse"]
INNER = "inner"  # phase of the fits that are compared
OUTER = "folds"  # phase of the fits that are scored: they begin as those of a training do


def outer_splits(group: NDArray[np.int64], folds: int, seed: int) -> tuple[Split, ...]:
    """Return the outer folds: those of a training with as many folds and this seed.

    Parameters
    ----------
    group : ndarray of int64, shape (n,)
        Number of the star of each row.
    folds, seed : int
        As in `models.core.records.TrainSpec`.
    """
    return crossval.fold_splits(crossval.assign_folds(group, folds, seed))


def inner_splits(
    group: NDArray[np.int64], folds: int, fraction: float, seed: int, *, with_all: bool
) -> tuple[Split, ...]:
    """Return splits of the training stars of each outer fold.

    Parameters
    ----------
    group : ndarray of int64, shape (n,)
        Number of the star of each row.
    folds : int
        Number of outer folds.
    fraction : float
        Part of the training stars that is set aside: the test rows of the splits.
    seed : int
        Root of the random numbers.
    with_all : bool
        Whether a last split, of fold `FINAL_FOLD`, is made of all stars.

    Raises
    ------
    ValueError
        If there are too few stars.
    """
    splits = []
    for outer in outer_splits(group, folds, seed):
        own = group[outer.train]
        inner = crossval.validation_split(own, fraction, seed, outer.fold)
        splits.append(Split(outer.fold, outer.train[inner.train], outer.train[inner.test]))
    if with_all:
        splits.append(crossval.validation_split(group, fraction, seed, FINAL_FOLD))
    return tuple(splits)


def fit_plan(spec: TrainSpec, phase: str, splits: tuple[Split, ...]) -> tuple[Chunk, ...]:
    """Return the chunks of the fit of some splits.

    Parameters
    ----------
    spec : TrainSpec
        The settings to fit.
    phase : str
        `INNER` or `OUTER`.
    splits : tuple of Split
        The splits that are fitted together.
    """
    n_train = max(split.train.size for split in splits)
    preset, spec = resolve(spec)
    return phase_chunks(phase, preset.stages(spec, len(splits), n_train))


def advance(
    spec: TrainSpec, data: TrainingData, splits: tuple[Split, ...], chunk: Chunk, state: Arrays
) -> Arrays:
    """Return the state of a fit after one chunk.

    Parameters
    ----------
    spec, splits
        As in `fit_plan`.
    data : TrainingData
        All rows.
    chunk : Chunk
        One of `fit_plan`.
    state : dict of str to ndarray
        What the chunk before returned; empty for the first.

    Raises
    ------
    FloatingPointError
        If no network has a finite training loss any more.
    ValueError
        If the preset cannot be fitted to these rows.
    """
    preset, spec = resolve(spec)
    state, losses, _ = preset.advance(spec, data, splits, chunk, state)
    if losses.size and not np.isfinite(losses[:, -1]).any():
        raise FloatingPointError(f"the training loss was not finite in epoch {chunk.stop}")
    return dict(state)


def predict_left_out(
    spec: TrainSpec, data: TrainingData, splits: tuple[Split, ...], state: Arrays
) -> Iterator[tuple[Split, FloatArray]]:
    """Yield the labels of the rows that each split leaves out, from the state that ends a fit.

    Parameters
    ----------
    spec, data, splits, state
        As in `advance`, after the last chunk.

    Yields
    ------
    split : Split
        The split.
    values : ndarray, shape (rows left out, k) [units of the labels]
        Predicted labels.
    """
    preset, spec = resolve(spec)
    fits = preset.fitted(spec, data, splits, state)
    for split, fit in zip(splits, fits, strict=True):
        test = split.test
        part = (data.flux[test], data.ivar[test], data.continuum[test])
        yield split, preset.predict_raw(spec, fit, data.first_index, *part).values


def loss(data: TrainingData, split: Split, values: FloatArray, objective: Objective) -> float:
    """Return the mean error of the rows that a split leaves out.

    It is computed in labels scaled by the training rows of the split, for all presets and settings.

    Parameters
    ----------
    data : TrainingData
        All rows.
    split : Split
        The split.
    values : ndarray, shape (rows left out, k) [units of the labels]
        From `predict_left_out`.
    objective : {"mae", "mse"}
        Mean absolute or mean squared error, over all known labels.
    """
    scaler = LabelScaler.from_data(data.labels[split.train], data.names)
    truth = data.labels[split.test]
    delta = (scaler.transform(values) - scaler.transform(truth))[np.isfinite(truth)]
    if not delta.size:
        return float("nan")
    return float(np.mean(np.abs(delta) if objective == "mae" else delta**2))
