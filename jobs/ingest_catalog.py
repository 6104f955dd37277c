"""Ingest a survey's catalog file: sources, the survey's own columns, and a new label set edition.

APOGEE's allStar and SEGUE's ssppOut go the same way; what differs is data (`FORMATS`). A chunk is
a range of rows: one COPY into a staging table, then an upsert per table, and the chunk's mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from catalog.errors import BadInputError
from catalog.files.block import BadItem, Block
from catalog.files.fits import FileIdentity, file_identity
from catalog.sky.healpix import healpix29
from catalog.store.bulk import stage, upsert
from catalog.store.columns import LABELS, error_of
from catalog.store.db import Database
from catalog.store.inputs import quarantine_items, register_file
from catalog.store.labels import (
    SIMULATED,
    begin_edition,
    building_edition,
    discard_building,
    publish,
    register_flags,
)
from catalog.store.schema import source, star, stellar_label
from jobs.catalog_formats import FORMATS, Format
from jobs.engine.job import Job, Progress, RunSummary
from jobs.engine.ledger import Run
from jobs.engine.params import NOT_HASHED, digest
from jobs.engine.runner import run_job
from jobs.names import check_label_set_name, check_release
from jobs.open_files import OpenFiles

ROWS_PER_CHUNK = 10_000
_LABEL_COLUMNS = [c for label in LABELS for c in (label, error_of(label))]


@dataclass(frozen=True)
class CatalogParams:
    """Parameters of an ingest.

    Attributes
    ----------
    format : str
        ``apogee`` or ``sspp``.
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
    """

    format: str
    release: str
    digests: tuple[str, ...]
    paths: tuple[str, ...] = field(metadata=NOT_HASHED)
    max_bad: float = 0.1
    note: str = field(default="", metadata=NOT_HASHED)
    rows_per_chunk: int = field(default=ROWS_PER_CHUNK, metadata=NOT_HASHED)


def ingest_catalog(
    db: Database,
    kind: str,
    paths: list[Path],
    release: str,
    *,
    max_bad: float = 0.1,
    note: str = "",
    rows_per_chunk: int = ROWS_PER_CHUNK,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> RunSummary:
    """Ingest the files of one release and publish their label set.

    Raises
    ------
    BadInputError
        If a file cannot be used at all (it is then in the quarantine), or if too many of its rows
        are bad; nothing is published.
    """
    release = release.lower()
    check_release(release)
    found = {i.sha256: i for i in (file_identity(path.absolute()) for path in paths)}
    identities = list(found.values())  # a file named twice is read once
    params = CatalogParams(
        kind, release, tuple(i.sha256 for i in identities),
        tuple(str(i.path) for i in identities), max_bad, note, rows_per_chunk,
    )  # fmt: skip
    extra = {} if progress is None else {"progress": progress}
    return run_job(ingest_job(params, db), db, dry_run=dry_run, **extra)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Batch:
    """The good and bad rows of one chunk."""

    block: Block
    identity: FileIdentity
    n_rows: int


def ingest_job(params: CatalogParams, db: Database) -> Job:
    """The ingest of one release as a job (``db``: see `jobs.registry`)."""
    fmt = FORMATS[params.format]
    name = f"{fmt.label_set}/{params.release}"
    inputs = digest([params.format, params.release, sorted(params.digests)])
    files = OpenFiles(fmt, params.release, params.paths, params.digests)

    def refuse(conn: sa.Connection, exc: BadInputError) -> None:
        file_id = register_file(conn, files.asked_last, params.format, release=params.release)
        quarantine_items(conn, file_id, [BadItem("", None, exc.reason_code, exc.reason)])

    def plan(conn: sa.Connection) -> list[str]:
        check_label_set_name(conn, name, "survey")
        done = conn.scalar(
            sa.text(
                "SELECT inputs_hash FROM label_set WHERE name = :name AND status = 'complete' "
                "ORDER BY edition DESC LIMIT 1"
            ),
            {"name": name},
        )
        if done == inputs:
            return []
        keys = []
        for i in range(len(params.paths)):
            n = files.get(i).n_rows
            step = params.rows_per_chunk
            keys += [f"file {i} rows {s}-{min(s + step, n)}" for s in range(0, n, step)]
        return keys

    def begin(conn: sa.Connection, run: Run) -> int:
        register_flags(conn, name, fmt.flag_bits)
        simulated = any(files.get(i).simulated for i in range(len(params.paths)))
        begin_edition(
            conn, name, "survey", run_id=run.run_id, inputs_hash=inputs,
            description=fmt.description + SIMULATED * simulated,
            params={"release": params.release, "sha256": list(params.digests),
                    "files": [Path(p).name for p in params.paths], "note": params.note,
                    "simulated": simulated},
        )  # fmt: skip
        return 0

    def compute(conn: sa.Connection, key: str) -> _Batch:
        _, i, _, rows = key.split()
        start, stop = (int(x) for x in rows.split("-"))
        block = files.read(int(i), start, stop)
        return _Batch(block, files.identity(int(i)), files.get(int(i)).n_rows)

    def write(conn: sa.Connection, run: Run, batch: _Batch) -> int:
        return _write(conn, fmt, building_edition(conn, run.run_id), batch, params)

    def finish(conn: sa.Connection, run: Run) -> int:
        _check_bad(conn, params)
        publish(conn, building_edition(conn, run.run_id))
        return 0

    return Job(
        kind=f"ingest {params.format}", target=name, params=params, plan=plan, compute=compute,
        write=write, begin=begin, finish=finish, refuse=refuse, close=files.close,
        abandon=lambda conn, run: discard_building(conn, run.run_id),
    )  # fmt: skip


def _write(
    conn: sa.Connection, fmt: Format, label_set_id: int, batch: _Batch, params: CatalogParams
) -> int:
    """Write one block of rows; returns the rows that changed."""
    file_id = register_file(
        conn, batch.identity, params.format, release=params.release, n_rows=batch.n_rows
    )
    rows = quarantine_items(conn, file_id, batch.block.bad)
    columns = dict(batch.block.columns)
    if len(columns["survey_key"]) == 0:
        return rows
    columns["healpix29"] = healpix29(columns["ra"], columns["dec"])
    columns["flags"] = fmt.flags(columns)
    stage(conn, "stage_rows", columns)
    source_columns = {"survey": f"'{fmt.survey}'"}
    source_columns |= {c: f"s.{c}" for c in ("survey_key", "ra", "dec", "healpix29", "epoch")}
    from_rows = "stage_rows s"
    if fmt.with_stars:
        rows += upsert(
            conn, star, {"star_key": "s.star_key"},
            "(SELECT DISTINCT apogee_id AS star_key FROM stage_rows) s", key=["star_key"],
        )  # fmt: skip
        from_rows = "stage_rows s JOIN star ON star.star_key = s.apogee_id"
        source_columns |= {"pmra": "s.pmra", "pmdec": "s.pmdec", "star_id": "star.star_id"}
    rows += upsert(conn, source, source_columns, from_rows, key=["survey", "survey_key"])
    joined = (
        "stage_rows s JOIN source ON source.survey = "
        f"'{fmt.survey}' AND source.survey_key = s.survey_key"
    )
    detail = {"source_id": "source.source_id"}
    detail |= {c: f"s.{c}" for c in fmt.detail_columns if c in columns}
    if "in_sspp" in fmt.detail_columns:
        detail["in_sspp"] = "true"
    rows += upsert(conn, fmt.detail, detail, joined)
    labels = {"label_set_id": ":label_set_id", "source_id": "source.source_id", "flags": "s.flags"}
    labels |= {c: f's."{c}"' for c in _LABEL_COLUMNS if c in columns}
    rows += upsert(
        conn, stellar_label, labels, f"{joined} WHERE s.has_labels",
        params={"label_set_id": label_set_id},
    )  # fmt: skip
    return rows


def _check_bad(conn: sa.Connection, params: CatalogParams) -> None:
    """Refuse to publish where too many rows are bad."""
    bad, total, reasons = conn.execute(
        sa.text(
            "SELECT count(q.item_key), (SELECT sum(n_rows)::bigint FROM input_file "
            "WHERE sha256 = ANY(:d) AND kind = :kind AND path = ANY(:p)), "
            "string_agg(DISTINCT q.reason_code, ', ') "
            "FROM quarantine q JOIN input_file f USING (input_file_id) "
            "WHERE f.sha256 = ANY(:d) AND f.kind = :kind AND f.path = ANY(:p)"
        ),
        {"d": list(params.digests), "p": list(params.paths), "kind": params.format},
    ).one()
    if bad > params.max_bad * total:
        raise BadInputError(
            "TOO_MANY_BAD",
            f"{bad} of {total} rows of {', '.join(params.paths)} are bad ({reasons})",
            "Nothing was published. Look at the table quarantine; --max-bad raises the limit",
        )


def refused_rows(conn: sa.Connection, kind: str, paths: Sequence[Path]) -> list[tuple[str, int]]:
    """The reasons for which rows of files, as they were last read, were refused; their numbers."""
    query = sa.text(
        "SELECT q.reason_code, count(*) FROM quarantine q JOIN ("
        "  SELECT DISTINCT ON (path) input_file_id FROM input_file "
        "  WHERE kind = :kind AND path = ANY(:paths) ORDER BY path, ingested_at DESC"
        ") f USING (input_file_id) GROUP BY 1 ORDER BY 2 DESC, 1"
    )
    given = {"kind": kind, "paths": [str(p.absolute()) for p in paths]}
    return [(row[0], row[1]) for row in conn.execute(query, given)]
