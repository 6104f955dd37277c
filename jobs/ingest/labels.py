"""Ingest anyone's table of labels for sources that the catalog has: an edition of a label set.

The whole table is one chunk: it is read, checked and published, or nothing is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import sqlalchemy as sa

from catalog.errors import BadInputError, UsageError
from catalog.files.guard import guarded
from catalog.files.identity import file_identity
from catalog.files.opening import Limits, require_file
from catalog.records import BadItem, FileIdentity
from catalog.store.db import Database
from catalog.store.inputs import link_files, quarantine_items, register_file
from catalog.store.labels import (
    PARTIAL,
    SIMULATED,
    begin_edition,
    building_edition,
    discard_building,
    publish,
    published_inputs,
)
from catalog.store.names import check_label_set_name, check_name, is_of_a_survey
from catalog.surveys.registry import SURVEYS
from catalog.tables.label_table import LabelTable, read_label_table
from catalog.words import names_near
from jobs.engine.job import Job, RunSummary, Unresolved
from jobs.engine.ledger import Run
from jobs.engine.params import NOT_HASHED, digest
from jobs.engine.runner import run_job
from jobs.ingest.label_rows import check_counts, write_labels
from jobs.ingest.watched_file import WatchedFile
from jobs.outcomes import labels_outcome

KIND = "labels"


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
        Column that names the source; empty: those of the survey's `Key`.
    hdu : str
        Number or name of the HDU or table; empty: the one that has keys, labels and rows.
    allow_overflow : bool
        Whether a VOTable is taken that its service has cut off.
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
    hdu: str = ""
    allow_overflow: bool = False
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
    hdu: str = "",
    allow_overflow: bool = False,
    max_bad: float = 0.1,
    note: str = "",
    limits: Limits = Limits(),  # noqa: B008 - frozen
    retry_failed: bool = False,
    dry_run: bool = False,
    identify: Callable[[Path], FileIdentity] = file_identity,
) -> RunSummary:
    """Ingest a table and publish it as an edition of the label set ``name``.

    Parameters are those of `LabelsParams`; ``identify`` gives the digest of a file, and one that
    remembers digests need not read it.

    Raises
    ------
    UsageError
        If the survey is unknown, the name cannot be used, or there is no such file.
    BadInputError
        If the table cannot be used (see `read_label_table`), too many of its rows are bad, or none
        labels a source that the catalog has; nothing is published.
    """
    if survey not in SURVEYS:
        raise UsageError(f"there is no survey {survey}", names_near(survey, SURVEYS, "Surveys"))
    check_name(name, "label set")
    if is_of_a_survey(name):
        raise UsageError(
            f"the name {name} belongs to the labels of a survey's own catalog",
            "Choose another name",
        )
    require_file(path)

    def resolve() -> Job:
        identity = identify(path.absolute())
        params = LabelsParams(
            name, survey, identity.sha256, str(identity.path), key, hdu, allow_overflow, max_bad,
            note, limits.max_rows, limits.max_bytes,
        )  # fmt: skip
        return ingest_labels_job(params, db)

    job = Unresolved("ingest labels", name, resolve)
    return run_job(job, db, retry_failed=retry_failed, dry_run=dry_run)


def ingest_labels_job(params: LabelsParams, db: Database) -> Job:
    """The ingest as a job (``db``: see `jobs.registry`)."""
    path = Path(params.path)
    survey = SURVEYS[params.survey]
    inputs = digest([params.survey, params.key, params.hdu, params.allow_overflow, params.sha256])

    @cache
    def watched() -> WatchedFile:
        return WatchedFile(path, params.sha256)

    def identity() -> FileIdentity:
        return FileIdentity(path, watched().size, params.sha256)

    @cache
    def table() -> LabelTable:
        with watched().in_this_version(), guarded(f"the table {path}"):
            return read_label_table(
                path, (params.key,) if params.key else survey.key.columns,
                Limits(params.max_bytes, params.max_rows), read_id=survey.read_key,
                which=params.hdu, allow_overflow=params.allow_overflow,
            )  # fmt: skip

    def refuse(conn: sa.Connection, exc: BadInputError) -> None:
        file_id = register_file(conn, identity(), KIND)
        quarantine_items(conn, file_id, [BadItem("", None, exc.reason_code, exc.reason)])

    def plan(conn: sa.Connection) -> list[str]:
        check_label_set_name(conn, params.name, "survey")
        if published_inputs(conn, params.name) == inputs:
            return []
        table()
        return ["all rows"]

    def begin(conn: sa.Connection, run: Run) -> int:
        found = table()
        edition = begin_edition(
            conn, params.name, "survey", run_id=run.run_id, inputs_hash=inputs,
            description=f"Labels of {params.survey} sources from {path.name}"
            + PARTIAL * found.partial + SIMULATED * found.simulated,
            params={"survey": params.survey, "sha256": [params.sha256], "files": [path.name],
                    "note": params.note, "simulated": found.simulated, "partial": found.partial,
                    "columns": found.columns, "table": found.place,
                    "not_taken": found.not_taken, "unit_assumed": found.unit_assumed},
        )  # fmt: skip
        link_files(conn, edition, [register_file(conn, identity(), KIND)])
        return 0

    def write(conn: sa.Connection, run: Run, found: LabelTable) -> int:
        block = found.block
        file_id = register_file(conn, identity(), KIND, n_rows=block.n_rows)
        edition = building_edition(conn, run.run_id)
        return write_labels(conn, edition, file_id, block, params.survey)

    def finish(conn: sa.Connection, run: Run) -> int:
        edition = building_edition(conn, run.run_id)
        check_counts(conn, edition, params.path, params.survey, params.max_bad)
        publish(conn, edition)
        return 0

    return Job(
        kind="ingest labels", target=params.name, params=params, plan=plan,
        compute=lambda conn, key: table(), write=write, begin=begin, finish=finish, refuse=refuse,
        abandon=lambda conn, run: discard_building(conn, run.run_id),
        outcome=lambda conn, run_id: labels_outcome(conn, params.name),
    )  # fmt: skip
