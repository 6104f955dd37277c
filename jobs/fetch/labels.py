"""Top up SSPP's labels: ask SkyServer for spectra that no ssppOut row describes, plate by plate.

Each plate becomes a file in the layout of ssppOut, which `ingest sspp` reads like the real one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from catalog.archive.places import SpectrumKey, check_archive_release
from catalog.archive.session import Manners
from catalog.archive.skyserver import QUERY_MANNERS, SkyServerLink
from catalog.archive.sppparams import sspp_of_plate, write_sspp
from catalog.config import SKYSERVER_URL
from catalog.errors import BadInputError
from catalog.store.db import Database
from jobs.engine.job import Job
from jobs.engine.ledger import Run
from jobs.engine.params import NOT_HASHED
from jobs.fetch.outcomes import Outcome, failed, record_outcomes, refuse_too_many

KIND = "sspp"
_UNDESCRIBED = sa.text(
    """
SELECT x.source_id, x.plate, x.mjd, x.fiberid, x.run2d, f.outcome, f.path
FROM sdss_spectrum x
LEFT JOIN fetch_outcome f ON (f.source_id, f.kind, f.release) = (x.source_id, 'sspp', :release)
WHERE x.in_sspp IS NOT TRUE AND NOT starts_with(x.run2d, 'v')
ORDER BY x.plate, x.mjd, x.fiberid, x.run2d"""
)


@dataclass(frozen=True)
class FetchLabelsParams:
    """Whom to ask and where to put the answers.

    Attributes
    ----------
    release : str
        Release of SDSS to ask: ``dr12`` to ``dr17``.
    folder : str
        Where the files go.
    max_bad : float
        Fraction of failures above which the command fails; what was found stays.
    skyserver_url : str
        The query service.
    interval_s, backoff_s : float
        Least time between two requests, mean wait before a second attempt [s].
    """

    release: str
    folder: str
    max_bad: float = 0.1
    skyserver_url: str = field(default=SKYSERVER_URL, metadata=NOT_HASHED)
    interval_s: float = field(default=QUERY_MANNERS.interval_s, metadata=NOT_HASHED)
    backoff_s: float = field(default=QUERY_MANNERS.backoff_s, metadata=NOT_HASHED)


class Undescribed(NamedTuple):
    """A spectrum of SDSS without SSPP's labels, and what is known of asking for them."""

    source_id: int
    key: SpectrumKey
    outcome: str | None
    path: str | None


def undescribed_spectra(conn: sa.Connection, release: str) -> list[Undescribed]:
    """Return all spectra of the SDSS spectrographs that no ingested ssppOut row describes."""
    rows = conn.execute(_UNDESCRIBED, {"release": release})
    return [Undescribed(row[0], SpectrumKey(*row[1:5]), row[5], row[6]) for row in rows]


def label_file(folder: str, release: str, plate: int) -> Path:
    """Return the path of the file with the rows of a plate."""
    return Path(folder, release, "sppParams", f"sppParams-{release}-{plate:04d}.fits")


def fetch_labels_job(params: FetchLabelsParams, db: Database) -> Job:
    """Return the queries for labels as a job (``db``: see `jobs.registry`).

    Raises
    ------
    UsageError
        If the release is not known.
    """
    release = check_archive_release(params.release)
    link = SkyServerLink(
        params.skyserver_url,
        Manners(
            interval_s=params.interval_s, backoff_s=params.backoff_s, read_s=QUERY_MANNERS.read_s
        ),
    )

    def to_ask(conn: sa.Connection) -> list[Undescribed]:
        found = undescribed_spectra(conn, release)
        plates = {u.key.plate for u in found}
        here = {p for p in plates if label_file(params.folder, release, p).is_file()}
        done = {None: False, "failed": False, "none": True}
        return [u for u in found if not done.get(u.outcome, u.key.plate in here)]

    def plan(conn: sa.Connection) -> list[str]:
        return [f"plate {p}" for p in sorted({u.key.plate for u in to_ask(conn)})]

    def compute(conn: sa.Connection, key: str) -> list[Outcome]:
        plate = int(key.split()[1])
        asked = [u for u in to_ask(conn) if u.key.plate == plate]
        conn.rollback()  # the service may think for long, and a snapshot must not live that long
        if not asked:
            return []
        try:
            rows = sspp_of_plate(link.service(), release, plate)
        except BadInputError as exc:
            return [failed(u.source_id, exc) for u in asked]
        path = label_file(params.folder, release, plate)
        if rows:
            write_sspp(path, list(rows.values()), f"{params.skyserver_url}, {release}", release)
        return [
            Outcome(u.source_id, "matched", path=str(path))
            if u.key in rows
            else Outcome(u.source_id, "none")
            for u in asked
        ]

    def write(conn: sa.Connection, run: Run, batch: list[Outcome]) -> int:
        return record_outcomes(conn, KIND, release, batch)

    def finish(conn: sa.Connection, run: Run) -> int:
        among = [u.source_id for u in undescribed_spectra(conn, release)]
        refuse_too_many(conn, KIND, release, among, params.max_bad)
        return 0

    return Job(
        kind="fetch labels", target=release, params=params, plan=plan, compute=compute,
        write=write, finish=finish, close=link.close, unit="plates",
    )  # fmt: skip
