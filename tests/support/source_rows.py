"""Put sources into a test database directly, without files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import sqlalchemy as sa

from catalog.sky.healpix import healpix29
from catalog.store import schema
from catalog.store.bulk import upsert_arrays
from catalog.store.db import Database


def put_sources(
    db: Database, survey: str, keys: Sequence[str], ra: np.ndarray, dec: np.ndarray
) -> None:
    """Insert sources, or move those that are there."""
    ra, dec = np.asarray(ra, dtype=float), np.asarray(dec, dtype=float)
    with db.begin() as conn:
        upsert_arrays(
            conn,
            schema.source,
            {
                "survey": np.full(len(keys), survey.encode()),
                "survey_key": np.array([k.encode() for k in keys]),
                "ra": ra,
                "dec": dec,
                "healpix29": healpix29(ra, dec),
            },
            key=("survey", "survey_key"),
        )


def stored_pairs(db: Database) -> dict[tuple[str, str], float]:
    """All pairs of the only crossmatch, by natural keys."""
    query = sa.text(
        "SELECT l.survey_key, r.survey_key, sep_arcsec FROM match m "
        "JOIN source l ON l.source_id = left_id JOIN source r ON r.source_id = right_id"
    )
    with db.reader() as conn:
        return {(a, b): sep for a, b, sep in conn.execute(query)}
