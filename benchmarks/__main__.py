"""All benchmarks, one after the other: ``make bench``."""

from __future__ import annotations

import subprocess
import sys

NAMES = (
    "startup", "ingest", "crossmatch_core", "crossmatch", "continuum", "training",
    "default_training", "inference", "predict",
)  # fmt: skip


def main() -> int:
    """Run each in a process of its own; the number of those that failed."""
    failed = 0
    for name in NAMES:
        print(f"\n== {name} ==", flush=True)
        failed += (
            subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode
            != 0
        )
    return failed


if __name__ == "__main__":
    sys.exit(main())
