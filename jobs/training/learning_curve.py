"""Learning curves: how good a model's preset gets with how many training stars.

For each size, each fold is trained on that many of its stars, drawn at random, and scored on the
same left-out stars as the model itself. It is a job of the ledger in the chunks of the training,
and goes on where it was stopped. It publishes no labels: only scores are kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa

from catalog.errors import ChunkFailed, UsageError
from catalog.store.db import Database
from catalog.store.labels import find_label_set
from catalog.store.models import find_model, read_checkpoint, write_checkpoint
from catalog.store.samples import sample_id_of
from catalog.store.schema import training_checkpoint
from catalog.words import count
from jobs.engine.job import Job
from jobs.engine.ledger import Run
from jobs.engine.params import from_dict
from jobs.evaluation.curves import read_curve, score_curve, write_curve
from jobs.evaluation.records import CurvePoint
from jobs.normalize import find_recipe
from jobs.training.data import TrainingRows, read_training_data, read_training_rows
from jobs.training.params import TrainParams, make_spec
from models.core import crossval
from models.core.records import TrainingData, TrainSpec

KIND = "learning curve"
ALL = "all"


@dataclass(frozen=True)
class CurveParams:
    """Parameters of a learning curve.

    Attributes
    ----------
    model : str
        ``name@edition`` of a complete model.
    sizes : tuple of int
        Numbers of training stars, increasing; 0 stands for all.
    """

    model: str
    sizes: tuple[int, ...]


class Batch(NamedTuple):
    """The result of a chunk: the state of the training, or the points of a size that is done."""

    key: str
    state: bytes | None
    points: tuple[CurvePoint, ...]


class Known(NamedTuple):
    """A model and what it was trained on."""

    model_id: int
    params: TrainParams
    spec: TrainSpec


def curve_jobs(db: Database, models: Sequence[str], sizes: str) -> list[Job]:
    """Make the jobs for the learning curves of some models.

    Parameters
    ----------
    db : Database
        Where the models are.
    models : sequence of str
        ``name`` or ``name@edition``.
    sizes : str
        Numbers of training stars, separated by commas; ``all`` is the model itself.

    Raises
    ------
    UsageError
        If a size is no number of stars, or there is no such model.
    """
    numbers = set()
    for word in (w.strip() for w in sizes.split(",")):
        if word != ALL and not (word.isdecimal() and int(word) >= 2):
            raise UsageError(
                f"{word or 'nothing'} is no number of training stars",
                "Write such as 100,200,400,all",
            )
        numbers.add(0 if word == ALL else int(word))
    ordered = tuple(sorted(numbers, key=lambda n: (n == 0, n)))
    with db.reader() as conn:
        names = [find_model(conn, name).full_name for name in models]
    return [curve_job(CurveParams(name, ordered), db) for name in names]


def curve_job(params: CurveParams, db: Database) -> Job:
    """Make the job that computes a learning curve; points that are stored already stay.

    Raises
    ------
    UsageError
        If there is no such model, what it was trained on has changed, or all sizes are more than
        a fold has; of some sizes, those are left out.
    """
    from models import trainer  # JAX loads when a training needs it

    with db.reader() as conn:
        model = _find(conn, params.model)
    recipe = find_recipe(model.spec.recipe)
    loaded: list[tuple[TrainingRows, TrainingData]] = []
    last: dict[str, bytes] = {}

    def read_rows(conn: sa.Connection) -> TrainingRows:
        own = model.params
        rows = read_training_rows(
            conn, own.sample, sample_id_of(conn, own.sample), find_label_set(conn, own.target),
            own.labels, recipe,
        )  # fmt: skip
        if rows.inputs != own.inputs:
            raise UsageError(
                f"the labels or spectra that {params.model} was trained on have changed",
                "Train it again, then ask for its learning curve",
            )
        return rows

    def load(conn: sa.Connection) -> tuple[TrainingRows, TrainingData]:
        if not loaded:
            try:
                rows = read_rows(conn)
            except UsageError as exc:
                raise ChunkFailed(str(exc)) from exc
            loaded.append((rows, read_training_data(conn, rows, model.spec.labels, recipe)))
        return loaded[0]

    def plan(conn: sa.Connection) -> Sequence[str]:
        done = {point.training_stars for point in read_curve(conn, params.model)}
        rows = read_rows(conn)
        most = _stars_per_fold(rows, model.spec)
        keys: list[str] = []
        within = [size for size in params.sizes if size <= most]
        if not within:
            raise UsageError(
                f"a fold of {params.model} is trained on {count(most, 'star')}, fewer than all "
                "those sizes",
                "Ask for fewer, or for all",
            )
        for size in within:
            if (size or most) not in done:
                keys += _chunks_of(size, model.spec, len(rows.source_id))
        return keys

    def compute(conn: sa.Connection, key: str) -> Batch:
        rows, data = load(conn)
        size = _size_of(key)
        if not size:
            out_of_fold = _published(conn, model, rows)
            stars = _stars_per_fold(rows, model.spec)
            return Batch(key, None, score_curve(params.model, stars, data, out_of_fold))
        chunks = _chunks_of(size, model.spec, len(rows.source_id))
        if key not in chunks:
            raise ChunkFailed(
                f"this version of crosslabel has no chunk {key} in such a curve",
                "Run: crosslabel evaluate again",
            )
        state = None
        if key != chunks[0]:
            before = chunks[chunks.index(key) - 1]
            state = last.get(before) or read_checkpoint(conn, model.model_id, before)
        spec = dataclasses.replace(model.spec, train_stars=size)
        try:
            step = trainer.run_chunk(spec, data, key.partition("/")[2], state)
        except ValueError as exc:  # models says in a sentence what it cannot work with
            raise ChunkFailed(str(exc)) from exc
        last.clear()
        last[key] = step.state
        if step.out_of_fold is None:
            return Batch(key, step.state, ())
        return Batch(key, None, score_curve(params.model, size, data, step.out_of_fold.values))

    def write(conn: sa.Connection, run: Run, batch: Batch) -> int:
        if batch.state is not None:
            write_checkpoint(conn, model.model_id, batch.key, batch.state)
            return 0
        _forget(conn, model.model_id)
        return write_curve(conn, model.model_id, batch.points)

    def abandon(conn: sa.Connection, run: Run) -> int:
        _forget(conn, model.model_id)
        return 0

    return Job(
        KIND, params.model, params, plan, compute, write, abandon=abandon, ordered=True,
        unit="steps of training",
    )  # fmt: skip


def _find(conn: sa.Connection, name: str) -> Known:
    """Return a model with the parameters and the specification that it was trained by."""
    model_id = find_model(conn, name).model_id
    query = sa.text("SELECT params FROM model WHERE model_id = :id")
    params = from_dict(TrainParams, conn.execute(query, {"id": model_id}).scalar_one())
    return Known(model_id, params, make_spec(params))


def _chunks_of(size: int, spec: TrainSpec, n_rows: int) -> list[str]:
    """Return the chunks of one size: those of the folds of its training; 0 needs no training."""
    from models import trainer

    if not size:
        return [f"{ALL}/published"]
    plan = trainer.plan(dataclasses.replace(spec, train_stars=size), n_rows)
    return [f"{size}/{key}" for key in plan if key.startswith("folds/")]


def _size_of(key: str) -> int:
    """Return the size that a chunk belongs to; 0 is all."""
    word = key.partition("/")[0]
    return 0 if word == ALL else int(word)


def _stars_per_fold(rows: TrainingRows, spec: TrainSpec) -> int:
    """Return the least number of stars that any fold is trained on."""
    fold = crossval.assign_folds(rows.group, spec.folds, spec.seed)
    return min(np.unique(rows.group[fold != k]).size for k in range(spec.folds))


def _forget(conn: sa.Connection, model_id: int) -> None:
    """Drop the saved state of a size that is done, or given up."""
    conn.execute(training_checkpoint.delete().where(training_checkpoint.c.model_id == model_id))


def _published(conn: sa.Connection, model: Known, rows: TrainingRows) -> np.ndarray:
    """Return the out-of-fold labels that the model itself published, shape (n, k); NaN is none."""
    labels = model.spec.labels
    query = sa.text(
        f"SELECT s.source_id, {', '.join(f's.{label}' for label in labels)} FROM stellar_label s "
        "JOIN label_set l USING (label_set_id) WHERE l.model_id = :id AND l.kind = 'out_of_fold' "
        "AND l.status = 'complete'"
    )
    found = {row[0]: row[1:] for row in conn.execute(query, {"id": model.model_id})}
    nothing = (None,) * len(labels)
    return np.array([found.get(i, nothing) for i in rows.source_id.tolist()], float)
