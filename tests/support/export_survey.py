"""A small catalog with what exports can stumble over, and how it is exported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from astropy.io import fits, votable
from astropy.io.ascii import convert_numpy
from astropy.table import Table

from catalog.export.choose import select_for_export
from catalog.export.selection import Selection, columns_of, ordered_query
from catalog.store import labels
from catalog.store.bulk import upsert_arrays
from catalog.store.db import Database
from catalog.store.schema import apogee_star, sdss_spectrum
from jobs.export.tables import export
from tests.support import factories

BIG = 10081308165788686336  # the specObjID of plate 8954: beyond 2^63
N = 4


def make_survey(db: Database) -> dict[str, np.ndarray]:
    """Four APOGEE stars, four SDSS spectra (one with an id beyond 2^63), labels, a sample."""
    with db.begin() as conn:
        star = factories.add_stars(conn, [f"2M{i}" for i in range(3)])
        owner = np.array([0, 1, 2, 0])
        ra = [10.0, 359.99999999, 20.0, 10.0]
        left = factories.add_sources(
            conn, "apogee", [f"dr14/star.{i}" for i in "cabd"], ra=ra, star_id=star[owner]
        )
        right = factories.add_sources(conn, "sdss", [f"8954-57453-{i}-v5" for i in range(N)], ra=ra)
        upsert_arrays(conn, apogee_star, {
            "source_id": left, "apogee_id": np.array(["2M0", "2M1", "2M2", "2M0"], "S"),
            "target_id": np.array(list("cabd"), "S"), "apstar_id": np.array(list("cabd"), "S"),
            "data_release": np.array(["dr14"] * N, "S"),
            "field": np.array(["=1+1", "", "a,\"b\"", "@x"], "S"),
            "nvisits": np.ma.array([1, 2, 3, 4], "i4", mask=[0, 1, 0, 0]),
            "starflag": np.ma.array([1 << 62, 0, 5, 7], "i8", mask=[0, 0, 1, 0]),
            "is_primary": np.array([True, True, True, False]),
        })  # fmt: skip
        upsert_arrays(conn, sdss_spectrum, {
            "source_id": right, "plate": np.full(N, 8954, "i4"), "mjd": np.full(N, 57453, "i4"),
            "fiberid": np.arange(N, dtype="i4"), "run2d": np.array(["v5"] * N, "S"),
            "specobjid": np.array([str(BIG), "", str(BIG + 1), "42"], "S"),
            "is_primary": np.ma.array([True, False, True, True], mask=[0, 0, 1, 0]),
        })  # fmt: skip
        teff = [4321.1, np.nan, 1e-30, 5000.0]
        factories.add_label_set(
            conn, "aspcap/dr14", left, {"teff": teff, "teff_err": [25.5, np.nan, np.nan, 0.1],
                                        "fe_h": [-0.1, 0.2, 1 / 3, np.nan]},
            flags=[1, 0, 1 << 40, 0], description="ASPCAP labels of DR14",
        )  # fmt: skip
        labels.register_flags(conn, "aspcap/dr14", {0: ("TEFF_WARN", "Teff is doubtful")})
        factories.add_label_set(conn, "sspp/dr12", right, {"teff": [4400.0] * N})
        crossmatch_id = factories.add_matches(conn, left, right)
        factories.add_sample(conn, "clean", crossmatch_id, left, right, star[owner])
    return {"left": left, "right": right, "owner": owner, "teff": np.float32(teff)}


def written(db: Database, what: str | Selection, path: Path, **kw: bool) -> Path:
    """The path of what was exported to it."""
    with db.reader() as conn:
        export(conn, what, path, **kw)
    return path


def database_values(db: Database, what: str | Selection) -> dict[str, list[Any]]:
    """What the database holds, as files hold it: beyond 64 bits, times and lists as text."""
    with db.reader() as conn:
        selection = select_for_export(conn, what) if isinstance(what, str) else what
        columns = columns_of(conn, selection)
        query = ordered_query(selection, columns, {c.name: f'q."{c.name}"' for c in columns})
        rows = conn.execute(sa.text(query)).all()
    return {c.name: [_as_held(getattr(r, c.name), c.kind) for r in rows] for c in columns}


def _as_held(value: Any, kind: str) -> Any:
    """A value of the database as files hold it; JSON stays what it is."""
    if value is None or isinstance(value, bool | int | str | dict | list):
        return value
    if kind == "float32":
        return float(np.float32(value))
    if kind == "text":
        return f"{value:%Y-%m-%dT%H:%M:%S.%fZ}" if hasattr(value, "year") else str(value)
    return value


def as_python(path: Path) -> dict[str, list[Any]]:
    """The columns of a file as lists in which None is NULL, read by somebody else's program."""
    if path.suffix == ".parquet":
        frame = pd.read_parquet(path, dtype_backend="numpy_nullable")
        return {c: [None if v is pd.NA else v for v in frame[c].tolist()] for c in frame}
    if path.suffix == ".csv":
        return _csv_as_python(path)
    if path.suffix == ".vot":  # Astropy reads texts that are NULL as empty
        table = votable.parse(path, verify="exception").get_first_table().to_table()
    elif path.suffix == ".fits":
        with fits.open(path, logical_as_bytes=True) as file:  # else NULL reads as False
            table = Table.read(file[1])
            table = Table(
                {c: _logicals(table[c], file[1].columns[c].format) for c in table.colnames}
            )
    else:
        table = Table.read(path)
    return {
        c: [None if v is np.ma.masked or v == "" else getattr(v, "item", lambda v=v: v)()
            for v in table[c]]
        for c in table.colnames
    }  # fmt: skip


def _logicals(column: Any, form: str) -> Any:
    """A column of FITS as it is, or its letters as logicals."""
    if form != "L":
        return column
    values = [{"T": True, "F": False}.get(str(v)) for v in column]
    return np.ma.array([bool(v) for v in values], mask=[v is None for v in values])


def _csv_as_python(path: Path) -> dict[str, list[Any]]:
    """The columns of a CSV file, whose types its sidecar says."""
    convert: dict[str, Callable[[str], Any]] = {
        "bool": {"true": True, "false": False}.__getitem__, "text": str, "float64": float,
        "float32": lambda text: float(np.float32(text)),
        "int16": int, "int32": int, "int64": int,
    }  # fmt: skip
    schema = json.loads(path.with_name(path.name + ".schema.json").read_text())
    types = {c["name"]: convert[c["type"]] for c in schema["columns"]}
    table = Table.read(path, format="ascii.csv", converters={"*": [convert_numpy(str)]})
    return {
        c: [None if v is np.ma.masked or v == "" else types[c](str(v)) for v in table[c]]
        for c in table.colnames
    }
