"""Presets whose models are solved, not trained in epochs: one fit per split, in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from models.core import arrays as ar
from models.core.arrays import Arrays
from models.core.crossval import Split
from models.core.options import Option
from models.core.records import TrainingData, TrainSpec
from models.core.schedule import Chunk, Stage
from models.presets.preset import Advanced, PredictRaw, Preset, Splits

Fit = Callable[[TrainSpec, TrainingData, Split], Arrays]


def make_preset(
    name: str,
    summary: str,
    fields: Mapping[str, Option],
    splits_per_chunk: int,
    fit: Fit,
    predict_raw: PredictRaw,
) -> Preset:
    """Return the preset whose models a function fits.

    A fit has one stage, called like the preset, whose units are the splits. The state holds the
    models so far, the arrays of split i under the name ``i``.

    Parameters
    ----------
    name, summary, fields, predict_raw
        As in `models.presets.preset.Preset`.
    splits_per_chunk : int
        Such that a chunk takes a few seconds.
    fit : callable
        ``fit(spec, data, split)``: the arrays of a model, from the training rows of a split.
    """

    def stages(spec: TrainSpec, n_splits: int, n_train: int) -> tuple[Stage, ...]:
        return (Stage(name, n_splits, splits_per_chunk),)

    def advance(
        spec: TrainSpec, data: TrainingData, splits: Splits, chunk: Chunk, state: Arrays
    ) -> Advanced:
        new: Arrays = {}
        for i in range(chunk.start, chunk.stop):
            new |= ar.add_prefix(str(i), fit(spec, data, splits[i]))
        no_epochs = np.zeros((len(splits), 0), np.float32)
        return {**state, **new}, no_epochs, no_epochs

    return Preset(name, summary, {}, fields, stages, advance, _fitted, predict_raw)


def _fitted(spec: TrainSpec, data: TrainingData, splits: Splits, state: Arrays) -> list[Arrays]:
    """Return the arrays of each split's model, from the state that ends a phase."""
    return [ar.select(str(i), state) for i in range(len(splits))]
