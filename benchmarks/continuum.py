"""Normalize spectra by the notebook's polynomials: ours and a loop over ``np.polyfit``.

The continua are compared first, to 1e-6; then each is timed as the best of several runs after one
that does not count. The recipe `default` does other work and is shown for comparison.

Usage: python -m benchmarks.continuum [N_SPECTRA]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from benchmarks.baselines.polyfit import fit_continuum_loop
from benchmarks.common import print_ratios
from models.spectra import polynomial
from models.spectra.normalize import RECIPES, normalize

RUNS = 5
RECIPE = RECIPES["seed-2018"]


def random_spectra(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Lines on a curved continuum with noise at S/N 50 and 2% bad pixels."""
    rng = np.random.default_rng(42)
    wavelength = RECIPE.wavelength
    flux = 20.0 * (1.0 + 0.4 * np.sin(wavelength / 1500.0 + rng.uniform(0, 6, (n, 1))))
    for center in rng.uniform(wavelength[0], wavelength[-1], 150):
        depth = rng.uniform(0.0, 0.4, (n, 1))
        flux *= 1.0 - depth * np.exp(-0.5 * ((wavelength - center) / rng.uniform(2, 12)) ** 2)
    flux += 0.4 * rng.standard_normal(flux.shape)
    return flux, rng.random(flux.shape) > 0.02


def best_times(ways: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Shortest of several runs of each; the runs alternate, so all meet the same other load."""
    seconds = dict.fromkeys(ways, float("inf"))
    for _ in range(RUNS):
        for name, work in ways.items():
            start = time.perf_counter()
            work()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 419  # as many as the notebook
    flux, good = random_spectra(n)
    arms = polynomial.make_arms(RECIPE.wavelength, RECIPE.split)
    ivar, mask, z = good * 6.25, np.zeros(flux.shape, np.int32), np.zeros(n)
    ways: dict[str, Callable[[], object]] = {
        "crosslabel, batched": lambda: polynomial.fit_continuum(flux, good, arms),
        "np.polyfit loop": lambda: fit_continuum_loop(RECIPE.wavelength, flux, good, RECIPE.split),
        "whole recipe seed-2018": lambda: normalize(
            RECIPE, RECIPE.first_index, flux, ivar, mask, z
        ),
        "whole recipe default": lambda: normalize(
            RECIPES["default"], RECIPE.first_index, flux, ivar, mask, z
        ),
    }
    ours, _ = polynomial.fit_continuum(flux, good, arms)
    plain = fit_continuum_loop(RECIPE.wavelength, flux, good, RECIPE.split)
    worst = np.abs(ours / plain - 1.0).max()
    if not worst < 1e-6:
        sys.exit(f"the continua differ by up to {worst:.1e}")
    print(f"{n} spectra of {RECIPE.n_pixels} pixels; largest relative difference {worst:.1e}")
    print_ratios(best_times(ways), "crosslabel, batched", digits=4)


if __name__ == "__main__":
    main()
