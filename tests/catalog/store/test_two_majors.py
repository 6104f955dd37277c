"""Between two real major versions of PostgreSQL: a home migrates, is killed meanwhile, is dumped.

The older programs are those of the system (Debian's ``postgresql-15``).
"""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from test_backup import digests

from catalog.store import embedded, embedded_layout
from catalog.surveys.simulate import NAMES, write_survey
from tests.conftest import full_disk, run_main
from tests.support.homes import folder_of_homes
from tests.support.processes import command

pytestmark = pytest.mark.full  # minutes together

Run = Callable[..., tuple[int, str, str]]
PATIENCE = 60.0


@pytest.fixture(scope="module")
def old() -> Path:
    """The folder of the programs of an older PostgreSQL."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    older = [path.parent for path in found if int(path.parts[4]) < 18]
    if not older:
        pytest.skip("the system has no older PostgreSQL (apt-get install postgresql)")
    return older[-1]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with folder_of_homes("crosslabel-majors-") as path:
        yield path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return lambda home, *words: run_main(capsys, monkeypatch, ["--home", home, *words])


@pytest.fixture
def of_old(old: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Let crosslabel bring the older programs, until `undo`."""
    with monkeypatch.context() as patch:
        patch.setattr(embedded_layout, "find_programs", lambda account: old)
        yield patch


def make_catalog(folder: Path, home: Path, run: Run) -> None:
    survey = folder / "survey"
    if not survey.exists():
        write_survey(survey, n_matched=8, n_apogee=40, n_sspp=30)
    for words in (
        ["ingest", "apogee", survey / NAMES["dr14"], "--release", "dr14"],
        ["ingest", "sspp", survey / "ssppOut-dr12.fits", "--release", "dr12"],
        ["ingest", "spectra", survey / "spectra"],
        ["crossmatch"], ["sample", "create", "clean"], ["normalize"],
    ):  # fmt: skip
        code, out, err = run(home, *words)
        assert code == 0, f"{words}: {out}{err}"


def folders(home: Path) -> list[str]:
    return sorted(path.name for path in home.glob("pgdata*"))


def test_a_catalog_migrates_from_one_major_version_to_the_next(
    folder: Path, old: Path, of_old: pytest.MonkeyPatch, run: Run
) -> None:
    home = folder / "whole"
    make_catalog(folder, home, run)
    with psycopg.connect(embedded.start(home).url, autocommit=True) as conn:
        conn.execute("CREATE ROLE amy LOGIN")
        conn.execute("GRANT SELECT ON source TO amy")
        conn.execute("CREATE DATABASE notes")
    assert run(home, "db", "grant-reader", "amy")[0] == 0
    assert run(home, "db", "dump", folder / "old.dump")[0] == 0
    before = digests(home)
    version = old.parts[4]
    of_old.undo()
    embedded.stop(home)
    code, _, err = run(home, "status")
    assert code == 78
    assert f"was made by PostgreSQL {version}, this installation brings" in err
    code, out, err = run(home, "db", "migrate-server", "--old-programs", old)
    assert code == 0, out + err
    assert "is at PostgreSQL 18" in out
    assert "not copied, and only in there: the databases notes" in out
    assert folders(home) == ["pgdata", f"pgdata-{version}"]
    after = digests(home)
    assert len(before) > 40
    assert after == before
    check_that_it_works(home, folder, run)
    with psycopg.connect(embedded.start(home).url) as conn:
        rights = "SELECT has_table_privilege('amy', 'source', 'SELECT'), "
        rights += "has_function_privilege('public', 'pg_advisory_lock(bigint)', 'EXECUTE'), "
        rights += "has_database_privilege('amy', 'crosslabel', 'TEMPORARY')"
        assert conn.execute(rights).fetchone() == (True, False, False)
    copy = folder / "copy"  # a dump of the older server
    code, _, err = run(copy, "db", "restore", folder / "old.dump")
    assert code == 0, err
    assert {k: v for k, v in digests(copy).items() if k != "derived_object"} == {
        k: v for k, v in before.items() if k != "derived_object"
    }
    check_that_it_works(copy, folder, run)


def check_that_it_works(home: Path, folder: Path, run: Run) -> None:
    """It goes on: what is there is not done again, and readers have their rights."""
    catalog = folder / "survey" / NAMES["dr14"]
    assert "nothing to do" in run(home, "ingest", "apogee", catalog, "--release", "dr14")[1]
    assert "nothing to do" in run(home, "crossmatch")[1]
    assert run(home, "status")[0] == 0
    assert "aspcap/dr14@1" in run(home, "label", "list")[1]
    for what in (["aspcap/dr14"], ["--sql", "SELECT count(*) FROM source"]):
        code, _, err = run(home, "export", *what, "--to", folder / f"{home.name}.csv")
        assert code == 0, err
    code, _, err = run(home, "export", "--sql", "SELECT pg_advisory_lock(1)", "--to",
                       folder / "no.csv")  # fmt: skip
    assert "permission denied" in err, (code, err)


def test_killed_while_it_copies(
    folder: Path, old: Path, of_old: pytest.MonkeyPatch, run: Run
) -> None:
    home = folder / "killed"
    with psycopg.connect(embedded.start(home).url) as conn:
        conn.execute(
            "CREATE TABLE kept AS SELECT n, md5(n::text) FROM generate_series(1, 200000) n"
        )
    before = digests(home)
    of_old.undo()
    data = embedded_layout.find_place(home).data
    copy = data.with_name("pgdata.next")

    def busy() -> bool:
        """Whether the copy has begun: the new server works on the old one's rows."""
        url = embedded.place_of_copy(embedded_layout.find_place(home)).url
        try:
            with psycopg.connect(url, connect_timeout=1) as conn:
                query = (
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pg_restore'"
                )
                return conn.execute(query).fetchone() != (0,)
        except psycopg.OperationalError:
            return False

    for ready in (copy.exists, busy):
        process = command("--home", home, "db", "migrate-server", "--old-programs", old)
        deadline = time.monotonic() + PATIENCE
        while not ready():
            assert process.returncode is None, process.output()
            assert time.monotonic() < deadline, process.output()
        process.kill()
        assert process.returncode == -signal.SIGKILL
        process.close()
        assert (data / "PG_VERSION").read_text() == f"{old.parts[4]}\n"
    # One killed between its two renames.
    shutil.copytree(data, data.with_name(embedded_layout.MIGRATED))
    code, out, err = run(home, "db", "migrate-server", "--old-programs", old)
    assert code == 0, out + err
    assert digests(home) == before
    assert folders(home) == ["pgdata", f"pgdata-{old.parts[4]}"]
    assert not (embedded_layout.find_place(home).sockets / "new").exists()


def test_a_full_disk_says_so_and_changes_nothing(
    folder: Path, old: Path, of_old: pytest.MonkeyPatch, run: Run
) -> None:
    home = folder / "full"
    with psycopg.connect(embedded.start(home).url) as conn:
        conn.execute("CREATE TABLE kept AS SELECT n, repeat(md5(n::text), 9) "
                     "FROM generate_series(1, 100000) n")  # fmt: skip
    before = digests(home)
    of_old.undo()
    embedded.stop(home)
    with full_disk(17 << 20):  # a segment of the log is 16 MB
        code, out, err = run(home, "db", "migrate-server", "--old-programs", old)
    assert code == 69, out + err
    assert "Is there space for a second copy?" in err
    assert folders(home) == ["pgdata"]
    code, out, err = run(home, "db", "migrate-server", "--old-programs", old)
    assert code == 0, out + err
    assert digests(home) == before
