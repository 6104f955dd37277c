"""Signals and other processes: one works, what is asked to stop does so in time."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from catalog.errors import ExitCode, LockedError
from catalog.store.db import Database, is_locked
from jobs.engine.job import RunSummary
from jobs.engine.runner import run_job
from tests.support.star_job import StarParams, star_job

SUPPORT = Path(__file__).resolve().parents[3] / "tests" / "support"
LOCK = "stars all stars"
ENDS = 20.0  # seconds; what should end at once, or after the grace that a test gives


def one(db: Database, query: str) -> Any:
    with db.reader() as conn:
        return conn.scalar(sa.text(query))


def stars(db: Database) -> int:
    return one(db, "SELECT count(*) FROM star")


def chunk_states(db: Database) -> str:
    """States of the chunks in order, by their first letters."""
    return one(db, "SELECT string_agg(left(state, 1), '' ORDER BY ordinal) FROM job_chunk")


def run_states(db: Database) -> list[str]:
    with db.reader() as conn:
        return list(conn.execute(sa.text("SELECT state FROM job_run ORDER BY run_id")).scalars())


def run(db: Database, **params: Any) -> RunSummary:
    return run_job(star_job(StarParams(**params)), db)


@contextmanager
def process(db_url: sa.URL, **params: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that runs the job; killed at the end if it still lives."""
    url = db_url.render_as_string(hide_password=False)
    child = subprocess.Popen(
        [sys.executable, str(SUPPORT / "star_job.py"), url, json.dumps(params)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(SUPPORT.parents[1])},
    )  # fmt: skip
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def wait_for(child: subprocess.Popen[str], line: str) -> None:
    """Read what a process says until it says this."""
    assert child.stdout is not None
    for said in child.stdout:
        if said.strip() == line:
            return
    raise AssertionError(f"the process ended without saying {line!r}")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, ExitCode.SIGTERM), (signal.SIGINT, ExitCode.SIGINT)]
)
def test_a_signal_pauses_the_run_after_the_open_chunk(
    db: Database, db_url: sa.URL, number: int, code: int
) -> None:
    with process(db_url, delay_s=0.5) as child:
        wait_for(child, "compute c1")
        child.send_signal(number)
        out, err = child.communicate(timeout=ENDS)
        assert child.returncode == code
    again = {signal.SIGINT: "press Ctrl-C", signal.SIGTERM: "send the signal"}[number]
    assert err == f"stopping: finishing the open chunk (8 s at most); {again} again to drop it\n"
    assert out.split() == ["end", "paused", "6"]
    assert (stars(db), chunk_states(db), run_states(db)) == (6, "ddpp", ["paused"])
    assert one(db, "SELECT finished_at IS NULL FROM job_run")
    assert run(db).state == "succeeded"
    assert (stars(db), run_states(db)) == (12, ["succeeded"])


def test_a_signal_pauses_a_run_with_a_failed_chunk(db: Database, db_url: sa.URL) -> None:
    with process(db_url, delay_s=0.5, bad=["c0"]) as child:
        wait_for(child, "compute c1")
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=ENDS) == ExitCode.SIGTERM
    assert (chunk_states(db), run_states(db)) == ("fdpp", ["paused"])
    assert run(db).state == "failed"
    assert chunk_states(db) == "fddd"


def test_a_second_signal_ends_the_process_at_once(db: Database, db_url: sa.URL) -> None:
    with process(db_url, delay_s=60.0) as child:
        wait_for(child, "compute c0")
        child.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=0.5)
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=ENDS) == -signal.SIGTERM
    assert (stars(db), chunk_states(db), run_states(db)) == (0, "pppp", ["running"])
    assert run(db).state == "succeeded"


def test_two_processes_never_work_on_one_target(db: Database, db_url: sa.URL) -> None:
    with process(db_url, delay_s=30.0) as first:
        wait_for(first, "compute c0")
        with db.reader() as conn:
            assert is_locked(conn, LOCK)
        with process(db_url) as second:
            out, _ = second.communicate(timeout=20)
            assert second.returncode == ExitCode.LOCKED == 75
        assert "another run is writing stars all stars" in out
        with pytest.raises(LockedError):
            run(db)
        first.kill()
        first.wait()
        # The server notices a dead process when it next looks at the connection.
        for _ in range(200):
            with db.reader() as conn:
                if not is_locked(conn, LOCK):
                    break
    assert run(db).state == "succeeded"
    assert (stars(db), run_states(db)) == (12, ["succeeded"])


def test_a_process_killed_before_the_commit_wrote_nothing(db: Database, db_url: sa.URL) -> None:
    with process(db_url, die="c1") as child:
        wait_for(child, "die c1")
        assert child.wait(timeout=ENDS) == -signal.SIGKILL
    assert (stars(db), chunk_states(db), run_states(db)) == (3, "dppp", ["running"])
    summary = run(db)
    assert (summary.state, summary.chunks_done) == ("succeeded", 4)
    assert stars(db) == 12


@pytest.mark.parametrize("stuck", ["python", "compiled", "server"])
def test_a_chunk_that_does_not_end_is_dropped(db: Database, db_url: sa.URL, stuck: str) -> None:
    with process(db_url, stuck=stuck, grace_s=0.3) as child:
        wait_for(child, "compute c1")
        child.send_signal(signal.SIGTERM)
        out, err = child.communicate(timeout=ENDS)
    assert child.returncode == ExitCode.SIGTERM
    assert "finishing the open chunk (0.3 s at most)" in err
    assert "the open chunk did not end in 0.3 s and is dropped" in err
    assert "Traceback" not in err
    # compiled code does not come back: the process ends without it, and the lock with the process
    assert out.split() == ([] if stuck == "compiled" else ["end", "paused", "3"])
    assert (stars(db), chunk_states(db)) == (3, "dppp")
    assert run_states(db) == ["running" if stuck == "compiled" else "paused"]
    assert run(db).state == "succeeded"
    assert stars(db) == 12


@contextmanager
def silent_server(url: sa.URL) -> Iterator[tuple[sa.URL, threading.Event]]:
    """A way to the server that, once the event is set, takes everything and answers nothing."""
    silent = threading.Event()
    ends: list[socket.socket] = []

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not silent.is_set():
                    sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def connect() -> socket.socket:
        host, port = str(url.query.get("host") or url.host), int(url.query.get("port", url.port))
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        made = socket.socket(socket.AF_UNIX)
        made.connect(f"{host}/.s.PGSQL.{port}")
        return made

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, far = door.accept()[0], connect()
                ends.extend((near, far))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as door:
        threading.Thread(target=accept, daemon=True).start()
        bare = url.difference_update_query(["host", "port"])
        yield bare.set(host="127.0.0.1", port=door.getsockname()[1]), silent
        door.shutdown(socket.SHUT_RDWR)
    for end in ends:
        end.close()


def test_a_silent_server_does_not_keep_a_process_from_ending(db: Database, db_url: sa.URL) -> None:
    with (
        silent_server(db_url) as (url, silent),
        process(url, stuck="server", grace_s=0.3) as child,
    ):
        wait_for(child, "compute c1")
        silent.set()
        child.send_signal(signal.SIGTERM)
        out, err = child.communicate(timeout=ENDS)
        assert (child.returncode, out) == (ExitCode.SIGTERM, "")
    assert "finishing the open chunk" in err
    assert (stars(db), chunk_states(db)) == (3, "dppp")
    until = time.monotonic() + ENDS
    while time.monotonic() < until:  # the server looks for its client every two seconds
        with db.reader() as conn:
            if not is_locked(conn, LOCK):
                break
        time.sleep(0.05)
    assert run(db).state == "succeeded"
    assert stars(db) == 12
