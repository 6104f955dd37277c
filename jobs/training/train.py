"""Train a network on a sample and publish what it says of each of its stars without knowing it.

A chunk is a few seconds of epochs of all folds. The state after it is saved in the transaction of
its mark. A process that goes on with a training begins from the saved one, and nothing else, so a
training that is stopped anywhere ends with the same model as one that is not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa

from catalog.errors import ChunkFailed, UsageError
from catalog.store.db import Database
from catalog.store.labels import (
    SIMULATED,
    begin_edition,
    building_edition,
    discard_building,
    find_label_set,
    publish,
    register_flags,
)
from catalog.store.models import (
    begin_model,
    building_model,
    complete_model,
    complete_models,
    discard_building_model,
    read_checkpoint,
    write_artifact,
    write_checkpoint,
    write_history,
    write_members,
    write_metrics,
)
from catalog.store.names import check_label_set_name, check_name
from catalog.store.predictions import signal_to_noise, write_predictions
from catalog.store.samples import sample_id_of
from catalog.words import count, verb
from jobs.engine.job import Job
from jobs.engine.ledger import Run
from jobs.engine.params import params_hash
from jobs.normalize import find_recipe
from jobs.outcomes import model_outcome
from jobs.training.data import (
    TrainingRows,
    find_target,
    read_training_data,
    read_training_rows,
)
from jobs.training.params import TrainParams, library_versions, make_spec, recipe_name
from models.core.records import Step, TrainingData, TrainSpec
from models.reliability.flags import mark_low_snr
from models.spectra.normalize import Recipe

KIND = "train"


class Batch(NamedTuple):
    """The result of a chunk of training, and its rows."""

    key: str
    step: Step
    rows: TrainingRows


def train_job(params: TrainParams, db: Database) -> Job:
    """Make the job that trains a model.

    Parameters
    ----------
    params : TrainParams
        Those of a run of the ledger name exactly what it was started with; in new ones the label
        set's edition and the digest of the inputs are filled in here.
    db : Database
        Where to look these up.

    Raises
    ------
    UsageError
        If the parameters make no sense, name what is not there, or spectra are not normalized.
    """
    from jobs.training.facts import training_facts, training_spectra
    from models import trainer  # JAX loads when a training needs it
    from models.core.artifact import annotate
    from models.predict import FLAG_BITS

    params = dataclasses.replace(params, recipe=recipe_name(params.preset, params.recipe))
    spec = make_spec(params)
    params = dataclasses.replace(params, options=spec.options)
    recipe = find_recipe(spec.recipe)
    check_name(params.name, "model")
    with db.reader() as conn:
        check_label_set_name(conn, params.out_of_fold_set, "out_of_fold")
        if not params.inputs:
            target = find_target(conn, params.sample, params.target)
            params = dataclasses.replace(params, target=target.full_name)
            params = dataclasses.replace(params, inputs=_read_rows(conn, params, recipe).inputs)
    versions = library_versions()

    loaded: list[tuple[TrainingRows, TrainingData]] = []  # read once per process
    last: dict[str, bytes] = {}  # the state after the last chunk, if this process computed it

    def load(conn: sa.Connection) -> tuple[TrainingRows, TrainingData]:
        if not loaded:
            rows = _read_rows(conn, params, recipe)
            if rows.inputs != params.inputs:
                raise ChunkFailed(
                    "the labels or spectra that this training began with have changed",
                    "Train again; the unfinished run is then abandoned",
                )
            loaded.append((rows, read_training_data(conn, rows, spec.labels, recipe)))
        return loaded[0]

    def plan(conn: sa.Connection) -> Sequence[str]:
        done = complete_models(conn, params.name)
        if done and done[0].params_hash == params_hash(params):
            return []
        rows = _read_rows(conn, params, recipe)
        _check_rows(rows, spec)
        return trainer.plan(spec, len(rows.source_id))

    def begin(conn: sa.Connection, run: Run) -> int:
        target = find_label_set(conn, params.target)
        model_id = begin_model(
            conn, params.name,
            {
                "preset": spec.preset, "seed": spec.seed, "labels": list(spec.labels),
                "label_set_id": target.label_set_id, "sample_id": sample_id_of(conn, params.sample),
                "recipe": recipe.name, "recipe_version": recipe.version,
                "first_index": recipe.first_index, "n_pixels": recipe.n_pixels,
                "versions": versions,
            },
            run_id=run.run_id, params=run.params, params_hash=run.params_hash,
        )  # fmt: skip
        begin_edition(
            conn, params.out_of_fold_set, "out_of_fold", run_id=run.run_id, model_id=model_id,
            inputs_hash=run.params_hash, params=run.params | {"simulated": target.simulated},
            description=f"Labels of the training stars of model {params.name}, each by a fit "
            "that never saw the star" + SIMULATED * target.simulated,
        )  # fmt: skip
        register_flags(conn, params.out_of_fold_set, dict(FLAG_BITS))
        return 0

    def compute(conn: sa.Connection, key: str) -> Batch:
        rows, data = load(conn)
        keys = trainer.plan(spec, len(rows.source_id))
        if key not in keys:
            raise ChunkFailed(
                f"this version of crosslabel has no chunk {key} in such a training",
                "Use the version that began it, or train under another name",
            )
        state = None
        if key != keys[0]:
            before = keys[keys.index(key) - 1]
            state = last.get(before) or read_checkpoint(
                conn, building_model(conn, params.name), before
            )
        try:
            step = trainer.run_chunk(spec, data, key, state, versions=versions)
        except ValueError as exc:  # models says in a sentence what it cannot work with
            raise ChunkFailed(str(exc)) from exc
        if step.artifact is not None:
            facts = training_facts(conn, params, rows, data)
            spectra = training_spectra(conn, building_model(conn, params.name))
            step = dataclasses.replace(step, artifact=annotate(step.artifact, facts, spectra))
        last.clear()
        last[key] = step.state
        return Batch(key, step, rows)

    def finish(conn: sa.Connection, run: Run) -> int:
        publish(conn, building_edition(conn, run.run_id))
        complete_model(conn, building_model(conn, params.name))
        return 0

    def abandon(conn: sa.Connection, run: Run) -> int:
        return discard_building(conn, run.run_id) + discard_building_model(conn, run.run_id)

    return Job(
        KIND, f"model {params.name}", params, plan, compute,
        write=lambda conn, run, batch: _write(conn, run, params, batch),
        begin=begin, finish=finish, abandon=abandon, ordered=True, outcome=model_outcome,
        unit="steps of training",
    )  # fmt: skip


def _read_rows(conn: sa.Connection, params: TrainParams, recipe: Recipe) -> TrainingRows:
    """Read what the parameters say to train on."""
    sample_id = sample_id_of(conn, params.sample)
    target = find_label_set(conn, params.target)
    return read_training_rows(conn, params.sample, sample_id, target, params.labels, recipe)


def _check_rows(rows: TrainingRows, spec: TrainSpec) -> None:
    """Refuse what cannot be trained on before anything is written."""
    n_stars = len(np.unique(rows.group))
    if n_stars < spec.folds:
        raise UsageError(
            f"{spec.folds} folds need as many stars, but the sample has {count(n_stars, 'star')} "
            "with labels",
            "Use fewer folds or a larger sample",
        )
    constant = [
        name
        for name, values in zip(spec.labels, rows.labels.T, strict=True)
        if len(np.unique(values[np.isfinite(values)])) < 2
    ]
    if constant:
        raise UsageError(
            f"{', '.join(constant)} {verb(len(constant), 'has', 'have')} fewer than two "
            "different values in the sample",
            "Leave that out of --labels, or choose another sample or label set",
        )


def _write(conn: sa.Connection, run: Run, params: TrainParams, batch: Batch) -> int:
    """Write what a chunk brought; returns the rows that changed."""
    model_id = building_model(conn, params.name)
    step, rows = batch.step, batch.rows
    write_checkpoint(conn, model_id, batch.key, step.state)
    written = write_history(conn, model_id, step.history)
    if step.fold_of_row is not None:
        written += write_members(conn, model_id, rows.source_id, rows.star_id, step.fold_of_row)
    if step.out_of_fold is not None:
        edition = building_edition(conn, run.run_id)
        flags = mark_low_snr(step.out_of_fold.flags, signal_to_noise(conn, rows.source_id))
        written += write_predictions(
            conn, edition, rows.source_id, params.labels, step.out_of_fold, flags
        )
        write_metrics(conn, model_id, step.metrics)
    if step.artifact is not None:
        write_artifact(conn, model_id, step.artifact)
    return written
