"""Common parts of the benchmarks: fresh databases, simulated surveys, a table of ratios."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import sqlalchemy as sa

from catalog.config import make_settings
from catalog.store import embedded
from catalog.store.db import Database, connect, open_database
from catalog.store.upgrade import upgrade_schema
from catalog.surveys.simulate import write_survey

KIT = Path(os.environ.get("CROSSLABEL_KIT", Path(__file__).resolve().parents[2] / "shared"))


@dataclass(frozen=True)
class Server:
    """A server whose database is an empty catalog at head, to be copied."""

    empty: sa.URL

    @contextmanager
    def database(self, name: str) -> Iterator[Database]:
        """A copy of the empty catalog, gone afterwards.

        Rows of published label sets cannot be taken away one by one, so that each run begins with
        a database of its own.
        """
        admin = sa.create_engine(
            self.empty.set(database="postgres"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
        )
        with admin.connect() as conn:
            conn.execute(sa.text(f'CREATE DATABASE "{name}" TEMPLATE "{self.empty.database}"'))
        db = open_database(self.empty.set(database=name))
        try:
            rest(db)
            yield db
        finally:
            db.engine.dispose()
            with admin.connect() as conn:
                conn.execute(sa.text(f'DROP DATABASE "{name}" WITH (FORCE)'))


def rest(db: Database) -> None:
    """Let the server do what it would do later: statistics, dead rows, a checkpoint."""
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(sa.text("VACUUM ANALYZE"))
        conn.execute(sa.text("CHECKPOINT"))


@contextmanager
def fresh_server() -> Iterator[Server]:
    """An embedded server of its own; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="crosslabel-bench-") as folder:
        home = Path(folder)
        home.chmod(0o755)  # the server may run under an account of its own
        try:
            db = connect(make_settings({}, home=home))
            upgrade_schema(db)
            db.engine.dispose()
            yield Server(db.engine.url)
        finally:
            embedded.stop(home)


@contextmanager
def simulated_survey(n_apogee: int, n_sspp: int) -> Iterator[Path]:
    """Catalogs of so many rows, with the few spectra that a survey cannot be without."""
    with tempfile.TemporaryDirectory(prefix="crosslabel-survey-") as folder:
        write_survey(folder, n_matched=5, n_apogee=n_apogee, n_sspp=n_sspp, seed=2)
        yield Path(folder)


def check_learned(who: str, names: Sequence[str], truth: np.ndarray, found: np.ndarray) -> None:
    """Stop unless labels of left-out stars, shape (n, k), are better than one value for all."""
    for j, name in enumerate(names):
        error = np.abs(found[:, j] - truth[:, j]).mean()
        guessed = np.abs(truth[:, j] - np.median(truth[:, j])).mean()
        if not error < guessed:
            sys.exit(f"{who}: {name} errs by {error:.3g}, the median for all by {guessed:.3g}")


def check_finite(who: str, found: np.ndarray) -> None:
    """Stop unless every number of an answer is finite; a poor candidate of a choice is no fault."""
    if not np.isfinite(found).all():
        sys.exit(f"{who}: {np.sum(~np.isfinite(found)):,} of {found.size:,} answers are not finite")


def skip_without_kit() -> NoReturn:
    """End a benchmark of real spectra where there are none."""
    print(f"skipped: the survey kit is not in {KIT} (set CROSSLABEL_KIT)")
    sys.exit(0)


def print_ratios(seconds: Mapping[str, float], base: str, *, digits: int = 2) -> None:
    """A table of times and of their ratios to one of them."""
    width = max(map(len, seconds)) + 2
    print(f"{'':{width}}{'seconds':>9}{'ratio':>8}")
    for name, value in seconds.items():
        print(f"{name:{width}}{value:9.{digits}f}{value / seconds[base]:8.2f}")
