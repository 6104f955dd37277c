"""Points of learning curves: scored, written and read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import sqlalchemy as sa

from catalog.store.bulk import upsert_arrays
from catalog.store.columns import LABELS
from catalog.store.models import find_model
from catalog.store.schema import learning_curve
from jobs.evaluation.records import CurvePoint, known
from jobs.evaluation.scores import error_over_stars
from models.core import resampling
from models.core.records import TrainingData

BOOTSTRAP = 200


def read_curve(conn: sa.Connection, model: str) -> list[CurvePoint]:
    """Return the stored points of a model's learning curve, by label and size.

    Parameters
    ----------
    conn : Connection
        Open connection.
    model : str
        ``name@edition`` of a complete model.
    """
    fields = [learning_curve.c[f.name] for f in dataclasses.fields(CurvePoint) if f.name != "model"]
    query = sa.select(*fields).where(learning_curve.c.model_id == find_model(conn, model).model_id)
    points = [CurvePoint(model, *row) for row in conn.execute(query)]
    names = tuple(LABELS)
    return sorted(points, key=lambda p: (names.index(p.label), p.training_stars))


def score_curve(
    model: str, training_stars: int, data: TrainingData, values: np.ndarray
) -> tuple[CurvePoint, ...]:
    """Score out-of-fold labels against those that were to be learned.

    Parameters
    ----------
    model : str
        ``name@edition`` of the model that the curve is of.
    training_stars : int
        Stars that each fold was trained on.
    data : TrainingData
        The n rows with their k labels.
    values : ndarray, shape (n, k) [units of the labels]
        What the folds said of the stars that they left out; NaN is nothing.
    """
    points = []
    for j, label in enumerate(data.names):
        rows = np.flatnonzero(np.isfinite(values[:, j]) & np.isfinite(data.labels[:, j]))
        star, reference, test = data.group[rows], data.labels[rows, j], values[rows, j]
        n_stars = np.unique(star).size
        value = resampling.scores(reference, test, resampling.every_row(rows.size))
        drawn = resampling.scores(reference, test, resampling.draw_stars(star, BOOTSTRAP, 0))
        numbers = {
            name: number
            for statistic in resampling.STATISTICS
            for name, number in (
                (statistic, known(value[statistic][0])),
                (f"{statistic}_err", error_over_stars(drawn[statistic], n_stars)),
            )
        }
        points.append(
            CurvePoint(
                model, training_stars, label, LABELS[label].unit, rows.size, n_stars, **numbers
            )
        )
    return tuple(points)


def write_curve(conn: sa.Connection, model_id: int, points: Sequence[CurvePoint]) -> int:
    """Write the points of a size; returns the rows that changed."""
    columns = {
        f.name: np.array([getattr(p, f.name) for p in points])
        for f in dataclasses.fields(CurvePoint)
        if f.name != "model"
    }
    for name, values in columns.items():
        if values.dtype == object:  # some are None
            columns[name] = values.astype(float)
        elif values.dtype.kind == "U":
            columns[name] = np.char.encode(values, "utf-8")
    columns["model_id"] = np.full(len(points), model_id, np.int64)
    return upsert_arrays(conn, learning_curve, columns)
