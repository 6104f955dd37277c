"""Time the start of the command line, and check that it loads no JAX.

Usage: python -m benchmarks.startup [--runs N]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from benchmarks.common import print_ratios

HEAVY = ("jax", "flax", "optax", "sklearn", "pandas", "astropy")
RUNS = 5


def best(runs: int, *command: str) -> float:
    """The shortest of some runs."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=RUNS, help="of which the shortest counts")
    runs = parser.parse_args().runs
    help_command = "import sys; sys.argv = ['crosslabel', '--help']; from jobs.cli import main\n"
    check = help_command + (
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"loaded = [m for m in {HEAVY!r} if m in sys.modules]\n"
        "sys.exit(f'loaded: {loaded}' if loaded else 0)"
    )
    subprocess.run([sys.executable, "-c", check], check=True, stdout=subprocess.DEVNULL)
    print(f"crosslabel --help loads none of {', '.join(HEAVY)}; best of {runs} runs")
    print_ratios(
        {
            "crosslabel --help": best(runs, "-c", help_command + "main()"),
            "python -c pass": best(runs, "-c", "pass"),
            "python -c 'import jax'": best(runs, "-c", "import jax"),
        },
        "crosslabel --help",
    )


if __name__ == "__main__":
    main()
