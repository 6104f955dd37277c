"""The preset `default` on 400 stars: ten folds, the ensemble, calibration and the final fit.

The labels of left-out stars must follow the true ones before the time counts.

Usage: python -m benchmarks.default_training [N_STARS] [--folds N] [--epochs N]
"""

from __future__ import annotations

import argparse
import sys
import time

from benchmarks.learned import LABELS, simulate, train_default


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("stars", nargs="?", type=int, default=400)
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--epochs", type=int, help="fewer than the preset has")
    arguments = parser.parse_args()
    n, folds = arguments.stars, arguments.folds
    data = simulate(n)
    wall, cpu = time.perf_counter(), time.process_time()
    epochs = {} if arguments.epochs is None else {"epochs": arguments.epochs}
    _, scores = train_default(data, folds=folds, **epochs)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    for name, spread in zip(LABELS, data.labels.std(axis=0), strict=True):
        if not scores[f"{name}.sigma_mad"] < 0.3 * spread:
            sys.exit(f"{name} of left-out stars scatters by {scores[f'{name}.sigma_mad']:.3g}")
    print(
        f"{n} stars, {folds} folds and the final fit, compilation included: {wall:.0f} s, "
        f"{cpu:.0f} s of processor time"
    )


if __name__ == "__main__":
    main()
