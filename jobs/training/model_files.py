"""Models as files: one file holds all that another catalog needs to label spectra by the model."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from catalog.errors import BadInputError, UsageError
from catalog.files.opening import check_members, read_bytes
from catalog.store.bulk import upsert_arrays
from catalog.store.columns import LABELS
from catalog.store.db import Database, advisory_lock
from catalog.store.models import TrainedModel, complete_models, find_model, read_artifact
from catalog.store.names import check_name
from catalog.store.schema import label_set, model, star, training_member
from catalog.writing import replace_files
from jobs.engine.runner import lock_name
from jobs.training.facts import MEMBERS
from models.predict import Model, load
from models.spectra.normalize import RECIPES

MAX_BYTES = 1 << 30  # a larger file is no model of ours


@dataclass(frozen=True)
class Imported:
    """A model that came from a file.

    Parameters
    ----------
    full_name : str
        ``name@edition`` here.
    is_new : bool
        Whether it was not here before.
    known_spectra, training_spectra : int
        Spectra that it was trained on: those that are in this catalog, and all.
    """

    full_name: str
    is_new: bool
    known_spectra: int
    training_spectra: int


def export_model(conn: sa.Connection, name: str, path: Path) -> int:
    """Write a model to a file; returns its number of bytes. A file in its place is replaced.

    Raises
    ------
    UsageError
        If there is no such model, or the file cannot be written.
    """
    artifact = read_artifact(conn, find_model(conn, name).model_id)
    with replace_files(path) as (stream,):
        stream.write(artifact)
    return len(artifact)


def import_model(db: Database, path: Path, name: str | None = None) -> Imported:
    """Take a model from a file into the catalog.

    Parameters
    ----------
    db : Database
        The catalog.
    path : Path
        From `export_model`.
    name : str, optional
        Name of the model here; that which it had, if not given. An existing name gets a further
        edition, unless the model is among its editions already.

    Raises
    ------
    BadInputError
        If the file is damaged or no model, or needs another version of the program.
    UsageError
        If the file cannot be read or the name cannot be used.
    """
    data = read_bytes(path, MAX_BYTES, "a model")
    check_members(path, io.BytesIO(data), MAX_BYTES)
    found = _open(path, data)
    facts = found.manifest.get("model") or {}
    name = name or facts.get("name")
    if not name:
        raise UsageError(f"{path} does not say what the model is called", "Give it a --name")
    check_name(name, "model")
    sha256 = hashlib.sha256(data).hexdigest()
    spectra = {n: a for n, a in found.arrays.items() if n.startswith(MEMBERS)}
    n_spectra = len(spectra.get(MEMBERS + "fold", ()))
    with advisory_lock(db, lock_name("train", f"model {name}")), db.begin() as conn:
        for here in complete_models(conn, name):
            if here.sha256 == sha256:
                return Imported(
                    here.full_name, False, link_training_spectra(conn, here.model_id, spectra),
                    n_spectra,
                )  # fmt: skip
        model_id, edition = _insert(conn, name, found, data, sha256)
        known = link_training_spectra(conn, model_id, spectra)
    return Imported(f"{name}@{edition}", True, known, n_spectra)


def _open(path: Path, data: bytes) -> Model:
    """Return the model in the bytes of a file, if this version can use it."""
    try:
        found = load(data)
        flat = np.ones((1, found.n_pixels), np.float32)
        found.predict(flat, flat, flat)  # whether all is there that a prediction needs
        recipe = RECIPES.get(found.spec.recipe)
        version = found.manifest["recipe"]["version"]
        _check_facts(found)
    except ValueError as exc:
        raise BadInputError(
            "BAD_MODEL", f"{path}: {str(exc).rstrip('.')}",
            "Export the model again: crosslabel model export",
        ) from exc  # fmt: skip
    except (AttributeError, LookupError, TypeError) as exc:  # whole, but of another shape
        fault = f"lacks {exc}" if isinstance(exc, KeyError) else f"is of another shape ({exc})"
        raise BadInputError(
            "BAD_MODEL", f"{path}: the model {fault}: another version of crosslabel wrote it",
            "Use that version, or train again",
        ) from exc  # fmt: skip
    grid = (found.first_index, found.n_pixels)
    if recipe is None or (recipe.version, recipe.first_index, recipe.n_pixels) != (version, *grid):
        raise BadInputError(
            "BAD_MODEL",
            f"{path}: the model needs version {version} of the recipe {found.spec.recipe}, and "
            f"this program has {f'version {recipe.version}' if recipe else 'none'}",
            "Use the version of crosslabel that trained it, or train again",
        )
    return found


def _check_facts(found: Model) -> None:
    """Refuse what `_insert` and `link_training_spectra` could not enter."""
    facts = [found.manifest.get(n) or {} for n in ("model", "label_set", "metrics", "versions")]
    facts.append(facts[0].get("params") or {})
    if not all(isinstance(each, dict) for each in facts):
        raise TypeError("a part of its manifest is no table")
    if "\\u0000" in json.dumps(facts, allow_nan=False):
        raise ValueError("The manifest holds characters that no text has.")
    members = {name: a for name, a in found.arrays.items() if name.startswith(MEMBERS)}
    kinds = {a.dtype.kind for name, a in members.items() if name != MEMBERS + "fold"}
    if len({a.shape for a in members.values()}) > 1 or kinds - {"S"}:
        raise ValueError("The lists of its training spectra are not equally long lists of names.")
    if unknown := set(found.spec.labels) - set(LABELS):  # they become columns
        raise ValueError(f"The catalog has no label {', '.join(sorted(unknown))}.")


def _insert(
    conn: sa.Connection, name: str, found: Model, data: bytes, sha256: str
) -> tuple[int, int]:
    """Enter the model as the next edition of its name; its id and edition."""
    manifest, spec = found.manifest, found.spec
    facts, target = manifest.get("model") or {}, manifest.get("label_set") or {}
    last = conn.scalar(sa.select(sa.func.max(model.c.edition)).where(model.c.name == name))
    params = (facts.get("params") or {}) | {"simulated": bool(target.get("simulated"))}
    values = {
        "name": name, "edition": (last or 0) + 1, "status": "complete", "preset": spec.preset,
        "params": params, "params_hash": sha256, "seed": spec.seed, "labels": list(spec.labels),
        "label_set_id": _label_set(conn, target), "recipe": spec.recipe,
        "recipe_version": manifest["recipe"]["version"], "first_index": found.first_index,
        "n_pixels": found.n_pixels, "metrics": manifest.get("metrics"), "artifact": data,
        "sha256": sha256, "versions": manifest.get("versions"),
    }  # fmt: skip
    model_id = conn.execute(model.insert().values(values).returning(model.c.model_id)).scalar_one()
    return model_id, values["edition"]


def _label_set(conn: sa.Connection, target: dict[str, Any]) -> int | None:
    """Return the label set that the model learned, where the same one is in this catalog."""
    query = sa.select(label_set.c.label_set_id).where(
        label_set.c.name == str(target.get("name", "")).partition("@")[0],
        label_set.c.inputs_hash == target.get("inputs_hash"),
        label_set.c.status == "complete",
    )
    return conn.scalar(query.order_by(label_set.c.edition.desc()).limit(1))


def open_model(conn: sa.Connection, trained: TrainedModel) -> Model:
    """Read a model of this catalog, to use it.

    Raises
    ------
    UsageError
        If another version of crosslabel wrote it, and this one cannot read it.
    """
    try:
        return load(read_artifact(conn, trained.model_id))
    except ValueError as exc:
        raise UsageError(
            f"the model {trained.full_name} cannot be used: {str(exc).rstrip('.')}",
            "What it has labelled stays as it is",
        ) from exc


def link_spectra_of_imported(conn: sa.Connection, trained: TrainedModel) -> None:
    """Record the training spectra of an imported model again: some may have come since."""
    if trained.run_id is None:
        link_training_spectra(conn, trained.model_id, open_model(conn, trained).arrays)


def link_training_spectra(conn: sa.Connection, model_id: int, arrays: dict[str, np.ndarray]) -> int:
    """Record which spectra of this catalog a model was trained on, wherever that was.

    Predictions flag these spectra, and comparisons leave their stars out: also stars of which only
    other spectra are here, such as another reduction, for which their APOGEE entries stand in.

    Parameters
    ----------
    conn : Connection
        For writing.
    model_id : int
        The model.
    arrays : dict of str to ndarray
        Of the model; those of `jobs.training.facts.training_spectra` are used.

    Returns
    -------
    int
        Number of such spectra.
    """
    if MEMBERS + "fold" not in arrays:
        return 0
    survey, survey_key, star_key = (
        [text.decode() for text in arrays[MEMBERS + name].tolist()]
        for name in ("survey", "survey_key", "star_key")
    )
    found = conn.execute(
        sa.text(
            "SELECT s.source_id, s.survey, s.survey_key FROM source s JOIN "
            "unnest(CAST(:survey AS text[]), CAST(:key AS text[])) AS k (survey, survey_key) "
            "USING (survey, survey_key) ORDER BY s.source_id"
        ),
        {"survey": survey, "key": survey_key},
    ).all()
    place = {pair: i for i, pair in enumerate(zip(survey, survey_key, strict=True))}
    rows = np.array([place[row.survey, row.survey_key] for row in found], np.int64)
    fold = arrays[MEMBERS + "fold"].astype(np.int32)
    elsewhere = np.setdiff1d(np.arange(fold.size), rows)
    conn.execute(
        sa.text(
            "INSERT INTO training_member (model_id, source_id, star_id, fold) "
            "SELECT :model_id, s.source_id, s.star_id, min(k.fold) FROM "
            "unnest(CAST(:star AS text[]), CAST(:fold AS int[])) AS k (star_key, fold) "
            "JOIN star t USING (star_key) JOIN source s ON s.star_id = t.star_id "
            "GROUP BY s.source_id, s.star_id ON CONFLICT DO NOTHING"
        ),
        {"model_id": model_id, "star": [star_key[i] for i in elsewhere],
         "fold": fold[elsewhere].tolist()},
    )  # fmt: skip
    if not found:
        return 0
    names = [star_key[i] for i in rows]
    columns = {"star_key": np.array([n.encode() for n in sorted(set(names))], "S")}
    upsert_arrays(conn, star, columns, key=["star_key"])
    query = sa.select(star.c.star_key, star.c.star_id).where(star.c.star_key.in_(set(names)))
    star_id = {row.star_key: row.star_id for row in conn.execute(query)}
    upsert_arrays(
        conn, training_member,
        {
            "model_id": np.full(len(found), model_id, np.int64),
            "source_id": np.array([row.source_id for row in found], np.int64),
            "star_id": np.array([star_id[n] for n in names], np.int64),
            "fold": fold[rows],
        },
    )  # fmt: skip
    return len(found)
