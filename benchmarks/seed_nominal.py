"""CPU time of `seed-2018` at its nominal size: 10 folds of 393 spectra, 16,000 and 1,800 epochs.

Some chunks of both networks are run as a training runs them, each with its state from the chunk
before, and their time is scaled to all chunks of the plan. Goal: at most 30 CPU-minutes.
Not one of ``python -m benchmarks``: it takes minutes.

Usage: python -m benchmarks.seed_nominal [--spectra N] [--folds N]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

import numpy as np

from models import trainer
from models.core.records import TrainingData, TrainSpec
from models.spectra.normalize import RECIPES

N_SPECTRA = 393
N_MEASURED = 2  # chunks of each network, between one that compiles and one that ends
LABELS = ("teff", "logg", "fe_h")


def random_data(n_spectra: int) -> TrainingData:
    """Spectra of the notebook's length, with noise of S/N 50."""
    recipe = RECIPES["seed-2018"]
    rng = np.random.default_rng(0)
    shape = (n_spectra, recipe.n_pixels)
    labels = rng.normal(size=(n_spectra, 3)) * [300.0, 0.7, 0.3] + [4700.0, 2.3, -0.4]
    return TrainingData(
        flux=(1.0 + 0.02 * rng.normal(size=shape)).astype(np.float32),
        ivar=np.full(shape, 2500.0, np.float32),
        continuum=np.full(shape, 30.0, np.float32),
        labels=labels,
        label_errors=np.full(labels.shape, np.nan),
        group=np.arange(n_spectra),
        names=LABELS,
        first_index=recipe.first_index,
    )


def epochs_of(key: str) -> int:
    """Number of epochs of a chunk."""
    start, stop = key.rsplit("/", 1)[1].split("-")
    return int(stop) - int(start)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--spectra", type=int, default=N_SPECTRA)
    parser.add_argument("--folds", type=int, default=10)
    arguments = parser.parse_args()
    n_spectra, folds = arguments.spectra, arguments.folds
    data = random_data(n_spectra)
    nominal = TrainSpec("seed-2018", LABELS, "seed-2018", folds=folds)
    plan = trainer.plan(nominal, n_spectra)
    total = Counter()
    for key in plan:
        total[key.rsplit("/", 1)[0]] += epochs_of(key)
    step = epochs_of(plan[0])
    n_epochs = step * (N_MEASURED + 2)
    short = TrainSpec(
        "seed-2018", LABELS, "seed-2018", folds=folds, epochs=n_epochs, reverse_epochs=n_epochs
    )
    cpu, wall, epochs, state, losses = Counter(), Counter(), Counter(), None, []
    before, longest, size = "", 0.0, 0
    for key in trainer.plan(short, n_spectra):
        stage = key.rsplit("/", 1)[0]
        if not stage.startswith("folds"):
            break
        cpu_start, start = time.process_time(), time.perf_counter()
        result = trainer.run_chunk(short, data, key, state)
        state, size = result.state, max(size, len(result.state))
        losses += [row.loss for row in result.history if row.network == "forward"]
        if stage == before and epochs[stage] < step * N_MEASURED:
            cpu[stage] += time.process_time() - cpu_start
            wall[stage] += time.perf_counter() - start
            longest = max(longest, time.perf_counter() - start)
            epochs[stage] += epochs_of(key)
        before = stage
    if not np.isfinite(losses).all():
        sys.exit("the training loss is not finite")
    whole = 0.0
    print(f"{'':16}{'epochs':>8}{'CPU ms/epoch':>14}{'CPU min in all':>16}")
    for stage, n in epochs.items():
        minutes = cpu[stage] / n * total[stage] / 60.0
        whole += minutes
        print(f"{stage:16}{total[stage]:8,}{1e3 * cpu[stage] / n:14.1f}{minutes:16.1f}")
    print(f"{folds} folds: {whole:.1f} CPU-minutes (goal: 30); longest chunk {longest:.1f} s,")
    print(f"{size / 1e6:.0f} MB of state a chunk, {len(plan)} chunks")


if __name__ == "__main__":
    main()
