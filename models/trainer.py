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
from models.core.arrays import Arrays, pack, unpack
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
from models.core.schedule import Chunk, cut, keep_epoch
from models.core.threads import one_blas_thread
from models.predict import Model, median_snr
from models.presets.registry import PRESETS
from models.reliability import calibration as uncertainty
from models.reliability.calibration import Evidence
from models.reliability.flags import fit_limits, limit_flags
from models.spectra.normalize import RECIPES

__all__ = ["HistoryRow", "Predictions", "Step", "TrainSpec", "TrainingData", "plan", "run_chunk"]

CARRIED = ("calibration/", "limit/")  # arrays that outlive their phase
UNITS = {"teff": "K"}  # of the labels; all others are in dex


def plan(spec: TrainSpec, n_rows: int) -> list[str]:
    """List the chunks of a training, in the order in which they must run.

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
    """Cut the training by the stages of its preset."""
    return cut(spec, n_rows, PRESETS[spec.preset].stages)


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
    own, losses, test_losses = PRESETS[spec.preset].advance(spec, data, splits, chunk, own)
    step = Step(b"", _history(chunk, splits, losses, test_losses))
    if chunk.ends_phase:
        if chunk.phase != "validation":
            models = _models(spec, data, splits, own, versions or {})
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
    """Read a state and check that it is the one this chunk builds on."""
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
    """Training and test rows of a phase."""
    everything = np.arange(data.group.size)
    if phase == "folds":
        splits = crossval.fold_splits(fold_of_row)
    elif phase == "validation":
        aside = crossval.validation_split(data.group, spec.validation, spec.seed, VALIDATION_FOLD)
        splits = (aside,)
    else:
        splits = (Split(FINAL_FOLD, everything, everything[:0]),)
    return tuple(
        crossval.thin_out(split, data.group, spec.train_stars, spec.seed) for split in splits
    )


def _history(
    chunk: Chunk,
    splits: tuple[Split, ...],
    losses: NDArray[np.float32],
    test_losses: NDArray[np.float32],
) -> tuple[HistoryRow, ...]:
    """Loss curves of the chunk, thinned."""
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
    spec: TrainSpec,
    data: TrainingData,
    splits: tuple[Split, ...],
    arrays: Arrays,
    versions: Mapping[str, str],
) -> list[Model]:
    """Finished models of the splits of a phase."""
    n_pixels = data.flux.shape[1]
    recipe = RECIPES.get(spec.recipe)
    models = []
    fits = PRESETS[spec.preset].fitted(spec, data, splits, arrays)
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
    """Predict each row by the model that never saw its star; calibrate errors and limits likewise.

    What concerns a fold is calibrated on the predictions of the other folds. The calibration on
    all folds is returned for the final model.
    """
    result = Predictions.empty(*data.labels.shape)
    fold = np.zeros(data.group.size, np.int64)
    for split, model in zip(splits, models, strict=True):
        test = split.test
        fold[test] = split.fold
        result.put(test, model.predict(data.flux[test], data.ivar[test], data.continuum[test]))
    snr = median_snr(data.ivar)
    evidence = Evidence(result.values, result.raw_sigma, snr, result.distance, result.chi2)
    for split in splits:
        test, calibration = split.test, _calibration(data, result, evidence, fold, split.train)
        if np.isfinite(result.raw_sigma).any():
            result.sigma[test], result.half_width95[test] = uncertainty.calibrate(
                data.names, calibration, evidence.take(test)
            )
        result.flags[test] |= limit_flags(calibration, result.take(test), snr[test])
    return result, _calibration(data, result, evidence, fold, np.arange(data.group.size))


def _calibration(
    data: TrainingData,
    result: Predictions,
    evidence: Evidence,
    fold: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> Arrays:
    """Factors on the errors (where the preset has errors) and limits, from some rows."""
    limits = fit_limits(result.take(rows), evidence.snr[rows], data.labels[rows])
    if not np.isfinite(result.raw_sigma).any():
        return limits
    delta = result.values[rows] - data.labels[rows]
    factors = uncertainty.fit_calibration(
        data.names, evidence.take(rows), delta, data.label_errors[rows], fold[rows]
    )
    return {**limits, **factors}


def _metrics(data: TrainingData, out_of_fold: Predictions) -> dict[str, float]:
    """Scores of the out-of-fold predictions, named ``label.metric``."""
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
