"""A command that meets what nobody foresaw: a line, an exit code, and a file with the traceback."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from catalog.errors import ExitCode
from catalog.store.db import Database
from jobs.cli import error_log
from jobs.engine.job import Job
from jobs.engine.runner import run_job
from tests.conftest import Cli
from tests.support.star_job import StarParams, star_job


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home, into which tracebacks go."""
    monkeypatch.setenv("CROSSLABEL_HOME", str(tmp_path))
    return tmp_path


def fails(exc: Exception) -> Any:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise exc

    return fail


def test_a_defect_is_one_line_and_its_traceback_is_in_the_home(
    command_line: Cli, db: Database, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.engine.status.runs_with_life", fails(LookupError("planted")))
    for _ in range(2):
        code, out, err = command_line(db.engine.url, "status")
        assert (code, out) == (ExitCode.FAILED, "")
        first, todo, where = err.splitlines()
        assert first.startswith("error: [UNEXPECTED] LookupError: planted (cli/test_error_log.py:")
        assert todo.startswith("  what to do: ")
        assert where == f"  traceback: {home}/errors.log"
    text = (home / "errors.log").read_text()
    assert text.count("Traceback (most recent call last)") == 2
    assert "crosslabel --database-url status" in text, "not the URL, which may hold a password"
    assert stat.S_IMODE((home / "errors.log").stat().st_mode) == 0o600
    monkeypatch.setenv("CROSSLABEL_DEBUG", "1")
    with pytest.raises(LookupError, match="planted"):
        command_line(db.engine.url, "status")


def test_the_log_does_not_grow_for_ever_and_follows_no_link(
    command_line: Cli, db: Database, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("jobs.engine.status.runs_with_life", fails(LookupError("planted")))
    monkeypatch.setattr(error_log, "LONGEST", 10)
    for _ in range(3):
        command_line(db.engine.url, "status")
    assert {p.name for p in home.iterdir()} == {"errors.log", "errors.log.1"}
    monkeypatch.setattr(error_log, "LONGEST", 10**6)
    (home / "errors.log").unlink()
    (home / "errors.log").symlink_to(home / "victim")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    _, _, err = command_line(db.engine.url, "status")
    assert err.splitlines()[-1] == f"  traceback: {tmp_path}/crosslabel-{os.geteuid()}-errors.log"
    assert not (home / "victim").exists()


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, ExitCode.UNAVAILABLE), (errno.EIO, ExitCode.UNAVAILABLE),
        (errno.EACCES, ExitCode.UNAVAILABLE), (errno.EMFILE, ExitCode.UNAVAILABLE),
        (errno.ENAMETOOLONG, ExitCode.USAGE), (errno.ELOOP, ExitCode.USAGE),
    ],
)  # fmt: skip
def test_what_the_system_refuses_is_one_line_with_its_code(
    command_line: Cli, db: Database, home: Path, monkeypatch: pytest.MonkeyPatch,
    number: int, code: ExitCode,
) -> None:  # fmt: skip
    said = os.strerror(number)
    monkeypatch.setattr(
        "jobs.engine.status.runs_with_life", fails(OSError(number, said, "some/file"))
    )
    ended, out, err = command_line(db.engine.url, "status")
    assert (ended, out) == (code, "")
    assert err.splitlines()[0] == f"error: some/file: {said}"
    assert err.splitlines()[1].startswith("  what to do: ")
    assert len(err.splitlines()) == 2
    assert not (home / "errors.log").exists()


def test_a_loop_of_redirections_is_one_line(
    command_line: Cli, db: Database, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import requests

    loop = requests.TooManyRedirects("Exceeded 30 redirects.")
    monkeypatch.setattr("jobs.engine.status.runs_with_life", fails(loop))
    code, _, err = command_line(db.engine.url, "status")
    assert code == ExitCode.UNAVAILABLE
    assert err.splitlines()[0] == "error: Exceeded 30 redirects."


def test_real_names_and_folders_that_cannot_be(command_line: Cli, db: Database, home: Path) -> None:
    (home / "loop").symlink_to(home / "loop")
    (home / "file").write_text("")
    for path in ("x" * 300, home / "loop" / "f.fits", home / "file" / "f.fits"):
        for words in (
            ("ingest", "apogee", path, "--release", "dr14"), ("ingest", "spectra", path),
            ("ingest", "labels", path, "--survey", "apogee", "--name", "x"),
            ("model", "import", path), ("sync", "--config", path),
        ):  # fmt: skip
            code, _, err = command_line(db.engine.url, *words)
            assert code in (ExitCode.USAGE, ExitCode.CONFIG, ExitCode.UNAVAILABLE), (words, err)
            assert "Traceback" not in err
            assert err.startswith("error: ")


def test_resume_and_retry_go_on_after_a_run_that_cannot_be_made(
    command_line: Cli, db: Database, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for target in ("first", "second"):
        with db.begin() as conn:
            conn.execute(
                sa.text(
                    "INSERT INTO job_run (kind, target, params, params_hash, state, code_version, "
                    "host, pid) VALUES ('stars', :t, '{}', '0', 'paused', 'x', 'h', 1)"
                ),
                {"t": target},
            )

    made: list[str] = []

    def job_of(run: Any, db: Database) -> Job:
        made.append(run.target)
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("jobs.registry.job_of", job_of)
    for word in ("resume", "retry"):
        made.clear()
        code, _, err = command_line(db.engine.url, word)
        assert (code, made) == (ExitCode.FAILED, ["first", "second"])
        assert "error: run 1, stars first: [UNEXPECTED] ZeroDivisionError: planted" in err
        assert "error: run 2, stars second: [UNEXPECTED]" in err
    assert run_job(star_job(StarParams()), db).state == "succeeded"


def test_no_room_for_temporary_files(db_url: sa.URL, tmp_path: Path) -> None:
    """Python tries to write into every folder of temporary files before it takes one."""
    url = db_url.set(drivername="postgresql").render_as_string(hide_password=False)
    script = (
        "import resource, tempfile, sys\n"
        "import jobs.engine.status as status\n"
        "from jobs.cli import main\n"
        "def fill(*args):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))\n"
        "    return tempfile.TemporaryFile()\n"
        "status.runs_with_life = fill\n"
        f"sys.argv = ['crosslabel', '--database-url', {url!r}, 'status']\n"
        "main()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False,
        cwd=Path(__file__).resolve().parents[3],
        env=os.environ | {"CROSSLABEL_HOME": str(tmp_path)},
    )  # fmt: skip
    assert ended.returncode == ExitCode.UNAVAILABLE
    assert ended.stderr.startswith("error: No usable temporary directory found in ")
    assert "what to do: Make space there, or name a folder with TMPDIR" in ended.stderr
    assert len(ended.stderr.splitlines()) == 2
