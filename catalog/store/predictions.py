"""Write what a model says of spectra: label rows, and beside them what only networks know."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import sqlalchemy as sa

from catalog.store.bulk import stage, upsert
from catalog.store.columns import error_of
from catalog.store.schema import prediction_detail, stellar_label

_DETAILS = ("raw_sigma", "half_width95", "ensemble_std")  # one number per label


class PredictedLabels(Protocol):
    """Predictions of k labels for n spectra, as `models` gives them: arrays of (n, k) and (n,)."""

    @property
    def values(self) -> np.ndarray: ...
    @property
    def sigma(self) -> np.ndarray: ...
    @property
    def raw_sigma(self) -> np.ndarray: ...
    @property
    def half_width95(self) -> np.ndarray: ...
    @property
    def ensemble_std(self) -> np.ndarray: ...
    @property
    def chi2(self) -> np.ndarray: ...
    @property
    def distance(self) -> np.ndarray: ...


def write_predictions(
    conn: sa.Connection,
    label_set_id: int,
    source_id: np.ndarray,
    labels: tuple[str, ...],
    predictions: PredictedLabels,
    flags: np.ndarray,
) -> int:
    """Write the predictions for some sources into a building edition.

    Parameters
    ----------
    source_id : ndarray of int64, shape (n,)
        What was predicted for.
    labels : tuple of str
        Names of the k labels, in the order of the columns of ``predictions``.
    predictions : PredictedLabels
        NaN becomes NULL: a preset without an error head has NULL errors.
    flags : ndarray of int64, shape (n,)

    Returns
    -------
    int
        Rows inserted or changed, of both tables.
    """
    if len(source_id) == 0:
        return 0
    columns = {"source_id": source_id, "flags": flags}
    for name in ("chi2", "distance"):
        columns[name] = getattr(predictions, name).astype(np.float32)
    for j, label in enumerate(labels):
        columns[label] = predictions.values[:, j].astype(np.float32)
        columns[error_of(label)] = predictions.sigma[:, j].astype(np.float32)
        for detail in _DETAILS:
            columns[f"{detail}_{j}"] = getattr(predictions, detail)[:, j].astype(np.float32)
    stage(conn, "stage_predictions", columns, stellar_label, prediction_detail)
    params = {"label_set_id": label_set_id}
    head = {"label_set_id": ":label_set_id", "source_id": "s.source_id"}
    own = [name for label in labels for name in (label, error_of(label))]
    label_columns = head | {c: f"s.{c}" for c in ("flags", *own)}
    rows = upsert(conn, stellar_label, label_columns, "stage_predictions s", params=params)
    detail_columns = head | {c: f"s.{c}" for c in ("chi2", "distance")}
    for detail in _DETAILS:
        numbers = ", ".join(f"s.{detail}_{j}" for j in range(len(labels)))
        detail_columns[detail] = f"CASE WHEN num_nonnulls({numbers}) > 0 THEN ARRAY[{numbers}] END"
    return rows + upsert(
        conn, prediction_detail, detail_columns, "stage_predictions s", params=params
    )


def signal_to_noise(conn: sa.Connection, source_id: np.ndarray) -> np.ndarray:
    """Return the S/N of spectra as ingested (``sn_median``), shape (n,); NaN where unknown."""
    query = sa.text(
        "SELECT source_id, sn_median FROM spectrum_blob "
        "WHERE source_id = ANY(:ids) AND sn_median IS NOT NULL"
    )
    found = conn.execute(query, {"ids": source_id.tolist()})
    known = {row.source_id: row.sn_median for row in found}
    return np.array([known.get(i, np.nan) for i in source_id.tolist()], float)
