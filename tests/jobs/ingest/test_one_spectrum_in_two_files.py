"""One spectrum in several files: which one the catalog takes, and what it says of the others."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from catalog.store.db import Database
from catalog.store.spectra import decode
from jobs.ingest.spectrum_rows import Held, choose
from tests.conftest import Cli
from tests.support.spectrum_files import write_lamost, write_sdss

NAME = "spec-1000-52000-0001.fits"


def stored(db: Database) -> dict[str, tuple[str, float]]:
    """File and first flux of each spectrum, by its key."""
    query = (
        "SELECT survey_key, path, flux FROM spectrum_blob JOIN source USING (source_id) "
        "JOIN input_file USING (input_file_id)"
    )
    with db.reader() as conn:
        rows = conn.execute(sa.text(query)).all()
    return {key: (path, float(decode(flux)[0])) for key, path, flux in rows}


def quarantine(db: Database) -> dict[str, str]:
    with db.reader() as conn:
        query = "SELECT path, detail FROM quarantine JOIN input_file USING (input_file_id)"
        return {Path(p).parent.name: detail for p, detail in conn.execute(sa.text(query))}


@pytest.mark.parametrize("together", [True, False])
def test_files_that_contradict_each_other_are_both_named(
    cli: Cli, db: Database, tmp_path: Path, together: bool
) -> None:
    """In one run or in two, the first keeps its place; taking it away gives it to the second."""
    one, two = (write_sdss(tmp_path / d / NAME, flux=f) for d, f in (("a", 10.0), ("b", 20.0)))
    write_sdss(tmp_path / "a" / "spec-1000-52000-0002.fits", fiber=2)
    if not together:
        assert cli("ingest", "spectra", one)[0] == 0
    code, _, err = cli("ingest", "spectra", tmp_path)
    assert (code, "DUP_CONFLICT" in err) == (65, True)
    assert f"{two} and {one} are both sdss 1000-52000-1-26" in err
    assert "Take one of them away" in err
    assert stored(db)["1000-52000-1-26"] == (str(one), 10.0)
    assert list(quarantine(db)) == ["b"]
    assert cli("ingest", "spectra", tmp_path, "--max-bad", 1)[0] == 0  # asked again: the same
    assert stored(db)["1000-52000-1-26"] == (str(one), 10.0)
    one.unlink()
    assert cli("ingest", "spectra", tmp_path)[0] == 0
    assert stored(db)["1000-52000-1-26"] == (str(two), 20.0)
    assert quarantine(db) == {}
    assert "nothing to do" in cli("ingest", "spectra", tmp_path)[1]


def test_copies_are_no_conflict(cli: Cli, db: Database, tmp_path: Path) -> None:
    one = write_sdss(tmp_path / "a" / NAME)
    other = write_sdss(tmp_path / "lite" / NAME, cards={"EXTRA": 1})  # another file, same spectrum
    assert cli("ingest", "spectra", tmp_path)[0] == 0
    assert stored(db) == {"1000-52000-1-26": (str(one), 10.0)}
    (tmp_path / "b").mkdir()
    shutil.copy(other, tmp_path / "b")
    assert cli("ingest", "spectra", tmp_path)[0] == 0
    assert stored(db) == {"1000-52000-1-26": (str(one), 10.0)}
    assert "nothing to do" in cli("ingest", "spectra", tmp_path)[1]


def test_a_file_written_again_replaces_itself_and_back(
    cli: Cli, db: Database, tmp_path: Path
) -> None:
    """Also when what comes back is what was there first, with its times put back."""
    file = tmp_path / NAME
    for flux in (10.0, 20.0, 10.0):
        write_sdss(file, flux=flux)
        os.utime(file, (10**9, 10**9))
        assert cli("ingest", "spectra", file)[0] == 0
        assert stored(db) == {"1000-52000-1-26": (str(file), flux)}
        assert "nothing to do" in cli("ingest", "spectra", file)[1]


@pytest.mark.parametrize("newer_first", [True, False])
@pytest.mark.parametrize("rule", ["pipeline", "release"])
def test_the_newer_reduction_replaces_the_older(
    cli: Cli, db: Database, tmp_path: Path, rule: str, newer_first: bool
) -> None:
    """A reprocessing does not stop cron, and the files say what became of them."""
    if rule == "pipeline":
        name = "spec-56919-EG012606S021203F_sp01-015.fits"
        (tmp_path / "x").mkdir()
        (tmp_path / "y").mkdir()
        old = write_lamost(tmp_path / "x" / name, {"VERSPIPE": "v2.9.7"})
        new = write_lamost(tmp_path / "y" / name, {"VERSPIPE": "v2.10.1", "Z": 1e-4})
        key = "353301015"
    else:
        old = write_sdss(tmp_path / "dr9" / "spectra" / NAME, flux=10.0)
        new = write_sdss(tmp_path / "dr17" / "spectra" / NAME, flux=20.0)
        key = "1000-52000-1-26"
    for file in (new, old) if newer_first else (old, new):
        assert cli("ingest", "spectra", file)[0] == 0
    assert stored(db)[key][0] == str(new)
    with db.reader() as conn:
        query = "SELECT path, note FROM input_file WHERE note IS NOT NULL"
        notes = dict(conn.execute(sa.text(query)).all())
    if newer_first:
        assert notes == {str(old): f"not used: {new} has a newer reduction"}
    else:
        assert notes == {str(new): f"its spectrum replaces that of {old}"}
    assert "nothing to do" in cli("ingest", "spectra", tmp_path)[1]


def test_rules_are_asked_in_order(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.touch()
    held = Held(str(there), "v2.9", ("a",))
    assert choose(Held("b", "v2.9", ("a",)), None) == "take"
    assert choose(Held(held.path, "", ("b",)), held) == "take"
    assert choose(Held("b", "v3", ("a",)), held) == "keep"  # the same spectrum
    assert choose(Held("b", "v2.10", ("b",)), held) == "take"
    assert choose(Held("b", "v2.8.9", ("b",)), held) == "keep"
    assert choose(Held("b", "", ("b",)), held) == "conflict"
    assert choose(Held("b", "", ("b",)), Held(str(tmp_path / "gone"), "", ("a",))) == "take"


def test_a_value_that_cannot_be_stored_refuses_its_file_only(
    cli: Cli, db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database's own refusal, in the middle of a chunk, is that of one file."""
    from jobs.ingest import spectrum_rows

    for fiber in range(1, 8):
        write_sdss(tmp_path / f"spec-1000-52000-{fiber:04d}.fits", fiber=fiber)
    epoch = spectrum_rows._columns
    seen = []

    def spoilt(taken: list) -> dict[str, np.ndarray]:
        columns = epoch(taken)
        seen.append(len(taken))
        columns["class"] = np.array(
            ["ST\0AR" if s.fiberid == 4 else None for _, s, _ in taken], dtype=object
        )
        return columns

    monkeypatch.setattr(spectrum_rows, "_columns", spoilt)
    code, out, err = cli("ingest", "spectra", tmp_path, "--max-bad", 0.5)
    assert (code, "Traceback" in out + err) == (0, False)
    assert "refused [UNEXPECTED]" in err
    assert "spec-1000-52000-0004.fits" in err
    assert len(stored(db)) == 6
    assert seen[0] == 7
    monkeypatch.undo()
    assert cli("ingest", "spectra", tmp_path)[0] == 0
    assert len(stored(db)) == 7
    assert quarantine(db) == {}
