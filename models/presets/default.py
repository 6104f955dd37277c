"""The preset `default`: networks and a Gaussian process on ivar-weighted scores, with errors.

Spectra are projected on components fitted to the training rows of the split
(`models.projection.projection`).
An ensemble of small networks turns the scores into a mean and a standard deviation per label. The
loss is a robust likelihood that knows the label errors and skips missing labels; noise of each
spectrum's own size is added to the scores in training. The mean of a Gaussian process on the same
scores (`models.presets.gaussian_process`) is averaged with that of the networks: the two err
differently.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from models.core import arrays as ar
from models.core.arrays import Arrays, Float32Array, FloatArray
from models.core.options import COMPONENTS, EPOCHS, RATE, Option
from models.core.records import TrainingData, TrainSpec
from models.core.scaling import LabelScaler
from models.core.schedule import Chunk, Stage
from models.core.threads import one_blas_thread
from models.networks import loop
from models.networks.architecture import Architecture
from models.networks.chunks import train_chunk
from models.networks.inference import predict_ensemble
from models.networks.losses import Tables
from models.networks.optimisers import Optimiser
from models.presets import gaussian_process
from models.presets.preset import Advanced, Preset, RawPrediction, Splits
from models.projection.projection import Projection, fit_projection
from models.reliability import applicability_domain

STEPS = 3_000  # nominal updates per network
WEIGHT_DECAY = 1e-2
FEW_ROWS = 600  # below this many training rows the networks are held tighter
FEW_ROWS_WEIGHT_DECAY = 0.1
UPDATES_PER_CHUNK = 10_000  # network updates: a few seconds of one core

OPTIONS = {
    "width": Option("int", 64, "width of the hidden layers", 1, 1024),
    "layers": Option("int", 2, "hidden layers", 1, 4),
    "batch": Option("int", 128, "training rows per step", 1, 4096),
    "rate": Option("float", 3e-3, "learning rate at the start", *RATE),
    "weight_decay": Option(
        "float",
        None,
        "decay of the weights; 0.01, and 0.1 below 600 rows, if not given",
        0.0,
        10.0,
    ),
    "error_floor": Option(
        "float",
        1.0,
        "factor on the least label errors: 30 K, 0.05 (gravity), 0.02 dex",
        0.0,
        100.0,
    ),
    "process": Option(
        "float",
        0.5,
        "weight of the Gaussian process in the average with the networks",
        0.0,
        1.0,
    ),
}
FIELDS = {
    "epochs": EPOCHS,
    "members": Option("int", 5, "networks in the ensemble", 1, 100),
    "components": COMPONENTS,
}


def stages(spec: TrainSpec, n_splits: int, n_train: int) -> tuple[Stage, ...]:
    """Return the stages of a fit: projection and process by split, then all networks together."""
    options = _options(spec)
    steps = -(-n_train // options["batch"])
    updates = steps * n_splits * spec.members
    epochs = spec.epochs or -(-STEPS // steps)
    process = (Stage("process", n_splits, 1),) if options["process"] > 0.0 else ()
    return (
        Stage("projection", n_splits, 1),
        *process,
        Stage("forward", epochs, max(1, UPDATES_PER_CHUNK // updates)),
    )


def _options(spec: TrainSpec) -> dict[str, Any]:
    """Return the value of each option."""
    return PRESET.option_values(spec)


def _error_floors(spec: TrainSpec) -> FloatArray:
    """Return the least label errors, shape (k,) [units of the labels]."""
    factor: float = _options(spec)["error_floor"]
    return factor * spec.floors


def _network(spec: TrainSpec, components: int) -> Architecture:
    """Return the network of each member of the ensemble."""
    options = _options(spec)
    n_labels = len(spec.labels)
    return Architecture("mlp", components, n_labels, options["width"], options["layers"], "gelu")


def _task(stage: Stage, spec: TrainSpec, splits: Splits, components: int) -> loop.Task:
    """Return the compiled training of the networks."""
    options = _options(spec)
    n_rows = min(split.train.size for split in splits)
    batch, decay = options["batch"], options["weight_decay"]
    if decay is None:
        decay = FEW_ROWS_WEIGHT_DECAY if n_rows < FEW_ROWS else WEIGHT_DECAY
    steps = stage.total * -(-n_rows // batch)
    optimiser = Optimiser("adamw_cosine", options["rate"], decay, steps)
    capacity = min(stage.step, stage.total)
    return loop.Task(_network(spec, components), "robust_nll", optimiser, batch, capacity)


def advance(
    spec: TrainSpec, data: TrainingData, splits: Splits, chunk: Chunk, state: Arrays
) -> Advanced:
    """Fit the projection or the process of one split, or train the epochs of one chunk.

    See `models.presets.preset.Preset`. The state holds projections, scores, processes and networks;
    losses are in scaled labels, and empty for the stages without epochs.
    """
    if chunk.stage.name != "forward":
        fit = _project if chunk.stage.name == "projection" else _fit_process
        no_epochs = np.zeros((len(splits), 0), np.float32)
        return fit(spec, data, splits, chunk, state), no_epochs, no_epochs
    task = _task(chunk.stage, spec, splits, state["projection/prior"].shape[1])
    tables = _tables(spec, data, splits, state)
    return train_chunk(task, chunk, splits, tables, state, spec.seed, spec.members)


def _project(
    spec: TrainSpec,
    data: TrainingData,
    splits: Splits,
    chunk: Chunk,
    state: Arrays,
) -> Arrays:
    """Fit the projection of one split on its training rows and project all rows."""
    split = splits[chunk.start]
    # The same number of components in all splits, whatever their sizes.
    components = min(spec.components, min(s.train.size for s in splits) - 1)
    fit = fit_projection(data.flux[split.train], data.ivar[split.train], components, spec.seed)
    scores = fit.scores(data.flux, data.ivar)
    scale = np.sqrt(fit.prior[0])
    new = {
        "projection/mean": fit.mean,
        "projection/basis": fit.basis,
        "projection/prior": fit.prior,
        "projection/scatter": fit.scatter,
        "projection/scale": np.asarray(scale),
        "scores": (scores.values / scale).astype(np.float32),
        "noise": (scores.noise / scale).astype(np.float32),
    }
    return {
        name: np.concatenate([state[name], a[None]]) if chunk.start else a[None]
        for name, a in new.items()
    }


def _fit_process(
    spec: TrainSpec,
    data: TrainingData,
    splits: Splits,
    chunk: Chunk,
    state: Arrays,
) -> Arrays:
    """Fit the Gaussian process of one split on its training rows."""
    i = chunk.start
    rows = splits[i].train
    own = {name: state[name][i : i + 1] for name in ("scores", "noise")}
    tables = _tables(spec, data, splits[i : i + 1], own)
    with one_blas_thread():
        process = gaussian_process.fit(
            scores=tables.inputs[0, rows].astype(np.float64),
            score_noise=tables.noise[0, rows].astype(np.float64),
            labels=tables.targets[0, rows].astype(np.float64),
            label_errors=tables.errors[0, rows].astype(np.float64),
            known=tables.weights[0, rows] > 0.0,
            seed=spec.seed,
        )
    return {**state, **ar.add_prefix(f"process/{i}", process)}


def _tables(spec: TrainSpec, data: TrainingData, splits: Splits, state: Arrays) -> Tables:
    """Return scores and scaled labels, one table per split."""
    labels, errors = [], []
    # A spectrum without a good pixel has no weight.
    known = np.isfinite(data.labels) & (data.ivar > 0.0).any(axis=1, keepdims=True)
    # A missing error counts as the floor.
    label_errors = np.fmax(data.label_errors, _error_floors(spec))
    for split in splits:
        scaler = LabelScaler.from_data(data.labels[split.train], data.names)
        labels.append(np.where(known, scaler.transform(data.labels), 0.0))
        errors.append(scaler.transform_errors(label_errors))
    return Tables(
        state["scores"],
        np.stack(labels).astype(np.float32),
        known[None].astype(np.float32),
        np.stack(errors).astype(np.float32),
        state["noise"],
    )


def fitted(spec: TrainSpec, data: TrainingData, splits: Splits, state: Arrays) -> list[Arrays]:
    """Return the arrays of the finished model of each split, from the state that ends a phase."""
    models = []
    for i, split in enumerate(splits):
        model = {name: a[i] for name, a in state.items() if name.startswith("projection/")}
        members = slice(i * spec.members, (i + 1) * spec.members)
        for name, a in ar.select("forward", state).items():
            for member, params in enumerate(a[members]):
                model[f"member-{member}/{name}"] = params
        model |= ar.add_prefix("process", ar.select(f"process/{i}", state))
        scaler = LabelScaler.from_data(data.labels[split.train], data.names)
        scores = state["scores"][i, split.train].astype(np.float64)
        model |= {"center": scaler.center, "scale": scaler.scale}
        models.append({**model, **applicability_domain.fit(scores, data.labels[split.train])})
    return models


def predict_raw(
    spec: TrainSpec,
    model: Arrays,
    first_index: int,
    flux: Float32Array,
    ivar: Float32Array,
    continuum: Float32Array,
) -> RawPrediction:
    """Return labels and raw errors by the arrays of one fitted model.

    The raw error is the root of a sum of three variances: the mean of those that the networks
    predict, that between the networks and the process, each with its weight in the average, and
    the noise of the spectrum propagated through the networks.

    Parameters
    ----------
    spec : TrainSpec
        What the model was trained as.
    model : dict of str to ndarray
        From `fitted`.
    first_index : int
        Not used; the grid of the model is checked before.
    flux, ivar, continuum : ndarray, shape (n, p)
        Normalized spectra; bad pixels have no weight.
    """
    fit = Projection(
        **{name: a for name, a in ar.select("projection", model).items() if name != "scale"}
    )
    scores = fit.scores(flux, ivar)
    inputs = scores.values / model["projection/scale"]
    noise = scores.noise / model["projection/scale"]
    arch = _network(spec, inputs.shape[1])
    means, variance, propagated = predict_ensemble(arch, model, spec.members, inputs, noise)
    share = _options(spec)["process"]
    weights = np.full(spec.members, (1.0 - share) / spec.members)
    if share > 0.0:
        process = gaussian_process.mean(ar.select("process", model), inputs)
        means, weights = np.concatenate([means, process[None]]), np.append(weights, share)
    mean = np.average(means, axis=0, weights=weights)
    spread = np.sqrt(np.average((means - mean) ** 2, axis=0, weights=weights))
    scaler = LabelScaler(model["center"], model["scale"])
    return RawPrediction(
        values=scaler.inverse(mean),
        sigma=scaler.inverse_errors(np.sqrt(variance + spread**2 + propagated)),
        ensemble_std=scaler.inverse_errors(spread),
        chi2=scores.chi2,
        points=inputs,
    )


PRESET = Preset(
    "default",
    "networks and a Gaussian process on ivar-weighted scores of the spectra (`default`)",
    OPTIONS,
    FIELDS,
    stages,
    advance,
    fitted,
    predict_raw,
)
