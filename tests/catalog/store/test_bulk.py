"""Bulk writes and reads: whatever goes in comes out, and only real changes are written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sqlalchemy.exc import DBAPIError

from catalog.store import schema
from catalog.store.bulk import fetch_arrays, pack_copy, stage, upsert, upsert_arrays
from catalog.store.db import Database, open_database
from catalog.store.schema import apogee_star, sdss_spectrum, source

FLOATS = {"f4": 32, "f8": 64}
ROWS = st.integers(0, 20)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@pytest.fixture
def conn(server_url: sa.URL) -> Iterator[sa.Connection]:
    """A connection whose transaction never commits; the examples of a property share it."""
    db = open_database(server_url)
    with db.engine.connect() as connection:
        yield connection
    db.engine.dispose()


def column(kind: str, n: int) -> st.SearchStrategy[np.ndarray]:
    """An array of ``n`` values of a dtype, with NULLs in the way of that dtype."""
    if kind in FLOATS:
        return hnp.arrays(kind, n, elements=st.floats(width=FLOATS[kind], allow_nan=True))
    if kind == "S":
        texts = st.lists(TEXT, min_size=n, max_size=n)
        return texts.map(lambda v: np.array([s.encode() for s in v], "S"))
    if kind in ("str", "bytes"):
        one = st.none() | (TEXT if kind == "str" else st.binary(max_size=12))
        return st.lists(one, min_size=n, max_size=n).map(lambda v: np.array([*v, None], "O")[:-1])
    plain = hnp.arrays(kind, n)
    masks = hnp.arrays(bool, n)
    return st.builds(np.ma.MaskedArray, plain, masks)


def expected(values: np.ndarray) -> list[Any]:
    """What a column of these values holds, NULL as None; floats as their bits."""
    out = []
    for value in values.tolist():
        if value is None or (value == b"" and values.dtype.kind == "S"):
            out.append(None)
        elif isinstance(value, float):
            out.append(None if np.isnan(value) else value.hex())  # also the sign of zero
        else:
            out.append(value.decode() if values.dtype.kind == "S" else value)
    return out


def stored(conn: sa.Connection, table: str, name: str, dtype: np.dtype[Any]) -> list[Any]:
    query = sa.text(f'SELECT "{name}" FROM "{table}" ORDER BY row_number')
    values = conn.execute(query).scalars().all()
    # A real comes as the shortest decimal that is the same float32, not the same float64.
    return [float(dtype.type(v)).hex() if isinstance(v, float) else v for v in values]


@st.composite
def tables(draw: st.DrawFn, kinds: list[str]) -> dict[str, np.ndarray]:
    """Columns of one length: the row's number, and some of these kinds."""
    n = draw(ROWS)
    chosen = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=6))
    columns = {f"{k} {i}": draw(column(k, n)) for i, k in enumerate(chosen)}
    return {"row_number": np.arange(n)} | columns


MANY = settings(
    max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip


def target(columns: dict[str, Any]) -> sa.Table:
    """A table with a column for each array of objects: blobs for ``bytes``, text for the others."""
    kinds = {name: sa.LargeBinary if name.startswith("bytes") else sa.Text for name in columns}
    return sa.Table("t", sa.MetaData(), *(sa.Column(name, kind) for name, kind in kinds.items()))


@MANY
@given(columns=tables(["f4", "f8", "i2", "i4", "i8", "?", "S"]))
def test_arrays_come_back_from_a_table(conn: sa.Connection, columns: dict[str, Any]) -> None:
    stage(conn, "round trip", columns)
    for name, values in columns.items():
        assert stored(conn, "round trip", name, values.dtype) == expected(values), name


@MANY
@given(columns=tables(["f4", "f8", "i2", "i4", "i8", "?", "S", "str", "bytes"]))
def test_arrays_of_python_objects_come_back(conn: sa.Connection, columns: dict[str, Any]) -> None:
    n = len(columns["row_number"])
    columns["object"] = np.array([*[f"{i} é" for i in range(n)], None], "O")[:-1]
    stage(conn, "round trip", columns, target(columns))
    for name, values in columns.items():
        assert stored(conn, "round trip", name, values.dtype) == expected(values), name


@pytest.mark.parametrize("kind", [">f4", ">f8", ">i2", ">i4", ">i8"])
def test_big_endian_and_strided_arrays(conn: sa.Connection, kind: str) -> None:
    """As they come out of FITS tables."""
    values = np.arange(-6, 6).astype(kind)[::2]
    stage(conn, "fits", {"row_number": np.arange(6), "value": values})
    assert conn.execute(
        sa.text("SELECT value FROM fits ORDER BY row_number")
    ).scalars().all() == [-6, -4, -2, 0, 2, 4]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "answer"),
    [
        (np.ma.MaskedArray([1.5, 2.5], [True, False]), [None, 2.5]),
        (np.ma.MaskedArray([np.nan, 2.5], [False, False]), [None, 2.5]),
        (np.ma.MaskedArray([b"a", b"bc"], [True, False]), [None, "bc"]),
        (np.ma.MaskedArray([1, 2], [False, True]), [1, None]),
        (np.array([np.inf, -np.inf]), [float("inf"), float("-inf")]),
        (np.array([-(2**63), 2**63 - 1]), [-(2**63), 2**63 - 1]),
        (np.array([b"", "Ångström".encode()]), [None, "Ångström"]),
        (np.array([], "S"), []),
    ],
)
def test_nulls_and_extremes(conn: sa.Connection, values: np.ndarray, answer: list[Any]) -> None:
    for extra in ({}, {"text": np.array([*["x"] * len(values), None], "O")[:-1]}):
        columns = {"row_number": np.arange(len(values)), "value": values} | extra
        stage(conn, "nulls", columns, target(columns))
        found = conn.execute(sa.text("SELECT value FROM nulls ORDER BY row_number")).scalars()
        assert found.all() == answer


@pytest.mark.parametrize("n", [0, 3])
@pytest.mark.parametrize("table", schema.metadata.sorted_tables, ids=str)
def test_columns_without_any_value_have_the_type_of_the_table(
    conn: sa.Connection, table: sa.Table, n: int
) -> None:
    """A type guessed from the values was ``bytea``, and broke each chunk without an SDSS id."""
    columns = {c.name: np.full(n, None) for c in table.columns if "[]" not in str(c.type)}
    stage(conn, "empty", columns, table)
    for name in columns:
        query = f'SELECT pg_typeof("{name}")::text, "{name}" FROM empty'
        kind = table.c[name].type.compile(dialect=conn.dialect).partition("(")[0].lower()
        kind = kind.replace("float", "double precision")
        assert conn.execute(sa.text(query)).all() == [(kind, None)] * n


def test_objects_that_go_to_no_table_are_refused(conn: sa.Connection) -> None:
    with pytest.raises(TypeError, match=r"name the table"):
        stage(conn, "no", {"value": np.array([None, b"x"])}, source)


def test_integers_of_any_size_go_into_their_columns(conn: sa.Connection) -> None:
    ids = [2**64 - 1, None, 5]
    stage(conn, "ids", {"specobjid": np.array(ids, "O")}, sdss_spectrum)
    found = conn.execute(sa.text("SELECT specobjid FROM ids")).scalars()
    assert [None if v is None else int(v) for v in found] == ids


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'a': 2, 'b': 3"):
        pack_copy({"a": np.zeros(2), "b": np.zeros(3)})


@pytest.mark.parametrize("kind", ["U3", "u8", "c16", "f2", "M8[s]"])
def test_dtypes_without_a_column_type_are_refused(conn: sa.Connection, kind: str) -> None:
    with pytest.raises(TypeError, match=r"no column type"):
        stage(conn, "no", {"value": np.zeros(2, kind)})


@pytest.mark.parametrize("text", [b"\xff\xfe", b"a\0b"])
def test_bytes_that_are_no_text_are_refused(db: Database, text: bytes) -> None:
    refused = pytest.raises(psycopg.errors.CharacterNotInRepertoire, match=r"invalid byte")
    with db.begin() as conn, refused:
        stage(conn, "bad", {"value": np.array([text])})


def sources(n: int, **columns: Any) -> dict[str, np.ndarray]:
    """Rows of `source` with keys 0 ... n - 1."""
    return {
        "survey": np.full(n, b"apogee"), "survey_key": np.arange(n).astype("S6"),
        "ra": np.linspace(0, 350, n), "dec": np.zeros(n), "healpix29": np.arange(n),
    } | columns  # fmt: skip


KEY = ["survey", "survey_key"]


def test_an_upsert_counts_only_real_changes(db: Database) -> None:
    rows = sources(10, epoch=np.where(np.arange(10) < 5, np.nan, 2000.0))
    with db.begin() as conn:
        assert upsert_arrays(conn, source, rows, key=KEY) == 10
    with db.begin() as conn:
        assert upsert_arrays(conn, source, rows, key=KEY) == 0
        moved = rows | {"ra": np.where(np.arange(10) == 3, 3.5, rows["ra"])}
        assert upsert_arrays(conn, source, moved, key=KEY) == 1
        more = sources(12, ra=np.resize(moved["ra"], 12))
        assert upsert_arrays(conn, source, more, key=KEY) == 2


def test_an_unchanged_row_is_not_rewritten(db: Database) -> None:
    query = sa.text("SELECT survey_key, ctid::text, xmin::text FROM source ORDER BY 1")
    with db.begin() as conn:
        upsert_arrays(conn, source, sources(5), key=KEY)
        before = conn.execute(query).all()
    with db.begin() as conn:
        upsert_arrays(conn, source, sources(5), key=KEY)
    with db.reader() as conn:
        assert conn.execute(query).all() == before


def test_a_value_goes_and_comes(db: Database) -> None:
    """NULL to value, value to NULL, NULL to NULL."""

    def write(*epochs: float) -> int:
        with db.begin() as conn:
            return upsert_arrays(conn, source, sources(2, epoch=np.array(epochs)), key=KEY)

    assert write(np.nan, 2000.0) == 2
    assert write(2000.0, 2000.0) == 1
    assert write(np.nan, np.nan) == 2
    assert write(np.nan, np.nan) == 0
    with db.reader() as conn:
        assert conn.execute(sa.text("SELECT epoch FROM source")).scalars().all() == [None, None]


def test_columns_that_are_not_given_stay(db: Database) -> None:
    with db.begin() as conn:
        upsert_arrays(conn, source, sources(2, epoch=np.array([2000.0, 2001.0])), key=KEY)
        assert upsert_arrays(conn, source, sources(2, dec=np.ones(2)), key=KEY) == 2
        query = sa.text("SELECT epoch, dec FROM source ORDER BY survey_key")
        assert conn.execute(query).all() == [(2000.0, 1.0), (2001.0, 1.0)]


def test_no_rows_are_no_change(db: Database) -> None:
    with db.begin() as conn:
        assert upsert_arrays(conn, source, sources(0), key=KEY) == 0
        stage(conn, "none", sources(0))
        assert conn.scalar(sa.text("SELECT count(*) FROM none")) == 0


def test_one_copy_fills_two_tables(db: Database) -> None:
    """Unsigned 64-bit ids above 2^63 go as text into numeric(20), and come back exact."""
    ids = ["9223372036854775807", "9223372036854775808", "18446744073709551615"]
    rows = sources(3, survey=np.full(3, b"sdss"), specobjid=np.array(ids, "S"))
    spectra = {"source_id": "s.source_id", "specobjid": "g.specobjid", "plate": "1", "mjd": "2",
               "fiberid": "g.healpix29", "run2d": "'26'"}  # fmt: skip
    for expected_count in (3, 0):
        with db.begin() as conn:
            stage(conn, "g", rows)
            written = {c: f"g.{c}" for c in rows if c != "specobjid"}
            assert upsert(conn, source, written, "g", key=KEY) == expected_count
            joined = "g JOIN source s USING (survey, survey_key)"
            assert upsert(conn, sdss_spectrum, spectra, joined) == expected_count
    with db.reader() as conn:
        query = sa.text("SELECT d.specobjid::text FROM sdss_spectrum d ORDER BY d.specobjid")
        assert conn.execute(query).scalars().all() == ids


def test_a_staging_table_is_private_and_goes_with_its_transaction(db: Database) -> None:
    with db.begin() as one, db.begin() as two:
        for conn, n in ((one, 3), (two, 4)):
            stage(conn, "g", {"x": np.arange(n)})
            stage(conn, "g", {"x": np.arange(n)})  # again in the same transaction
        assert [c.scalar(sa.text("SELECT count(*) FROM g")) for c in (one, two)] == [3, 4]
    with db.begin() as conn:
        assert conn.scalar(sa.text("SELECT to_regclass('g')")) is None


def test_an_invalid_row_writes_nothing(db: Database) -> None:
    with pytest.raises(DBAPIError, match=r"ck_source_position"), db.begin() as conn:
        upsert_arrays(conn, source, sources(3, ra=np.array([1.0, 2.0, 360.0])), key=KEY)
    with db.reader() as conn:
        assert conn.scalar(sa.text("SELECT count(*) FROM source")) == 0


def test_concurrent_upserts_of_the_same_rows_do_not_deadlock(db: Database) -> None:
    """Rows come in opposite orders; the upsert sorts them, so locks are taken in one order."""
    n, errors = 400, []
    barrier = threading.Barrier(2)

    def write(order: int) -> None:
        for turn in range(5):
            ra = np.full(n, float(turn * 2 + (order > 0)))
            rows = {k: v[::order] for k, v in sources(n, ra=ra).items()}
            barrier.wait(timeout=30)
            try:
                with db.begin() as conn:
                    upsert_arrays(conn, source, rows, key=KEY)
            except DBAPIError as exc:
                errors.append(exc)

    threads = [threading.Thread(target=write, args=(order,)) for order in (1, -1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert errors == []
    with db.reader() as conn:
        assert conn.scalar(sa.text("SELECT count(*) FROM source")) == n


TYPES = np.dtype([("a", "f4"), ("b", "f8"), ("c", "i2"), ("d", "i4"), ("e", "i8"), ("f", "?")])
QUERY = """SELECT 1.5::real, 'NaN'::float8, 3::int2, -4::int4, 5::int8, true
           FROM generate_series(1, :n)"""


@pytest.mark.parametrize("n", [0, 1, 1000])
def test_a_query_as_arrays(conn: sa.Connection, n: int) -> None:
    found = fetch_arrays(conn, QUERY, TYPES, {"n": n})
    assert {k: v.dtype for k, v in found.items()} == {k: TYPES[k] for k in TYPES.names or ()}
    assert {len(v) for v in found.values()} == {n}
    for name, value in zip("acdef", (1.5, 3, -4, 5, True), strict=True):
        assert (found[name] == value).all()
    assert np.isnan(found["b"]).all()


@pytest.mark.parametrize("text", ["it's", "100%", "%s %(x)s %%", ':n \\ "q"', "Å"])
def test_parameters_are_literals(conn: sa.Connection, text: str) -> None:
    query = "SELECT 1::int8 AS n WHERE :text = concat(:text, '') AND 5 % 3 = 2"
    found = fetch_arrays(conn, query, np.dtype([("n", "i8")]), {"text": text})
    assert found["n"].tolist() == [1]


@pytest.mark.parametrize(
    "query",
    ["SELECT NULL::int8", "SELECT 1::int8 UNION ALL SELECT NULL",
     # NULLs that add up to the length of whole rows
     "SELECT CASE WHEN i % 7 = 0 THEN 1 END::int8 FROM generate_series(1, 700) AS i"],
)  # fmt: skip
def test_nulls_are_refused(conn: sa.Connection, query: str) -> None:
    with pytest.raises(TypeError, match=r"holds? NULLs"):
        fetch_arrays(conn, query, np.dtype([("n", "i8")]))


@pytest.mark.parametrize(
    "query",
    ["SELECT 1::int4", "SELECT 1::float8", "SELECT now()", "SELECT 'abcdefgh'", "SELECT 1::numeric",
     "SELECT 1::int8, 2::int8", "SELECT ARRAY[1::int8]"],
)  # fmt: skip
def test_other_types_are_refused(conn: sa.Connection, query: str) -> None:
    """Also those of the same width, which the wire format cannot tell apart."""
    with pytest.raises(TypeError, match=r"not \['bigint'\]"):
        fetch_arrays(conn, query, np.dtype([("n", "i8")]))


def test_a_table_through_the_reader(db: Database) -> None:
    with db.begin() as conn:
        upsert_arrays(conn, source, sources(50), key=KEY)
        ids = conn.execute(sa.text("SELECT source_id FROM source ORDER BY 1")).scalars().all()
        star = {"source_id": np.array(ids), "is_primary": np.arange(50) % 2 == 0}
        names = ("apogee_id", "target_id", "apstar_id", "data_release")
        star |= {c: np.full(50, b"x") for c in names}
        assert upsert_arrays(conn, apogee_star, star) == 50
    dtype = np.dtype([("ra", "f8"), ("snr", "f4"), ("is_primary", "?")])
    with db.reader() as conn:
        found = fetch_arrays(
            conn,
            "SELECT ra, coalesce(snr, 'NaN'), is_primary FROM source JOIN apogee_star "
            "USING (source_id) ORDER BY healpix29", dtype,
        )  # fmt: skip
    np.testing.assert_array_equal(found["ra"], np.linspace(0, 350, 50))
    assert np.isnan(found["snr"]).all()
    assert found["is_primary"].sum() == 25
