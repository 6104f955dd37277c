"""The preset `seed-2018`: both networks of the notebook, trained as they were in Keras.

The reverse network predicts spectra from labels; in round 2 it yields the continuum pixels of its
split. The forward network predicts labels from pixels. Both: uniform starting weights, linear
first layer, ReLU, mean absolute error, Keras's amsgrad, batches of 16; options change these. Unlike
the notebook, the optimiser starts fresh in each fold, bad pixels have no weight, and nothing is
fitted on rows that are left out. There is no error head, so there are no errors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.core.arrays import Arrays, Float32Array, FloatArray
from models.core.options import EPOCHS, RATE, Option
from models.core.records import TrainingData, TrainSpec
from models.core.scaling import LabelScaler
from models.core.schedule import Chunk, Stage
from models.networks import loop
from models.networks.architecture import Architecture, template
from models.networks.chunks import train_chunk
from models.networks.inference import predict_network
from models.networks.losses import Tables
from models.networks.optimisers import Optimiser
from models.networks.parameters import unflatten
from models.presets import continuum_pixels
from models.presets.preset import Advanced, Preset, RawPrediction, Splits
from models.reliability import applicability_domain

FORWARD_EPOCHS = 16_000
REVERSE_EPOCHS = 1_800
REVERSE_BATCH = 16
STEPS_PER_CHUNK = 12_000  # network updates: a few seconds, or the state is saved too often

OPTIONS = {
    "hidden_layers": Option("int", 1, "hidden layers behind the first, linear one", 1, 8),
    "neurons": Option("int", 32, "width of every layer of the forward network", 1, 1024),
    "activation": Option(
        "choice", "relu", "of the hidden layers", choices=("relu", "elu", "gelu", "tanh")
    ),
    "batch": Option("int", 16, "training rows per step of the forward network", 1, 4096),
    "rate": Option("float", 1e-4, "learning rate of the forward network", *RATE),
    "loss": Option(
        "choice",
        "mae",
        "of the forward network: mean absolute or squared error",
        choices=("mae", "mse"),
    ),
    "reverse_neurons": Option("int", 36, "width of the reverse network", 1, 1024),
    "reverse_rate": Option("float", 3e-4, "learning rate of the reverse network", *RATE),
}
FIELDS = {
    "epochs": EPOCHS,
    "reverse_epochs": EPOCHS,
    "rounds": Option("int", 2, "rounds of normalization", 1, 2),
}


def stages(spec: TrainSpec, n_splits: int, n_train: int) -> tuple[Stage, ...]:
    """Return the stages of a fit: the reverse network if there are two rounds, then the forward."""

    def stage(name: str, epochs: int, batch: int) -> Stage:
        return Stage(name, epochs, max(1, STEPS_PER_CHUNK // (n_splits * -(-n_train // batch))))

    forward = stage("forward", spec.epochs or FORWARD_EPOCHS, _options(spec)["batch"])
    if spec.rounds == 1:
        return (forward,)
    return stage("reverse", spec.reverse_epochs or REVERSE_EPOCHS, REVERSE_BATCH), forward


def _options(spec: TrainSpec) -> dict[str, Any]:
    """Return the value of each option."""
    return PRESET.option_values(spec)


def _forward(spec: TrainSpec, n_pixels: int) -> Architecture:
    """Return the network from pixels to labels."""
    options = _options(spec)
    return Architecture(
        kind="seed-forward",
        n_in=n_pixels,
        n_out=len(spec.labels),
        width=options["neurons"],
        layers=options["hidden_layers"],
        activation=options["activation"],
    )


def _reverse(spec: TrainSpec, n_pixels: int) -> Architecture:
    """Return the network from labels to pixels."""
    width = _options(spec)["reverse_neurons"]
    return Architecture("seed-reverse", len(spec.labels), n_pixels, width, 1, "relu")


def _task(stage: Stage, spec: TrainSpec, n_pixels: int) -> loop.Task:
    """Return the compiled training of a stage."""
    options = _options(spec)
    capacity = min(stage.step, stage.total)
    if stage.name == "reverse":
        optimiser = Optimiser("keras_amsgrad", options["reverse_rate"])
        return loop.Task(_reverse(spec, n_pixels), "mae", optimiser, REVERSE_BATCH, capacity)
    optimiser = Optimiser("keras_amsgrad", options["rate"])
    arch = _forward(spec, n_pixels)
    return loop.Task(arch, options["loss"], optimiser, options["batch"], capacity)


def _scalers(data: TrainingData, splits: Splits) -> list[LabelScaler]:
    """Return one label scaler per split, fitted on its training rows."""
    return [LabelScaler.from_data(data.labels[split.train], data.names) for split in splits]


def _tables(
    stage: Stage, data: TrainingData, scalers: list[LabelScaler], pixels: NDArray[np.bool_] | None
) -> Tables:
    """Return inputs and targets of a stage, one table per split.

    Parameters
    ----------
    stage, data, scalers
        The stage, all rows, and the scaler of each split.
    pixels : ndarray of bool, shape (n_splits, p), optional
        Continuum pixels of each split, by which its spectra are normalized again.
    """
    labels = np.stack([scaler.transform(data.labels) for scaler in scalers]).astype(np.float32)
    known = np.isfinite(labels)
    labels = np.where(known, labels, np.float32(0.0))
    good = data.ivar > 0.0
    flux = np.where(good, data.flux, np.float32(1.0))
    if stage.name == "reverse":
        complete = np.isfinite(data.labels).all(axis=1, keepdims=True)
        return Tables(labels, flux[None], (good & complete).astype(np.float32)[None])
    if pixels is None:
        spectra = flux[None]
    else:
        spectra = np.stack(
            [
                continuum_pixels.refit(flux, data.ivar, data.continuum, own, data.first_index)
                for own in pixels
            ]
        )
    # A spectrum without a good pixel has no weight.
    weights = known & good.any(axis=1, keepdims=True)
    return Tables(spectra, labels, weights.astype(np.float32))


def advance(
    spec: TrainSpec, data: TrainingData, splits: Splits, chunk: Chunk, state: Arrays
) -> Advanced:
    """Train the epochs of one chunk; see `models.presets.preset.Preset`.

    The state holds the networks and, after the reverse stage, its parameters, the sensitivities
    of the pixels and the continuum pixels. Losses are in scaled labels (forward) or normalized
    flux (reverse).
    """
    task = _task(chunk.stage, spec, data.flux.shape[1])
    scalers = _scalers(data, splits)
    tables = _tables(chunk.stage, data, scalers, state.get("pixels"))
    state, losses, test_losses = train_chunk(task, chunk, splits, tables, state, spec.seed)
    if chunk.stage.name == "reverse" and chunk.stop == chunk.stage.total:
        state |= _choose_pixels(task.arch, data, splits, scalers, state)
    return state, losses, test_losses


def _choose_pixels(
    arch: Architecture,
    data: TrainingData,
    splits: Splits,
    scalers: list[LabelScaler],
    state: Arrays,
) -> Arrays:
    """Return the continuum pixels of each split by its trained reverse network.

    Returns
    -------
    dict of str to ndarray
        `pixels`, bool, and `sensitivity`, float32, both of shape (n_splits, p).
    """
    pixels, sensitivities = [], []
    for i, (split, scaler) in enumerate(zip(splits, scalers, strict=True)):
        grid = scaler.transform(continuum_pixels.label_grid(data.labels[split.train]))
        own = {name: a[i] for name, a in state.items() if name.startswith("reverse/")}
        params = unflatten("reverse", own, template(arch))
        sensitivity = continuum_pixels.label_sensitivity(arch, params, grid)
        pixels.append(continuum_pixels.choose_pixels(sensitivity, data.first_index))
        sensitivities.append(sensitivity.astype(np.float32))
    return {"pixels": np.stack(pixels), "sensitivity": np.stack(sensitivities)}


def fitted(spec: TrainSpec, data: TrainingData, splits: Splits, state: Arrays) -> list[Arrays]:
    """Return the arrays of the finished model of each split, from the state that ends a phase."""
    models = []
    for i, (split, scaler) in enumerate(zip(splits, _scalers(data, splits), strict=True)):
        model = {name: a[i] for name, a in state.items()}
        model |= {"center": scaler.center, "scale": scaler.scale}
        part = (data.flux[split.train], data.ivar[split.train], data.continuum[split.train])
        points = _first_layer(spec, model, _network_input(model, *part, data.first_index))
        models.append({**model, **applicability_domain.fit(points, data.labels[split.train])})
    return models


def predict_raw(
    spec: TrainSpec,
    model: Arrays,
    first_index: int,
    flux: Float32Array,
    ivar: Float32Array,
    continuum: Float32Array,
) -> RawPrediction:
    """Return the labels by the arrays of one fitted model.

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
    spectra = _network_input(model, flux, ivar, continuum, first_index)
    scaled = predict_network(arch, model, "forward", spectra)
    no_errors = np.full(scaled.shape, np.nan)
    chi2 = np.full(flux.shape[0], np.nan)
    if spec.rounds == 2:
        reverse = _reverse(spec, flux.shape[1])
        residual = flux - predict_network(reverse, model, "reverse", scaled)
        n_good = np.maximum((ivar > 0.0).sum(axis=1), 1)
        chi2 = np.sum(ivar * residual**2, axis=1, dtype=np.float64) / n_good
    return RawPrediction(
        values=LabelScaler(model["center"], model["scale"]).inverse(scaled),
        sigma=no_errors,
        ensemble_std=no_errors.copy(),
        chi2=chi2,
        points=_first_layer(spec, model, spectra),
    )


def _network_input(
    model: Arrays,
    flux: Float32Array,
    ivar: Float32Array,
    continuum: Float32Array,
    first_index: int,
) -> Float32Array:
    """Return the input of the forward network: normalized as the model does, gaps set to 1."""
    if "pixels" in model:
        return continuum_pixels.refit(flux, ivar, continuum, model["pixels"], first_index)
    return np.where(ivar > 0.0, flux, np.float32(1.0))


def _first_layer(spec: TrainSpec, model: Arrays, spectra: Float32Array) -> FloatArray:
    """Return the output of the linear first layer, the preset's score space."""
    arch = _forward(spec, spectra.shape[1])
    first = unflatten("forward", model, template(arch))["first"]
    return np.asarray(spectra @ first["kernel"] + first["bias"], np.float64)


PRESET = Preset(
    "seed-2018",
    "the network of the notebook of 2018: one linear and one ReLU layer on the pixels",
    OPTIONS,
    FIELDS,
    stages,
    advance,
    fitted,
    predict_raw,
)
