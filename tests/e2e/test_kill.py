"""Kill -9 at random times, five in a row per job: what is resumed ends like what never stopped.

The kills and both digests are printed (``pytest -s``), with `status` in the middle of a chunk,
after the kill, and after the last resume.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from catalog.files.identity import file_identity
from catalog.store.db import Database, open_database
from jobs.engine.params import digest
from tests.conftest import cloned
from tests.support import start_job
from tests.support.content import content_digests
from tests.support.processes import Started, command

SUPPORT = Path(__file__).resolve().parents[2] / "tests" / "support"
PATIENCE = 90.0  # seconds until a process that does not get anywhere fails the test


@dataclass(frozen=True)
class Case:
    """A job in small chunks, and what must be undone in the survey so that it has work."""

    kind: str
    params: dict[str, Any]
    undo: tuple[str, ...] = ()
    delay_s: float = 0.03  # longest time from a commit that is waited for to the kill


CASES = {
    "ingest": Case("ingest apogee", {"format": "apogee", "release": "dr14", "rows_per_chunk": 1}),
    "crossmatch": Case(
        "crossmatch", {"chunk_order": 3},
        ("star_link", "sample_member", "sample", "match", "match_coverage", "crossmatch"),
    ),
    "normalize": Case("normalize", {"batch": 1}, ("normalized_spectrum",)),
    "train": Case(
        "train",
        {"name": "net", "preset": "default", "sample": "clean", "folds": 16, "epochs": 10,
         "members": 1, "components": 4},
        delay_s=0.05,
    ),
    "scan": Case(
        "scan",
        {"name": "scan", "preset": "ridge", "sample": "clean", "folds": 4, "trials": 12,
         "space": {"preset": "ridge",
                   "range": {"components": {"low": 2, "high": 40, "log": True}}}},
        delay_s=0.05,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Catalog:
    """A database, the job under test in it, and the runs that were there before."""

    db: Database
    case: Case
    params: dict[str, Any]
    before: int
    launched: list[Started] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.db.engine.url.render_as_string(hide_password=False)

    @property
    def start(self) -> tuple[str, str, str]:
        """Arguments of `start_job`."""
        return self.url, self.case.kind, json.dumps(self.params)

    def progress(self) -> tuple[str, int, int]:
        """State of the newest run, its chunks done, and all of them."""
        query = """SELECT state, chunks_done, chunks FROM job_progress
                   WHERE kind = :kind AND run_id > :before ORDER BY run_id DESC LIMIT 1"""
        with self.db.engine.connect() as conn:
            row = conn.execute(
                sa.text(query), {"kind": self.case.kind, "before": self.before}
            ).first()
        return ("none", 0, 0) if row is None else (row[0], row[1], row[2])

    def launch(self) -> Started:
        """`crosslabel resume`, or the job itself while no run of it is open."""
        if self.progress()[0] in ("running", "paused"):
            process = command("--database-url", self.url, "resume")
        else:
            process = Started(start_job.main, *self.start)
        self.launched.append(process)
        return process

    def status(self, when: str) -> str:
        process = command("--database-url", self.url, "status", "--last", "1")
        self.launched.append(process)
        out = process.wait(PATIENCE)
        assert process.returncode == 0, out
        line = [x for x in out.splitlines() if self.case.kind in x][-1]
        print(f"  status {when}: {' '.join(line.split())}")
        return line


@contextmanager
def catalog(
    name: str, server_url: sa.URL, admin: sa.Engine, template: str, survey_template: str
) -> Iterator[Catalog]:
    """The survey in a database of its own, as far as the job needs it done."""
    case = CASES[name]
    params = dict(case.params)
    survey = open_database(server_url.set(database=survey_template))
    with survey.engine.connect() as conn:
        file = conn.scalar(sa.text("SELECT path FROM input_file WHERE kind = 'apogee'"))
    survey.engine.dispose()
    if name == "ingest":
        params |= {"paths": [file], "digests": [file_identity(Path(file)).sha256]}
    source = template if name == "ingest" else survey_template
    with cloned(server_url, admin, source) as db:
        with db.begin() as conn:
            for table in case.undo:
                conn.execute(sa.text(f"DELETE FROM {table}"))
            before = conn.scalar(sa.text("SELECT coalesce(max(run_id), 0) FROM job_run"))
        made = Catalog(db, case, params, before)
        try:
            yield made
        finally:
            for process in made.launched:
                process.close()


def wait_until(process: Started, ready: Callable[[], bool]) -> None:
    """Wait for something that a process brings about, which must not end before."""
    deadline = time.monotonic() + PATIENCE
    while not ready():
        if process.returncode is not None:
            raise AssertionError(f"it ended ({process.returncode}): {process.output()}")
        assert time.monotonic() < deadline, "it does not get anywhere"
        time.sleep(0.005)


def kill(process: Started) -> None:
    process.kill()
    assert process.returncode == -signal.SIGKILL


def kill_at_random(cat: Catalog, more: int, draw: random.Random) -> str:
    """Kill once so many chunks more are done, after a random time; says where that was."""
    chunks = cat.progress()[1] + more
    process = cat.launch()
    wait_until(process, lambda: cat.progress()[1] >= chunks)
    delay = draw.uniform(0, cat.case.delay_s)
    time.sleep(delay)
    kill(process)
    return f"{delay * 1000:.0f} ms after the commit of chunk {chunks}"


def kill_while_starting(cat: Catalog, draw: random.Random) -> str:
    """Kill a new Python at a random time of its beginning, perhaps before there is a run."""
    process = subprocess.Popen(
        [sys.executable, str(SUPPORT / "start_job.py"), *cat.start],
        env=os.environ | {"PYTHONPATH": str(SUPPORT.parents[1])},
    )
    end = time.monotonic() + draw.uniform(0.1, 1.5)
    while time.monotonic() < end and cat.progress()[1] < 2:
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    return "while starting"


def kill_in_a_chunk(cat: Catalog) -> str:
    """Kill when a chunk's rows are written and its mark is not: it waits for our lock."""
    query = """SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
               WHERE relation = to_regclass('job_chunk') AND NOT granted
                 AND a.datname = current_database() AND backend_xid IS NOT NULL"""

    def written_but_not_marked() -> bool:
        with cat.db.engine.connect() as other:  # a transaction sees one state of the activity
            return other.scalar(sa.text(query)) == 1

    with cat.db.engine.connect() as conn:
        conn.execute(sa.text("LOCK TABLE job_chunk IN SHARE MODE"))
        process = cat.launch()
        wait_until(process, written_but_not_marked)
        assert "running" in cat.status("in the middle of a chunk")
        kill(process)
        conn.rollback()
    assert "interrupted" in cat.status("after the kill")
    return "inside an uncommitted chunk"


def kill_five_times(cat: Catalog, total: int, draw: random.Random) -> list[int]:
    """Kill and go on, five times in a row; the chunks done after each kill."""
    more = [draw.randint(1, max(1, total // 6)) for _ in range(3)]
    kills: list[Callable[[], str]] = [
        lambda: kill_while_starting(cat, draw),
        lambda: kill_at_random(cat, more[0], draw),
        lambda: kill_in_a_chunk(cat),
        lambda: kill_at_random(cat, more[1], draw),
        lambda: kill_at_random(cat, more[2], draw),
    ]
    done = []
    for number, one in enumerate(kills, start=1):
        where = one()
        state, chunks, _ = cat.progress()
        print(f"  kill {number} {where}: {chunks} of {total} chunks done, run {state}")
        assert state in ("none", "running")
        done.append(chunks)
    return done


@pytest.mark.parametrize("name", CASES)
def test_killed_five_times_it_ends_like_one_that_never_was(
    name: str, server_url: sa.URL, admin: sa.Engine, template: str, survey_template: str
) -> None:
    arguments = (name, server_url, admin, template, survey_template)
    with catalog(*arguments) as cat:
        whole = cat.launch()
        out = whole.wait(PATIENCE)
        assert whole.returncode == 0, out
        expected, (state, done, total) = content_digests(cat.db), cat.progress()
        assert (state, done) == ("succeeded", total)
    print(f"\n{name}: an uninterrupted run of {total} chunks ends with {digest(expected)}")
    with catalog(*arguments) as cat:
        done_after = kill_five_times(cat, total, random.Random(20180901))
        assert done_after == sorted(done_after), "nothing that was committed is lost"
        assert sum(0 < n < total for n in done_after) >= 3
        assert content_digests(cat.db) != expected
        last = cat.launch()
        out = last.wait(PATIENCE)
        assert last.returncode == 0, out
        assert "succeeded" in cat.status("after the last resume")
        found = content_digests(cat.db)
        print(f"  resumed, it ends with {digest(found)}")
        assert found == expected
        again = cat.launch()
        out = again.wait(PATIENCE)
        assert again.returncode == 0, out
        assert content_digests(cat.db) == expected, "a second run changes nothing"
