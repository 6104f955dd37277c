"""Choose the settings of `default` by nested cross-validation on real spectra.

The spectra are those of ``benchmarks.real_spectra``. Of the training stars of each outer fold,
inner folds leave out a part in turn; candidates are compared by their mean absolute error there, in
scaled labels, all labels alike. The outer stars judge the candidate that their fold chose and,
for the table only, all others. Projection, process, networks and choice never see them.

Every candidate is trained once per split and predicts with each weight of the Gaussian process.
Not one of ``python -m benchmarks``: a candidate takes minutes.

Usage: python -m benchmarks.choose_default [--rows N] [--outer N] [--inner N]
       [--candidates NAME ...] [--epochs N] [--seed SEED]
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import check_finite
from benchmarks.real_spectra import LABELS, RECIPE, read_spectra
from models import nested
from models.core import crossval, metrics
from models.core.crossval import Split
from models.core.records import TrainingData, TrainSpec

WEIGHTS = (0.0, 0.5, 1.0)  # of the process: networks alone, both, process alone
CANDIDATES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "nominal": {},
        "decay 0.01": {"options": {"weight_decay": 0.01}},
        "decay 0.1": {"options": {"weight_decay": 0.1}},
        "decay 0.3": {"options": {"weight_decay": 0.3}},
        "32 components": {"components": 32},
        "96 components": {"components": 96},
        "width 128": {"options": {"width": 128}},
        "10 members": {"members": 10},
    }
)
"""Name -> what differs from the nominal `default`."""

FloatArray = NDArray[np.float64]


def inner_splits(data: TrainingData, outer: Split, folds: int, seed: int) -> tuple[Split, ...]:
    """Folds by star inside the training part of an outer fold, numbered apart from all others."""
    inner = crossval.fold_splits(crossval.assign_folds(data.group[outer.train], folds, seed))
    return tuple(
        Split(
            100 * (outer.fold + 1) + split.fold, outer.train[split.train], outer.train[split.test]
        )
        for split in inner
    )


def leave_out(
    spec: TrainSpec, data: TrainingData, splits: tuple[Split, ...], phase: str
) -> dict[float, list[FloatArray]]:
    """Labels of the rows that each split leaves out, by weight of the process."""
    state: dict[str, NDArray[Any]] = {}
    for chunk in nested.fit_plan(spec, phase, splits):
        state = nested.advance(spec, data, splits, chunk, state)
    found = {}
    for weight in WEIGHTS:
        options = {**dict(spec.options), "process": weight}
        with_weight = dataclasses.replace(spec, options=options)
        left_out = nested.predict_left_out(with_weight, data, splits, state)
        found[weight] = [values for _, values in left_out]
    return found


def report(name: str, chosen: str, loss: str, delta: FloatArray) -> None:
    """Print a row of the table."""
    line = f"{name:24}{chosen:>8}{loss:>9}"
    for statistic in (metrics.sigma_mad, lambda column: float(np.mean(np.abs(column)))):
        teff, logg, fe_h = (statistic(column) for column in delta.T)
        line += f"{teff:9.1f}{logg:8.4f}{fe_h:8.4f}"
    print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, help="only the spectra of this many random stars")
    parser.add_argument("--outer", type=int, default=5, help="outer folds")
    parser.add_argument("--inner", type=int, default=3, help="inner folds of each outer fold")
    parser.add_argument("--epochs", type=int, help="fewer than the preset has")
    parser.add_argument("--seed", type=int, default=0, help="of the stars, folds and networks")
    parser.add_argument(
        "--candidates", nargs="+", choices=CANDIDATES, default=list(CANDIDATES), metavar="NAME"
    )
    arguments = parser.parse_args()
    data = read_spectra(arguments.rows, arguments.seed)
    outer = crossval.fold_splits(crossval.assign_folds(data.group, arguments.outer, arguments.seed))
    inner = [inner_splits(data, split, arguments.inner, arguments.seed) for split in outer]
    flat = tuple(split for splits in inner for split in splits)
    losses: dict[str, list[float]] = {}  # of each outer fold
    values: dict[str, list[FloatArray]] = {}
    for name in arguments.candidates:
        start = time.perf_counter()
        settings = {"seed": arguments.seed, "epochs": arguments.epochs, **CANDIDATES[name]}
        spec = TrainSpec("default", LABELS, RECIPE.name, **settings)
        for weight, found in leave_out(spec, data, flat, nested.INNER).items():
            scores = [
                nested.loss(data, split, v, "mae") for split, v in zip(flat, found, strict=True)
            ]
            full = f"{name}, process {weight:g}"
            losses[full] = np.reshape(scores, (len(outer), -1)).mean(axis=1).tolist()
        for weight, found in leave_out(spec, data, outer, nested.OUTER).items():
            values[f"{name}, process {weight:g}"] = found
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    best = [min(losses, key=lambda name: losses[name][i]) for i in range(len(outer))]
    values["chosen by each fold"] = [values[name][i] for i, name in enumerate(best)]
    print(f"\n{data.group.size} spectra, {len(outer)} outer folds of {arguments.inner} inner ones")
    head = f"{'candidate':24}{'chosen':>8}{'inner':>9}"
    print(head + "  sigma_mad: teff, logg, fe_h" + "   MAE: teff, logg, fe_h")
    for name, parts in values.items():
        delta = np.empty_like(data.labels)
        for split, part in zip(outer, parts, strict=True):
            delta[split.test] = part - data.labels[split.test]
        inside = f"{np.mean(losses[name]):.4f}" if name in losses else ""
        check_finite(name, delta)
        report(name, str(best.count(name)) if name in losses else "", inside, delta)


if __name__ == "__main__":
    main()
