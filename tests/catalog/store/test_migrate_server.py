"""A home moves to a new major version of PostgreSQL: as if the installed programs were newer."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from catalog.errors import ConfigurationError, SourceUnavailableError, UsageError
from catalog.store import embedded, embedded_layout, migrate_server
from catalog.store.migrate_server import migrate_home


@pytest.fixture
def home() -> Iterator[Path]:
    """A home with some rows, a role and rights, whose server is running."""
    folder = Path(tempfile.mkdtemp(prefix="crosslabel-migrate-"))
    folder.chmod(0o755)
    home = folder / "home"
    with psycopg.connect(embedded.start(home).url) as conn:
        conn.execute("CREATE TABLE kept (n int PRIMARY KEY, text text)")
        conn.execute("INSERT INTO kept SELECT n, 'row ' || n FROM generate_series(1, 1000) n")
        conn.execute("CREATE ROLE amy")
        conn.execute("GRANT SELECT ON kept TO amy")
    yield home
    embedded.stop(home)
    shutil.rmtree(embedded_layout.find_place(home).sockets, ignore_errors=True)
    shutil.rmtree(folder)


@pytest.fixture
def programs(home: Path) -> Path:
    """The programs that made the home."""
    return Path(embedded_layout.find_place(home).program("postgres")).parent


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let the installed programs pass for version 19; those that are named are what they are."""
    real = embedded.program_version
    monkeypatch.setattr(embedded, "program_version", lambda p: real(p) if p.programs else "19")
    return monkeypatch


def rows(home: Path) -> tuple[int, str, bool]:
    with psycopg.connect(embedded.start(home).url) as conn:
        query = (
            "SELECT count(*)::int, md5(string_agg(text, ',' ORDER BY n)), "
            "has_table_privilege('amy', 'kept', 'SELECT') FROM kept"
        )
        return conn.execute(query).fetchone()


def test_a_home_is_migrated_and_the_old_data_kept(
    home: Path, programs: Path, newer: pytest.MonkeyPatch
) -> None:
    before = rows(home)
    embedded.stop(home)
    with pytest.raises(ConfigurationError, match=r"made by PostgreSQL 18.*brings 19"):
        embedded.start(home)
    with psycopg.connect(embedded_old(home, newer)) as conn:  # the version before left it running
        conn.execute("SELECT 1")
    kept = migrate_home(home, programs).kept
    newer.undo()
    assert rows(home) == before == (1000, before[1], True)
    assert kept.name == "pgdata-18"
    assert (kept / "PG_VERSION").read_text() == "18\n"
    assert sorted(path.name for path in kept.parent.glob("pgdata*")) == ["pgdata", "pgdata-18"]


def embedded_old(home: Path, newer: pytest.MonkeyPatch) -> str:
    """The URL of the server, started as the version before would."""
    with newer.context() as patch:
        patch.setattr(embedded, "program_version", lambda p: "18")
        return embedded.start(home).url


def test_a_copy_that_fails_changes_nothing(
    home: Path, programs: Path, newer: pytest.MonkeyPatch
) -> None:
    before = rows(home)
    embedded.stop(home)

    def lose_a_row(old: embedded_layout.Place, new: embedded_layout.Place) -> None:
        copy(old, new)
        with psycopg.connect(new.url) as conn:
            conn.execute("DELETE FROM kept WHERE n = 7")

    copy = migrate_server._copy
    newer.setattr(migrate_server, "_copy", lose_a_row)
    with pytest.raises(SourceUnavailableError, match=r"differs .* in public.kept"):
        migrate_home(home, programs)
    newer.undo()
    assert rows(home) == before
    folders = [path.name for path in embedded_layout.find_place(home).data.parent.glob("pgdata*")]
    assert folders == ["pgdata"]


def test_killed_between_the_two_names(home: Path) -> None:
    before = rows(home)
    embedded.stop(home)
    data = embedded_layout.find_place(home).data
    data.rename(data.with_name(embedded_layout.MIGRATED))
    assert rows(home) == before, "it is finished, not begun anew"


def test_what_cannot_be_migrated(home: Path, programs: Path, newer: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="there is no postgres in"):
        migrate_home(home, home)
    (embedded_layout.find_place(home).data / "PG_VERSION").write_text("17\n")
    with pytest.raises(ConfigurationError, match=r"has PostgreSQL 18, the data were made by 17"):
        migrate_home(home, programs)
    (embedded_layout.find_place(home).data / "PG_VERSION").write_text("18\n")
    newer.undo()
    with pytest.raises(UsageError, match="at PostgreSQL 18 already"):
        migrate_home(home, programs)
