"""The preset `seed-2018`: both networks of the notebook, trained as they were in Keras.

The reverse network predicts spectra from labels; in round 2 it yields the continuum pixels of its
split. The forward network predicts labels from pixels. Both: uniform starting weights, linear
first layer, ReLU, mean absolute error, Keras's amsgrad, batches of 16; options change these. Unlike
the notebook, the optimiser starts fresh in each fold, bad pixels have no weight, and nothing is
fitted on rows that are left out. There is no error head, so there are no errors.
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
from models.networks import loop
from models.networks.architecture import Architecture, template
from models.networks.losses import Tables
from models.networks.optimisers import Optimiser
from models.presets import continuum_pixels
from models.presets.answers import Answer, apply_blocks
from models.reliability.applicability_domain import describe

FORWARD_EPOCHS = 16_000
REVERSE_EPOCHS = 1_800
REVERSE_BATCH = 16
STEPS_PER_CHUNK = 12_000  # network updates: a few seconds, or the state is saved too often


def stages(spec: TrainSpec, n_splits: int, n_train: int) -> tuple[Stage, ...]:
    """Stages of a fit: the reverse network where a second round needs it, then the forward."""

    def stage(name: str, epochs: int, batch: int) -> Stage:
        return Stage(name, epochs, max(1, STEPS_PER_CHUNK // (n_splits * -(-n_train // batch))))

    forward = stage("forward", spec.epochs or FORWARD_EPOCHS, spec.option("batch"))
    if spec.rounds == 1:
        return (forward,)
    return stage("reverse", spec.reverse_epochs or REVERSE_EPOCHS, REVERSE_BATCH), forward


def _forward(spec: TrainSpec, n_pixels: int) -> Architecture:
    """Return the network from pixels to labels."""
    width, layers = spec.option("neurons"), spec.option("hidden_layers")
    n_labels = len(spec.labels)
    return Architecture(
        "seed-forward", n_pixels, n_labels, width, layers, spec.option("activation")
    )


def _reverse(spec: TrainSpec, n_pixels: int) -> Architecture:
    """Return the network from labels to pixels."""
    width = spec.option("reverse_neurons")
    return Architecture("seed-reverse", len(spec.labels), n_pixels, width, 1, "relu")


def _task(stage: Stage, spec: TrainSpec, n_pixels: int) -> loop.Task:
    """Return the compiled training of a stage."""
    capacity = min(stage.step, stage.total)
    if stage.name == "reverse":
        optimiser = Optimiser("keras_amsgrad", spec.option("reverse_rate"))
        return loop.Task(_reverse(spec, n_pixels), "mae", optimiser, REVERSE_BATCH, capacity)
    optimiser = Optimiser("keras_amsgrad", spec.option("rate"))
    arch, loss = _forward(spec, n_pixels), spec.option("loss")
    return loop.Task(arch, loss, optimiser, spec.option("batch"), capacity)


def _scalers(data: TrainingData, splits: tuple[Split, ...]) -> list[LabelScaler]:
    """One label scaler per split, fitted on its training rows."""
    return [LabelScaler.from_data(data.labels[split.train], data.names) for split in splits]


def _tables(
    stage: Stage, data: TrainingData, scalers: list[LabelScaler], chosen: NDArray[np.bool_] | None
) -> Tables:
    """Inputs and targets of a stage, one table per split."""
    labels = np.stack([scaler.transform(data.labels) for scaler in scalers]).astype(np.float32)
    known = np.isfinite(labels)
    labels = np.where(known, labels, np.float32(0.0))
    good = data.ivar > 0.0
    flux = np.where(good, data.flux, np.float32(1.0))
    if stage.name == "reverse":
        complete = np.isfinite(data.labels).all(axis=1, keepdims=True)
        return Tables(labels, flux[None], (good & complete).astype(np.float32)[None])
    if chosen is None:
        spectra = flux[None]
    else:
        spectra = np.stack(
            [
                continuum_pixels.refit(flux, data.ivar, data.continuum, choice, data.first_index)
                for choice in chosen
            ]
        )
    seen = good.any(axis=1, keepdims=True)  # a blank spectrum teaches nothing
    return Tables(spectra, labels, (known & seen).astype(np.float32))


def advance(
    spec: TrainSpec,
    data: TrainingData,
    splits: tuple[Split, ...],
    chunk: Chunk,
    state: Arrays,
) -> tuple[Arrays, NDArray[np.float32], NDArray[np.float32]]:
    """Train the epochs of one chunk.

    Parameters
    ----------
    spec : TrainSpec
        What to train.
    data : TrainingData
        All rows.
    splits : tuple of Split
        The splits of the phase.
    chunk : Chunk
        Which epochs of which stage.
    state : dict of str to ndarray
        What the previous chunk of the phase returned; empty at its start.

    Returns
    -------
    state : dict of str to ndarray
        Networks and, after the reverse stage, its parameters and the chosen pixels.
    losses, test_losses : ndarray, shape (n_splits, epochs of the chunk)
        In scaled labels (forward) or normalized flux (reverse).
    """
    stage, with_test = chunk.stage, chunk.phase == "validation"
    task = _task(stage, spec, data.flux.shape[1])
    keys = loop.network_keys(spec.seed, f"{chunk.phase}/{stage.name}", splits)
    if chunk.start == 0:
        carry = loop.start(task, keys)
    else:
        carry = ar.unflatten("carry", state, loop.carry_like(task, len(splits)))
    scalers = _scalers(data, splits)
    tables = _tables(stage, data, scalers, state.get("pixels"))
    rows = loop.make_rows(splits, with_test=with_test)
    carry, losses, test_losses = loop.train(
        task, carry, tables, rows, keys, chunk.start, chunk.stop
    )
    kept = {name: a for name, a in state.items() if not name.startswith("carry/")}
    kept |= ar.flatten("carry", carry)
    if chunk.stop == stage.total:
        kept = _finish_stage(task, data, splits, scalers, kept, carry)
    return kept, losses, test_losses


def _finish_stage(
    task: loop.Task,
    data: TrainingData,
    splits: tuple[Split, ...],
    scalers: list[LabelScaler],
    state: Arrays,
    carry: loop.Carry,
) -> Arrays:
    """Keep the trained parameters without the optimiser; after the reverse network, the pixels."""
    state = {name: a for name, a in state.items() if not name.startswith("carry/")}
    name = "reverse" if task.arch.kind == "seed-reverse" else "forward"
    params = ar.flatten(name, carry.params)
    state |= params
    if name == "reverse":
        chosen, sensitivities = [], []
        for i, (split, scaler) in enumerate(zip(splits, scalers, strict=True)):
            grid = scaler.transform(continuum_pixels.label_grid(data.labels[split.train]))
            own = ar.unflatten(name, {k: a[i] for k, a in params.items()}, template(task.arch))
            sensitivity = continuum_pixels.label_sensitivity(task.arch, own, grid)
            chosen.append(continuum_pixels.choose_pixels(sensitivity, data.first_index))
            sensitivities.append(sensitivity.astype(np.float32))
        state |= {"pixels": np.stack(chosen), "sensitivity": np.stack(sensitivities)}
    return state


def fitted(
    spec: TrainSpec, data: TrainingData, splits: tuple[Split, ...], state: Arrays
) -> list[Arrays]:
    """Arrays of the finished model of each split, from the state that ends a phase."""
    models = []
    for i, (split, scaler) in enumerate(zip(splits, _scalers(data, splits), strict=True)):
        model = {name: a[i] for name, a in state.items()}
        model |= {"center": scaler.center, "scale": scaler.scale}
        part = (data.flux[split.train], data.ivar[split.train], data.continuum[split.train])
        hidden = _first_layer(spec, model, _spectra(model, *part, data.first_index))
        models.append({**model, **describe(hidden, data.labels[split.train])})
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

    Parameters
    ----------
    spec : TrainSpec
        What the model was trained as.
    model : dict of str to ndarray
        From `fitted`.
    first_index : int
        Grid index of pixel 0.
    flux, ivar, continuum : ndarray, shape (n, p)
        First-round normalized spectra; missing pixels count as 1.
    """
    arch = _forward(spec, flux.shape[1])
    spectra = _spectra(model, flux, ivar, continuum, first_index)
    scaled = apply_blocks(arch, model, "forward", spectra)
    nothing = np.full(scaled.shape, np.nan)
    chi2 = np.full(flux.shape[0], np.nan)
    if spec.rounds == 2:
        residual = flux - apply_blocks(_reverse(spec, flux.shape[1]), model, "reverse", scaled)
        n_good = np.maximum((ivar > 0.0).sum(axis=1), 1)
        chi2 = np.sum(ivar * residual**2, axis=1, dtype=np.float64) / n_good
    return Answer(
        values=LabelScaler(model["center"], model["scale"]).inverse(scaled),
        sigma=nothing,
        ensemble_std=nothing.copy(),
        chi2=chi2,
        points=_first_layer(spec, model, spectra),
    )


def _spectra(
    model: Arrays,
    flux: NDArray[np.float32],
    ivar: NDArray[np.float32],
    continuum: NDArray[np.float32],
    first_index: int,
) -> NDArray[np.float32]:
    """Return the input of the forward network: the model's normalization, gaps filled with 1."""
    if "pixels" in model:
        return continuum_pixels.refit(flux, ivar, continuum, model["pixels"], first_index)
    return np.where(ivar > 0.0, flux, np.float32(1.0))


def _first_layer(
    spec: TrainSpec, model: Arrays, spectra: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Output of the linear first layer, the preset's score space."""
    arch = _forward(spec, spectra.shape[1])
    first = ar.unflatten("forward", model, template(arch))["first"]
    return (spectra @ first["kernel"] + first["bias"]).astype(np.float64)
