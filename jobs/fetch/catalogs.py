"""Fetch a survey's catalog file, such as allStar or ssppOut, in slices of a few seconds.

A slice is a chunk of the ledger: a signal stops the download within one, and the next run goes on
with the ``.part`` file. The file gets its name after its size, the archive's SHA-1 where there is
one, its FITS structure and its columns have been found right.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from catalog.archive.download import Download, Unfinished, download
from catalog.archive.partial import tidy
from catalog.archive.places import catalog_places
from catalog.archive.published import Published, check_sha1, find_sha1, look_up
from catalog.archive.session import Manners, PoliteSession
from catalog.config import ARCHIVE_URL
from catalog.errors import SourceUnavailableError
from catalog.files.identity import file_identity
from catalog.records import FileIdentity
from catalog.store.db import Database
from catalog.store.schema import fetched_file
from catalog.surveys.formats import find_format
from jobs.engine import ledger
from jobs.engine.job import Job
from jobs.engine.ledger import Run
from jobs.engine.params import NOT_HASHED

SLICE_S = 8.0
MAX_BYTES = 1 << 34  # above every catalog file of these releases


@dataclass(frozen=True)
class FetchCatalogParams:
    """Parameters of a fetch of a catalog.

    Attributes
    ----------
    format : str
        Kind of the catalog, such as ``apogee``, ``sspp`` or ``specobj``.
    release : str
        ``dr12`` to ``dr17``.
    folder : str
        Where the files go, in the archive's own layout.
    archive_url : str
        The archive or a mirror of it.
    slice_s : float
        After this time the chunk ends and the next one goes on [s].
    backoff_s : float
        Mean wait before a second attempt [s].
    min_rate : float
        Least mean rate of a download over a minute [bytes/s].
    """

    format: str
    release: str
    folder: str
    archive_url: str = field(default=ARCHIVE_URL, metadata=NOT_HASHED)
    slice_s: float = field(default=SLICE_S, metadata=NOT_HASHED)
    backoff_s: float = field(default=1.0, metadata=NOT_HASHED)
    min_rate: float = field(default=Manners.min_rate, metadata=NOT_HASHED)


@dataclass(frozen=True)
class _Fetched:
    """A complete file with what was checked."""

    done: Download
    identity: FileIdentity
    published: Published
    sha1: str | None


def fetch_catalog_job(params: FetchCatalogParams, db: Database) -> Job:
    """Return the download of a catalog file as a job (``db``: see `jobs.registry`)."""
    places = catalog_places(params.format, params.release)
    session = PoliteSession(Manners(backoff_s=params.backoff_s, min_rate=params.min_rate))
    offered: list[tuple[str, Published]] = []  # asked for once per process

    def offer() -> tuple[str, Published]:
        if not offered:
            offered.append(_find(session, params.archive_url, places))
        return offered[0]

    def plan(conn: sa.Connection) -> list[str]:
        place, published = offer()
        path = Path(params.folder, place)
        tidy(path)
        return [] if _is_here(conn, path, published) else ["part 1"]

    def compute(conn: sa.Connection, key: str) -> _Fetched | Unfinished:
        conn.rollback()  # nothing is read here, and a snapshot must not live as long as a download
        place, published = offer()
        target = Path(params.folder, place)
        sha1: list[str | None] = []

        def check(part: Path) -> None:
            sha1.append(find_sha1(session, published.url))
            check_sha1(part, published.url, sha1[0])
            with find_format(params.format).open(part, params.release):
                pass  # opening it checks structure, sizes, checksums and columns

        done = download(
            session, published.url, target, check, max_bytes=MAX_BYTES, budget_s=params.slice_s
        )
        if isinstance(done, Unfinished):
            return done
        if done is None:
            raise SourceUnavailableError(f"{published.url} has gone", "Run the command again")
        return _Fetched(done, file_identity(target), published, sha1[0])

    def write(conn: sa.Connection, run: Run, batch: _Fetched | Unfinished) -> int:
        if isinstance(batch, Unfinished):
            parts = len(ledger.chunk_keys(conn, run))
            ledger.append_chunks(conn, run, [f"part {parts + 1}"])
            return 0
        return _record(conn, params, batch)

    return Job(
        kind=f"fetch {params.format}", target=params.release, params=params, plan=plan,
        compute=compute, write=write, close=session.close, unit="parts of the file",
    )  # fmt: skip


def catalog_file(conn: sa.Connection, params: FetchCatalogParams) -> str | None:
    """The path of the file that was fetched last for these parameters; None before the first."""
    t = fetched_file.c
    query = (
        sa.select(t.path)
        .where(t.kind == params.format, t.release == params.release)
        .where(sa.func.starts_with(t.path, params.folder))
        .order_by(t.fetched_at.desc())
    )
    return conn.scalar(query)


def _find(
    session: PoliteSession, archive_url: str, places: tuple[str, ...]
) -> tuple[str, Published]:
    """Return the first place where the archive has the file."""
    for place in places:
        published = look_up(session, f"{archive_url}/{place}")
        if published is not None:
            return place, published
    raise SourceUnavailableError(
        f"{archive_url} has none of {', '.join(places)}",
        "Is the address that of the archive's root, as https://data.sdss.org/sas is?",
    )


def _is_here(conn: sa.Connection, path: Path, published: Published) -> bool:
    """Return True where the archive offers what was fetched, and the file still lies there."""
    row = conn.execute(sa.select(fetched_file).where(fetched_file.c.path == str(path))).first()
    if row is None or not path.is_file() or path.stat().st_size != row.size:
        return False
    return (published.url, published.size, published.version or None) == (
        row.url, row.size if published.size is not None else None, row.remote_version,
    )  # fmt: skip


def _record(conn: sa.Connection, params: FetchCatalogParams, batch: _Fetched) -> int:
    """Write down what lies there now."""
    values = {
        "path": str(batch.done.path), "url": batch.done.url, "kind": params.format,
        "release": params.release, "size": batch.identity.size, "sha256": batch.identity.sha256,
        "remote_version": batch.published.version or None, "sha1": batch.sha1,
        "fetched_at": sa.func.now(),
    }  # fmt: skip
    conn.execute(fetched_file.delete().where(fetched_file.c.path == values["path"]))
    conn.execute(fetched_file.insert().values(values))
    return 1
