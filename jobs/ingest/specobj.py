"""Ingest SDSS's specObj: which spectra there are and where they point, without labels.

Its rows become sources that can be matched and whose spectra can be fetched: BOSS's above all,
which ssppOut does not have. An SSPP row, a spectrum file and a specObj row of one spectrum are one
source; a position that SSPP gave stays, and so does whatever specObj does not know.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.files.identity import file_identity
from catalog.records import FileIdentity
from catalog.store.db import Database
from catalog.store.names import check_release
from catalog.surveys.formats import find_format
from catalog.surveys.specobj import NO_CLASS, NO_OBJECT, SpecObj
from catalog.words import names_near
from jobs.engine.job import Job, Progress, RunSummary, Unresolved, silent
from jobs.engine.ledger import Run
from jobs.engine.params import HASHED_IF_SET, NOT_HASHED, params_hash
from jobs.engine.runner import run_job
from jobs.ingest.open_files import OpenFiles
from jobs.ingest.rows import (
    ROWS_PER_CHUNK,
    check_bad,
    n_rows_of,
    read_rows,
    record_refusal,
    row_chunks,
    write_rows,
    write_sources,
)
from jobs.outcomes import specobj_outcome

KIND = "ingest specobj"
FILE_KIND = "specobj"
CLASSES = ("STAR", "GALAXY", "QSO")


@dataclass(frozen=True)
class SpecObjParams:
    """Parameters of an ingest of specObj.

    Attributes
    ----------
    release : str
        Data release, such as ``dr17``.
    digests : tuple of str
        SHA-256 of each file: the identity of the input.
    paths : tuple of str
        Where the files are now.
    classes : tuple of str
        Rows of these classes enter; empty: all that have an object.
    max_bad : float
        Fraction of bad rows, among those that enter, above which the run fails.
    rows_per_chunk : int
        Rows that commit together.
    as_release : bool
        Take the files as of this release, whatever they say themselves.
    """

    release: str
    digests: tuple[str, ...]
    paths: tuple[str, ...] = field(metadata=NOT_HASHED)
    classes: tuple[str, ...] = ("STAR",)
    max_bad: float = 0.1
    rows_per_chunk: int = field(default=ROWS_PER_CHUNK, metadata=NOT_HASHED)
    as_release: bool = field(default=False, metadata=HASHED_IF_SET)


def ingest_specobj(
    db: Database,
    paths: list[Path],
    release: str,
    *,
    classes: tuple[str, ...] = ("STAR",),
    max_bad: float = 0.1,
    rows_per_chunk: int = ROWS_PER_CHUNK,
    as_release: bool = False,
    retry_failed: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
    identify: Callable[[Path], FileIdentity] = file_identity,
) -> tuple[RunSummary, dict[str, int]]:
    """Ingest the files of one release.

    Parameters
    ----------
    classes : tuple of str
        Some of STAR, GALAXY, QSO; or ``ALL``.
    identify : callable
        Gives the digest of a file; one that remembers digests need not read it.

    Returns
    -------
    RunSummary
    dict of str to int
        Rows that were left out, by the reason in words; empty where nothing had to be read.

    Raises
    ------
    UsageError
        If there is no such class.
    BadInputError
        If a file cannot be used at all (it is then in the quarantine), or if too many of its rows
        are bad; the good ones stay.
    """
    release = release.lower()
    check_release(release)
    classes = tuple(sorted({c.upper() for c in classes}))
    unknown = [c for c in classes if c not in (*CLASSES, "ALL")]
    if unknown or not classes:
        raise UsageError(
            f"there is no class {', '.join(unknown)!r} of spectra",
            names_near("".join(unknown[:1]), (*CLASSES, "all"), "Classes"),
        )
    if "ALL" in classes:
        classes = ()
    left_out: dict[str, int] = {}

    def resolve() -> Job:
        found = {i.sha256: i for i in (identify(path.absolute()) for path in paths)}
        files = tuple(str(found[digest].path) for digest in sorted(found))
        params = SpecObjParams(
            release, tuple(sorted(found)), files, classes, max_bad, rows_per_chunk, as_release
        )
        return ingest_specobj_job(params, db, left_out)

    job = Unresolved(KIND, _target(release), resolve)
    summary = run_job(job, db, retry_failed=retry_failed, dry_run=dry_run, progress=progress)
    return summary, left_out


def _target(release: str) -> str:
    """Return what an ingest of a release writes, as its lock and the ledger name it."""
    return f"specobj/{release}"


def ingest_specobj_job(
    params: SpecObjParams, db: Database, left_out: dict[str, int] | None = None
) -> Job:
    """Return the ingest of specObj as a job (``db``: see `jobs.registry`).

    Parameters
    ----------
    left_out : dict, optional
        Takes the rows that are left out, by the reason in words, when the files are read.
    """
    fmt = find_format(FILE_KIND, classes=params.classes)
    files = OpenFiles(
        fmt, params.release, params.paths, params.digests, as_release=params.as_release
    )
    target = _target(params.release)

    def count_left_out() -> dict[str, int]:
        total: dict[str, int] = {}
        for i in range(len(params.paths)):
            for why, n in sorted(cast(SpecObj, files.get(i)).left_out.items()):
                words = why if why in (NO_CLASS, NO_OBJECT) else f"of class {why}"
                total[words] = total.get(words, 0) + n
        return total

    def plan(conn: sa.Connection) -> list[str]:
        if _last_done(conn, target) == params_hash(params):
            return []
        chunks = row_chunks(files, len(params.paths), params.rows_per_chunk)
        if left_out is not None:
            left_out.update(count_left_out())
        return chunks

    def finish(conn: sa.Connection, run: Run) -> int:
        check_bad(
            conn, FILE_KIND, params.release, params.paths, params.digests, params.max_bad,
            kept="The good ones are in.", n_left_out=sum(count_left_out().values()),
        )  # fmt: skip
        return 0

    return Job(
        kind=KIND, target=target, params=params, plan=plan,
        compute=lambda conn, key: read_rows(files, key),
        write=lambda conn, run, batch: write_rows(
            conn, batch, FILE_KIND, params.release,
            lambda columns: write_sources(conn, fmt, columns),
        ),
        finish=finish, close=files.close, unit="rows", size=n_rows_of,
        outcome=lambda conn, run_id: specobj_outcome(conn),
        refuse=lambda conn, exc: record_refusal(conn, files, FILE_KIND, params.release, exc),
    )  # fmt: skip


def _last_done(conn: sa.Connection, target: str) -> str | None:
    """The digest of what was last ingested completely; sources do not tell, as they are shared."""
    return conn.scalar(
        sa.text(
            "SELECT params_hash FROM job_run WHERE kind = :kind AND target = :target "
            "AND state = 'succeeded' ORDER BY run_id DESC LIMIT 1"
        ),
        {"kind": KIND, "target": target},
    )
