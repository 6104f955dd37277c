"""Match 160,000 with 500,000 positions in memory: ours, astropy's and SciPy's k-d tree.

The pairs are compared first; then each is timed as the best of several runs after a first one
that does not count.

Usage: python -m benchmarks.crossmatch_core [N_LEFT N_RIGHT]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord, search_around_sky
from scipy.spatial import cKDTree

from benchmarks.common import print_ratios
from catalog.sky.vectors import ARCSEC_PER_RADIAN, offset_position, unit_vectors
from catalog.sky.xmatch import crossmatch

RADIUS = 2.0  # arcsec
RUNS = 3


def random_skies(n_left: int, n_right: int) -> tuple[np.ndarray, ...]:
    """Make two random skies; a fifth of the right one lies around left positions."""
    rng = np.random.default_rng(42)

    def sky(n: int) -> tuple[np.ndarray, np.ndarray]:
        return rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))

    left, right = sky(n_left), sky(n_right)
    near = rng.integers(n_left, size=n_right // 5)
    right[0][: near.size], right[1][: near.size] = offset_position(
        left[0][near], left[1][near], *rng.normal(0, 1, (2, near.size))
    )
    return *left, *right


def by_crosslabel(*skies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pairs = crossmatch(*skies, RADIUS)
    return pairs.left, pairs.right


def by_astropy(ra1, dec1, ra2, dec2) -> tuple[np.ndarray, np.ndarray]:
    left, right = SkyCoord(ra1, dec1, unit="deg"), SkyCoord(ra2, dec2, unit="deg")
    return search_around_sky(left, right, RADIUS * u.arcsec)[:2]


def by_kdtree(ra1, dec1, ra2, dec2) -> tuple[np.ndarray, np.ndarray]:
    tree = cKDTree(unit_vectors(ra2, dec2), balanced_tree=False)
    chord = 2 * np.sin(RADIUS / ARCSEC_PER_RADIAN / 2)
    found = tree.query_ball_point(unit_vectors(ra1, dec1), chord, workers=-1)
    rows = np.repeat(np.arange(ra1.size), [len(f) for f in found])
    return rows, np.fromiter((j for f in found for j in f), np.int64, rows.size)


def best_time(match: Callable, skies: tuple[np.ndarray, ...]) -> float:
    def once() -> float:
        start = time.perf_counter()
        match(*skies)
        return time.perf_counter() - start

    return min(once() for _ in range(RUNS))


def main() -> None:
    sizes = [int(a) for a in sys.argv[1:]] or [160_000, 500_000]
    skies = random_skies(*sizes)
    rivals = {
        "crosslabel": by_crosslabel,
        "SciPy cKDTree": by_kdtree,
        "astropy search_around_sky": by_astropy,
    }
    pairs = {name: match(*skies) for name, match in rivals.items()}
    packed = {name: np.unique(i * sizes[1] + j) for name, (i, j) in pairs.items()}
    for name, keys in packed.items():
        odd = np.setxor1d(keys, packed["crosslabel"]).size
        if odd:
            sys.exit(f"{name}: {odd} of {keys.size} pairs differ")
    print(f"{sizes[0]:,} x {sizes[1]:,}, {RADIUS} arcsec: {keys.size:,} pairs, the same in all")
    seconds = {name: best_time(match, skies) for name, match in rivals.items()}
    print_ratios(seconds, "crosslabel")


if __name__ == "__main__":
    main()
