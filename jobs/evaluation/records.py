"""Records of an evaluation: bins, scores and repeats, as rows of its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

POPULATIONS = ("all", "giants", "dwarfs")

#: Edges between the bins; the outer bins have no outer edge.
EDGES: Mapping[str, tuple[float, ...]] = {
    "snr": (20.0, 40.0, 80.0),
    "teff": (4500.0, 5000.0, 5500.0, 6000.0),
    "logg": (2.0, 3.5, 4.2),
    "fe_h": (-1.0, -0.5, 0.0),
}


@dataclass(frozen=True)
class Score:
    """One row of the table ``evaluation_score``, whose columns say what the numbers mean."""

    test_set: str
    label: str
    population: str
    bin_by: str
    bin: int
    bin_low: float | None
    bin_high: float | None
    unit: str
    n: int
    n_stars: int
    bias: float | None
    bias_err: float | None
    sigma_mad: float | None
    sigma_mad_err: float | None
    mae: float | None
    mae_err: float | None
    seed_bias: float | None
    seed_bias_err: float | None
    seed_scatter: float | None
    seed_scatter_err: float | None
    outlier_fraction: float | None
    outlier_fraction_err: float | None
    slope: float | None
    slope_err: float | None
    sigma_mad_diff: float | None
    sigma_mad_diff_err: float | None
    mae_diff: float | None
    mae_diff_err: float | None
    pull_sigma: float | None
    n_sigma: int
    coverage68: float | None
    coverage95: float | None
    raw_coverage68: float | None
    raw_coverage95: float | None


@dataclass(frozen=True)
class Repeat:
    """One row of the table ``evaluation_repeat``."""

    test_set: str
    label: str
    bin_by: str
    bin: int
    bin_low: float | None
    bin_high: float | None
    unit: str
    n_pairs: int
    n_stars: int
    repeat_sigma: float | None
    repeat_sigma_err: float | None
    predicted_sigma: float | None


@dataclass(frozen=True)
class CurvePoint:
    """One label of one size of a learning curve; a row of the table ``learning_curve``."""

    model: str
    training_stars: int
    label: str
    unit: str
    n: int
    n_stars: int
    bias: float | None
    bias_err: float | None
    sigma_mad: float | None
    sigma_mad_err: float | None
    mae: float | None
    mae_err: float | None
    seed_bias: float | None
    seed_bias_err: float | None
    seed_scatter: float | None
    seed_scatter_err: float | None
    outlier_fraction: float | None
    outlier_fraction_err: float | None
    slope: float | None
    slope_err: float | None


@dataclass(frozen=True)
class Cell:
    """One bin: its name, edges (None: open) and number."""

    bin_by: str
    bin: int = 0
    bin_low: float | None = None
    bin_high: float | None = None

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Return True for values that lie in it, shape (n,); unknown ones lie in none."""
        low = -np.inf if self.bin_low is None else self.bin_low
        high = np.inf if self.bin_high is None else self.bin_high
        return (values >= low) & (values < high)


def cells_of(name: str, edges: Sequence[float]) -> list[Cell]:
    """Return the bins between edges, and the two open ones outside."""
    bounds = [None, *map(float, edges), None]
    return [Cell(name, i, low, high) for i, (low, high) in enumerate(pairwise(bounds))]


def known(value: float) -> float | None:
    """Return a number, or None where it is not known: NULL in the table, null in JSON."""
    return float(value) if np.isfinite(value) else None
