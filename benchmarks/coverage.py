"""Measure the coverage of the errors in each range of S/N, for giants and for dwarfs.

Counts, in the predictions that `benchmarks.real_spectra` left in FOLDER, the differences within the
intervals for 68% and for 95%, by label, quartile of S/N and kind (giant or dwarf by predicted log
g). A cell of at least 300 spectra should have 64 to 72%, or 93 to 97%; a smaller one what it should
have to two binomial standard deviations. By that rule some cells fail even where all intervals are
perfect, so the same is counted for perfect ones: differences drawn at random, as correlated between
the labels of a spectrum as the real ones are. Not one of ``python -m benchmarks``: it needs FOLDER.

Usage: python -m benchmarks.coverage FOLDER [PRESET ...] [--rows N] [--seed SEED] [--draws N]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from benchmarks.real_spectra import FOLDS, GIANT_LOGG, LABELS, read, read_spectra
from models.core import crossval
from models.predict import median_snr
from models.reliability.calibration import LEVELS

ALLOWED = ((0.64, 0.72), (0.93, 0.97))  # shares in a cell of `MANY` and more spectra
MANY = 300
QUARTILES = 4

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]


def cells(giant: Mask, snr: FloatArray) -> dict[str, list[Mask]]:
    """Rows of each quartile of S/N, and of all, for both kinds."""
    quartile = np.digitize(snr, np.quantile(snr, np.arange(1, QUARTILES) / QUARTILES))
    parts = [*(quartile == i for i in range(QUARTILES)), np.ones(snr.size, dtype=bool)]
    return {
        kind: [rows & part for part in parts]
        for kind, rows in (("dwarfs", ~giant), ("giants", giant))
    }


def outside(within: Mask, rows: Mask) -> Mask:
    """Return True for coverages outside their limits, shape (k labels, 2 levels).

    `within`, of shape (n, k, 2), tells which differences are within their intervals.
    """
    n = int(rows.sum())
    share = within[rows].mean(axis=0) if n else np.array(LEVELS)
    level = np.array(LEVELS)
    if n >= MANY:
        low, high = np.array(ALLOWED).T
    else:
        width = 2.0 * np.sqrt(level * (1.0 - level) / max(n, 1))
        low, high = level - width, level + width
    return np.asarray((share < low) | (share > high))


def perfect(pull: FloatArray, rng: np.random.Generator) -> Mask:
    """Draw what is within perfect intervals, shape (n, k, 2), labels correlated as in `pull`."""
    ranks = norm.ppf((rankdata(pull, axis=0) - 0.5) / pull.shape[0])
    root = np.linalg.cholesky(np.corrcoef(ranks.T))
    place = norm.cdf(rng.standard_normal(pull.shape) @ root.T)
    return np.asarray(place[:, :, None] <= np.array(LEVELS))


def report(preset: str, groups: dict[str, list[Mask]], within: Mask) -> None:
    """Print the shares in the quartiles of S/N, in percent."""
    for kind, parts in groups.items():
        line = f"{preset:10}{kind:8}" + " ".join(f"{rows.sum():4}" for rows in parts[:-1])
        for j, name in enumerate(LABELS):
            shares = [within[rows, j].mean(axis=0) for rows in parts[:-1] if rows.any()]
            text = "; ".join(" ".join(f"{100 * s[i]:.0f}" for s in shares) for i in range(2))
            line += f"  {name}: {text}"
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="with folds and predictions (npz)")
    parser.add_argument("presets", nargs="*", default=["cannon", "default"])
    parser.add_argument("--rows", type=int, help="as for benchmarks.real_spectra")
    parser.add_argument("--seed", type=int, default=0, help="as for benchmarks.real_spectra")
    parser.add_argument("--draws", type=int, default=1000, help="of perfect intervals")
    arguments = parser.parse_args()
    data = read_spectra(arguments.rows, arguments.seed)
    fold = crossval.assign_folds(data.group, FOLDS, arguments.seed)
    snr = median_snr(data.ivar)
    for preset in arguments.presets:
        found = read(arguments.folder, preset, data, fold)
        delta = np.abs(found.values - data.labels)
        within = np.stack([delta <= found.sigma, delta <= found.half_width95], axis=2)
        groups = cells(found.values[:, LABELS.index("logg")] < GIANT_LOGG, snr)
        report(preset, groups, within)
        every = [rows for parts in groups.values() for rows in parts]
        count = [int(outside(within, rows).sum()) for rows in every]
        rng = np.random.default_rng(arguments.seed)
        drawn = np.array(
            [
                [int(outside(ideal, rows).sum()) for rows in every]
                for ideal in (perfect(delta / found.sigma, rng) for _ in range(arguments.draws))
            ]
        )
        total, worst = drawn.sum(axis=1), drawn.max(axis=1)
        print(
            f"{preset}: {sum(count)} of {2 * len(LABELS) * len(every)} cells are outside; perfect "
            f"intervals have {total.mean():.1f} +- {total.std():.1f}, at least as many in "
            f"{np.mean(total >= sum(count)):.0%} of draws, and at least as many in one group of "
            f"spectra ({max(count)}) in {np.mean(worst >= max(count)):.0%}\n"
        )


if __name__ == "__main__":
    main()
