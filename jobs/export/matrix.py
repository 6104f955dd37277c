"""The spectra and labels of a sample as arrays, for people who train elsewhere.

They are the rows on which `jobs.training.train` would train, in the same order.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.export.label_sets import reference_of, sample_provenance
from catalog.store.columns import LABELS
from catalog.store.labels import labels_of
from catalog.store.samples import Sample
from catalog.store.spectra import grid_loglam
from jobs.normalize import find_recipe
from jobs.training.data import read_training_data, read_training_rows


def sample_matrix(
    conn: sa.Connection, which: Sample, recipe: str | None = None
) -> dict[str, np.ndarray[Any, Any]]:
    """Return normalized spectra of a sample's accepted pairs with the labels of their stars.

    Parameters
    ----------
    recipe : str, optional
        Recipe of the normalization; the only one that the spectra have, or ``default``, if not
        given.

    Returns
    -------
    dict of ndarray
        ``flux``, ``ivar`` (n, p; float32, continuum-normalized), ``loglam`` (p; log10 of the vacuum
        wavelength in Angstrom), ``labels``, ``label_errors`` (n, k; NaN is unknown),
        ``label_names``, ``label_units`` (k), ``left_key``, ``right_key``, ``star_key``,
        ``instrument`` (n; text: spectra of two instruments differ also where the star does not),
        ``group`` (n; number of the star: never part one star between training and test), and the
        scalars ``recipe``, ``recipe_version``, ``provenance`` (JSON).

    Raises
    ------
    UsageError
        If spectra of the sample are not normalized, or its stars have no reference labels.
    """
    chosen = find_recipe(recipe or stored_recipe(conn, which.sample_id))
    reference = reference_of(conn, which)
    if reference is None:
        raise UsageError(
            f"no survey's label set labels the stars of sample {which.name}", "Ingest one first"
        )
    names = tuple(labels_of(conn, reference.label_set_id))
    rows = read_training_rows(
        conn, which.name, which.sample_id, reference, names, chosen, mixed=True
    )
    data = read_training_data(conn, rows, names, chosen)
    provenance = sample_provenance(conn, which, reference) | {"inputs_hash": rows.inputs}
    return {
        "flux": data.flux,
        "ivar": data.ivar,
        "loglam": grid_loglam(chosen.first_index, chosen.n_pixels),
        "labels": data.labels,
        "label_errors": data.label_errors,
        "label_names": np.array(names, "U"),
        "label_units": np.array([LABELS[name].unit for name in names], "U"),
        "group": data.group,
        "recipe": np.array(chosen.name),
        "recipe_version": np.array(chosen.version),
        "provenance": np.array(json.dumps(provenance, sort_keys=True)),
    } | _keys(conn, which, rows.source_id)


def _keys(conn: sa.Connection, which: Sample, right_id: np.ndarray) -> dict[str, np.ndarray]:
    """Return natural keys and instruments of pairs, by their spectra."""
    query = sa.text(
        "SELECT k.right_id, l.survey_key AS left_key, r.survey_key AS right_key, t.star_key, "
        "b.instrument "
        "FROM star_link k JOIN star t ON t.star_id = k.star_id "
        "JOIN source l ON l.source_id = k.left_id JOIN source r ON r.source_id = k.right_id "
        "JOIN spectrum_blob b ON b.source_id = k.right_id WHERE k.sample_id = :id"
    )
    found = {row.right_id: row for row in conn.execute(query, {"id": which.sample_id})}
    return {
        name: np.array([getattr(found[i], name) for i in right_id.tolist()], "U")
        for name in ("left_key", "right_key", "star_key", "instrument")
    }


def stored_recipe(conn: sa.Connection, sample_id: int | None) -> str:
    """Return the only recipe by which spectra are normalized, else the default one.

    Parameters
    ----------
    sample_id : int or None
        Only the spectra of the accepted pairs of this sample.
    """
    stored = conn.scalars(
        sa.text(
            "SELECT DISTINCT recipe FROM normalized_spectrum WHERE CAST(:id AS bigint) IS NULL "
            "OR source_id IN (SELECT right_id FROM star_link WHERE sample_id = :id)"
        ),
        {"id": sample_id},
    ).all()
    return stored[0] if len(stored) == 1 else "default"
