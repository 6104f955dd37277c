"""Collect the origin and the scores of a model, as facts that are stored in its artifact.

The facts name things as people do, never by surrogate ids, and hold no times: the same training on
the same data makes the same bytes anywhere.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from catalog.store.columns import error_of
from catalog.store.labels import find_label_set, flag_meanings
from catalog.store.samples import find_sample
from catalog.store.schema import model
from jobs.training.data import TrainingRows
from jobs.training.params import TrainParams
from models.core import metrics
from models.core.records import TrainingData
from models.predict import median_snr

GIANT_LOGG = 3.5  # giants have less [dex]
MIN_GROUP = 20  # spectra of which scores are told
PERCENTILES = {"min": 0.0, "p5": 5.0, "median": 50.0, "p95": 95.0, "max": 100.0}
MEMBERS = "training/"  # what names the arrays of the spectra trained on begin with

FloatArray = NDArray[np.float64]


def training_facts(
    conn: sa.Connection, params: TrainParams, rows: TrainingRows, data: TrainingData
) -> dict[str, Any]:
    """Return the inputs of a model and the scores of its out-of-fold labels, for its manifest.

    Parameters
    ----------
    conn : Connection
        Sees the out-of-fold labels that the training has written.
    params : TrainParams
        Of the training, complete.
    rows, data
        What it is trained on.

    Returns
    -------
    dict
        JSON-able: ``model``, ``label_set``, ``sample``, ``training``, ``metrics``, ``scores``,
        ``flagged``.
    """
    target = find_label_set(conn, params.target)
    sample = find_sample(conn, params.sample)
    given = target.params or {}
    return {
        "model": {"name": params.name, "inputs": params.inputs, "params": _plain(params)},
        "label_set": {
            "name": target.full_name, "description": target.description,
            "inputs_hash": target.inputs_hash, "n_rows": target.n_rows,
            "simulated": target.simulated,
            "note": str(given.get("note") or ""),
        },
        "sample": {
            "name": sample.name, "preset": sample.preset, "params": dict(sample.params),
            "counts": sample.counts and dict(sample.counts),
        },
        "training": _training(rows, data),
        "metrics": conn.scalar(
            sa.select(model.c.metrics).where(
                model.c.name == params.name, model.c.status == "building"
            )
        ),
    } | _scores(conn, params, rows, data)  # fmt: skip


def _plain(params: TrainParams) -> dict[str, Any]:
    """Return the parameters of a training as JSON-able values."""
    from jobs.engine.params import to_dict

    return to_dict(params)


def _training(rows: TrainingRows, data: TrainingData) -> dict[str, Any]:
    """Return counts and ranges of what is trained on."""
    labels = {}
    for j, name in enumerate(data.names):
        known = data.labels[np.isfinite(data.labels[:, j]), j]
        labels[name] = {"n": int(known.size), **_percentiles(known)}
    return {
        "spectra": int(data.group.size),
        "stars": int(np.unique(data.group).size),
        "instruments": list(rows.instruments),
        "snr": _percentiles(median_snr(data.ivar)),
        "labels": labels,
    }


def _percentiles(values: FloatArray) -> dict[str, float]:
    """Return the percentiles that are told, rounded to what float32 holds."""
    return {name: float(np.float32(np.percentile(values, q))) for name, q in PERCENTILES.items()}


def _scores(
    conn: sa.Connection, params: TrainParams, rows: TrainingRows, data: TrainingData
) -> dict[str, Any]:
    """Return the scores of the out-of-fold labels against the known ones: all, giants, dwarfs."""
    columns = [f"s.{name}" for label in data.names for name in (label, error_of(label))]
    columns += [f"d.half_width95[{j + 1}]" for j in range(len(data.names))]
    found = conn.execute(
        sa.text(
            f"SELECT s.source_id, s.flags, {', '.join(columns)} "
            "FROM stellar_label s JOIN label_set l USING (label_set_id) "
            "LEFT JOIN prediction_detail d USING (label_set_id, source_id) "
            "WHERE l.name = :name AND l.status = 'building' ORDER BY s.source_id"
        ),
        {"name": params.out_of_fold_set},
    ).all()
    place = np.searchsorted([row.source_id for row in found], rows.source_id)
    numbers = np.array([row[2:] for row in found], float)[place]
    flags = np.array([row.flags for row in found], np.int64)[place]
    k = len(data.names)
    delta, error = numbers[:, : 2 * k : 2] - data.labels, numbers[:, 1 : 2 * k : 2]
    half_width = numbers[:, 2 * k :]
    groups = {"all": np.ones(len(delta), dtype=bool)}
    if "logg" in data.names:
        giant = data.labels[:, data.names.index("logg")] < GIANT_LOGG
        groups |= {"giants": giant, "dwarfs": ~giant}
    scores = {
        label: {
            group: _score(*(a[chosen, j] for a in (delta, error, half_width, data.label_errors)))
            for group, chosen in groups.items()
            if np.isfinite(delta[chosen, j]).sum() >= MIN_GROUP or group == "all"
        }
        for j, label in enumerate(data.names)
    }
    meanings = flag_meanings(conn, params.out_of_fold_set)
    flagged = {name: int((flags >> bit & 1).sum()) for bit, (name, _) in sorted(meanings.items())}
    return {"scores": scores, "flagged": {"any": int((flags != 0).sum()), **flagged}}


def _score(
    delta: FloatArray, error: FloatArray, half_width: FloatArray, label_error: FloatArray
) -> dict[str, Any]:
    """Return scores of some differences; None where unknown."""
    score = metrics.score(delta)
    known = np.isfinite(error)
    pulls = metrics.pull(delta[known], error[known], label_error[known])
    wide = metrics.WIDTH_95 * label_error[known]
    wide_pulls = metrics.pull(delta[known], half_width[known], wide)
    scores = {
        "n": score.n, "bias": score.bias, "sigma_mad": score.sigma_mad, "mae": score.mae,
        "outliers": score.outliers, "coverage68": metrics.coverage(pulls),
        "coverage95": metrics.coverage(wide_pulls),
        "median_error": float(np.median(error[known])) if known.any() else math.nan,
    }  # fmt: skip
    return {name: x if math.isfinite(x) else None for name, x in scores.items()}


def training_spectra(conn: sa.Connection, model_id: int) -> dict[str, NDArray[Any]]:
    """Return the spectra that a model is trained on by natural key, as arrays for its artifact.

    Returns
    -------
    dict of str to ndarray
        ``training/survey``, ``training/survey_key`` and ``training/star_key``: bytes of shape (n,);
        ``training/fold``: int32 of shape (n,).
    """
    rows = conn.execute(
        sa.text(
            "SELECT r.survey, r.survey_key, t.star_key, m.fold FROM training_member m "
            "JOIN source r ON r.source_id = m.source_id JOIN star t ON t.star_id = m.star_id "
            'WHERE m.model_id = :id ORDER BY r.survey COLLATE "C", r.survey_key COLLATE "C"'
        ),
        {"id": model_id},
    ).all()
    arrays: dict[str, NDArray[Any]] = {
        MEMBERS + name: np.array([row[i].encode() for row in rows], "S")
        for i, name in enumerate(("survey", "survey_key", "star_key"))
    }
    return arrays | {MEMBERS + "fold": np.array([row.fold for row in rows], np.int32)}
