"""All benchmarks, one after the other: ``make bench``; with ``--small`` as CI runs them.

Small ones take seconds each: they show that a benchmark runs to its end and that its answer is
right, and their times say nothing. Those that take minutes at full size are run by name, with
``python -m benchmarks.NAME``, and here with ``--small`` only. A benchmark that lacks its data says
so, and counts as run.

Usage: python -m benchmarks [--small] [NAME ...]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile

#: Name -> arguments that make it small; FOLDER is one for all.
SMALL = {
    "startup": ["--runs", "1"],
    "ingest": ["2000"],
    "fuzz": ["300"],
    "crossmatch_core": ["3000", "8000"],
    "crossmatch": ["1000", "3000"],
    "continuum": ["20"],
    "training": ["1"],
    "default_training": ["80", "--folds", "3", "--epochs", "60"],
    "inference": ["300"],
    "predict": ["300"],
    "seed_nominal": ["--spectra", "40", "--folds", "2"],
    "real_spectra": ["ridge", "cannon", "--rows", "150", "--out", "FOLDER"],
    "coverage": ["FOLDER", "cannon", "--rows", "150", "--draws", "20"],
    "normalization": ["level only", "--stars", "60", "--snr", "20"],
    "choose_default": [
        "--candidates", "nominal", "--rows", "100", "--outer", "2", "--inner", "2",
        "--epochs", "20",
    ],
    "flags": ["cannon"],
}  # fmt: skip
#: What takes minutes at full size.
LONG = ("seed_nominal", "real_spectra", "coverage", "normalization", "choose_default", "flags")


def main() -> int:
    """Run each in a process of its own; the number of those that failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these")
    parser.add_argument("--small", action="store_true", help="all of them, with little data")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(SMALL):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(SMALL)}")
    chosen = arguments.names or [n for n in SMALL if arguments.small or n not in LONG]
    failed = []
    with tempfile.TemporaryDirectory(prefix="crosslabel-bench-") as folder:
        for name in chosen:
            print(f"\n== {name} ==", flush=True)
            words = SMALL[name] if arguments.small else []
            words = [folder if word == "FOLDER" else word for word in words]
            command = [sys.executable, "-m", f"benchmarks.{name}", *words]
            if subprocess.run(command, check=False).returncode:
                failed.append(name)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
