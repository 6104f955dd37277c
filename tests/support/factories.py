"""Rows for tests: sources, stars, matches and label sets, by what a test cares about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from catalog.sky.healpix import healpix29
from catalog.store import labels
from catalog.store.bulk import upsert_arrays
from catalog.store.schema import (
    crossmatch,
    job_run,
    match,
    model,
    prediction_detail,
    sample,
    sample_member,
    source,
    star,
    star_link,
    stellar_label,
    training_member,
)


def add_stars(conn: sa.Connection, keys: Sequence[str]) -> np.ndarray:
    """Stars of these names; their ids, in order."""
    upsert_arrays(conn, star, {"star_key": np.array(keys, "S")}, key=["star_key"])
    return _ids(conn, "SELECT star_key, star_id FROM star", keys)


def add_sources(
    conn: sa.Connection,
    survey: str,
    keys: Sequence[str],
    *,
    ra: Any = 10.0,
    dec: Any = 20.0,
    star_id: Any = None,
) -> np.ndarray:
    """Sources of a survey at positions [deg], of stars or of none; their ids, in order."""
    n = len(keys)
    ra, dec = (np.broadcast_to(np.asarray(x, float), n).copy() for x in (ra, dec))
    columns = {
        "survey": np.array([survey] * n, "S"), "survey_key": np.array(keys, "S"),
        "ra": ra, "dec": dec, "healpix29": healpix29(ra, dec),
    }  # fmt: skip
    if star_id is not None:
        columns["star_id"] = np.asarray(star_id, np.int64)
    upsert_arrays(conn, source, columns, key=["survey", "survey_key"])
    query = f"SELECT survey_key, source_id FROM source WHERE survey = '{survey}'"
    return _ids(conn, query, keys)


def add_matches(
    conn: sa.Connection, left: Any, right: Any, sep_arcsec: Any = 0.1, *, radius_arcsec: float = 2.0
) -> int:
    """Candidate pairs of apogee and sdss; the id of their crossmatch."""
    crossmatch_id = conn.execute(
        crossmatch.insert()
        .values(left_spec="apogee", right_spec="sdss", radius_arcsec=radius_arcsec)
        .returning(crossmatch.c.crossmatch_id)
    ).scalar_one()
    columns = _columns(len(left), crossmatch_id=crossmatch_id, left_id=left, right_id=right)
    columns["sep_arcsec"] = np.broadcast_to(np.asarray(sep_arcsec, float), len(left)).copy()
    upsert_arrays(conn, match, columns)
    return int(crossmatch_id)


def add_sample(
    conn: sa.Connection,
    name: str,
    crossmatch_id: int,
    left: Any,
    right: Any,
    star_id: Any,
    *,
    sep_arcsec: float = 0.1,
) -> int:
    """A sample that accepts these pairs; its id."""
    sample_id = conn.execute(
        sample.insert()
        .values(name=name, crossmatch_id=crossmatch_id, preset="default", params={})
        .returning(sample.c.sample_id)
    ).scalar_one()
    pairs = _columns(len(left), sample_id=sample_id, left_id=left, right_id=right)
    upsert_arrays(conn, sample_member, pairs | {"accepted": np.ones(len(left), bool)})
    pairs |= _columns(len(left), star_id=star_id)
    upsert_arrays(conn, star_link, pairs | {"sep_arcsec": np.full(len(left), sep_arcsec)})
    return int(sample_id)


def add_run(conn: sa.Connection, kind: str = "test", target: str = "test") -> int:
    """A finished run; its id."""
    return conn.execute(
        job_run.insert()
        .values(kind=kind, target=target, params={}, params_hash="0" * 32, code_version="1",
                state="succeeded", host="h", pid=1)
        .returning(job_run.c.run_id)
    ).scalar_one()  # fmt: skip


def add_label_set(
    conn: sa.Connection,
    name: str,
    source_id: Any,
    values: Mapping[str, Any],
    *,
    kind: str = "survey",
    model_id: int | None = None,
    flags: Any = 0,
    description: str = "",
    params: Mapping[str, Any] | None = None,
    details: Mapping[str, Any] | None = None,
) -> int:
    """A published edition: columns of stellar_label by name, NaN is NULL; its id.

    Details are those of prediction_detail for a single label, one number a source.
    """
    label_set_id = labels.begin_edition(
        conn, name, kind, run_id=add_run(conn, target=name), model_id=model_id,
        inputs_hash=f"inputs of {name}", description=description, params=params,
    )  # fmt: skip
    columns = _columns(len(source_id), label_set_id=label_set_id, source_id=source_id, flags=flags)
    columns |= {c: np.asarray(v, np.float32) for c, v in values.items()}
    upsert_arrays(conn, stellar_label, columns)
    if details:
        conn.execute(
            prediction_detail.insert(),
            [
                {"label_set_id": label_set_id, "source_id": int(source)}
                | {name: [float(values[i])] for name, values in details.items()}
                for i, source in enumerate(source_id)
            ],
        )
    labels.publish(conn, label_set_id)
    return label_set_id


def add_model(conn: sa.Connection, name: str, trained_on: Any, star_id: Any) -> int:
    """A model without an artifact, trained on these sources; its id."""
    model_id = conn.execute(
        model.insert()
        .values(name=name, edition=1, status="complete", preset="default", params={},
                params_hash="0" * 32, seed=0, labels=["teff"], recipe="default", recipe_version=1)
        .returning(model.c.model_id)
    ).scalar_one()  # fmt: skip
    columns = _columns(len(trained_on), model_id=model_id, source_id=trained_on, star_id=star_id)
    upsert_arrays(conn, training_member, columns | {"fold": np.zeros(len(trained_on), np.int32)})
    return int(model_id)


def _columns(n: int, **values: Any) -> dict[str, np.ndarray]:
    """Integer columns of n rows; single numbers are repeated."""
    return {c: np.broadcast_to(np.asarray(v, np.int64), n).copy() for c, v in values.items()}


def _ids(conn: sa.Connection, query: str, keys: Sequence[str]) -> np.ndarray:
    """The ids of these keys, in order."""
    found: dict[str, int] = {row[0]: row[1] for row in conn.execute(sa.text(query))}
    return np.array([found[key] for key in keys], np.int64)
