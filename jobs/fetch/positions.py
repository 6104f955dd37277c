"""Ask SkyServer which spectra lie at the positions of a catalog's stars.

For where no bulk file is wanted. What it finds becomes SDSS sources with their keys, as ssppOut's
rows do, and the ordinary crossmatch takes it from there. The service knows one primary object for
each position, so it can miss spectra that the bulk files have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from catalog.archive.places import SpectrumKey, check_archive_release
from catalog.archive.session import Manners
from catalog.archive.skyserver import MAX_RADIUS_ARCSEC, QUERY_MANNERS, SkyServerLink, spectra_near
from catalog.config import SKYSERVER_URL
from catalog.errors import BadInputError, UsageError
from catalog.sky.healpix import healpix29
from catalog.store.bulk import stage, upsert
from catalog.store.db import Database
from catalog.store.entries import ENTRY, IS_PLACED
from catalog.store.savepoints import refusal, write_each
from catalog.store.schema import sdss_spectrum, source
from catalog.surveys.specobjid import pack_specobjid
from jobs.crossmatch.pixels import split_spec
from jobs.engine.job import Job
from jobs.engine.ledger import Run
from jobs.engine.params import NOT_HASHED
from jobs.fetch.outcomes import Outcome, failed, record_outcomes, refuse_too_many

STARS_PER_CHUNK = 1000
_STARS = sa.text(
    f"""
SELECT s.source_id, s.ra, s.dec, f.outcome
FROM source s
LEFT JOIN {ENTRY} e USING (source_id)
LEFT JOIN fetch_outcome f ON (f.source_id, f.kind, f.release) = (s.source_id, :kind, :release)
WHERE s.survey = :survey AND starts_with(s.survey_key, :prefix) AND e.is_main IS NOT FALSE
ORDER BY s.source_id"""
)
Found = dict[int, list[tuple[SpectrumKey, float, float]]]


@dataclass(frozen=True)
class FetchPositionsParams:
    """Parameters of a fetch by position.

    Attributes
    ----------
    left : str
        Their catalog: survey or survey/release.
    release : str
        Release of SDSS to ask: ``dr12`` to ``dr17``.
    radius_arcsec : float
        Search radius [arcsec].
    max_bad : float
        Fraction of failures above which the command fails; what was found stays.
    skyserver_url : str
        The query service.
    interval_s, backoff_s : float
        Least time between two requests, mean wait before a second attempt [s].
    stars_per_chunk : int
        Stars asked about at once.
    """

    left: str
    release: str
    radius_arcsec: float = 2.0
    max_bad: float = 0.1
    skyserver_url: str = field(default=SKYSERVER_URL, metadata=NOT_HASHED)
    interval_s: float = field(default=QUERY_MANNERS.interval_s, metadata=NOT_HASHED)
    backoff_s: float = field(default=QUERY_MANNERS.backoff_s, metadata=NOT_HASHED)
    stars_per_chunk: int = field(default=STARS_PER_CHUNK, metadata=NOT_HASHED)

    @property
    def kind(self) -> str:
        """The kind of the outcomes of this question."""
        return f"position within {self.radius_arcsec:g} arcsec"


class Star(NamedTuple):
    """A star to ask about, and what came of it the last time."""

    source_id: int
    ra: float
    dec: float
    outcome: str | None


@dataclass(frozen=True)
class _Answer:
    """The answer of the service about the stars of one chunk."""

    found: Found
    outcomes: list[Outcome]


def stars_to_ask(conn: sa.Connection, params: FetchPositionsParams) -> list[Star]:
    """Return all stars of the catalog, one row each, asked about before or not."""
    survey, prefix = split_spec(params.left)
    given = {"survey": survey, "prefix": prefix, "kind": params.kind, "release": params.release}
    return [Star(*row) for row in conn.execute(_STARS, given)]


def fetch_positions_job(params: FetchPositionsParams, db: Database) -> Job:
    """Return the queries by position as a job (``db``: see `jobs.registry`).

    Raises
    ------
    UsageError
        If the radius is not one that the service takes, or the release is not known.
    """
    check_archive_release(params.release)
    if not 0 < params.radius_arcsec <= MAX_RADIUS_ARCSEC:
        raise UsageError(
            f"the radius is {params.radius_arcsec:g} arcsec",
            f"SkyServer takes more than 0 and up to {MAX_RADIUS_ARCSEC:g}",
        )
    manners = Manners(
        interval_s=params.interval_s, backoff_s=params.backoff_s, read_s=QUERY_MANNERS.read_s
    )
    link = SkyServerLink(params.skyserver_url, manners)
    target = f"{params.left} {params.release} {params.radius_arcsec:g}"

    def open_stars(conn: sa.Connection) -> list[Star]:
        return [s for s in stars_to_ask(conn, params) if s.outcome in (None, "failed")]

    def plan(conn: sa.Connection) -> list[str]:
        if not stars_to_ask(conn, params):
            raise UsageError(f"there are no stars of {params.left}", "Ingest their catalog first")
        ids = [s.source_id for s in open_stars(conn)]
        n = params.stars_per_chunk
        chunks = [ids[i : i + n] for i in range(0, len(ids), n)]
        return [f"stars {c[0]}-{c[-1]}" for c in chunks]

    def compute(conn: sa.Connection, key: str) -> _Answer:
        first, last = (int(x) for x in key.split()[1].split("-"))
        stars = [s for s in open_stars(conn) if first <= s.source_id <= last]
        conn.rollback()  # the service may think for long, and a snapshot must not live that long
        return _ask(link.service(), params, stars) if stars else _Answer({}, [])

    def write(conn: sa.Connection, run: Run, batch: _Answer) -> int:
        rows, refused = _write_each(conn, batch.found)
        outcomes = [refused.get(o.source_id, o) for o in batch.outcomes]
        return rows + record_outcomes(conn, params.kind, params.release, outcomes)

    def finish(conn: sa.Connection, run: Run) -> int:
        among = [s.source_id for s in stars_to_ask(conn, params)]
        refuse_too_many(conn, params.kind, params.release, among, params.max_bad)
        return 0

    return Job(
        kind="fetch positions", target=target, params=params, plan=plan, compute=compute,
        write=write, finish=finish, close=link.close,
        unit=f"queries for {params.stars_per_chunk} stars",
    )  # fmt: skip


def _ask(service: Any, params: FetchPositionsParams, stars: Sequence[Star]) -> _Answer:
    """One query; an answer that cannot be used is the outcome of all its stars."""
    try:
        found = spectra_near(
            service,
            params.release,
            [s.source_id for s in stars],
            np.array([s.ra for s in stars]),
            np.array([s.dec for s in stars]),
            params.radius_arcsec,
        )
    except BadInputError as exc:
        return _Answer({}, [failed(s.source_id, exc) for s in stars])
    return _Answer(found, [_outcome(i, spectra) for i, spectra in found.items()])


def _outcome(source_id: int, spectra: Sequence[tuple[SpectrumKey, float, float]]) -> Outcome:
    """Return the outcome of one star of a good answer."""
    if not spectra:
        return Outcome(source_id, "none")
    return Outcome(source_id, "matched", detail=" ".join(str(key) for key, *_ in spectra))


def _write_each(conn: sa.Connection, found: Found) -> tuple[int, dict[int, Outcome]]:
    """Enter what was found; returns the changed rows, and the stars whose spectra are refused."""
    refused: dict[int, Outcome] = {}

    def refuse(star: int, exc: Exception) -> int:
        words = refusal("what SkyServer says of a spectrum", exc)
        refused[star] = failed(star, BadInputError("UNEXPECTED", words, ""))
        return 0

    rows = write_each(
        conn, list(found), lambda stars: _write_sources(conn, {i: found[i] for i in stars}), refuse
    )
    return rows, refused


def _write_sources(conn: sa.Connection, found: Found) -> int:
    """Enter spectra that are not known yet; returns the rows that are new or changed."""
    unique = {key: (ra, dec) for spectra in found.values() for key, ra, dec in spectra}
    if not unique:
        return 0
    keys, places = list(unique), np.array(list(unique.values()))
    ids = [pack_specobjid(k.plate, k.mjd, k.fiberid, k.run2d) for k in keys]
    columns = {
        "survey_key": _text(str(k) for k in keys),
        "ra": places[:, 0].copy(),
        "dec": places[:, 1].copy(),
        "healpix29": healpix29(places[:, 0], places[:, 1]),
        "plate": np.array([k.plate for k in keys]),
        "mjd": np.array([k.mjd for k in keys]),
        "fiberid": np.array([k.fiberid for k in keys]),
        "run2d": _text(k.run2d for k in keys),
        "specobjid": _text("" if i is None else str(i) for i in ids),
    }
    stage(conn, "stage_found", columns, source, sdss_spectrum)
    # A position that a catalog gave stays: the catalog is what people cite.
    place = {"survey": "'sdss'", "survey_key": "s.survey_key"}
    place |= {c: f"coalesce(o.{c}, s.{c})" for c in ("ra", "dec", "healpix29")}
    place["epoch"] = "coalesce(o.epoch, 2000 + (s.mjd - 51544.5) / 365.25)"
    from_answer = (
        "stage_found s LEFT JOIN source o "
        f"ON o.survey = 'sdss' AND o.survey_key = s.survey_key AND {IS_PLACED}"
    )
    rows = upsert(conn, source, place, from_answer, key=["survey", "survey_key"])
    identity = {"source_id": "source.source_id"}
    identity |= {c: f"s.{c}" for c in ("specobjid", "plate", "mjd", "fiberid", "run2d")}
    identity["in_skyserver"] = "true"
    return rows + upsert(
        conn,
        sdss_spectrum,
        identity,
        "stage_found s JOIN source ON source.survey = 'sdss' AND source.survey_key = s.survey_key",
    )


def _text(values: Any) -> np.ndarray:
    """Return text as a staging column; empty is NULL."""
    return np.array([str(v).encode("ascii") for v in values])
