"""Fetch the spectra that a sample lacks, by their paths in the archive.

These are the spectra of its accepted pairs, and of the pairs that nothing rejects but the lack of
a spectrum. A file is kept when it is whole and the spectrum that was asked for; every source's
outcome is recorded. Afterwards: ingest the folder, then create the sample again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from catalog.archive.download import Unfinished, download
from catalog.archive.partial import tidy
from catalog.archive.places import SpectrumKey, check_archive_release, spectrum_places
from catalog.archive.session import Manners, PoliteSession, UnreachableError
from catalog.config import ARCHIVE_URL
from catalog.errors import BadInputError
from catalog.store.db import Database
from catalog.store.samples import find_sample
from catalog.surveys.sdss_spectrum import read_spectrum
from jobs.engine.job import Job
from jobs.engine.ledger import Run
from jobs.engine.params import NOT_HASHED
from jobs.fetch.outcomes import UNREACHABLE, Outcome, failed, record_outcomes, refuse_too_many

KIND = "spectrum"
PARALLEL = 4  # downloads at a time: what the archive asks for
FILES_PER_CHUNK = 20
PATIENCE_S = 300.0  # for one spectrum of 0.2 MB
MAX_BYTES = 1 << 26  # full files have a few MB

_WANTED = sa.text(
    """
SELECT DISTINCT r.source_id, x.plate, x.mjd, x.fiberid, x.run2d, f.outcome, f.path
FROM sample_member m
JOIN source r ON r.source_id = m.right_id
JOIN sdss_spectrum x USING (source_id)
LEFT JOIN fetch_outcome f ON (f.source_id, f.kind, f.release) = (r.source_id, 'spectrum', :release)
WHERE m.sample_id = :sample_id AND (m.accepted OR m.reason = 'NO_SPECTRUM')
  AND NOT EXISTS (SELECT FROM spectrum_blob b WHERE b.source_id = r.source_id)
ORDER BY x.plate, x.mjd, x.fiberid, x.run2d"""
)


@dataclass(frozen=True)
class FetchSpectraParams:
    """Parameters of a fetch of spectra.

    Attributes
    ----------
    sample : str
        Name of the sample.
    release : str
        ``dr12`` to ``dr17``: where to look first.
    folder : str
        Where the files go, in the archive's own layout.
    max_bad : float
        Fraction of failures above which the command fails; what was fetched stays.
    again : bool
        Whether to ask again for what the archive did not have.
    archive_url : str
        The archive or a mirror of it.
    backoff_s : float
        Mean wait before a second attempt [s].
    min_rate : float
        Least mean rate of a download over a minute [bytes/s].
    files_per_chunk : int
        Spectra whose outcomes commit together.
    """

    sample: str
    release: str
    folder: str
    max_bad: float = 0.1
    again: bool = False
    archive_url: str = field(default=ARCHIVE_URL, metadata=NOT_HASHED)
    backoff_s: float = field(default=1.0, metadata=NOT_HASHED)
    min_rate: float = field(default=Manners.min_rate, metadata=NOT_HASHED)
    files_per_chunk: int = field(default=FILES_PER_CHUNK, metadata=NOT_HASHED)


class Wanted(NamedTuple):
    """A spectrum that the sample lacks, and what is known of it."""

    key: SpectrumKey
    source_id: int
    outcome: str | None
    path: str | None


def wanted_spectra(conn: sa.Connection, sample: str, release: str) -> list[Wanted]:
    """Return all spectra that a sample lacks, by key, whether they were asked for before or not.

    Raises
    ------
    UsageError
        If there is no such sample.
    """
    given = {"sample_id": find_sample(conn, sample).sample_id, "release": release}
    rows = conn.execute(_WANTED, given)
    found = [Wanted(SpectrumKey(*row[1:5]), row[0], row[5], row[6]) for row in rows]
    return sorted(found)


def fetch_spectra_job(params: FetchSpectraParams, db: Database) -> Job:
    """Return the downloads of a sample's spectra as a job (``db``: see `jobs.registry`)."""
    release = check_archive_release(params.release)
    session = PoliteSession(Manners(backoff_s=params.backoff_s, min_rate=params.min_rate))

    def open_items(conn: sa.Connection) -> list[Wanted]:
        done = {"matched"} if params.again else {"matched", "none"}
        return [
            w
            for w in wanted_spectra(conn, params.sample, release)
            if w.outcome not in done
            or (w.outcome == "matched" and not _lies_below(w.path, params.folder))
        ]

    def plan(conn: sa.Connection) -> list[str]:
        keys = [w.key for w in open_items(conn)]
        n = params.files_per_chunk
        chunks = [keys[i : i + n] for i in range(0, len(keys), n)]
        return [json.dumps([_plain(c[0]), _plain(c[-1])]) for c in chunks]

    def compute(conn: sa.Connection, key: str) -> list[Outcome]:
        first, last = (SpectrumKey(*k) for k in json.loads(key))
        items = [w for w in open_items(conn) if first <= w.key <= last]
        conn.rollback()  # downloads may take long, and a snapshot must not live that long
        with ThreadPoolExecutor(PARALLEL) as pool:
            outcomes = list(pool.map(lambda w: _fetch(session, params, release, w), items))
        if outcomes and all(o.reason_code == UNREACHABLE for o in outcomes):
            session.head(f"{params.archive_url}/")  # raises where it is not these files, but all
        return outcomes

    def write(conn: sa.Connection, run: Run, batch: list[Outcome]) -> int:
        return record_outcomes(conn, KIND, release, batch)

    def finish(conn: sa.Connection, run: Run) -> int:
        among = [w.source_id for w in wanted_spectra(conn, params.sample, release)]
        refuse_too_many(conn, KIND, release, among, params.max_bad)
        return 0

    return Job(
        kind="fetch spectra", target=f"{params.sample} {release}", params=params, plan=plan,
        compute=compute, write=write, finish=finish, close=session.close,
        unit=f"lots of {params.files_per_chunk} spectra",
    )  # fmt: skip


def _plain(key: SpectrumKey) -> Sequence[int | str]:
    """Return a key as JSON takes it."""
    return [key.plate, key.mjd, key.fiberid, key.run2d]


def _lies_below(path: str | None, folder: str) -> bool:
    """Return True where a fetched file is still at its place, and that is below the folder."""
    return path is not None and Path(path).is_relative_to(folder) and Path(path).is_file()


def _fetch(
    session: PoliteSession, params: FetchSpectraParams, release: str, wanted: Wanted
) -> Outcome:
    """One spectrum, from the first place that has it; what goes wrong becomes its outcome."""
    tried = 0
    try:
        for place in spectrum_places(wanted.key, release):
            tried += 1
            path, url = Path(params.folder, place), f"{params.archive_url}/{place}"
            tidy(path)
            if path.is_file() and _is_good(path, wanted.key):  # left by a run that was killed
                return Outcome(wanted.source_id, "matched", None, None, url, str(path))
            done = download(
                session, url, path, lambda part: _check(part, wanted.key),
                max_bytes=MAX_BYTES, budget_s=PATIENCE_S,
            )  # fmt: skip
            if isinstance(done, Unfinished):
                raise UnreachableError(f"{url} comes too slowly", "Try again later")
            if done is not None:
                words = f"found at place {tried} of the list" if tried > 1 else None
                return Outcome(wanted.source_id, "matched", None, words, url, str(path))
    except (BadInputError, UnreachableError) as exc:
        return failed(wanted.source_id, exc)
    return Outcome(wanted.source_id, "none", None, f"none of {tried} places has it")


def _check(path: Path, key: SpectrumKey) -> None:
    """Refuse a file that is not whole or not the spectrum that was asked for."""
    found = read_spectrum(path)
    if found.survey_key != str(key):
        raise BadInputError(
            "WRONG_CONTENT", f"the file that came for {key} is spectrum {found.survey_key}", ""
        )


def _is_good(path: Path, key: SpectrumKey) -> bool:
    """Return True where a file is the spectrum with that key."""
    try:
        _check(path, key)
    except BadInputError:
        return False
    return True
