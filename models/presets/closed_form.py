"""Training of the presets that are solved, not trained in epochs: one fit per split, in turn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.core import arrays as ar
from models.core.arrays import Arrays
from models.core.crossval import Split
from models.core.records import TrainingData, TrainSpec
from models.core.schedule import Chunk, Stage

Fit = Callable[[TrainSpec, TrainingData, Split], Arrays]


def stages(
    name: str, splits_per_chunk: int, spec: TrainSpec, n_splits: int, n_train: int
) -> tuple[Stage, ...]:
    """Return the only stage of a fit, whose units are the splits.

    Parameters
    ----------
    name : str
        Name of the stage.
    splits_per_chunk : int
        Such that a chunk takes a few seconds.
    spec, n_splits, n_train
        As in `models.core.schedule.Stages`.
    """
    del spec, n_train
    return (Stage(name, n_splits, splits_per_chunk),)


def advance(
    fit: Fit,
    spec: TrainSpec,
    data: TrainingData,
    splits: tuple[Split, ...],
    chunk: Chunk,
    state: Arrays,
) -> tuple[Arrays, NDArray[np.float32], NDArray[np.float32]]:
    """Fit the splits of one chunk.

    Parameters
    ----------
    fit : callable
        Arrays of the model of a split, from its training rows.
    spec, data, splits, chunk, state
        As in `models.presets.default.advance`.

    Returns
    -------
    state : dict of str to ndarray
        The models so far, the arrays of split i under the name ``i``.
    losses, test_losses : ndarray, shape (n_splits, 0)
        There are no epochs.
    """
    new: Arrays = {}
    for i in range(chunk.start, chunk.stop):
        new |= ar.add_prefix(str(i), fit(spec, data, splits[i]))
    nothing = np.zeros((len(splits), 0), np.float32)
    return {**state, **new}, nothing, nothing


def fitted(
    spec: TrainSpec, data: TrainingData, splits: tuple[Split, ...], state: Arrays
) -> list[Arrays]:
    """Arrays of the finished model of each split, from the state that ends a phase."""
    del spec, data
    return [ar.select(str(i), state) for i in range(len(splits))]
