"""The preset `default` on 400 stars: ten folds, the ensemble, calibration and the final fit.

The labels of left-out stars must follow the true ones before the time counts.

Usage: python -m benchmarks.default_training [N_STARS]
"""

from __future__ import annotations

import sys
import time

from benchmarks.learned import LABELS, simulate, train_default


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    data = simulate(n)
    wall, cpu = time.perf_counter(), time.process_time()
    _, scores = train_default(data)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    for name, spread in zip(LABELS, data.labels.std(axis=0), strict=True):
        if not scores[f"{name}.sigma_mad"] < 0.3 * spread:
            sys.exit(f"{name} of left-out stars scatters by {scores[f'{name}.sigma_mad']:.3g}")
    print(
        f"{n} stars, 10 folds and the final fit, compilation included: {wall:.0f} s, "
        f"{cpu:.0f} s of processor time"
    )


if __name__ == "__main__":
    main()
