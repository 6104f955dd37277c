"""Models in the database: listed, found, and written chunk by chunk until a run completes them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import sqlalchemy as sa

from catalog.errors import ChunkFailed, UsageError
from catalog.store.bulk import upsert, upsert_arrays
from catalog.store.entries import IS_SPECTRUM
from catalog.store.schema import model, training_checkpoint, training_history
from catalog.store.schema import training_member as member
from catalog.words import names_near


@dataclass(frozen=True)
class TrainedModel:
    """A complete model, without its artifact."""

    model_id: int
    name: str
    edition: int
    params_hash: str
    labels: list[str]
    recipe: str
    recipe_version: int
    sha256: str
    label_set_id: int | None
    preset: str
    params: Mapping[str, Any]
    run_id: int | None  # None: it came from a file

    @property
    def full_name(self) -> str:
        """``name@edition``."""
        return f"{self.name}@{self.edition}"


@dataclass(frozen=True)
class ModelLine:
    """A model in one line.

    Parameters
    ----------
    name, edition, preset
        Which model.
    labels : list of str
        What it predicts.
    label_set, sample : str or None
        What it learned from; None where that is not in this catalog.
    n_spectra : int
        Spectra of this catalog that it was trained on.
    sigma_mad : dict of str to float
        Out-of-fold scatter of each label [unit of the label].
    simulated : bool
        Whether nobody measured what it rests on.
    imported : bool
        Whether it came from a file.
    created_at : datetime
        When it was made here, or came.
    """

    name: str
    edition: int
    preset: str
    labels: list[str]
    label_set: str | None
    sample: str | None
    n_spectra: int
    sigma_mad: dict[str, float | None]
    simulated: bool
    imported: bool
    created_at: datetime

    @property
    def full_name(self) -> str:
        """``name@edition``."""
        return f"{self.name}@{self.edition}"


#: All that lists say of complete models; ``n_spectra`` counts spectra of this catalog.
MODEL_LINES = f"""
    SELECT m.name, m.edition, m.preset, m.labels, l.name || '@' || l.edition AS label_set,
           s.name AS sample, m.recipe, m.recipe_version, m.seed, m.params, m.versions, m.sha256,
           m.metrics, m.created_at,
           (SELECT count(*) FROM training_member t JOIN source r USING (source_id)
            WHERE t.model_id = m.model_id AND {IS_SPECTRUM}) AS n_spectra,
           coalesce((l.params ->> 'simulated')::boolean, (m.params ->> 'simulated')::boolean,
                    false) AS simulated,
           m.run_id IS NULL AS imported,
           NOT EXISTS (SELECT FROM model n WHERE n.name = m.name AND n.status = 'complete'
                       AND n.edition > m.edition) AS is_newest
    FROM model m LEFT JOIN label_set l USING (label_set_id) LEFT JOIN sample s USING (sample_id)
    WHERE m.status = 'complete'"""


def list_models(conn: sa.Connection, *, all_editions: bool = False) -> list[ModelLine]:
    """Return the complete models by name: the newest edition of each, or all of them."""
    newest = "" if all_editions else "WHERE is_newest"
    query = f"SELECT * FROM ({MODEL_LINES}) q {newest} ORDER BY name, edition DESC"
    lines = []
    for row in conn.execute(sa.text(query)):
        metrics: dict[str, Any] = row.metrics or {}
        scatter = {label: metrics.get(f"{label}.sigma_mad") for label in row.labels}
        lines.append(
            ModelLine(
                row.name, row.edition, row.preset, row.labels, row.label_set, row.sample,
                row.n_spectra, scatter, row.simulated, row.imported, row.created_at,
            )
        )  # fmt: skip
    return lines


def model_names(conn: sa.Connection) -> list[str]:
    """Return the names of the complete models, in order."""
    query = "SELECT DISTINCT name FROM model WHERE status = 'complete' ORDER BY name"
    return list(conn.scalars(sa.text(query)))


class LossRow(Protocol):
    """The loss of one network after one epoch, as `models` gives it."""

    @property
    def network(self) -> str: ...
    @property
    def fold(self) -> int: ...
    @property
    def epoch(self) -> int: ...
    @property
    def loss(self) -> float: ...
    @property
    def val_loss(self) -> float: ...


def is_simulated_model(trained: TrainedModel) -> bool:
    """Return True where a model that came from a file is marked as simulated."""
    return bool(trained.params.get("simulated"))


def training_sources(conn: sa.Connection, model_id: int) -> list[int]:
    """Return the sources of the spectra that a model was trained on, in any reduction."""
    query = sa.text("""
        SELECT source_id FROM training_member WHERE model_id = :id
        UNION SELECT o.source_id FROM training_member m
        JOIN sdss_spectrum d ON d.source_id = m.source_id
        JOIN sdss_spectrum o ON (o.plate, o.mjd, o.fiberid) = (d.plate, d.mjd, d.fiberid)
        WHERE m.model_id = :id""")
    return list(conn.scalars(query, {"id": model_id}))


def complete_models(conn: sa.Connection, name: str) -> list[TrainedModel]:
    """The complete editions of a model, the newest first."""
    fields = [model.c[f] for f in TrainedModel.__dataclass_fields__]
    query = sa.select(*fields).where(model.c.name == name, model.c.status == "complete")
    return [TrainedModel(*row) for row in conn.execute(query.order_by(model.c.edition.desc()))]


def find_model(conn: sa.Connection, name: str) -> TrainedModel:
    """The complete model that ``name`` (its newest edition) or ``name@edition`` means.

    Raises
    ------
    UsageError
        If there is none; the message lists those there are.
    """
    base, _, edition = name.partition("@")
    for found in complete_models(conn, base):
        if edition in ("", str(found.edition)):
            return found
    known = [f"{base}@{m.edition}" for m in complete_models(conn, base)] or model_names(conn)
    raise UsageError(
        f"there is no model {name}",
        names_near(name, known, "Models", "none yet; run: crosslabel train"),
    )


def read_artifact(conn: sa.Connection, model_id: int) -> bytes:
    """The bytes of a complete model."""
    query = sa.select(model.c.artifact).where(model.c.model_id == model_id)
    return bytes(conn.execute(query).scalar_one())


def begin_model(
    conn: sa.Connection,
    name: str,
    values: Mapping[str, Any],
    *,
    run_id: int,
    params: Mapping[str, Any],
    params_hash: str,
) -> int:
    """Enter the next edition of a model as building, owned by a run, and return its id."""
    last = conn.scalar(sa.select(sa.func.max(model.c.edition)).where(model.c.name == name))
    model_id = conn.execute(
        model.insert()
        .values(
            name=name, edition=(last or 0) + 1, status="building", run_id=run_id,
            params=params, params_hash=params_hash, **values,
        )
        .returning(model.c.model_id)
    ).scalar_one()  # fmt: skip
    return int(model_id)


def building_model(conn: sa.Connection, name: str) -> int:
    """The id of the edition that is being built; the lock on the name lets there be one only."""
    query = sa.select(model.c.model_id).where(model.c.name == name, model.c.status == "building")
    return int(conn.execute(query).scalar_one())


def discard_building_model(conn: sa.Connection, run_id: int) -> int:
    """Delete the unfinished model of a run, with its curves, members and checkpoint."""
    return conn.execute(
        model.delete().where(model.c.run_id == run_id, model.c.status == "building")
    ).rowcount


def complete_model(conn: sa.Connection, model_id: int) -> None:
    """Turn a building model into a complete one; its checkpoint has served."""
    conn.execute(training_checkpoint.delete().where(training_checkpoint.c.model_id == model_id))
    conn.execute(model.update().where(model.c.model_id == model_id).values(status="complete"))


def read_checkpoint(conn: sa.Connection, model_id: int, chunk_key: str) -> bytes:
    """The state that a chunk left.

    Raises
    ------
    ChunkFailed
        If that is not where the training stands.
    """
    query = sa.select(training_checkpoint.c.state_bytes).where(
        training_checkpoint.c.model_id == model_id, training_checkpoint.c.chunk_key == chunk_key
    )
    state = conn.scalar(query)
    if state is None:
        raise ChunkFailed(f"the training has no saved state after {chunk_key}", "Train again")
    return bytes(state)


def write_checkpoint(conn: sa.Connection, model_id: int, chunk_key: str, state: bytes) -> None:
    """Replace the saved state of a training; not counted as rows, for it goes at the end."""
    values = {"model_id": model_id, "chunk_key": chunk_key, "state_bytes": state}
    columns = {name: f":{name}" for name in values}
    upsert(conn, training_checkpoint, columns, "(SELECT) AS one_row", params=values)


def write_history(conn: sa.Connection, model_id: int, history: Sequence[LossRow]) -> int:
    """Write loss curves; epochs, from 0 in the models, count from 1 in the database."""
    n = len(history)
    return upsert_arrays(
        conn,
        training_history,
        {
            "model_id": np.full(n, model_id, np.int64),
            "network": np.array([h.network for h in history], "S"),
            "fold": np.array([h.fold for h in history], np.int32),
            "training_epoch": np.array([h.epoch + 1 for h in history], np.int32),
            "loss": np.array([h.loss for h in history], float),
            "val_loss": np.array([h.val_loss for h in history], float),
        },
    )


def write_members(
    conn: sa.Connection, model_id: int, source_id: np.ndarray, star_id: np.ndarray, fold: np.ndarray
) -> int:
    """Write what a model is trained on; arrays of shape (n,)."""
    columns = {
        "model_id": np.full(len(source_id), model_id, np.int64),
        "source_id": source_id,
        "star_id": star_id,
        "fold": fold.astype(np.int32),
    }
    return upsert_arrays(conn, member, columns)


def write_metrics(conn: sa.Connection, model_id: int, metrics: Mapping[str, float]) -> None:
    """Write the out-of-fold scores; JSON has no NaN, so it becomes null."""
    honest = {name: x if math.isfinite(x) else None for name, x in metrics.items()}
    conn.execute(model.update().where(model.c.model_id == model_id).values(metrics=honest))


def write_artifact(conn: sa.Connection, model_id: int, artifact: bytes) -> None:
    """Write the finished model with its checksum."""
    sha256 = hashlib.sha256(artifact).hexdigest()
    conn.execute(
        model.update().where(model.c.model_id == model_id).values(artifact=artifact, sha256=sha256)
    )
