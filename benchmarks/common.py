"""What the benchmarks share: a fresh database, the kit's surveys, a table of ratios."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from catalog.config import make_settings
from catalog.store import embedded
from catalog.store.db import Database, connect
from catalog.store.upgrade import upgrade_schema

KIT = Path(os.environ.get("CROSSLABEL_KIT", Path(__file__).resolve().parents[2] / "shared"))


@contextmanager
def fresh_database() -> Iterator[Database]:
    """An embedded server of its own with an empty catalog at head; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="crosslabel-bench-") as folder:
        home = Path(folder)
        home.chmod(0o755)  # the server may run under an account of its own
        try:
            db = connect(make_settings({}, home=home))
            upgrade_schema(db)
            yield db
            db.engine.dispose()
        finally:
            embedded.stop(home)


@contextmanager
def kit_survey(*options: str) -> Iterator[Path]:
    """A survey made by the survey kit; skips the benchmark where the kit is absent."""
    tool = KIT / "tools" / "make_survey.py"
    if not tool.exists():
        sys.exit(f"skipped: the survey kit is not in {KIT} (set CROSSLABEL_KIT)")
    with tempfile.TemporaryDirectory(prefix="crosslabel-survey-") as folder:
        subprocess.run(
            [sys.executable, tool, folder, *options], check=True, stdout=subprocess.DEVNULL
        )
        yield Path(folder)


def print_ratios(seconds: Mapping[str, float], base: str, *, digits: int = 2) -> None:
    """A table of times and of their ratios to one of them."""
    width = max(map(len, seconds)) + 2
    print(f"{'':{width}}{'seconds':>9}{'ratio':>8}")
    for name, value in seconds.items():
        print(f"{name:{width}}{value:9.{digits}f}{value / seconds[base]:8.2f}")
