"""Time the answer of the command line, also where it finds its lock taken.

Usage: python -m benchmarks.startup [--runs N] [--starts N]
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import print_ratios
from catalog.config import make_settings
from catalog.store import embedded
from catalog.store.db import advisory_lock
from catalog.store.homes import open_catalog_database
from jobs.sync.config import example_text

HEAVY = ("jax", "flax", "optax", "sklearn", "scipy", "pandas", "pyarrow", "astropy", "alembic")
RUNS = 5
STARTS = 8
LOCKED = 75
_COMMAND = "import sys; sys.argv[0] = 'crosslabel'; from jobs.entry import main\n"
_CHECKED = _COMMAND + (
    "try:\n    main()\nfinally:\n"
    f"    loaded = [m for m in {HEAVY!r} if m in sys.modules]\n"
    "    assert not loaded, loaded\n"
)
#: The lock that another process holds -> the command that asks for it.
LOSERS = {
    "ingest apogee aspcap/dr14": ("ingest", "apogee", "file", "--release", "dr14"),
    "normalize recipe default": ("normalize",),
    "sync": ("sync", "--config", "crosslabel.toml"),
}


def best(runs: int, *words: str, code: str = "", exit_code: int = 0) -> tuple[float, float]:
    """Return the shortest of some runs: wall time and processor time [s]."""
    times = []
    for _ in range(runs):
        began, before = time.perf_counter(), _used()
        ended = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
        times.append((time.perf_counter() - began, _used() - before))
        if ended.returncode != exit_code:
            raise SystemExit(f"{' '.join(words)} ended with {ended.returncode}: {ended.stderr}")
    return min(wall for wall, _ in times), min(used for _, used in times)


def at_once(starts: int, words: tuple[str, ...]) -> float:
    """Return the time until the last of some starts at once has ended [s]; all must be refused."""
    began = time.perf_counter()
    children = [
        subprocess.Popen([sys.executable, "-c", _COMMAND + "main()", *words],
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(starts)
    ]  # fmt: skip
    codes = {child.wait() for child in children}
    if codes != {LOCKED}:
        raise SystemExit(f"exit codes {codes}")
    return time.perf_counter() - began


def _used() -> float:
    """Return the processor time of all child processes that have ended [s]."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print the times; stops where a command loads what it does not need."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=RUNS, help="of which the shortest counts")
    parser.add_argument("--starts", type=int, default=STARTS, help="processes that start at once")
    given = parser.parse_args()
    print(f"none of these loads {', '.join(HEAVY)}; best of {given.runs} runs")
    found = {
        "crosslabel --help": best(given.runs, "--help", code=_CHECKED)[0],
        "crosslabel --version": best(given.runs, "--version", code=_CHECKED)[0],
        "python -c pass": best(given.runs, code="pass")[0],
        "python -c 'import jax'": best(given.runs, code="import jax")[0],
    }
    print_ratios(found, "crosslabel --help")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        _losers(folder, given.runs, given.starts, found["python -c pass"])


def _losers(folder: Path, runs: int, starts: int, bare: float) -> None:
    """Measure commands that find their lock taken, one alone and some at once."""
    home = folder / "home"
    os.chdir(folder)
    os.environ.pop("CROSSLABEL_DATABASE_URL", None)
    os.environ["CROSSLABEL_HOME"] = str(home)
    (folder / "file").touch()
    (folder / "crosslabel.toml").write_text(example_text())
    db = open_catalog_database(make_settings(os.environ), begins=True)
    try:
        best(1, "status", code=_CHECKED)
        for lock, words in LOSERS.items():
            with advisory_lock(db, lock):
                wall, used = best(runs, *words, code=_CHECKED, exit_code=LOCKED)
                last = at_once(starts, words)
            print(
                f"{' '.join(words)}: finds the lock taken in {wall - bare:.2f} s beyond Python's "
                f"start ({used:.2f} s of a processor); the last of {starts} at once in "
                f"{last - bare:.2f} s"
            )
    finally:
        db.engine.dispose()
        embedded.stop(home)


if __name__ == "__main__":
    main()
