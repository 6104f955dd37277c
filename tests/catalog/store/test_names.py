"""Names: what can be one, and that no two kinds of things share one."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.store.db import Database
from catalog.store.labels import begin_edition
from catalog.store.names import check_label_set_name, check_name, check_release, check_sample_name
from jobs.engine import ledger


@pytest.fixture
def taken(db: Database) -> Database:
    """A label set ``pred``, one of a survey, and a sample ``clean``."""
    with db.begin() as conn:
        run = ledger.start_run(conn, "k", "t", {}, "h", [])
        begin_edition(conn, "pred", "prediction", run_id=run.run_id)
        begin_edition(conn, "hand/made", "survey", run_id=run.run_id)
        conn.execute(
            sa.text(
                "WITH c AS (INSERT INTO crossmatch (left_spec, right_spec, radius_arcsec) "
                "VALUES ('a', 'b', 1) RETURNING crossmatch_id) "
                "INSERT INTO sample (name, crossmatch_id, preset, params) "
                "SELECT 'clean', crossmatch_id, 'clean', '{}' FROM c"
            )
        )
    return db


@pytest.mark.parametrize("name", ["default", "a/b", "seed-2018/oof", "x" * 100, "1.2+3_4"])
def test_plain_names_are_fine(name: str) -> None:
    check_name(name, "model")


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "a@2", "../x", "-x", "a\n", "a\nb", "\x01", "a'b", "a;b", "%s", ":p", "ünï",
     "x" * 101],
)  # fmt: skip
def test_names_that_commands_could_not_use_are_refused(taken: Database, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a model"):
        check_name(name, "model")
    with pytest.raises(UsageError, match="cannot be the name of a release"):
        check_release(name)
    with taken.reader() as conn, pytest.raises(UsageError, match="cannot be the name of a sample"):
        check_sample_name(conn, name)


def test_release_is_the_last_part_of_a_name() -> None:
    check_release("dr17-synspec_rev1")
    for name in ("a/b", "14"):
        with pytest.raises(UsageError, match="cannot be the name of a release"):
            check_release(name)


@pytest.mark.parametrize("name", ["source", "best_match", "pred", "hand/made"])
def test_a_sample_is_no_table_and_no_label_set(taken: Database, name: str) -> None:
    with taken.reader() as conn, pytest.raises(UsageError, match="table or label set already"):
        check_sample_name(conn, name)


@pytest.mark.parametrize(
    ("name", "kind", "why"),
    [
        ("pred", "survey", "of the kind prediction"),
        ("hand/made", "prediction", "of the kind survey"),
        ("aspcap/dr99", "prediction", "belongs to the labels of a survey"),
        ("sspp/oof", "out_of_fold", "belongs to the labels of a survey"),
        ("clean", "prediction", "name of a sample"),
        ("best_match", "survey", "name of a table"),
        ("spectra", "prediction", "name of a table"),
    ],
)
def test_a_label_set_keeps_its_kind(taken: Database, name: str, kind: str, why: str) -> None:
    with taken.reader() as conn, pytest.raises(UsageError, match=why):
        check_label_set_name(conn, name, kind)


def test_free_names_are_fine(taken: Database) -> None:
    with taken.reader() as conn:
        check_label_set_name(conn, "pred", "prediction")
        check_label_set_name(conn, "aspcap/dr99", "survey")
        check_sample_name(conn, "clean")
