"""Ingest anyone's table of labels for sources that the catalog has: an edition of a label set.

The whole table is one chunk: it is read, checked and published, or nothing is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import sqlalchemy as sa

from catalog.errors import BadInputError, UsageError
from catalog.files.block import BadItem
from catalog.files.fits import FileIdentity, file_identity
from catalog.files.label_table import LabelTable, read_label_table
from catalog.files.opening import Limits, require_file
from catalog.store.bulk import stage, upsert
from catalog.store.db import Database
from catalog.store.inputs import quarantine_items, register_file
from catalog.store.labels import (
    SIMULATED,
    begin_edition,
    building_edition,
    discard_building,
    find_label_set,
    publish,
    published_inputs,
)
from catalog.store.schema import stellar_label
from jobs.engine.job import Job, RunSummary, Unresolved
from jobs.engine.ledger import Run
from jobs.engine.params import NOT_HASHED, digest
from jobs.engine.runner import run_job
from jobs.names import SURVEYS as RESERVED
from jobs.names import check_label_set_name, check_name
from jobs.outcomes import labels_outcome

KIND = "labels"
#: Survey -> names of the key column, best first.
KEYS = {
    "apogee": ("survey_key", "apogee_id"),
    "sdss": ("survey_key", "specobjid"),
    "lamost": ("survey_key",),
}
# a key is any of the names of a source; a star's name means its main rows
_BY_NAME = {
    "apogee": "SELECT k.key, a.source_id FROM stage_labels k "
    "JOIN apogee_star a ON a.apogee_id = k.key AND a.is_primary",
    "sdss": "SELECT k.key, p.source_id FROM stage_labels k "
    "JOIN sdss_spectrum p ON p.specobjid::text = k.key",
}


@dataclass(frozen=True)
class LabelsParams:
    """Parameters of an ingest of labels.

    Attributes
    ----------
    name, survey : str
        Name of the label set, and whose sources the rows are.
    sha256, path : str
        The file: its identity, and where it is now.
    key : str
        Column that names the source; empty: those of `KEYS`.
    max_bad : float
        Fraction of bad rows above which nothing is published.
    note : str
        What a reader of the labels should know; shown with every comparison.
    max_rows, max_bytes : int
        How large the table may be: see `Limits`.
    """

    name: str
    survey: str
    sha256: str
    path: str = field(metadata=NOT_HASHED)
    key: str = ""
    max_bad: float = 0.1
    note: str = field(default="", metadata=NOT_HASHED)
    max_rows: int = field(default=Limits.max_rows, metadata=NOT_HASHED)
    max_bytes: int = field(default=Limits.max_bytes, metadata=NOT_HASHED)


def ingest_labels(
    db: Database,
    path: Path,
    survey: str,
    name: str,
    *,
    key: str = "",
    max_bad: float = 0.1,
    note: str = "",
    limits: Limits = Limits(),  # noqa: B008 - frozen
    retry_failed: bool = False,
    dry_run: bool = False,
    identify: Callable[[Path], FileIdentity] = file_identity,
) -> RunSummary:
    """Ingest a table and publish it as an edition of the label set ``name``.

    ``identify`` gives the digest of a file; one that remembers digests need not read it.

    Raises
    ------
    UsageError
        If the survey is unknown, the name cannot be used, or there is no such file.
    BadInputError
        If the table cannot be used (see `read_label_table`), too many of its rows are bad, or none
        labels a source that the catalog has; nothing is published.
    """
    if survey not in KEYS:
        raise UsageError(f"there is no survey {survey}", f"One of: {', '.join(KEYS)}")
    check_name(name, "label set")
    if name.partition("/")[0] in RESERVED:
        raise UsageError(
            f"the name {name} belongs to the labels of a survey's own catalog",
            "Choose another name",
        )
    require_file(path)

    def resolve() -> Job:
        identity = identify(path.absolute())
        params = LabelsParams(
            name, survey, identity.sha256, str(identity.path), key, max_bad, note,
            limits.max_rows, limits.max_bytes,
        )  # fmt: skip
        return ingest_labels_job(params, db)

    job = Unresolved("ingest labels", name, resolve)
    return run_job(job, db, retry_failed=retry_failed, dry_run=dry_run)


def ingest_labels_job(params: LabelsParams, db: Database) -> Job:
    """The ingest as a job (``db``: see `jobs.registry`)."""
    path = Path(params.path)
    inputs = digest([params.survey, params.key, params.sha256])

    @cache
    def table() -> LabelTable:
        if file_identity(path).sha256 != params.sha256:
            raise BadInputError(
                "CHANGED", f"{path} is not the file that this run began with", "Ingest it again"
            )
        return read_label_table(
            path,
            (params.key,) if params.key else KEYS[params.survey],
            Limits(params.max_bytes, params.max_rows),
        )

    def refuse(conn: sa.Connection, exc: BadInputError) -> None:
        file_id = register_file(conn, _identity(params), KIND)
        quarantine_items(conn, file_id, [BadItem("", None, exc.reason_code, exc.reason)])

    def plan(conn: sa.Connection) -> list[str]:
        check_label_set_name(conn, params.name, "survey")
        if published_inputs(conn, params.name) == inputs:
            return []
        table()
        return ["all rows"]

    def begin(conn: sa.Connection, run: Run) -> int:
        found = table()
        begin_edition(
            conn, params.name, "survey", run_id=run.run_id, inputs_hash=inputs,
            description=f"Labels of {params.survey} sources from {path.name}"
            + SIMULATED * found.simulated,
            params={"survey": params.survey, "sha256": [params.sha256], "files": [path.name],
                    "note": params.note, "simulated": found.simulated,
                    "not_taken": found.not_taken, "unit_assumed": found.unit_assumed},
        )  # fmt: skip
        return 0

    def write(conn: sa.Connection, run: Run, found: LabelTable) -> int:
        return _write(conn, building_edition(conn, run.run_id), found, params)

    def finish(conn: sa.Connection, run: Run) -> int:
        edition = building_edition(conn, run.run_id)
        _check(conn, edition, params)
        publish(conn, edition)
        return 0

    return Job(
        kind="ingest labels", target=params.name, params=params, plan=plan,
        compute=lambda conn, key: table(), write=write, begin=begin, finish=finish, refuse=refuse,
        abandon=lambda conn, run: discard_building(conn, run.run_id),
        outcome=lambda conn, run_id: labels_outcome(conn, params.name),
    )  # fmt: skip


def _identity(params: LabelsParams) -> FileIdentity:
    """The file of a run, as it was when the run was asked for."""
    path = Path(params.path)
    return FileIdentity(path, path.stat().st_size, params.sha256)


def _write(conn: sa.Connection, edition: int, found: LabelTable, params: LabelsParams) -> int:
    """Write the labels of the sources that the catalog has; returns the rows that changed."""
    block = found.block
    file_id = register_file(conn, _identity(params), KIND, n_rows=block.n_rows)
    rows = quarantine_items(conn, file_id, block.bad)
    n_found = 0
    if block.n_good:
        stage(conn, "stage_labels", block.columns, stellar_label)
        query = (
            "SELECT k.key, s.source_id FROM stage_labels k JOIN source s "
            f"ON s.survey = '{params.survey}' AND s.survey_key = k.key"
        )
        if params.survey in _BY_NAME:
            query += f" UNION {_BY_NAME[params.survey]}"
        n_found = conn.scalar(sa.text(f"SELECT count(DISTINCT key) FROM ({query}) f")) or 0
        columns = {"label_set_id": ":edition", "source_id": "f.source_id", "flags": "0"}
        columns |= {c: f'k."{c}"' for c in block.columns if c != "key"}
        known = " OR ".join(f'k."{c}" IS NOT NULL' for c in block.columns if c != "key")
        rows += upsert(
            conn, stellar_label, columns,
            f"(SELECT DISTINCT ON (source_id) * FROM ({query}) f ORDER BY source_id, key) f "
            f"JOIN stage_labels k USING (key) WHERE {known}",
            params={"edition": edition},
        )  # fmt: skip
    counts = {"n_rows": block.n_rows, "n_bad": len(block.bad), "n_found": n_found}
    conn.execute(
        sa.text(
            "UPDATE label_set SET params = params || CAST(:counts AS jsonb) "
            "WHERE label_set_id = :id"
        ),
        {"counts": json.dumps(counts), "id": edition},
    )
    return rows


def _check(conn: sa.Connection, edition: int, params: LabelsParams) -> None:
    """Refuse to publish where too many rows are bad, or none is of a known source."""
    query = sa.text("SELECT params FROM label_set WHERE label_set_id = :id")
    counts = conn.scalar(query, {"id": edition}) or {}
    if counts["n_bad"] > params.max_bad * counts["n_rows"]:
        raise BadInputError(
            "TOO_MANY_BAD",
            f"{counts['n_bad']} of {counts['n_rows']} rows of {params.path} are bad",
            "Nothing was published. Look at the table quarantine; --max-bad raises the limit",
        )
    if counts["n_found"] == 0:
        raise BadInputError(
            "BAD_ID",
            f"no key of {params.path} is that of a source of {params.survey} in this catalog",
            "Nothing was published. Ingest the survey first, or name the column: --key",
        )
    labelled = sa.text("SELECT EXISTS (SELECT FROM stellar_label WHERE label_set_id = :id)")
    if not conn.scalar(labelled, {"id": edition}):
        raise BadInputError(
            "BAD_VALUE",
            f"{params.path} has no label of any source in this catalog: its values are missing",
            "Nothing was published. Look at the columns of the labels",
        )


def ingested(conn: sa.Connection, name: str) -> list[str]:
    """What became of the rows of the newest edition, in lines for people."""
    which = find_label_set(conn, name)
    known = which.params or {}
    lines = [
        f"{known['n_rows']:,} rows: {known['n_found']:,} of sources in the catalog, "
        f"{known['n_bad']:,} in quarantine; {which.full_name} labels {which.n_rows or 0:,} sources"
    ]
    if known["not_taken"]:
        lines.append(f"columns not taken, no label of the catalog: {', '.join(known['not_taken'])}")
    if known["unit_assumed"]:
        lines.append(f"no unit named, the catalog's assumed: {', '.join(known['unit_assumed'])}")
    return lines
