"""A small model of the preset `default` on real spectra, and the spectra that it never saw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.real_spectra import RECIPE, read_spectra
from models.core.records import TrainingData, TrainSpec
from models.predict import Model, load
from tests.support.simulated import run_all

N_STARS = 300  # of those of 4000 to 7500 K with S/N of at least 20, about 1,270


@dataclass(frozen=True, eq=False)
class LamostDefault:
    """A model, the spectra that it was trained on, and the rest."""

    model: Model
    seen: TrainingData
    unseen: TrainingData


def train_on_lamost() -> LamostDefault:
    """Train on some random stars of the kit; few folds, members and epochs."""
    everything = read_spectra(None, 0)
    stars = np.unique(everything.group)
    drawn = np.random.default_rng(0).permutation(stars)[:N_STARS]
    chosen = np.isin(everything.group, drawn)
    seen = _rows(everything, chosen)
    spec = TrainSpec(
        "default", seen.names, RECIPE.name, folds=2, members=2, components=32, epochs=250
    )
    artifact = run_all(spec, seen)[-1].artifact
    return LamostDefault(load(artifact), seen, _rows(everything, ~chosen))


def _rows(data: TrainingData, chosen: np.ndarray) -> TrainingData:
    """Some of the rows."""
    arrays = (data.flux, data.ivar, data.continuum, data.labels, data.label_errors, data.group)
    return TrainingData(*(a[chosen] for a in arrays), data.names, data.first_index)
