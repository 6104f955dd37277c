"""Train a model chunk by chunk: plan the chunks, then run them in order.

Each chunk takes the state that the one before left, as bytes, and leaves its own; nothing else is
remembered. So a training can stop after any chunk and go on in another process, and the result is
the same to the last bit on the same machine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from models.core import artifact, crossval, metrics
from models.core.arrays import Arrays, Float32Array, pack, unpack
from models.core.crossval import Split
from models.core.records import (
    FINAL_FOLD,
    VALIDATION_FOLD,
    HistoryRow,
    Predictions,
    Step,
    TrainingData,
    TrainSpec,
)
from models.core.schedule import Chunk, keep_epoch, plan_chunks
from models.core.threads import one_blas_thread
from models.predict import Model, median_snr
from models.presets.preset import Preset
from models.presets.registry import resolve
from models.reliability.calibration import CalibrationFeatures, calibrate, fit_calibration
from models.reliability.flags import fit_limits, limit_flags
from models.spectra.normalize import RECIPES

__all__ = ["HistoryRow", "Predictions", "Step", "TrainSpec", "TrainingData", "plan", "run_chunk"]

CARRIED = ("calibration/", "limit/")  # arrays that outlive their phase
UNITS = {"teff": "K"}  # of the labels; all others are in dex


def plan(spec: TrainSpec, n_rows: int) -> list[str]:
    """Return the keys of the chunks of a training, in the order in which they must run.

    Parameters
    ----------
    spec : TrainSpec
        What to train.
    n_rows : int
        Number of training rows.

    Returns
    -------
    list of str
        Such as ``folds/reverse/00000-00040``: phase, stage, and its epochs (or splits).
    """
    return [chunk.key for chunk in _chunks(spec, n_rows)]


def _chunks(spec: TrainSpec, n_rows: int) -> tuple[Chunk, ...]:
    """Return the chunks of a training by the stages of its preset."""
    preset, spec = resolve(spec)
    return plan_chunks(spec, n_rows, preset.stages)


def run_chunk(
    spec: TrainSpec,
    data: TrainingData,
    key: str,
    state: bytes | None,
    *,
    versions: Mapping[str, str] | None = None,
) -> Step:
    """Run one chunk.

    Parameters
    ----------
    spec : TrainSpec
        What to train; the same for all chunks.
    data : TrainingData
        All training rows; the same, in the same order, for all chunks.
    key : str
        One of `plan`.
    state : bytes or None
        `Step.state` of the chunk before; None for the first.
    versions : mapping of str to str, optional
        Versions of libraries, kept in the manifest of the model.

    Returns
    -------
    Step

    Raises
    ------
    ValueError
        If the chunk is not in the plan, the state is not that of the chunk before, the labels are
        not those of the specification, a label is constant, or there are fewer stars than folds.
    """
    preset, spec = resolve(spec)
    if data.names != spec.labels:
        raise ValueError(f"The data hold the labels {data.names}, not {spec.labels} as specified.")
    chunks = _chunks(spec, data.flux.shape[0])
    keys = [chunk.key for chunk in chunks]
    if key not in keys:
        raise ValueError(f"The plan of this training has no chunk {key!r}.")
    position = keys.index(key)
    chunk = chunks[position]
    arrays = _open_state(state, keys[position - 1] if position else None)
    fold_of_row = crossval.assign_folds(data.group, spec.folds, spec.seed)
    splits = _splits(spec, data, chunk.phase, fold_of_row)
    carried = {name: a for name, a in arrays.items() if name.startswith(CARRIED)}
    own = {name: a for name, a in arrays.items() if name not in carried}
    own, losses, test_losses = preset.advance(spec, data, splits, chunk, own)
    step = Step(b"", _history(chunk, splits, losses, test_losses))
    if chunk.ends_phase:
        if chunk.phase != "validation":
            models = _models(preset, spec, data, splits, own, versions or {})
            if chunk.phase == "folds":
                with one_blas_thread():
                    out_of_fold, carried = _out_of_fold(data, splits, models)
                step = dataclasses.replace(
                    step,
                    fold_of_row=fold_of_row,
                    out_of_fold=out_of_fold,
                    metrics=_metrics(data, out_of_fold),
                )
            else:
                finished = {**models[0].arrays, **carried}
                step = dataclasses.replace(
                    step, artifact=artifact.to_bytes(models[0].manifest, finished)
                )
        own = {}
    after = np.frombuffer(key.encode(), dtype=np.uint8)
    version = np.array(artifact.FORMAT_VERSION)
    return dataclasses.replace(
        step, state=pack({**own, **carried, "after": after, "format": version})
    )


def _open_state(state: bytes | None, previous: str | None) -> Arrays:
    """Return the arrays of a state, after a check that the chunk before left it."""
    if state is None:
        if previous is None:
            return {}
        raise ValueError(f"This chunk needs the state that chunk {previous!r} left, not none.")
    arrays = unpack(state)
    if arrays.pop("format", np.array(1)) != artifact.FORMAT_VERSION:
        raise ValueError(
            "Another version of the program began this training. Train under another name."
        )
    after = arrays.pop("after", np.zeros(0, np.uint8)).tobytes().decode()
    if after != previous:
        raise ValueError(f"The state is that after chunk {after!r}; needed is {previous!r}.")
    return arrays


def _splits(
    spec: TrainSpec, data: TrainingData, phase: str, fold_of_row: NDArray[np.int64]
) -> tuple[Split, ...]:
    """Return the training and test rows of a phase."""
    all_rows = np.arange(data.group.size)
    if phase == "folds":
        splits = crossval.fold_splits(fold_of_row)
    elif phase == "validation":
        seed, fraction = spec.seed, spec.validation
        splits = (crossval.validation_split(data.group, fraction, seed, VALIDATION_FOLD),)
    else:
        splits = (Split(FINAL_FOLD, all_rows, all_rows[:0]),)
    return tuple(
        crossval.subsample_training(split, data.group, spec.train_stars, spec.seed)
        for split in splits
    )


def _history(
    chunk: Chunk,
    splits: tuple[Split, ...],
    losses: Float32Array,
    test_losses: Float32Array,
) -> tuple[HistoryRow, ...]:
    """Return the loss curves of the chunk, thinned."""
    return tuple(
        HistoryRow(
            chunk.stage.name,
            split.fold,
            chunk.start + i,
            float(losses[s, i]),
            float(test_losses[s, i]),
        )
        for s, split in enumerate(splits)
        for i in range(losses.shape[1])
        if keep_epoch(chunk.start + i, chunk.stage.total)
    )


def _models(
    preset: Preset,
    spec: TrainSpec,
    data: TrainingData,
    splits: tuple[Split, ...],
    arrays: Arrays,
    versions: Mapping[str, str],
) -> list[Model]:
    """Return the finished models of the splits of a phase."""
    n_pixels = data.flux.shape[1]
    recipe = RECIPES.get(spec.recipe)
    models = []
    fits = preset.fitted(spec, data, splits, arrays)
    for split, fit in zip(splits, fits, strict=True):
        labels = data.labels[split.train]
        low, high = np.nanmin(labels, axis=0), np.nanmax(labels, axis=0)
        manifest = {
            "preset": spec.preset,
            "spec": spec.to_dict(),
            "labels": list(spec.labels),
            "units": {name: UNITS.get(name, "dex") for name in spec.labels},
            "label_ranges": {
                name: [float(low[j]), float(high[j])] for j, name in enumerate(spec.labels)
            },
            "recipe": {"name": spec.recipe, "version": recipe.version if recipe else None},
            "grid": {"first_index": data.first_index, "n_pixels": n_pixels},
            "training_rows": int(split.train.size),
            "instruments": list(data.instruments),
            "versions": dict(versions),
        }
        fit = {**fit, "range_low": low, "range_high": high}
        models.append(Model(spec, data.first_index, n_pixels, fit, manifest))
    return models


def _out_of_fold(
    data: TrainingData, splits: tuple[Split, ...], models: list[Model]
) -> tuple[Predictions, Arrays]:
    """Return out-of-fold predictions, and the calibration for the final model.

    Each row is predicted by the model that was trained without its star. Errors and limits of a
    fold are calibrated on the predictions of the other folds, those of the final model on all.
    """
    result = Predictions.empty(*data.labels.shape)
    fold = np.zeros(data.group.size, np.int64)
    for split, model in zip(splits, models, strict=True):
        test = split.test
        fold[test] = split.fold
        result.put(test, model.predict(data.flux[test], data.ivar[test], data.continuum[test]))
    snr = median_snr(data.ivar)
    features = CalibrationFeatures.of(result, snr)
    for split in splits:
        test, calibration = split.test, _calibration(data, result, features, fold, split.train)
        if np.isfinite(result.raw_sigma).any():
            result.sigma[test], result.half_width95[test] = calibrate(
                data.names, calibration, features.take(test)
            )
        result.flags[test] |= limit_flags(calibration, result.take(test), snr[test])
    return result, _calibration(data, result, features, fold, np.arange(data.group.size))


def _calibration(
    data: TrainingData,
    result: Predictions,
    features: CalibrationFeatures,
    fold: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> Arrays:
    """Return factors on the errors (where the preset has errors) and limits, from some rows."""
    limits = fit_limits(result.take(rows), features.snr[rows], data.labels[rows])
    if not np.isfinite(result.raw_sigma).any():
        return limits
    delta = result.values[rows] - data.labels[rows]
    factors = fit_calibration(
        data.names, features.take(rows), delta, data.label_errors[rows], fold[rows]
    )
    return {**limits, **factors}


def _metrics(data: TrainingData, out_of_fold: Predictions) -> dict[str, float]:
    """Return the scores of the out-of-fold predictions, named ``label.metric``."""
    scores: dict[str, float] = {}
    for j, name in enumerate(data.names):
        delta = out_of_fold.values[:, j] - data.labels[:, j]
        for metric, value in dataclasses.asdict(metrics.score(delta)).items():
            scores[f"{name}.{metric}"] = float(value)
        for kind, sigma in (("", out_of_fold.sigma), ("raw_", out_of_fold.raw_sigma)):
            if np.isfinite(sigma[:, j]).any():
                pulls = metrics.pull(delta, sigma[:, j], data.label_errors[:, j])
                scores[f"{name}.{kind}coverage"] = metrics.coverage(pulls)
    return scores
