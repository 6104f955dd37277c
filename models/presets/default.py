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

import numpy as np
from numpy.typing import NDArray

from models.core import arrays as ar
from models.core.arrays import Arrays
from models.core.crossval import Split
from models.core.records import TrainingData, TrainSpec
from models.core.scaling import LabelScaler
from models.core.schedule import Chunk, Stage
from models.core.threads import one_blas_thread
from models.networks import ensemble, loop
from models.networks.architecture import Architecture
from models.networks.losses import Tables
from models.networks.optimisers import Optimiser
from models.presets import gaussian_process
from models.presets.answers import Answer
from models.projection.projection import Projection, fit_projection
from models.reliability.applicability_domain import describe

STEPS = 3_000  # nominal updates per network
WEIGHT_DECAY = 1e-2
FEW_ROWS = 600  # below this many training rows the networks are held tighter
FEW_ROWS_WEIGHT_DECAY = 0.1
UPDATES_PER_CHUNK = 10_000  # network updates: a few seconds of one core


def stages(spec: TrainSpec, n_splits: int, n_train: int) -> tuple[Stage, ...]:
    """Stages of a fit: projection and process split by split, then all networks together."""
    steps = -(-n_train // spec.option("batch"))
    updates = steps * n_splits * spec.members
    epochs = spec.epochs or -(-STEPS // steps)
    process = (Stage("process", n_splits, 1),) if spec.option("process") > 0.0 else ()
    return (
        Stage("projection", n_splits, 1),
        *process,
        Stage("forward", epochs, max(1, UPDATES_PER_CHUNK // updates)),
    )


def _network(spec: TrainSpec, components: int) -> Architecture:
    """Return the network of each member of the ensemble."""
    width, layers = spec.option("width"), spec.option("layers")
    return Architecture("mlp", components, len(spec.labels), width, layers, "gelu")


def _task(stage: Stage, spec: TrainSpec, splits: tuple[Split, ...], components: int) -> loop.Task:
    """Return the compiled training of the networks."""
    n_rows = min(split.train.size for split in splits)
    batch, decay = spec.option("batch"), spec.option("weight_decay")
    if decay is None:
        decay = FEW_ROWS_WEIGHT_DECAY if n_rows < FEW_ROWS else WEIGHT_DECAY
    steps = stage.total * -(-n_rows // batch)
    optimiser = Optimiser("adamw_cosine", spec.option("rate"), decay, steps)
    capacity = min(stage.step, stage.total)
    return loop.Task(_network(spec, components), "robust_nll", optimiser, batch, capacity)


def advance(
    spec: TrainSpec,
    data: TrainingData,
    splits: tuple[Split, ...],
    chunk: Chunk,
    state: Arrays,
) -> tuple[Arrays, NDArray[np.float32], NDArray[np.float32]]:
    """Fit the projection or the process of one split, or train the epochs of one chunk.

    Parameters
    ----------
    spec : TrainSpec
        What to train.
    data : TrainingData
        All rows.
    splits : tuple of Split
        The splits of the phase.
    chunk : Chunk
        Which splits or epochs of which stage.
    state : dict of str to ndarray
        What the previous chunk of the phase returned; empty at its start.

    Returns
    -------
    state : dict of str to ndarray
        Projections, scores, processes and networks.
    losses, test_losses : ndarray, shape (n_splits, epochs of the chunk)
        Mean over the ensemble, in scaled labels; empty without epochs.
    """
    if chunk.stage.name != "forward":
        fit = _project if chunk.stage.name == "projection" else _fit_process
        nothing = np.zeros((len(splits), 0), np.float32)
        return fit(spec, data, splits, chunk, state), nothing, nothing
    components = state["projection/prior"].shape[1]
    task = _task(chunk.stage, spec, splits, components)
    keys = loop.network_keys(spec.seed, f"{chunk.phase}/forward", splits, spec.members)
    if chunk.start == 0:
        carry = loop.start(task, keys)
    else:
        carry = ar.unflatten("carry", state, loop.carry_like(task, keys.shape[0]))
    rows = loop.make_rows(splits, members=spec.members, with_test=chunk.phase == "validation")
    tables = _tables(spec, data, splits, state)
    carry, losses, test_losses = loop.train(
        task, carry, tables, rows, keys, chunk.start, chunk.stop
    )
    kept = {name: a for name, a in state.items() if not name.startswith("carry/")}
    if chunk.stop == chunk.stage.total:
        kept |= ar.flatten("forward", carry.params)
    else:
        kept |= ar.flatten("carry", carry)
    shape = (len(splits), spec.members, chunk.stop - chunk.start)
    return kept, losses.reshape(shape).mean(axis=1), test_losses.reshape(shape).mean(axis=1)


def _project(
    spec: TrainSpec,
    data: TrainingData,
    splits: tuple[Split, ...],
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
    splits: tuple[Split, ...],
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


def _tables(
    spec: TrainSpec, data: TrainingData, splits: tuple[Split, ...], state: Arrays
) -> Tables:
    """Return scores and scaled labels, one table per split."""
    labels, errors = [], []
    # A blank spectrum teaches nothing.
    known = np.isfinite(data.labels) & (data.ivar > 0.0).any(axis=1, keepdims=True)
    # A missing error counts as the floor.
    label_errors = np.fmax(data.label_errors, spec.floors)
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


def fitted(
    spec: TrainSpec, data: TrainingData, splits: tuple[Split, ...], state: Arrays
) -> list[Arrays]:
    """Arrays of the finished model of each split, from the state that ends a phase."""
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
        models.append({**model, **describe(scores, data.labels[split.train])})
    return models


def answer(
    spec: TrainSpec,
    model: Arrays,
    first_index: int,
    flux: NDArray[np.float32],
    ivar: NDArray[np.float32],
    continuum: NDArray[np.float32],
) -> Answer:
    """Predict labels with the arrays of one fitted model.

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
    del first_index, continuum
    fit = Projection(
        **{name: a for name, a in ar.select("projection", model).items() if name != "scale"}
    )
    scores = fit.scores(flux, ivar)
    inputs = scores.values / model["projection/scale"]
    noise = scores.noise / model["projection/scale"]
    arch = _network(spec, inputs.shape[1])
    means, variance, propagated = ensemble.ask(arch, model, spec.members, inputs, noise)
    share = spec.option("process")
    weights = np.full(spec.members, (1.0 - share) / spec.members)
    if share > 0.0:
        process = gaussian_process.mean(ar.select("process", model), inputs)
        means, weights = np.concatenate([means, process[None]]), np.append(weights, share)
    mean = np.average(means, axis=0, weights=weights)
    spread = np.sqrt(np.average((means - mean) ** 2, axis=0, weights=weights))
    scaler = LabelScaler(model["center"], model["scale"])
    return Answer(
        values=scaler.inverse(mean),
        sigma=scaler.inverse_errors(np.sqrt(variance + spread**2 + propagated)),
        ensemble_std=scaler.inverse_errors(spread),
        chi2=scores.chi2,
        points=inputs,
    )
