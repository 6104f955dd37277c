"""Read what a network learns from: the spectra of a sample with the labels of their stars.

The order is that of the natural keys (star, survey, key in the survey), never that of surrogate
ids, so that the result of a training does not depend on the order in which data came in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.store.columns import LABELS, error_of
from catalog.store.labels import LabelSet, find_label_set
from catalog.store.normalized import normalize_command, recipe_values
from catalog.store.samples import find_sample
from catalog.store.schema import sample
from catalog.store.spectra import JOIN_NORMALIZED, read_normalized
from catalog.words import names_near, part, verb
from jobs.engine.params import digest
from models.core.records import TrainingData
from models.spectra.normalize import Recipe


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """The rows of a training, without their spectra.

    Attributes
    ----------
    source_id, star_id : ndarray of int64, shape (n,)
        Surrogate keys of the spectrum and of its star.
    group : ndarray of int64, shape (n,)
        Number of the star among the stars by name.
    labels, label_errors : ndarray of float64, shape (n, k) [units of the labels]
        NaN where missing.
    instruments : tuple of str
        Those that took the spectra, by name.
    inputs : str
        Digest of keys, labels and spectra: the same in any database with the same data.
    """

    source_id: np.ndarray
    star_id: np.ndarray
    group: np.ndarray
    labels: np.ndarray
    label_errors: np.ndarray
    instruments: tuple[str, ...]
    inputs: str


def find_target(conn: sa.Connection, sample_name: str, target: str) -> LabelSet:
    """Return the label set that a training on a sample learns.

    Parameters
    ----------
    target : str
        ``name`` or ``name@edition``; empty: the one by which the sample was selected.

    Raises
    ------
    UsageError
        If there is no such sample or label set, or a model made it.
    """
    usual = find_sample(conn, sample_name).params.get("reference_labels", "aspcap/dr14")
    found = find_label_set(conn, target or usual)
    if found.kind != "survey":
        raise UsageError(
            f"{found.full_name} was made by a model: what it was trained on is in it",
            "Learn from a survey's label set; crosslabel label list shows them",
        )
    return found


def check_labels(labels: tuple[str, ...]) -> None:
    """Refuse labels that the catalog does not have, none, or one of them twice.

    Raises
    ------
    UsageError
    """
    unknown = [name for name in labels if name not in LABELS]
    if unknown:
        todo = names_near(unknown[0], LABELS, "Labels")
        raise UsageError(f"there is no label {', '.join(unknown)}", todo)
    if not labels or len(set(labels)) < len(labels):
        raise UsageError("the labels to learn must be different, and at least one")


def read_training_rows(
    conn: sa.Connection,
    sample_name: str,
    sample_id: int | None,
    target: LabelSet,
    labels: tuple[str, ...],
    recipe: Recipe,
    *,
    mixed: bool = False,
) -> TrainingRows:
    """Join the accepted pairs of a sample with their labels and normalized spectra.

    A pair takes part if its spectrum has good pixels and its star at least one of the labels. The
    label set may be of either side of the pairs.

    Parameters
    ----------
    mixed : bool
        Whether spectra of several instruments may come together although the sample does not
        name them.

    Raises
    ------
    UsageError
        If spectra are not normalized yet, no pair has a label, or the spectra are of several
        instruments that the sample does not name.
    """
    columns = ", ".join(f"s.{name}" for label in labels for name in (label, error_of(label)))
    known = ", ".join(f"s.{label}" for label in labels)
    query = f"""
        SELECT k.right_id, k.star_id, t.star_key, r.survey, r.survey_key, b.sha256, n.z,
               n.good_fraction, b.instrument, {columns}
        FROM star_link k
        JOIN star t ON t.star_id = k.star_id
        JOIN source r ON r.source_id = k.right_id
        JOIN spectrum_blob b ON b.source_id = k.right_id AND b.spectrum_state = 'ok'
        {JOIN_NORMALIZED}
        JOIN LATERAL (
            SELECT * FROM stellar_label x
            WHERE x.label_set_id = :label_set_id AND x.source_id IN (k.left_id, k.right_id)
            ORDER BY x.source_id = k.right_id DESC LIMIT 1
        ) s ON num_nonnulls({known}) > 0
        WHERE k.sample_id = :sample_id
        ORDER BY t.star_key COLLATE "C", r.survey COLLATE "C", r.survey_key COLLATE "C" """
    values = recipe_values(recipe, sample_id) | {"label_set_id": target.label_set_id}
    rows = conn.execute(sa.text(query), values).all()
    if not rows:
        raise UsageError(
            f"no spectrum of sample {sample_name} has any of {', '.join(labels)} in "
            f"{target.full_name}",
            "Choose another sample, label set or labels",
        )
    missing = sum(row.good_fraction is None for row in rows)
    if missing:
        raise UsageError(
            f"{part(missing, len(rows), 'spectrum')} to train on {verb(missing)} not normalized by "
            f"the recipe {recipe.name}, or {verb(missing, 'has', 'have')} changed since",
            normalize_command(recipe.name, sample_name),
        )
    rows = [row for row in rows if row.good_fraction > 0]  # of the others there is nothing to learn
    instruments = tuple(sorted({row.instrument for row in rows}))
    if not mixed:
        _check_instruments(conn, sample_name, instruments)
    numbers = np.array([row[9:] for row in rows], float).reshape(len(rows), -1)
    _, group = np.unique([row.star_key for row in rows], return_inverse=True)
    return TrainingRows(
        source_id=np.array([row.right_id for row in rows], np.int64),
        star_id=np.array([row.star_id for row in rows], np.int64),
        group=group.astype(np.int64),
        labels=np.ascontiguousarray(numbers[:, ::2]),
        label_errors=np.ascontiguousarray(numbers[:, 1::2]),
        instruments=instruments,
        inputs=digest(
            [recipe.name, recipe.version, [list(row[2:7]) + list(row[9:]) for row in rows]]
        ),
    )


def _check_instruments(conn: sa.Connection, name: str, instruments: tuple[str, ...]) -> None:
    """Refuse to mix instruments unless the sample says so: one star looks different in each."""
    query = sa.select(sample.c.params["rules"]["instruments"]).where(sample.c.name == name)
    if len(instruments) > 1 and not set(instruments) <= set(conn.scalar(query) or ()):
        raise UsageError(
            f"the spectra of sample {name} are of several instruments: {', '.join(instruments)}",
            f"Choose one: crosslabel sample create NAME --instruments {instruments[0]}; or mix "
            f"them on purpose: --instruments {','.join(instruments)}",
        )


def read_training_data(
    conn: sa.Connection, rows: TrainingRows, labels: tuple[str, ...], recipe: Recipe
) -> TrainingData:
    """Add the normalized spectra to the rows, in their order."""
    spectra = read_normalized(
        conn, recipe.name, recipe.version, rows.source_id.tolist(), recipe.n_pixels
    )
    place = np.searchsorted(spectra.source_id, rows.source_id)
    return TrainingData(
        flux=spectra.flux[place],
        ivar=spectra.ivar[place],
        continuum=spectra.continuum[place],
        labels=rows.labels,
        label_errors=rows.label_errors,
        group=rows.group,
        names=labels,
        first_index=recipe.first_index,
        instruments=rows.instruments,
    )
