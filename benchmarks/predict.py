"""Label stored spectra: from the database to the database, with the preset `default`.

The catalog is filled with copies of simulated normalized spectra. What is timed is the whole job:
finding the spectra, reading them, labels with errors and flags, writing and publishing the label
set. The labels stored must be those of the model for the same spectra in memory.

Usage: python -m benchmarks.predict [N_SPECTRA]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from benchmarks.common import fresh_server, rest
from benchmarks.learned import RECIPE, simulate, train_default
from catalog.store.bulk import copy_in
from catalog.store.db import Database
from catalog.store.spectra import encode
from jobs.engine.runner import run_job
from jobs.training.model_files import import_model
from jobs.training.predict import PredictParams, predict_job
from models.core import artifact
from models.core.records import TrainingData
from models.predict import Model

N_TRAINED, N_DIFFERENT, BATCH = 400, 1000, 2000
RUNS = 3


def fill(db: Database, data: TrainingData, n: int) -> None:
    """Store n spectra, the given ones over and over."""
    zero = np.zeros(1, np.float32).tobytes()
    blobs = {
        name: [encode(row) for row in getattr(data, name)] for name in ("flux", "ivar", "continuum")
    }
    with db.begin() as conn:
        file_id = conn.scalar(
            sa.text(
                "INSERT INTO input_file (path, size, sha256, kind) VALUES ('x', 0, 'x', 'spectra') "
                "RETURNING input_file_id"
            )
        )
        for start in range(0, n, BATCH):
            number = np.arange(start, min(start + BATCH, n))
            copies, m = number % len(data.flux), number.size
            copy_in(
                conn, "source",
                {
                    "source_id": number + 1, "survey": np.full(m, b"sdss"),
                    "survey_key": number.astype("S"), "ra": number * 1e-3, "dec": np.zeros(m),
                    "healpix29": number,
                },
            )  # fmt: skip
            copy_in(
                conn, "spectrum_blob",
                {
                    "source_id": number + 1, "input_file_id": np.full(m, file_id),
                    "instrument": np.full(m, b"SDSS"), "spectrum_state": np.full(m, b"ok"),
                    "flux": objects([zero] * m), "sha256": np.full(m, b"x"),
                },
            )  # fmt: skip
            copy_in(
                conn, "normalized_spectrum",
                {
                    "source_id": number + 1, "recipe": np.full(m, RECIPE.name.encode()),
                    "recipe_version": np.full(m, RECIPE.version, np.int32),
                    "spectrum_sha256": np.full(m, b"x"),
                    "normalize_flags": np.zeros(m, np.int64),
                    "good_fraction": np.ones(m, np.float32),
                }
                | {name: objects([column[i] for i in copies]) for name, column in blobs.items()},
            )  # fmt: skip
    rest(db)


def objects(values: list[bytes]) -> np.ndarray:
    """A column of byte strings."""
    column = np.empty(len(values), object)
    column[:] = values
    return column


def store(db: Database, model: Model) -> None:
    """Bring the model into the catalog, as from another one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        path.write_bytes(artifact.to_bytes(model.manifest, model.arrays))
        import_model(db, path, "bench")


def check(db: Database, model: Model, data: TrainingData, name: str, n: int) -> None:
    """Stop unless the stored labels are those of the model."""
    wanted = model.predict(data.flux, data.ivar, data.continuum).values[np.arange(n) % N_DIFFERENT]
    query = (
        f"SELECT {', '.join(data.names)} FROM stellar_label JOIN label_set USING (label_set_id) "
        "WHERE name = :name AND status = 'complete' ORDER BY source_id"
    )
    with db.reader() as conn:
        found = np.array(conn.execute(sa.text(query), {"name": name}).all(), float)
    if found.shape != wanted.shape or not np.allclose(found, wanted, rtol=1e-4, atol=1e-4):
        sys.exit("the stored labels are not those of the model")


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    model, _ = train_default(simulate(N_TRAINED), folds=2, epochs=100)
    data = simulate(N_DIFFERENT, seed=1)
    with fresh_server() as server, server.database("predict") as db:
        fill(db, data, n)
        store(db, model)
        best = float("inf")
        for run in range(RUNS):
            name = f"bench/run-{run}"
            start = time.perf_counter()
            summary = run_job(predict_job(PredictParams("bench", name), db), db)
            best = min(best, time.perf_counter() - start)
            check(db, model, data, name, n)
        print(
            f"{n:,} spectra, {summary.rows_written:,} rows written, all as the model says; best of "
            f"{RUNS} runs: {best:.2f} s, {n / best:,.0f} spectra/s"
        )


if __name__ == "__main__":
    main()
