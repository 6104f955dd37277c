"""Simulated spectra with known labels, small enough that networks train in seconds."""

from __future__ import annotations

import numpy as np

from models import trainer
from models.core.records import TrainingData, TrainSpec

FIRST_INDEX = 2974  # puts 6507 Angstrom, where the arms meet, in the middle of the window
N_PIXELS = 320
NAMES = ("teff", "logg", "fe_h")
SEED = TrainSpec("seed-2018", NAMES, "seed-2018", folds=3, epochs=30, reverse_epochs=30)
DEFAULT = TrainSpec("default", NAMES, "default", folds=3, epochs=150, members=2, components=8)


def simulate(n_stars=60, repeats=6, seed=0, noise=0.01):
    """Make spectra whose lines deepen with the labels; the first stars are observed twice."""
    rng = np.random.default_rng(seed)
    unit = rng.uniform(-1.0, 1.0, (n_stars, 3))
    star = np.concatenate([np.arange(n_stars), np.arange(repeats)])
    x = np.arange(N_PIXELS)
    depth = np.ones((len(star), N_PIXELS))
    for i, center in enumerate(range(20, N_PIXELS - 10, 24)):
        strength = 0.25 + 0.12 * unit[star, i % 3] + 0.03 * unit[star, i % 3] * unit[star, 0]
        depth -= strength[:, None] * np.exp(-0.5 * ((x - center) / 3.0) ** 2)
    slope = rng.uniform(-0.3, 0.3, (len(star), 1)) * (x / N_PIXELS - 0.5)
    continuum = 50.0 * (1.0 + slope)
    flux = depth + noise * rng.standard_normal(depth.shape)
    ivar = np.full(depth.shape, noise**-2)
    bad = rng.random(depth.shape) < 0.02
    flux[bad], ivar[bad] = 1.0, 0.0
    labels = unit[star] * [600.0, 1.0, 0.7] + [4800.0, 2.5, -0.5]
    return TrainingData(
        flux=flux.astype(np.float32),
        ivar=ivar.astype(np.float32),
        continuum=continuum.astype(np.float32),
        labels=labels,
        label_errors=np.full(labels.shape, np.nan),
        group=star.astype(np.int64) + 1000,
        names=NAMES,
        first_index=FIRST_INDEX,
    )


def run_all(spec, data, until=None):
    """Run a training from its first chunk; return all steps."""
    steps, state = [], None
    for key in trainer.plan(spec, data.flux.shape[0]):
        steps.append(trainer.run_chunk(spec, data, key, state))
        state = steps[-1].state
        if until is not None and until(steps[-1]):
            break
    return steps
