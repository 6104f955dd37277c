"""The record of what was read: input files by content, and the quarantine of what was refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import sqlalchemy as sa

from catalog.records import BadItem, Block, FileIdentity
from catalog.store.bulk import stage, upsert
from catalog.store.savepoints import refusal, write_each
from catalog.store.schema import quarantine

#: Condition on ``input_file f``: the catalog holds something of it. Not so a refused file, and a
#: file of labels whose edition was never published or has been removed.
IS_USED = """(EXISTS (
    SELECT FROM label_set_file u JOIN label_set l USING (label_set_id)
    WHERE u.input_file_id = f.input_file_id AND l.status = 'complete'
) OR f.kind IN ('spectrum', 'specobj') AND NOT EXISTS (
    SELECT FROM quarantine q WHERE q.input_file_id = f.input_file_id AND q.item_key = ''
    AND q.reason_code NOT IN ('ZERO_SPECTRUM', 'NO_GOOD_PIXELS')
))"""


def register_file(
    conn: sa.Connection,
    identity: FileIdentity,
    kind: str,
    *,
    release: str | None = None,
    n_rows: int | None = None,
    note: str | None = None,
) -> int:
    """Enter a file, known by its content, path and the release it is read as; returns its id.

    Parameters
    ----------
    note : str, optional
        What people should know of a file that was read all the same.
    """
    input_file_id = conn.execute(
        sa.text(
            "INSERT INTO input_file (path, size, sha256, kind, release, n_rows, note) "
            "VALUES (:path, :size, :sha256, :kind, :release, :n_rows, :note) "
            "ON CONFLICT (sha256, kind, path, release) DO UPDATE "
            "SET ingested_at = now(), n_rows = coalesce(excluded.n_rows, input_file.n_rows), "
            "note = coalesce(excluded.note, input_file.note) "
            "RETURNING input_file_id"
        ),
        {
            "path": str(identity.path), "size": identity.size, "sha256": identity.sha256,
            "kind": kind, "release": release, "n_rows": n_rows, "note": note,
        },
    ).scalar_one()  # fmt: skip
    return int(input_file_id)


def link_files(conn: sa.Connection, label_set_id: int, input_file_ids: Iterable[int]) -> None:
    """Record the files that an edition is made from."""
    conn.execute(
        sa.text(
            "INSERT INTO label_set_file (label_set_id, input_file_id) "
            "SELECT :label_set_id, f FROM unnest(CAST(:files AS bigint[])) AS f "
            "ON CONFLICT DO NOTHING"
        ),
        {"label_set_id": label_set_id, "files": sorted(set(input_file_ids))},
    )


def known_files(conn: sa.Connection, kind: str, paths: Sequence[str]) -> set[tuple[str, str]]:
    """Return the (path, sha256) of files as last read: of blank spectra too, not of bad files."""
    rows = conn.execute(
        sa.text(
            "SELECT f.path, f.sha256 FROM (SELECT DISTINCT ON (path) * FROM input_file "
            "WHERE kind = :kind AND path = ANY(:paths) "
            "ORDER BY path, ingested_at DESC, input_file_id DESC) f WHERE NOT EXISTS ("
            "SELECT 1 FROM quarantine q WHERE q.input_file_id = f.input_file_id "
            "AND q.item_key = '' AND q.reason_code NOT IN ('ZERO_SPECTRUM', 'NO_GOOD_PIXELS'))"
        ),
        {"kind": kind, "paths": list(paths)},
    )
    return {(row.path, row.sha256) for row in rows}


def quarantine_items(conn: sa.Connection, input_file_id: int, items: Iterable[BadItem]) -> int:
    """Record refused items; seen again, their count of attempts grows. Rows new or changed.

    What files say may stand in keys and details; what is no text for the database is escaped.
    """
    keyed = {storable(item_key(item)): item for item in items}
    if not keyed:
        return 0
    text = {
        "item_key": list(keyed),
        "reason_code": [i.reason_code for i in keyed.values()],
        "detail": [storable(i.detail) for i in keyed.values()],
    }
    stage(conn, "stage_bad", {k: np.array(v, dtype=object) for k, v in text.items()}, quarantine)
    params = {"file": input_file_id}
    conn.execute(
        sa.text(
            "UPDATE quarantine q SET attempts = attempts + 1 FROM stage_bad s "
            "WHERE q.input_file_id = :file AND q.item_key = s.item_key"
        ),
        params,
    )
    columns = {"input_file_id": ":file"} | {c: f"s.{c}" for c in text}
    return upsert(conn, quarantine, columns, "stage_bad s", params=params)


def write_block(
    conn: sa.Connection,
    block: Block,
    keys: Sequence[bytes] | np.ndarray,
    write: Callable[[Sequence[int]], int],
) -> tuple[int, tuple[BadItem, ...]]:
    """Write the good rows of a block; rows that the database refuses join the bad ones.

    Parameters
    ----------
    keys : sequence of bytes
        The survey's key of each good row.
    write : callable
        ``write(part) -> rows``: write good rows, a range of indices into the columns.

    Returns
    -------
    int
        Rows that changed.
    tuple of BadItem
        All bad rows of the block, in file order: for `quarantine_items`.

    Raises
    ------
    Exception
        As `write_each`.
    """
    refused: list[BadItem] = []

    def refuse(i: int, exc: Exception) -> int:
        row, key = int(block.rows[i]), bytes(keys[i]).decode("utf-8", "replace")
        refused.append(BadItem(key or f"row {row}", row, "UNEXPECTED", refusal("the row", exc)))
        return 0

    rows = write_each(conn, range(block.n_good), write, refuse)
    return rows, tuple(sorted((*block.bad, *refused), key=lambda item: item.row or 0))


def release_files(conn: sa.Connection, input_file_ids: Sequence[int]) -> None:
    """Let go files that were refused as a whole when they were read before, and are good now."""
    query = "DELETE FROM quarantine WHERE input_file_id = ANY(:files) AND item_key = ''"
    conn.execute(sa.text(query), {"files": list(input_file_ids)})


def release_rows(
    conn: sa.Connection, input_file_id: int, rows: range, items: Iterable[BadItem]
) -> None:
    """Let go what was refused when a catalog was read before, and is not in its rows any more.

    Parameters
    ----------
    rows : range
        The rows that were read now; the file as a whole can be read, too.
    items : iterable of BadItem
        What is still refused of them.
    """
    conn.execute(
        sa.text(
            "DELETE FROM quarantine WHERE input_file_id = :file AND item_key <> ALL(:bad) AND "
            "coalesce(nullif(split_part(item_key, ' ', 2), '')::bigint, :start) "
            "BETWEEN :start AND :stop - 1"
        ),
        {
            "file": input_file_id, "bad": [storable(item_key(item)) for item in items],
            "start": rows.start, "stop": rows.stop,
        },
    )  # fmt: skip


def storable(text: str) -> str:
    """Return a text with NUL and halves of surrogate pairs escaped, which PostgreSQL refuses."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def item_key(item: BadItem) -> str:
    """Return the key of an item in the quarantine: row and key, or nothing for the whole file."""
    if item.row is None:
        return ""
    return f"row {item.row}" + ("" if item.item_key.startswith("row ") else f" {item.item_key}")
