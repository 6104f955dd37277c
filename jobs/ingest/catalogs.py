"""Ingest a survey's catalog file: sources, the survey's own columns, and a new label set edition.

All catalogs with labels go the same way; what differs is data (`catalog.surveys`). A chunk is a
range of rows: one COPY into a staging table, then an upsert per table, and the chunk's mark.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from catalog.files.identity import file_identity
from catalog.records import FileIdentity
from catalog.store.bulk import upsert
from catalog.store.columns import LABELS, error_of
from catalog.store.db import Database
from catalog.store.inputs import link_files, register_file
from catalog.store.labels import (
    SIMULATED,
    begin_edition,
    building_edition,
    discard_building,
    publish,
    published_inputs,
    register_flags,
)
from catalog.store.names import check_label_set_name, check_release
from catalog.store.schema import stellar_label, unlabelled_source
from catalog.surveys.formats import Format, find_format
from catalog.surveys.registry import find_catalog
from jobs.engine.job import Job, Progress, RunSummary, Unresolved, silent
from jobs.engine.ledger import Run
from jobs.engine.params import HASHED_IF_SET, NOT_HASHED, digest
from jobs.engine.runner import run_job
from jobs.ingest.open_files import OpenFiles
from jobs.ingest.rows import (
    ROWS_PER_CHUNK,
    Batch,
    check_bad,
    n_rows_of,
    read_rows,
    record_refusal,
    row_chunks,
    staged_sources,
    write_rows,
    write_sources,
)
from jobs.outcomes import catalog_outcome

_LABEL_COLUMNS = [c for label in LABELS for c in (label, error_of(label))]


@dataclass(frozen=True)
class CatalogParams:
    """Parameters of an ingest.

    Attributes
    ----------
    format : str
        Kind of the catalog, such as ``apogee`` or ``sspp``.
    release : str
        Data release, such as ``dr14``.
    digests : tuple of str
        SHA-256 of each file: the identity of the input.
    paths : tuple of str
        Where the files are now.
    max_bad : float
        Fraction of bad rows above which nothing is published.
    note : str
        What a reader of the labels should know; shown with every comparison.
    rows_per_chunk : int
        Rows that commit together.
    as_release : bool
        Take the files as of this release, whatever they say themselves.
    """

    format: str
    release: str
    digests: tuple[str, ...]
    paths: tuple[str, ...] = field(metadata=NOT_HASHED)
    max_bad: float = 0.1
    note: str = field(default="", metadata=NOT_HASHED)
    rows_per_chunk: int = field(default=ROWS_PER_CHUNK, metadata=NOT_HASHED)
    as_release: bool = field(default=False, metadata=HASHED_IF_SET)


def ingest_catalog(
    db: Database,
    kind: str,
    paths: list[Path],
    release: str,
    *,
    max_bad: float = 0.1,
    note: str = "",
    rows_per_chunk: int = ROWS_PER_CHUNK,
    as_release: bool = False,
    retry_failed: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
    identify: Callable[[Path], FileIdentity] = file_identity,
) -> RunSummary:
    """Ingest the files of one release and publish their label set.

    ``identify`` gives the digest of a file; one that remembers digests need not read it.

    Raises
    ------
    BadInputError
        If a file cannot be used at all (it is then in the quarantine), or if too many of its rows
        are bad; nothing is published.
    """
    release = release.lower()
    check_release(release)

    def resolve() -> Job:
        found = {i.sha256: i for i in (identify(path.absolute()) for path in paths)}
        identities = list(found.values())  # a file named twice is read once
        params = CatalogParams(
            kind, release, tuple(i.sha256 for i in identities),
            tuple(str(i.path) for i in identities), max_bad, note, rows_per_chunk,
            as_release,
        )  # fmt: skip
        return ingest_job(params, db)

    job = Unresolved(f"ingest {kind}", _target(kind, release), resolve)
    return run_job(job, db, retry_failed=retry_failed, dry_run=dry_run, progress=progress)


def _target(kind: str, release: str) -> str:
    """Return the name of the label set that an ingest publishes."""
    _, catalog = find_catalog(kind)
    return f"{catalog.label_set}/{release}"


def ingest_job(params: CatalogParams, db: Database) -> Job:
    """Return the ingest of one release as a job (``db``: see `jobs.registry`)."""
    fmt = find_format(params.format)
    name = _target(params.format, params.release)
    inputs = digest([params.format, params.release, sorted(params.digests)])
    files = OpenFiles(
        fmt, params.release, params.paths, params.digests, as_release=params.as_release
    )

    def plan(conn: sa.Connection) -> list[str]:
        check_label_set_name(conn, name, "survey")
        if published_inputs(conn, name) == inputs:
            return []
        return row_chunks(files, len(params.paths), params.rows_per_chunk)

    def begin(conn: sa.Connection, run: Run) -> int:
        register_flags(conn, name, fmt.flag_bits)
        opened = [files.get(i) for i in range(len(params.paths))]
        simulated = any(file.simulated for file in opened)
        edition = begin_edition(
            conn, name, "survey", run_id=run.run_id, inputs_hash=inputs,
            description=fmt.catalog.description + SIMULATED * simulated,
            params={"release": params.release, "sha256": list(params.digests),
                    "files": [Path(p).name for p in params.paths], "note": params.note,
                    "simulated": simulated},
        )  # fmt: skip
        link_files(
            conn, edition,
            [register_file(conn, files.identity(i), params.format, release=params.release)
             for i in range(len(params.paths))],
        )  # fmt: skip
        return 0

    def write(conn: sa.Connection, run: Run, batch: Batch) -> int:
        edition = building_edition(conn, run.run_id)
        return write_rows(
            conn, batch, params.format, params.release,
            lambda columns: _write(conn, fmt, edition, columns),
        )  # fmt: skip

    def finish(conn: sa.Connection, run: Run) -> int:
        check_bad(
            conn, params.format, params.release, params.paths, params.digests, params.max_bad,
            kept="Nothing was published.",
        )  # fmt: skip
        publish(conn, building_edition(conn, run.run_id))
        return 0

    return Job(
        kind=f"ingest {params.format}", target=name, params=params, plan=plan,
        compute=lambda conn, key: read_rows(files, key), write=write, begin=begin, finish=finish,
        refuse=lambda conn, exc: record_refusal(conn, files, params.format, params.release, exc),
        close=files.close, unit="rows", size=n_rows_of,
        outcome=lambda conn, run_id: catalog_outcome(conn, name, params.release),
        abandon=lambda conn, run: discard_building(conn, run.run_id),
    )  # fmt: skip


def _write(
    conn: sa.Connection, fmt: Format, label_set_id: int, columns: Mapping[str, np.ndarray]
) -> int:
    """Write some rows with their labels; returns the rows that changed."""
    rows = write_sources(conn, fmt, {**columns, "flags": fmt.flags(columns)})
    labels = {"label_set_id": ":label_set_id", "source_id": "source.source_id", "flags": "s.flags"}
    labels |= {c: f's."{c}"' for c in _LABEL_COLUMNS if c in columns}
    params = {"label_set_id": label_set_id}
    # Not counted as rows, for nobody asks for them: they tell what an edition's files brought.
    others = {c: labels[c] for c in ("label_set_id", "source_id")}
    upsert(
        conn, unlabelled_source, others, f"{staged_sources(fmt)} WHERE NOT s.has_labels",
        params=params,
    )  # fmt: skip
    return rows + upsert(
        conn, stellar_label, labels, f"{staged_sources(fmt)} WHERE s.has_labels", params=params
    )
