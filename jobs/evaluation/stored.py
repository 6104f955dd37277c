"""Evaluations in the database: one row each, with its scores; the same inputs are stored once."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from catalog.store.columns import LABELS
from catalog.store.schema import evaluation, evaluation_repeat, evaluation_score
from catalog.version import code_version
from jobs.evaluation.data import BINNED_BY
from jobs.evaluation.evaluate import Evaluation
from jobs.evaluation.records import POPULATIONS, Repeat, Score

LABEL_NAMES = tuple(LABELS)
Row = TypeVar("Row", Score, Repeat)


def find_evaluation(conn: sa.Connection, asked: Evaluation) -> Evaluation | None:
    """The stored answer for the same inputs, in the order in which it was made; None if new."""
    query = sa.select(evaluation.c.evaluation_id).where(
        evaluation.c.inputs_hash == asked.inputs_hash
    )
    number = conn.scalar(query)
    if number is None:
        return None
    scores = _rows(conn, evaluation_score, Score, number)
    repeats = _rows(conn, evaluation_repeat, Repeat, number)

    def place(row: Score | Repeat) -> tuple[int, ...]:
        return (
            LABEL_NAMES.index(row.label),
            POPULATIONS.index(getattr(row, "population", POPULATIONS[0])),
            ("all", *BINNED_BY).index(row.bin_by),
            row.bin,
            asked.test_sets.index(row.test_set),
        )

    return dataclasses.replace(
        asked, scores=tuple(sorted(scores, key=place)), repeats=tuple(sorted(repeats, key=place))
    )


def write_evaluation(conn: sa.Connection, found: Evaluation) -> int:
    """Write an evaluation; returns the rows written: 0 if the same inputs are stored already."""
    values = {
        "ref_set": found.ref_set, "test_sets": list(found.test_sets), "sample": found.sample,
        "settings": found.settings, "notes": list(found.notes),
        "inputs_hash": found.inputs_hash, "code_version": code_version(),
    }  # fmt: skip
    number = conn.scalar(
        insert(evaluation)
        .values(values)
        .on_conflict_do_nothing(index_elements=["inputs_hash"])
        .returning(evaluation.c.evaluation_id)
    )
    if number is None:
        return 0
    written = 1
    for table, rows in ((evaluation_score, found.scores), (evaluation_repeat, found.repeats)):
        numbered: list[dict[str, Any]] = [
            {"evaluation_id": number} | dataclasses.asdict(row) for row in rows
        ]
        if numbered:
            conn.execute(table.insert(), numbered)
            written += len(numbered)
    return written


def _rows(conn: sa.Connection, table: sa.Table, kind: type[Row], number: int) -> list[Row]:
    """Return the rows of an evaluation, in any order."""
    fields = [table.c[f.name] for f in dataclasses.fields(kind)]
    query = sa.select(*fields).where(table.c.evaluation_id == number)
    return [kind(*row) for row in conn.execute(query)]
