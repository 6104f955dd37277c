"""What years of cron leave: old runs, replaced refusals and editions go; what is needed stays."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from catalog.store.db import Database
from catalog.surveys.simulate import NAMES, write_survey
from jobs.ingest.catalogs import ingest_catalog
from tests.conftest import Cli


@pytest.fixture
def cli(survey: Database, command_line: Cli):
    return partial(command_line, survey.engine.url)


def age(db: Database, days: int) -> None:
    """Let all that is there have happened some days earlier."""
    with db.begin() as conn:
        conn.execute(sa.text("SET session_replication_role = replica"))  # past the guards
        for column in (
            "job_run.started_at", "job_run.finished_at", "label_set.published_at",
            "quarantine.first_seen", "sample.created_at",
        ):  # fmt: skip
            table, name = column.split(".")
            conn.execute(sa.text(f"UPDATE {table} SET {name} = {name} - interval '{days} days'"))
        conn.execute(sa.text("SET session_replication_role = origin"))


def counts(db: Database) -> dict[str, Any]:
    with db.reader() as conn:
        return {
            "runs": conn.scalar(sa.text("SELECT count(*) FROM job_run")),
            "refusals": conn.scalar(sa.text("SELECT count(*) FROM quarantine")),
            "editions": list(
                conn.scalars(sa.text("SELECT name || '@' || edition FROM label_set ORDER BY 1"))
            ),
        }


@pytest.fixture
def years(survey: Database, tmp_path: Path) -> Database:
    """The survey with two newer editions of both label sets, each of them a year younger."""
    for seed in (5, 6):
        age(survey, 400)
        write_survey(tmp_path / str(seed), n_matched=10, n_apogee=40, n_sspp=30, seed=seed)
        for kind, name, release in (
            ("apogee", NAMES["dr14"], "dr14"), ("sspp", "ssppOut-dr12.fits", "dr12"),
        ):  # fmt: skip
            ingest_catalog(survey, kind, [tmp_path / str(seed) / name], release)
    return survey


def test_a_dry_run_counts_and_changes_nothing(years: Database, cli) -> None:
    before = counts(years)
    code, out, err = cli("db", "prune", "--older-than", "30", "--dry-run", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["dry_run"] is True
    assert told["editions"]
    assert told["runs"] > 0
    assert counts(years) == before
    code, out, _ = cli("db", "prune", "--older-than", "30", "--json")
    assert code == 0
    done = json.loads(out)
    assert done["editions"] == told["editions"]
    after = counts(years)
    assert set(before["editions"]) - set(after["editions"]) == set(done["editions"])
    assert before["runs"] - after["runs"] == done["runs"]
    again = json.loads(cli("db", "prune", "--older-than", "30", "--json")[1])
    assert (again["runs"], again["refusals"], again["editions"]) == (0, 0, [])


def test_what_something_rests_on_and_the_newest_stay(years: Database, cli) -> None:
    """The samples rest on the first edition of ASPCAP; nothing rests on the second."""
    assert cli("db", "prune", "--older-than", "30")[0] == 0
    left = counts(years)["editions"]
    assert "aspcap/dr14@1" in left
    assert "aspcap/dr14@2" not in left
    assert {"aspcap/dr14@3", "sspp/dr12@3"} <= set(left)
    with years.reader() as conn:
        kinds = conn.execute(
            sa.text("SELECT kind, target, count(*) FROM job_run GROUP BY 1, 2")
        ).all()
        assert {kind for kind, _, _ in kinds} >= {"ingest apogee", "crossmatch", "sample"}
        orphans = "SELECT count(*) FROM label_set l LEFT JOIN job_run r USING (run_id) "
        assert (
            conn.scalar(sa.text(f"{orphans} WHERE l.run_id IS NOT NULL AND r.run_id IS NULL")) == 0
        )
    assert cli("status")[0] == 0


def test_young_things_and_open_runs_stay(years: Database, cli) -> None:
    before = counts(years)
    assert "removed 0 runs" in cli("db", "prune", "--older-than", "3650")[1]
    assert counts(years) == before
    with years.begin() as conn:
        conn.execute(sa.text("UPDATE job_run SET state = 'paused' WHERE run_id = "
                             "(SELECT min(run_id) FROM job_run)"))  # fmt: skip
        first = conn.scalar(sa.text("SELECT min(run_id) FROM job_run"))
    cli("db", "prune", "--older-than", "0")
    with years.reader() as conn:
        assert conn.scalar(sa.text("SELECT min(run_id) FROM job_run")) == first


def test_refusals_of_replaced_files_go(years: Database, cli) -> None:
    with years.begin() as conn:
        for path, sha in (("/a.fits", "1"), ("/a.fits", "2"), ("/b.fits", "3")):
            file = conn.scalar(
                sa.text("INSERT INTO input_file (path, size, sha256, kind) "
                        "VALUES (:p, 1, :s, 'spectrum') RETURNING input_file_id"),
                {"p": path, "s": sha},
            )  # fmt: skip
            conn.execute(
                sa.text("INSERT INTO quarantine (input_file_id, item_key, reason_code, detail) "
                        "VALUES (:f, '', 'NOT_FITS', 'x')"), {"f": file},
            )  # fmt: skip
    age(years, 100)
    before = counts(years)["refusals"]
    code, out, _ = cli("db", "prune", "--older-than", "90", "--json")
    assert code == 0
    assert json.loads(out)["refusals"] >= 1
    with years.reader() as conn:
        left = conn.scalars(
            sa.text("SELECT f.path || f.sha256 FROM quarantine JOIN input_file f "
                    "USING (input_file_id) WHERE f.path IN ('/a.fits', '/b.fits') ORDER BY 1")
        ).all()  # fmt: skip
    assert left == ["/a.fits2", "/b.fits3"], "the newest of each file is a record of what is wrong"
    assert counts(years)["refusals"] < before
