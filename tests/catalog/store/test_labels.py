"""Label sets: editions are built, published once, and never change afterwards."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from catalog.errors import CrosslabelError, ExitCode, UsageError
from catalog.store import labels
from catalog.store.bulk import upsert_arrays
from catalog.store.db import Database
from catalog.store.schema import prediction_detail, source, stellar_label
from jobs.engine import ledger

TABLES = ("stellar_label", "prediction_detail")


def new_run(db: Database, target: str = "t") -> int:
    with db.begin() as conn:
        return ledger.start_run(conn, "test", target, {}, "0", []).run_id


def new_sources(db: Database, n: int) -> np.ndarray:
    with db.begin() as conn:
        upsert_arrays(
            conn, source,
            {
                "survey": np.full(n, b"sdss"), "survey_key": np.arange(n).astype("S8"),
                "ra": np.arange(n, dtype=float), "dec": np.zeros(n),
                "healpix29": np.arange(n),
            },
            key=["survey", "survey_key"],
        )  # fmt: skip
        rows = conn.execute(sa.select(source.c.source_id).order_by(source.c.source_id))
        return np.array(rows.scalars().all())


def build(db: Database, name: str, run_id: int, ids: np.ndarray, teff: float) -> int:
    """A building edition with one label row and one detail row per source."""
    with db.begin() as conn:
        edition = labels.begin_edition(conn, name, "prediction", run_id=run_id)
        key = {"label_set_id": np.full(len(ids), edition), "source_id": ids}
        upsert_arrays(conn, stellar_label, key | {"teff": np.full(len(ids), teff, "f4")})
        upsert_arrays(conn, prediction_detail, key | {"chi2": np.ones(len(ids), "f4")})
    return edition


@pytest.fixture
def published(db: Database) -> tuple[int, np.ndarray]:
    """The id of a complete edition of two sources, which are the first of three."""
    ids = new_sources(db, 3)
    edition = build(db, "aspcap/dr14", new_run(db), ids[:2], 5000.0)
    with db.begin() as conn:
        assert labels.publish(conn, edition) == 2
    return edition, ids


def test_editions_count_up_and_names_find_the_newest(db: Database) -> None:
    ids = new_sources(db, 1)
    run = new_run(db)
    for teff in (1.0, 2.0, 3.0):
        edition = build(db, "net", run, ids, teff)
        with db.begin() as conn:
            labels.publish(conn, edition)
    build(db, "net", run, ids, 4.0)  # still building
    with db.reader() as conn:
        assert labels.find_label_set(conn, "net").full_name == "net@3"
        assert labels.find_label_set(conn, "net@1").edition == 1
        assert [s.edition for s in labels.list_label_sets(conn)] == [3]
        assert [s.edition for s in labels.list_label_sets(conn, all_editions=True)] == [3, 2, 1]
        found = labels.find_label_set(conn, "net@2")
        assert (found.status, found.kind, found.n_rows) == ("complete", "prediction", 1)


def test_what_is_not_published_cannot_be_found(
    db: Database, published: tuple[int, np.ndarray]
) -> None:
    build(db, "aspcap/dr14", new_run(db, "next"), published[1], 4.0)
    with db.reader() as conn:
        for name in ("aspcap/dr14@2", "aspcap/dr14@x", "aspcap/dr14@1@1", "other", ""):
            with pytest.raises(UsageError, match=r"Label sets: aspcap/dr14") as caught:
                labels.find_label_set(conn, name)
            assert caught.value.exit_code == ExitCode.USAGE


def test_readers_see_complete_editions_only(db: Database) -> None:
    ids = new_sources(db, 2)
    edition = build(db, "net", new_run(db), ids, 5000.0)
    views = ("current_label_set", "stellar_label_long")

    def seen() -> list[int]:
        with db.reader() as conn:
            return [conn.scalar(sa.text(f"SELECT count(*) FROM {v}")) for v in views]

    assert seen() == [0, 0]
    with db.reader() as conn:
        assert labels.list_label_sets(conn) == []
        with pytest.raises(DBAPIError, match=r"no complete label set net"):
            conn.execute(sa.text("SELECT label_set_id_of('net')"))
    with db.begin() as conn:
        labels.publish(conn, edition)
        assert seen() == [0, 0], "nothing before the commit"
    assert seen() == [1, 2]


def test_an_edition_is_published_once(db: Database, published: tuple[int, np.ndarray]) -> None:
    for edition in (published[0], 10**9):
        with pytest.raises(CrosslabelError, match=r"cannot be published"), db.begin() as conn:
            labels.publish(conn, edition)


WRITES = (
    "INSERT INTO {table} (label_set_id, source_id) VALUES ({complete}, {free})",
    "UPDATE {table} SET source_id = {free} WHERE label_set_id = {complete} AND source_id = {used}",
    "DELETE FROM {table} WHERE label_set_id = {complete}",
    # rows moved in, and out
    "UPDATE {table} SET label_set_id = {complete}, source_id = {free} "
    "WHERE label_set_id = {building} AND source_id = {used}",
    "UPDATE {table} SET label_set_id = {building}, source_id = {free} "
    "WHERE label_set_id = {complete} AND source_id = {used}",
)


def test_complete_editions_refuse_every_write(
    db: Database, published: tuple[int, np.ndarray]
) -> None:
    complete, ids = published
    building = build(db, "aspcap/dr14", new_run(db, "next"), ids[:2], 1.0)
    names = {"complete": complete, "building": building, "used": ids[0], "free": ids[2]}
    for table in TABLES:
        for query in WRITES:
            refused = pytest.raises(DBAPIError, match=r"aspcap/dr14@1 is complete: its rows")
            with db.engine.connect() as conn, refused as caught:
                conn.execute(sa.text(query.format(table=table, **names)))
            assert isinstance(caught.value.orig, psycopg.errors.RaiseException)
            assert "publish a new edition" in caught.value.orig.diag.message_hint
        with db.reader() as conn:
            count = sa.text(f"SELECT count(*) FROM {table} WHERE label_set_id = :s")
            assert conn.scalar(count, {"s": complete}) == 2


@pytest.mark.parametrize("emptied", [*TABLES, "label_set", "source"])
def test_tables_with_complete_editions_are_not_emptied(
    db: Database, published: tuple[int, np.ndarray], emptied: str
) -> None:
    refused = pytest.raises(DBAPIError, match=r"aspcap/dr14@1 is complete: its rows never change")
    with db.engine.connect() as conn, refused:
        conn.execute(sa.text(f"TRUNCATE {emptied} CASCADE"))


@pytest.mark.parametrize(
    "change", ["status = 'building'", "name = 'other'", "edition = 7", "kind = 'out_of_fold'"]
)
def test_complete_editions_stay_what_they_are(
    db: Database, published: tuple[int, np.ndarray], change: str
) -> None:
    query = f"UPDATE label_set SET {change} WHERE label_set_id = :id"
    with db.engine.connect() as conn:
        refused = pytest.raises(DBAPIError, match=r"aspcap/dr14@1 is complete: it keeps")
        with refused, conn.begin():
            conn.execute(sa.text(query), {"id": published[0]})
        conn.execute(sa.text("UPDATE label_set SET description = 'as before'"))


def test_a_complete_edition_goes_whole(db: Database, published: tuple[int, np.ndarray]) -> None:
    with db.begin() as conn:
        conn.execute(
            sa.text("DELETE FROM label_set WHERE label_set_id = :id"), {"id": published[0]}
        )
        for table in TABLES:
            assert conn.scalar(sa.text(f"SELECT count(*) FROM {table}")) == 0
        for table in TABLES:  # nothing is left to keep
            conn.execute(sa.text(f"TRUNCATE {table}"))


def test_building_editions_take_every_write(
    db: Database, published: tuple[int, np.ndarray]
) -> None:
    _, ids = published
    building = build(db, "aspcap/dr14", new_run(db, "next"), ids[:2], 1.0)
    queries = (
        "INSERT INTO {table} (label_set_id, source_id) VALUES ({building}, {ids[2]})",
        "DELETE FROM {table} WHERE label_set_id = {building} AND source_id = {ids[0]}",
        "UPDATE {table} SET source_id = {ids[0]} "
        "WHERE label_set_id = {building} AND source_id = {ids[1]}",
    )
    with db.begin() as conn:
        for table in TABLES:
            for query in queries:
                sql = query.format(table=table, building=building, ids=ids)
                assert conn.execute(sa.text(sql)).rowcount == 1


def test_an_abandoned_edition_vanishes_with_its_rows(
    db: Database, published: tuple[int, np.ndarray]
) -> None:
    complete, ids = published
    run, other = new_run(db, "mine"), new_run(db, "other")
    build(db, "net", run, ids, 1.0)
    kept = build(db, "kept", other, ids, 1.0)
    with db.begin() as conn:
        assert labels.building_edition(conn, other) == kept
        assert labels.discard_building(conn, run) == 1
        assert labels.discard_building(conn, run) == 0
    with db.reader() as conn:
        for table in TABLES:
            left = conn.execute(sa.text(f"SELECT DISTINCT label_set_id FROM {table} ORDER BY 1"))
            assert left.scalars().all() == [complete, kept]


def test_a_run_that_published_has_nothing_to_discard(
    db: Database, published: tuple[int, np.ndarray]
) -> None:
    with db.begin() as conn:
        run = conn.scalar(sa.text("SELECT run_id FROM label_set"))
        assert labels.discard_building(conn, run) == 0
        assert labels.find_label_set(conn, "aspcap/dr14").n_rows == 2


def test_two_writers_cannot_begin_one_edition(db: Database) -> None:
    run = new_run(db)
    with db.begin() as first:
        labels.begin_edition(first, "net", "survey", run_id=run)
        with db.begin() as second:
            second.execute(sa.text("SET LOCAL lock_timeout = '100ms'"))
            with pytest.raises(DBAPIError, match=r"lock timeout"):
                labels.begin_edition(second, "net", "survey", run_id=run)


def test_flag_meanings(db: Database) -> None:
    bits = {0: ("OUT_OF_DOMAIN", "Unlike the training"), 3: ("LOW_SN", "Low signal")}
    with db.begin() as conn:
        labels.register_flags(conn, "net", bits)
        labels.register_flags(conn, "net", bits | {3: ("LOW_SN", "Low signal to noise")})
        labels.register_flags(conn, "other", {0: ("X", "y")})
    with db.reader() as conn:
        assert labels.flag_meanings(conn, "net") == {
            0: ("OUT_OF_DOMAIN", "Unlike the training"), 3: ("LOW_SN", "Low signal to noise"),
        }  # fmt: skip
        assert labels.flag_meanings(conn, "nobody") == {}
