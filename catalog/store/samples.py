"""Samples: listed, and found by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.store.schema import sample
from catalog.surveys.registry import SURVEYS
from catalog.words import names_near


@dataclass(frozen=True)
class Sample:
    """A named selection of matches."""

    sample_id: int
    name: str
    crossmatch_id: int
    preset: str
    params: Mapping[str, Any]
    counts: Mapping[str, Any] | None
    created_at: datetime

    def title(self, side: str) -> str:
        """Return what people call the survey of a side of the pairs, ``left`` or ``right``."""
        name = str(self.params.get(side, side)).partition("/")[0]
        return SURVEYS[name].title if name in SURVEYS else name


_FIELDS = [sample.c[f] for f in Sample.__dataclass_fields__]


def list_samples(conn: sa.Connection) -> list[Sample]:
    """All samples, by name."""
    return [Sample(*row) for row in conn.execute(sa.select(*_FIELDS).order_by(sample.c.name))]


#: All that lists say of samples.
SAMPLE_LINES = """
    SELECT s.name, s.preset, c.left_spec, c.right_spec, c.radius_arcsec, s.created_at, s.params,
           (SELECT count(*) FROM star_link k WHERE k.sample_id = s.sample_id) AS n_spectra,
           (SELECT count(DISTINCT star_id) FROM star_link k
            WHERE k.sample_id = s.sample_id) AS n_stars,
           ARRAY(SELECT DISTINCT m.name FROM model m
                 WHERE m.sample_id = s.sample_id AND m.status = 'complete'
                 ORDER BY m.name) AS models
    FROM sample s JOIN crossmatch c USING (crossmatch_id)"""


def list_samples_with_use(conn: sa.Connection) -> list[dict[str, Any]]:
    """Return the samples by name: preset, params, created_at, accepted spectra, names of models."""
    query = f"""SELECT name, preset, created_at, params, n_spectra AS accepted, models
        FROM ({SAMPLE_LINES}) q ORDER BY name"""
    return [dict(row._mapping) for row in conn.execute(sa.text(query))]


def find_sample(conn: sa.Connection, name: str) -> Sample:
    """The sample of that name.

    Raises
    ------
    UsageError
        If there is none; the message lists what there is.
    """
    row = conn.execute(sa.select(*_FIELDS).where(sample.c.name == name)).first()
    if row is None:
        known = [s.name for s in list_samples(conn)]
        todo = names_near(name, known, "Samples", "none yet; run: crosslabel sample create")
        raise UsageError(f"there is no sample {name}", todo)
    return Sample(*row)


def sample_id_of(conn: sa.Connection, name: str | None) -> int | None:
    """The id of a sample; None for None, which means everything.

    Raises
    ------
    UsageError
        If there is no sample of that name.
    """
    return None if name is None else find_sample(conn, name).sample_id
