"""Labels, errors and flags of spectra in memory: how many a second, with the preset `default`.

First the scores on the model's components are compared with those of the plain formula, then the
labels that follow from either: they must agree to a fraction of their error. Then whole predictions
are timed, and the scores alone against the plain formula in NumPy.

Usage: python -m benchmarks.inference [N_SPECTRA]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from benchmarks.baselines.exact_scores import exact_scores
from benchmarks.learned import simulate, train_default
from models.core import arrays as ar
from models.projection.projection import Projection

RUNS = 5
N_TRAINED = 400


def best_times(ways: dict[str, Callable[[], object]]) -> dict[str, tuple[float, float]]:
    """Shortest wall and processor time of several runs of each, in turn."""
    seconds = {name: (float("inf"), float("inf")) for name in ways}
    for _ in range(RUNS):
        for name, work in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            spent = time.perf_counter() - wall, time.process_time() - cpu
            seconds[name] = (min(seconds[name][0], spent[0]), min(seconds[name][1], spent[1]))
    return seconds


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    model, _ = train_default(simulate(N_TRAINED), folds=2, epochs=100)
    data = simulate(n, seed=1)
    parts = ar.select("projection", model.arrays)
    fit = Projection(**{name: a for name, a in parts.items() if name != "scale"})

    ours = fit.scores(data.flux, data.ivar)
    values, noise, chi2 = exact_scores(fit, data.flux, data.ivar)
    off = np.abs(ours.values - values) / np.maximum(noise, 1e-12)
    if not (np.percentile(off, 99.0) < 0.02 and off.max() < 0.5):
        sys.exit(f"scores differ by {np.percentile(off, 99.0):.3f}, at most {off.max():.3f} noise")
    off_noise = np.abs(ours.noise / np.maximum(noise, 1e-12) - 1.0)
    if not (np.median(off_noise) < 0.02 and np.abs(ours.chi2 / chi2 - 1.0).max() < 1e-2):
        sys.exit(f"noise differs by {np.median(off_noise):.3f} in the median")
    print(
        f"{n:,} spectra of {data.flux.shape[1]} pixels on {fit.prior.size} components: scores are "
        f"those of the plain formula to {np.percentile(off, 99.0):.4f} of their noise (99%),\n"
        f"the noise to {100 * np.median(off_noise):.1f}% (median)"
    )
    ways: dict[str, Callable[[], object]] = {
        "labels, errors, flags": lambda: model.predict(data.flux, data.ivar, data.continuum),
        "scores alone": lambda: fit.scores(data.flux, data.ivar),
        "plain formula in NumPy": lambda: exact_scores(fit, data.flux, data.ivar),
    }
    seconds = best_times(ways)
    print(f"{'':26}{'spectra/s':>10}{'ratio':>7}{'us of processor per spectrum':>31}")
    base = seconds["scores alone"][0]
    for name, (wall, cpu) in seconds.items():
        print(f"{name:26}{n / wall:10,.0f}{wall / base:7.2f}{1e6 * cpu / n:31.0f}")


if __name__ == "__main__":
    main()
