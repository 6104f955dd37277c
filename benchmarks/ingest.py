"""Ingest a catalog, against bare binary COPY of the same columns into the same keyed tables.

The bare COPYs get their rows ready made: nothing is read, checked, staged or looked up. The first
makes a Python object per value and hands rows to psycopg, as people write it; the second sends
bytes packed beforehand, which is the floor that the server sets.

Usage: python -m benchmarks.ingest [N_ROWS]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from benchmarks.common import fresh_server, print_ratios, simulated_survey
from catalog.sky.healpix import healpix29
from catalog.store.bulk import pack_copy, staging_type
from catalog.store.db import Database
from catalog.store.labels import begin_edition
from catalog.store.schema import apogee_star, source, star, stellar_label
from catalog.surveys.allstar import open_allstar
from jobs.engine import ledger
from jobs.ingest.catalogs import ingest_catalog

N_ROWS = 100_000
RUNS = 3
OURS = "crosslabel ingest apogee"
TABLES = (star, source, apogee_star, stellar_label)


def stored(db: Database) -> dict[str, tuple[int, float]]:
    """Number of rows and a sum over each table: what all ways must agree on."""
    sums = {
        "source": "sum(ra + dec)",
        "apogee_star": "sum(snr::float8)",
        "stellar_label": "sum(teff::float8)",
    }
    with db.reader() as conn:
        return {
            table: (row[0], round(float(row[1])))
            for table, expression in sums.items()
            for row in conn.execute(sa.text(f"SELECT count(*), {expression}::float8 FROM {table}"))
        }


def ready_made(file: Path, label_set_id: int) -> dict[str, dict[str, np.ndarray]]:
    """The rows of all four tables as arrays of the columns' own types, keys included."""
    with open_allstar(file, "dr14") as catalog:
        rows = dict(catalog.read(0, catalog.n_rows).columns)
    n = len(rows["ra"])
    rows["source_id"] = np.arange(1, n + 1)
    rows["healpix29"] = healpix29(rows["ra"], rows["dec"])
    rows["survey"] = np.full(n, b"apogee")
    rows["label_set_id"] = np.full(n, label_set_id)
    names, inverse = np.unique(rows["apogee_id"], return_inverse=True)
    rows["star_id"] = inverse + 1
    rows["flags"] = np.ma.MaskedArray(rows["aspcapflag"]).filled(0).astype(np.int64)
    rows["nvisits"] = rows["nvisits"].astype(np.int32)
    tables = {"star": {"star_id": np.arange(1, len(names) + 1), "star_key": names}}
    for table in TABLES[1:]:
        keep = rows["has_labels"] if table is stellar_label else np.ones(n, bool)
        wanted = [c.name for c in table.columns if c.name in rows]
        tables[table.name] = {c: rows[c][keep] for c in wanted}
    return tables


def copy_rows(
    db: Database, tables: dict[str, dict[str, np.ndarray]], rows: dict[str, list[tuple[Any, ...]]]
) -> None:
    """Binary COPY of Python rows, one write_row each."""
    with db.begin() as conn:
        for table, columns in tables.items():
            names = ", ".join(f'"{c}"' for c in columns)
            cursor = conn.connection.cursor()
            with cursor.copy(f'COPY "{table}" ({names}) FROM STDIN (FORMAT binary)') as copy:
                copy.set_types([staging_type(values) for values in columns.values()])
                for row in rows[table]:
                    copy.write_row(row)


def copy_bytes(
    db: Database, tables: dict[str, dict[str, np.ndarray]], payloads: dict[str, bytes]
) -> None:
    """Binary COPY of bytes packed beforehand."""
    with db.begin() as conn:
        for table, columns in tables.items():
            names = ", ".join(f'"{c}"' for c in columns)
            cursor = conn.connection.cursor()
            with cursor.copy(f'COPY "{table}" ({names}) FROM STDIN (FORMAT binary)') as copy:
                copy.write(payloads[table])


def python_rows(columns: dict[str, np.ndarray]) -> list[tuple[Any, ...]]:
    """Arrays as rows of Python values, None for NULL."""
    lists = []
    for values in columns.values():
        plain = values.tolist()
        if values.dtype.kind == "S":
            plain = [v.decode() or None for v in plain]
        elif values.dtype.kind == "f":
            plain = [None if v != v else v for v in plain]
        lists.append(plain)
    return list(zip(*lists, strict=True))


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else N_ROWS
    seconds: dict[str, float] = {}
    rivals: dict[str, tuple[Any, Any]] = {
        "bare binary COPY, write_row": (copy_rows, python_rows),
        "bare binary COPY, packed beforehand": (copy_bytes, pack_copy),
    }
    with simulated_survey(n, 1000) as folder, fresh_server() as server:
        file = next(folder.glob("allStar*.fits"))
        for run in range(RUNS):  # in turn, so that what else the machine does hits all alike
            with server.database(f"ours_{run}") as db:
                start = time.perf_counter()
                summary = ingest_catalog(db, "apogee", [file], "dr14")
                keep_best(seconds, OURS, time.perf_counter() - start)
                ours = stored(db)
                start = time.perf_counter()
                again = ingest_catalog(db, "apogee", [file], "dr14")
                idle = time.perf_counter() - start
                if again.rows_written:
                    sys.exit(f"the second run wrote {again.rows_written} rows")
            for i, (name, (copy, prepare)) in enumerate(rivals.items()):
                with server.database(f"rival_{i}_{run}") as db:
                    with db.begin() as conn:
                        owner = ledger.start_run(conn, "bench", name, {}, "", [])
                        label_set_id = begin_edition(
                            conn, "aspcap/dr14", "survey", run_id=owner.run_id
                        )
                    tables = ready_made(file, label_set_id)
                    ready = {table: prepare(columns) for table, columns in tables.items()}
                    start = time.perf_counter()
                    copy(db, tables, ready)
                    keep_best(seconds, name, time.perf_counter() - start)
                    if stored(db) != ours:
                        sys.exit(f"{name}: {stored(db)}, not the {ours} of crosslabel")
    print(f"{n:,} rows of allStar, {summary.rows_written:,} rows in 4 tables, all the same;")
    print(f"best of {RUNS} runs in turn")
    print_ratios(seconds, OURS)
    print(f"second run: nothing to do, {idle:.2f} s")


def keep_best(seconds: dict[str, float], name: str, value: float) -> None:
    """Keep the shortest time of a way."""
    seconds[name] = min(value, seconds.get(name, value))


if __name__ == "__main__":
    main()
