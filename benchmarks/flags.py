"""Count the spectra that a model flags: odd ones, real and made, and good ones, not seen before.

A model is trained on the LAMOST spectra of some stars of the survey kit (4000 to 7500 K, S/N of at
least 20 in g) and predicts the others of that kind, with labels within the range of those it was
trained on, which should have no flags, and spectra that no such model should be believed on
(`benchmarks.odd_spectra`). Prints the fraction with each bit.
Not one of ``python -m benchmarks``: it takes minutes. Its answer is checked: at least 95% of each
odd kind and at most 5% of the good spectra have a flag, or the exit status is 1.

Usage: python -m benchmarks.flags [PRESET ...] [--stars N] [--folds N] [--seed SEED]
"""

from __future__ import annotations

import argparse
import dataclasses
import sys

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import KIT
from benchmarks.odd_spectra import odd_spectra
from benchmarks.real_spectra import RECIPE, read_spectra
from models import trainer
from models.core.records import Predictions, TrainingData, TrainSpec
from models.predict import Model, load
from models.reliability.flags import BIT

QUALITY = BIT["LOW_SNR"] | BIT["MASKED"] | BIT["MISSING_ARM"] | BIT["NO_INFORMATION"]
SHOWN = (
    "OUT_OF_RANGE",
    "FAR_FROM_TRAINING",
    "HIGH_CHI2",
    "DISAGREEMENT",
    "LOW_SNR",
    "MASKED",
    "MISSING_ARM",
)
SPOILT = 100  # good spectra that are spoilt in each way
MIN_ODD, MAX_GOOD = 0.95, 0.05


def part(data: TrainingData, rows: NDArray[np.bool_]) -> TrainingData:
    """Some of the rows."""
    names = ("flux", "ivar", "continuum", "labels", "label_errors", "group")
    return dataclasses.replace(data, **{name: getattr(data, name)[rows] for name in names})


def train(spec: TrainSpec, data: TrainingData) -> Model:
    """Train a model from its first chunk to its last."""
    state, artifact = None, None
    for key in trainer.plan(spec, data.flux.shape[0]):
        step = trainer.run_chunk(spec, data, key, state)
        state, artifact = step.state, step.artifact
    if artifact is None:
        raise RuntimeError(f"the training of {spec.preset} ended without a model")
    return load(artifact)


def count(model: Model, unseen: TrainingData, n_spoilt: int = SPOILT) -> dict[str, Predictions]:
    """Predictions for the spectra of each kind; the first kind is the good ones."""
    found = model.predict(unseen.flux, unseen.ivar, unseen.continuum)
    low, high = np.array([model.manifest["label_ranges"][name] for name in unseen.names]).T
    within = ((unseen.labels >= low) & (unseen.labels <= high)).all(axis=1)
    good = np.flatnonzero(within & (found.flags & QUALITY == 0))
    few = good[:n_spoilt]
    spoilt = (unseen.flux[few], unseen.ivar[few], unseen.continuum[few])
    kinds = {
        name: model.predict(*planes) for name, planes in odd_spectra(KIT, spoilt, RECIPE).items()
    }
    return {"good stars, unseen": found.take(good), **kinds}


def report(kinds: dict[str, Predictions]) -> bool:
    """Print the table; whether all kinds are flagged as they should."""
    print(f"{'':22}{'n':>5}{'any':>7}" + "".join(f"{name[:11]:>12}" for name in SHOWN))
    fine = True
    for name, found in kinds.items():
        flagged = float(np.mean(found.flags != 0))
        right = flagged >= MIN_ODD if name in list(kinds)[1:] else flagged <= MAX_GOOD
        line = f"{name:22}{found.flags.size:5}{flagged:7.3f}"
        line += "".join(f"{np.mean(found.flags & BIT[bit] != 0):12.3f}" for bit in SHOWN)
        print(line + ("" if right else "  <- not as it should be"), flush=True)
        fine &= right
    return fine


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("presets", nargs="*", default=["cannon", "default"])
    parser.add_argument("--stars", type=int, default=400, help="that the models are trained on")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="of the stars, folds and networks")
    arguments = parser.parse_args()
    data = read_spectra(None, arguments.seed)
    stars = np.random.default_rng(arguments.seed).permutation(np.unique(data.group))
    seen = np.isin(data.group, stars[: arguments.stars])
    fine = True
    for preset in arguments.presets:
        spec = TrainSpec(
            preset, data.names, RECIPE.name, folds=arguments.folds, seed=arguments.seed
        )
        print(f"\n{preset}, {arguments.stars} stars", flush=True)
        fine &= report(count(train(spec, part(data, seen)), part(data, ~seen)))
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
