"""What the tests of the jobs of learning share: short trainings, interruptions, answers."""

from __future__ import annotations

import dataclasses
from typing import Any

import sqlalchemy as sa

from catalog.store.db import Database
from jobs.engine.job import Job, RunSummary
from jobs.engine.params import digest
from jobs.engine.runner import run_job
from jobs.normalize import NormalizeParams, normalize_job
from jobs.training.train import TrainParams, train_job

#: Few folds and epochs: enough to learn something, and to have every kind of chunk.
TRAININGS = {
    "default": TrainParams(
        "small", "default", "clean", folds=3, epochs=60, members=2, components=8
    ),
    "seed-2018": TrainParams(
        "seed", "seed-2018", "seed-2018", folds=3, epochs=30, reverse_epochs=20, validation=0.3
    ),
}


class Stopped(BaseException):  # as KeyboardInterrupt: not a fault of a chunk
    """The process ends here."""


def stopping_after(job: Job, chunks: int) -> Job:
    """The job in a process that ends before it has computed more chunks than these."""
    left = iter(range(chunks))

    def compute(conn: sa.Connection, key: str) -> Any:
        if next(left, None) is None:
            raise Stopped
        return job.compute(conn, key)

    return dataclasses.replace(job, compute=compute)


def normalize(db: Database, recipe: str, **changes: Any) -> RunSummary:
    return run_job(normalize_job(NormalizeParams(recipe, **changes), db), db)


def train(db: Database, params: TrainParams, **changes: Any) -> RunSummary:
    return run_job(train_job(dataclasses.replace(params, **changes), db), db)


def rows(db: Database, query: str, **params: Any) -> list[tuple[Any, ...]]:
    with db.reader() as conn:
        return [tuple(row) for row in conn.execute(sa.text(query), params)]


def value(db: Database, query: str, **params: Any) -> Any:
    return rows(db, query, **params)[0][0]


def labels_by_key(db: Database, label_set: str) -> dict[str, tuple[Any, ...]]:
    """The rows of the newest edition, with what networks know beside them, by natural key."""
    found = rows(
        db,
        "SELECT r.survey || ' ' || r.survey_key, s.teff, s.logg, s.fe_h, s.teff_err, s.logg_err, "
        "s.fe_h_err, s.flags, d.raw_sigma, d.ensemble_std, d.chi2, d.distance "
        "FROM stellar_label s JOIN current_label_set c USING (label_set_id) "
        "JOIN source r USING (source_id) "
        "LEFT JOIN prediction_detail d USING (label_set_id, source_id) "
        "WHERE c.name = :name ORDER BY 1",
        name=label_set,
    )
    return {row[0]: row[1:] for row in found}


def answer_of(db: Database, params: TrainParams) -> dict[str, Any]:
    """All that a training says, without surrogate keys and times."""
    [(sha256, metrics)] = rows(
        db,
        "SELECT sha256, metrics FROM model WHERE name = :n AND status = 'complete' "
        "ORDER BY edition DESC LIMIT 1",
        n=params.name,
    )
    history = rows(
        db,
        "SELECT network, fold, training_epoch, loss, val_loss FROM training_history "
        "JOIN model USING (model_id) WHERE name = :n ORDER BY 1, 2, 3",
        n=params.name,
    )
    members = rows(
        db,
        "SELECT survey, survey_key, star_key, fold FROM training_member m "
        "JOIN model USING (model_id) JOIN source s USING (source_id) "
        "JOIN star t ON t.star_id = m.star_id WHERE model.name = :n ORDER BY 1, 2",
        n=params.name,
    )
    return {
        "artifact": sha256,
        "metrics": metrics,
        "labels": digest(labels_by_key(db, params.out_of_fold_set)),
        "history": digest([list(row) for row in history]),
        "members": digest([list(row) for row in members]),
    }
