"""Simulated spectra of full length, and a model of the preset `default` that learned from some.

The speed of training and prediction depends on the sizes, not on what is learned: lines of random
place and width deepen with three labels, S/N is 20 to 150, one pixel in fifty is bad.
"""

from __future__ import annotations

import numpy as np

from models import predict, trainer
from models.core.records import TrainingData, TrainSpec
from models.predict import Model
from models.spectra.normalize import RECIPES

RECIPE = RECIPES["default"]
LABELS = ("teff", "logg", "fe_h")
N_LINES = 300


def simulate(n: int, seed: int = 0) -> TrainingData:
    """Make n spectra of as many stars."""
    rng = np.random.default_rng(seed)
    lines = np.random.default_rng(42)  # the same in all spectra
    pixel = np.arange(RECIPE.n_pixels)
    unit = rng.uniform(-1.0, 1.0, (n, len(LABELS)))
    flux = np.ones((n, pixel.size), np.float32)
    for center, width in zip(
        lines.uniform(0, pixel.size, N_LINES), lines.uniform(1.5, 8.0, N_LINES), strict=True
    ):
        strength = lines.uniform(-0.1, 0.1, len(LABELS))
        depth = 0.15 + np.tanh(unit @ strength) + 0.05 * lines.standard_normal() * unit[:, 0] ** 2
        near = np.abs(pixel - center) < 5.0 * width
        profile = np.exp(-0.5 * ((pixel[near] - center) / width) ** 2)
        flux[:, near] -= (np.clip(depth, 0.0, 0.6)[:, None] * profile).astype(np.float32)
    snr = rng.uniform(20.0, 150.0, (n, 1)) * np.linspace(0.6, 1.2, pixel.size)
    flux += (rng.standard_normal(flux.shape) / snr).astype(np.float32)
    ivar = (snr**2).astype(np.float32)
    ivar[rng.random(flux.shape) < 0.02] = 0.0
    labels = unit * [900.0, 1.5, 0.8] + [5500.0, 3.0, -0.5]
    return TrainingData(
        flux=flux,
        ivar=ivar,
        continuum=np.full(flux.shape, 50.0, np.float32),
        labels=labels,
        label_errors=np.full(labels.shape, np.nan),
        group=np.arange(n),
        names=LABELS,
        first_index=RECIPE.first_index,
    )


def train_default(data: TrainingData, **settings: int) -> tuple[Model, dict[str, float]]:
    """Train `default` chunk by chunk; return the model and the scores of the left-out stars."""
    spec = TrainSpec("default", data.names, RECIPE.name, **settings)
    state, artifact, scores = None, b"", {}
    for key in trainer.plan(spec, data.flux.shape[0]):
        step = trainer.run_chunk(spec, data, key, state)
        state, artifact = step.state, step.artifact or artifact
        scores = step.metrics or scores
    return predict.load(artifact), scores
