"""A small real job for the tests of the engine: it writes stars, and can be told to go wrong.

As a program (``python star_job.py URL PARAMS``) it runs as a command does: one line per event on
standard output, and the exit code of the contract.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import sqlalchemy as sa

from catalog.config import parse_url
from catalog.errors import BadInputError, ChunkFailed, CrosslabelError
from catalog.store import labels
from catalog.store.bulk import upsert_arrays
from catalog.store.db import open_database
from catalog.store.schema import star
from jobs.engine import watchdog
from jobs.engine.job import Job
from jobs.engine.ledger import Run
from jobs.engine.params import NOT_HASHED, from_dict
from jobs.engine.runner import run_job


@dataclass(frozen=True)
class StarParams:
    """Chunks ``c0 c1 ...`` of a few stars each, and where the job goes wrong."""

    chunks: int = 4
    stars: int = 3  # in each chunk
    edition: str = ""  # also build a label set of this name
    ordered: bool = field(default=False, metadata=NOT_HASHED)
    delay_s: float = field(default=0.0, metadata=NOT_HASHED)  # of computing a chunk
    empty: tuple[str, ...] = field(default=(), metadata=NOT_HASHED)  # chunks without stars
    bad: tuple[str, ...] = field(default=(), metadata=NOT_HASHED)  # chunks that fail
    crash: tuple[str, ...] = field(default=(), metadata=NOT_HASHED)  # raise while computing
    die: str = field(default="", metadata=NOT_HASHED)  # chunk in whose write the process dies
    refuse: bool = field(default=False, metadata=NOT_HASHED)  # bad input found at the end
    stuck: str = field(default="", metadata=NOT_HASHED)  # in c1: "python", "compiled" or "server"
    grace_s: float = field(default=8.0, metadata=NOT_HASHED)  # after a signal, as a program


#: What does not end by itself; compiled code never looks for signals, as a step of JAX does not.
_STUCK: dict[str, Callable[[sa.Connection], object]] = {
    "python": lambda conn: time.sleep(600),
    "compiled": lambda conn: hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1),
    "server": lambda conn: conn.execute(sa.text("SELECT pg_sleep(600)")),
}


def star_job(params: StarParams) -> Job:
    """The job; a chunk is planned while the database has not all of its stars."""

    def keys_of(chunk: str) -> list[str]:
        return [] if chunk in params.empty else [f"{chunk} {i}" for i in range(params.stars)]

    def plan(conn: sa.Connection) -> Sequence[str]:
        have = set(conn.execute(sa.select(star.c.star_key)).scalars())
        every = [f"c{i}" for i in range(params.chunks)]
        new = not have
        return [c for c in every if (new and c in params.empty) or not have.issuperset(keys_of(c))]

    def compute(conn: sa.Connection, chunk: str) -> list[str]:
        say("compute", chunk)
        time.sleep(params.delay_s)
        if chunk == "c1" and params.stuck:
            _STUCK[params.stuck](conn)
        if chunk in params.crash:
            raise RuntimeError(f"a defect met in {chunk}")
        if chunk in params.bad:
            raise ChunkFailed(f"the input of {chunk} is damaged", "Mend it")
        return [*keys_of(chunk), chunk]

    def write(conn: sa.Connection, run: Run, batch: list[str]) -> int:
        *keys, chunk = batch
        rows = upsert_arrays(conn, star, {"star_key": np.array(keys, "S")}, key=["star_key"])
        if chunk == params.die:
            say("die", chunk)
            os.kill(os.getpid(), signal.SIGKILL)
        return rows

    def begin(conn: sa.Connection, run: Run) -> int:
        if params.edition:
            labels.begin_edition(conn, params.edition, "survey", run_id=run.run_id)
        return 0

    def finish(conn: sa.Connection, run: Run) -> int:
        if params.edition:
            labels.publish(conn, labels.building_edition(conn, run.run_id))
        if params.refuse:
            raise BadInputError("TOO_MANY_BAD_ROWS", "the file is bad as a whole")
        return 0

    return Job(
        kind="stars", target="all stars", params=params, plan=plan, compute=compute, write=write,
        begin=begin, finish=finish, ordered=params.ordered,
        abandon=lambda conn, run: labels.discard_building(conn, run.run_id),
    )  # fmt: skip


def say(*words: str) -> None:
    """Tell the test where the process is."""
    if __name__ == "__main__":
        print(*words, flush=True)


def main() -> int:
    """Run the job on a database, as a command would."""
    url, params = sys.argv[1:]
    db = open_database(parse_url(url))
    wanted = from_dict(StarParams, json.loads(params))
    watchdog.GRACE_S = wanted.grace_s
    try:
        summary = run_job(star_job(wanted), db)
    except CrosslabelError as exc:
        say("error", str(exc))
        return int(exc.exit_code)
    say("end", summary.state, str(summary.rows_written))
    return summary.exit_code


if __name__ == "__main__":
    sys.exit(main())
