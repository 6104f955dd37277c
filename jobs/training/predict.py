"""Label spectra with a trained model, and publish the labels as a label set."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
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
    is_simulated,
    publish,
    published_inputs,
    register_flags,
)
from catalog.store.models import (
    TrainedModel,
    find_model,
    is_simulated_model,
    training_sources,
)
from catalog.store.names import check_label_set_name, check_name
from catalog.store.normalized import (
    SpectrumKey,
    batch_keys,
    batch_range,
    normalize_command,
    normalized_keys,
)
from catalog.store.predictions import signal_to_noise, write_predictions
from catalog.store.samples import sample_id_of
from catalog.store.spectra import read_normalized
from jobs.engine.job import Job
from jobs.engine.ledger import Run
from jobs.engine.params import NOT_HASHED, digest
from jobs.normalize import find_recipe
from jobs.outcomes import prediction_outcome
from models.core.records import Predictions
from models.reliability.flags import mark_low_snr
from models.spectra.normalize import Recipe

KIND = "predict"
SPECTRA_PER_CHUNK = 2000


@dataclass(frozen=True)
class PredictParams:
    """Parameters of a prediction: model, spectra, name of the label set.

    Attributes
    ----------
    model : str
        Model: ``name``, or ``name@edition``, which `predict_job` makes of it.
    name : str
        Name of the label set.
    sample : str, optional
        Only the spectra of the accepted pairs of this sample; all if not given.
    inputs : str
        Digest of model and spectra; `predict_job` fills it in.
    batch : int
        Spectra that commit together.
    """

    model: str
    name: str
    sample: str | None = None
    inputs: str = ""
    batch: int = field(default=SPECTRA_PER_CHUNK, metadata=NOT_HASHED)


class Batch(NamedTuple):
    """Predictions for some sources."""

    source_id: np.ndarray
    predictions: Predictions


def predict_job(params: PredictParams, db: Database) -> Job:
    """Make the job that labels all normalized spectra of a model's recipe.

    Spectra that are not normalized yet are left out; once they are, the same command publishes a
    new edition.

    Parameters
    ----------
    params : PredictParams
        Those of a run of the ledger name exactly what it was started with; in new ones the model's
        edition and the digest of the inputs are filled in here.
    db : Database
        Where to look these up.

    Raises
    ------
    UsageError
        If there is no such model or sample, another version wrote the model, the name is taken by
        labels of another kind, or no spectrum is normalized as the model needs it.
    """
    from jobs.training.model_files import link_spectra_of_imported, open_model
    from models import predict  # JAX loads when a prediction needs it
    from models.reliability import flags

    check_name(params.name, "label set")
    with db.reader() as conn:
        check_label_set_name(conn, params.name, "prediction")
        trained = find_model(conn, params.model)
        _check_recipe(trained)
        model = open_model(conn, trained)
        if not params.inputs:
            inputs = _digest(trained, _spectra(conn, trained, params.sample))
            params = dataclasses.replace(params, model=trained.full_name, inputs=inputs)
    labels = tuple(trained.labels)
    expected: dict[int, SpectrumKey] = {}  # what the run is about, read once per process

    def read_expected(conn: sa.Connection) -> dict[int, SpectrumKey]:
        if not expected:
            keys = _spectra(conn, trained, params.sample)
            if _digest(trained, keys) != params.inputs:
                raise ChunkFailed(*_CHANGED)
            expected.update((key.source_id, key) for key in keys)
        return expected

    def plan(conn: sa.Connection) -> Sequence[str]:
        if published_inputs(conn, params.name) == params.inputs:
            return []
        return batch_keys(list(read_expected(conn)), params.batch)

    def begin(conn: sa.Connection, run: Run) -> int:
        if find_model(conn, trained.full_name).model_id != trained.model_id:
            raise UsageError(f"{trained.full_name} was replaced meanwhile", "Predict again")
        register_flags(conn, params.name, dict(predict.FLAG_BITS))
        simulated = is_simulated(conn, trained.label_set_id) or is_simulated_model(trained)
        link_spectra_of_imported(conn, trained)
        begin_edition(
            conn, params.name, "prediction", run_id=run.run_id, inputs_hash=params.inputs,
            model_id=trained.model_id, params=run.params | {"simulated": simulated},
            description=f"Labels of spectra by model {trained.full_name}"
            + SIMULATED * simulated,
        )  # fmt: skip
        return 0

    def compute(conn: sa.Connection, key: str) -> Batch:
        first, last = batch_range(key)
        wanted = [k for i, k in read_expected(conn).items() if first <= i <= last]
        sample_id = sample_id_of(conn, params.sample)
        if wanted != normalized_keys(conn, _check_recipe(trained), sample_id, (first, last)):
            raise ChunkFailed(*_CHANGED)
        spectra = read_normalized(
            conn, trained.recipe, trained.recipe_version, [k.source_id for k in wanted],
            model.n_pixels, with_continuum=model.needs_continuum,
        )  # fmt: skip
        found = model.predict(spectra.flux, spectra.ivar, spectra.continuum)
        trained_on = np.isin(spectra.source_id, training_sources(conn, trained.model_id))
        bits = flags.mark_trained_on(found.flags, trained_on)
        instrument = np.array([k.instrument for k in wanted])
        known = model.manifest.get("instruments", ())
        bits = flags.mark_other_instrument(bits, instrument, known)
        return Batch(spectra.source_id, dataclasses.replace(found, flags=bits))

    def write(conn: sa.Connection, run: Run, batch: Batch) -> int:
        edition = building_edition(conn, run.run_id)
        predicted = batch.predictions
        flags = mark_low_snr(predicted.flags, signal_to_noise(conn, batch.source_id))
        return write_predictions(conn, edition, batch.source_id, labels, predicted, flags)

    def finish(conn: sa.Connection, run: Run) -> int:
        publish(conn, building_edition(conn, run.run_id))
        return 0

    return Job(
        KIND, f"label set {params.name}", params, plan, compute, write, begin=begin,
        finish=finish, abandon=lambda conn, run: discard_building(conn, run.run_id),
        outcome=lambda conn, run_id: prediction_outcome(conn, params.name),
        unit=f"batches of {params.batch} spectra",
    )  # fmt: skip


def prediction_is_current(conn: sa.Connection, params: PredictParams) -> bool:
    """Return True where the newest edition was made from the present model and spectra.

    Answers without loading the model.

    Raises
    ------
    UsageError
        As `predict_job`.
    """
    trained = find_model(conn, params.model)
    made_from = published_inputs(conn, params.name)
    return made_from == _digest(trained, _spectra(conn, trained, params.sample))


_CHANGED = (
    "the normalized spectra are no longer those that this prediction began with",
    "Predict again; the unfinished run is then abandoned",
)


def _check_recipe(trained: TrainedModel) -> Recipe:
    """The recipe of a model, as it is now; refuses a model of another version of it."""
    recipe = find_recipe(trained.recipe)
    if recipe.version != trained.recipe_version:
        raise UsageError(
            f"the model {trained.full_name} was trained on version {trained.recipe_version} of the "
            f"recipe {recipe.name}, which is now at version {recipe.version}",
            "Train the model again",
        )
    return recipe


def _spectra(conn: sa.Connection, trained: TrainedModel, sample: str | None) -> list[SpectrumKey]:
    """Return all spectra that a model can label now."""
    keys = normalized_keys(conn, _check_recipe(trained), sample_id_of(conn, sample))
    if not keys:
        of_sample = f" of sample {sample}" if sample else ""
        raise UsageError(
            f"no spectrum{of_sample} is normalized by the recipe {trained.recipe}",
            normalize_command(trained.recipe, sample),
        )
    return keys


def _digest(trained: TrainedModel, keys: list[SpectrumKey]) -> str:
    """Digest of model and spectra, by natural keys: the same in any database."""
    natural = sorted([k.survey, k.survey_key, k.sha256, repr(k.z)] for k in keys)
    return digest([trained.sha256, natural])
