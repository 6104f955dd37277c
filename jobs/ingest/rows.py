"""Common steps of the ingests of catalog files: chunks of rows, sources, details, bad rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from catalog.errors import BadInputError
from catalog.reasons import advice
from catalog.records import BadItem, Block, FileIdentity
from catalog.sky.healpix import healpix29
from catalog.store.bulk import stage, upsert
from catalog.store.inputs import quarantine_items, register_file, release_rows, write_block
from catalog.store.schema import source, star, stellar_label
from catalog.surveys.formats import Format
from catalog.words import part, verb
from jobs.ingest.open_files import OpenFiles

ROWS_PER_CHUNK = 10_000


@dataclass(frozen=True)
class Batch:
    """The good and bad rows of one chunk."""

    block: Block
    identity: FileIdentity
    n_rows: int
    rows: range


def row_chunks(files: OpenFiles, n_files: int, rows_per_chunk: int) -> list[str]:
    """Return chunk keys that cover all rows of the first ``n_files`` files.

    Raises
    ------
    BadInputError
        If a file has no rows.
    """
    keys = []
    for i in range(n_files):
        n = files.get(i).n_rows
        if n == 0:
            raise BadInputError(
                "WRONG_CONTENT", f"{files.identity(i).path} has no rows", "Download it again"
            )
        step = rows_per_chunk
        keys += [f"file {i} rows {s}-{min(s + step, n)}" for s in range(0, n, step)]
    return keys


def n_rows_of(key: str) -> int:
    """Return the number of rows of a chunk of `row_chunks`."""
    start, stop = key.rsplit(" ", 1)[1].split("-")
    return int(stop) - int(start)


def read_rows(files: OpenFiles, key: str) -> Batch:
    """Return the rows of a chunk of `row_chunks`."""
    _, i, _, rows = key.split()
    start, stop = (int(x) for x in rows.split("-"))
    block = files.read(int(i), start, stop)
    return Batch(block, files.identity(int(i)), files.get(int(i)).n_rows, range(start, stop))


def write_rows(
    conn: sa.Connection,
    batch: Batch,
    kind: str,
    release: str,
    write: Callable[[Mapping[str, np.ndarray]], int],
) -> int:
    """Write the good rows of a chunk, and its bad ones to the quarantine.

    Parameters
    ----------
    kind, release : str
        Of the input file.
    write : callable
        ``write(columns) -> rows``: write the good rows, or a part of them. Rows that the database
        refuses are bad ones, and do not hold up the others.

    Returns
    -------
    int
        Rows that changed.
    """
    block = batch.block
    file_id = register_file(conn, batch.identity, kind, release=release, n_rows=batch.n_rows)

    def write_part(part: Sequence[int]) -> int:
        rows = slice(part[0], part[-1] + 1)
        return write({name: values[rows] for name, values in block.columns.items()})

    rows, bad = write_block(conn, block, block.columns.get("survey_key", ()), write_part)
    release_rows(conn, file_id, batch.rows, bad)
    return rows + quarantine_items(conn, file_id, bad)


def write_sources(conn: sa.Connection, fmt: Format, columns: Mapping[str, np.ndarray]) -> int:
    """Write the sources and details of some rows.

    Parameters
    ----------
    columns : mapping
        Those of a block, and what else is wanted of the table ``stage_rows``, which this leaves
        behind for `staged_sources`.

    Returns
    -------
    int
        Rows that changed.
    """
    placed = {**columns, "healpix29": healpix29(columns["ra"], columns["dec"])}
    rows = 0
    tables = [source, stellar_label] if fmt.detail is None else [source, fmt.detail, stellar_label]
    stage(conn, "stage_rows", placed, *tables)
    values = {"survey": f"'{fmt.survey.name}'"}
    values |= {c: f"s.{c}" for c in ("survey_key", "ra", "dec", "healpix29", "epoch")}
    from_rows = "stage_rows s"
    values |= {c: f"s.{c}" for c in ("pmra", "pmdec") if c in columns}
    if fmt.catalog.star:
        named = fmt.catalog.star
        rows += upsert(
            conn, star, {"star_key": "s.star_key"},
            f"(SELECT DISTINCT {named} AS star_key FROM stage_rows) s", key=["star_key"],
        )  # fmt: skip
        from_rows = f"stage_rows s JOIN star ON star.star_key = s.{named}"
        values |= {"star_id": "star.star_id"}
    if fmt.catalog.yields_to and fmt.detail is not None:
        from_rows = (
            f"stage_rows s LEFT JOIN (source o JOIN {fmt.detail.name} d "
            f"ON d.source_id = o.source_id AND d.{fmt.catalog.yields_to}) "
            f"ON o.survey = '{fmt.survey.name}' AND o.survey_key = s.survey_key"
        )
        values |= {c: f"coalesce(o.{c}, s.{c})" for c in ("ra", "dec", "healpix29", "epoch")}
    rows += upsert(conn, source, values, from_rows, key=["survey", "survey_key"])
    if fmt.detail is None:
        return rows
    detail = {"source_id": "source.source_id"}
    detail |= {c: f"s.{c}" for c in fmt.detail_columns if c in columns}
    if fmt.catalog.mark:
        detail[fmt.catalog.mark] = "true"
    return rows + upsert(conn, fmt.detail, detail, staged_sources(fmt))


def staged_sources(fmt: Format) -> str:
    """Return the FROM clause of the staged rows ``s`` with their ``source``."""
    return (
        "stage_rows s JOIN source ON source.survey = "
        f"'{fmt.survey.name}' AND source.survey_key = s.survey_key"
    )


def record_refusal(
    conn: sa.Connection, files: OpenFiles, kind: str, release: str, exc: BadInputError
) -> None:
    """Enter the file that was asked for last into the quarantine."""
    file_id = register_file(conn, files.asked_last, kind, release=release)
    quarantine_items(conn, file_id, [BadItem("", None, exc.reason_code, exc.reason)])


def check_bad(
    conn: sa.Connection,
    kind: str,
    release: str,
    paths: Sequence[str],
    digests: Sequence[str],
    max_bad: float,
    *,
    kept: str,
    n_left_out: int = 0,
) -> None:
    """Refuse to go on where too many of the rows that were asked for are bad.

    Parameters
    ----------
    kept : str
        What became of the good ones, in a sentence.
    n_left_out : int
        Rows of the files that were not asked for.

    Raises
    ------
    BadInputError
        TOO_MANY_BAD.
    """
    total = conn.scalar(
        sa.text(
            "SELECT sum(n_rows)::bigint FROM input_file WHERE sha256 = ANY(:d) "
            "AND kind = :kind AND release = :release AND path = ANY(:p)"
        ),
        {"d": list(digests), "p": list(paths), "kind": kind, "release": release},
    )
    refused = refused_rows(conn, kind, [Path(p) for p in paths])
    bad, asked = sum(r.n_rows for r in refused), (total or 0) - n_left_out
    if bad and bad > max_bad * asked:
        words = ", ".join(f"{r.n_rows:,} {r.reason_code}" for r in refused)
        raise BadInputError(
            "TOO_MANY_BAD",
            f"{part(bad, asked, 'row')} of {', '.join(paths)} {verb(bad)} bad ({words}): "
            + "; ".join(r.example for r in refused[:3]),
            f"{kept} {advice(r.reason_code for r in refused)}. All of them are in the table "
            "quarantine; --max-bad raises the limit",
        )


@dataclass(frozen=True)
class Refused:
    """The rows of some files that were refused for one reason.

    Attributes
    ----------
    reason_code : str
        The reason.
    n_rows : int
        How many.
    example : str
        The first of them, and what is wrong with it.
    """

    reason_code: str
    n_rows: int
    example: str


def refused_rows(conn: sa.Connection, kind: str, paths: Sequence[Path]) -> list[Refused]:
    """Return the rows of files, as they were last read, that were refused, by reason."""
    query = sa.text(
        "SELECT q.reason_code, count(*), "
        "(array_agg(q.item_key || ': ' || q.detail ORDER BY length(q.item_key), q.item_key))[1] "
        "FROM quarantine q JOIN ("
        "  SELECT DISTINCT ON (path) input_file_id FROM input_file "
        "  WHERE kind = :kind AND path = ANY(:paths) ORDER BY path, ingested_at DESC"
        ") f USING (input_file_id) WHERE q.item_key <> '' GROUP BY 1 ORDER BY 2 DESC, 1"
    )
    given = {"kind": kind, "paths": [str(p.absolute()) for p in paths]}
    return [Refused(*row) for row in conn.execute(query, given)]
