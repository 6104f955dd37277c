"""Files that another program replaces, cuts off or removes while a command reads them.

No edition and no spectrum comes from two versions of a file, the error says what has happened, and
its advice, to ingest the file again, works.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from astropy.io import fits

from catalog.files.identity import file_identity
from catalog.records import FileIdentity
from catalog.store.db import Database
from catalog.surveys.simulate import write_survey
from tests.conftest import Cli

CATALOG, TABLE, SPECTRUM = "allStar.fits", "mine.csv", "spec"  # its name is that of its plate


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("survey")
    write_survey(folder, n_matched=5, n_apogee=30, n_sspp=20, seed=3)
    return folder


@pytest.fixture
def files(survey: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two folders with a catalog, a table of labels and a spectrum: two versions of each."""
    old, new = tmp_path / "old", tmp_path / "new"
    found = sorted((survey / "spectra").rglob("spec-*.fits"))
    spectrum = next(path for path in found if fits.getdata(path, 1)["FLUX"].any())
    for folder, factor in ((old, 1), (new, 2)):
        folder.mkdir()
        with fits.open(spectrum, memmap=False) as hdus:
            hdus[1].data["FLUX"] *= factor
            hdus.writeto(folder / spectrum.name, checksum=True)
        with fits.open(survey / "allStar-l31c.2.fits", memmap=False) as hdus:
            table = hdus[1].data
            hdus[1].data = table[: len(table) // factor]
            hdus.writeto(folder / CATALOG, checksum=True)
            stars = sorted(set(table["APOGEE_ID"]))[:3]
        rows = "".join(f"{star},{4000 + 100 * factor}\n" for star in stars)
        (folder / TABLE).write_text(f"apogee_id,teff\n{rows}")
    return old, new


def words(folder: Path, kind: str) -> tuple[object, ...]:
    return {
        CATALOG: ("ingest", "apogee", folder / CATALOG, "--release", "mine"),
        TABLE: ("ingest", "labels", folder / TABLE, "--survey", "apogee", "--name", "mine"),
        SPECTRUM: ("ingest", "spectra", folder),
    }[kind]


def content(db: Database, kind: str) -> tuple[object, ...]:
    """What the newest edition of a table holds, or the spectrum, and of which files it says so."""
    query = {
        SPECTRUM: "SELECT survey_key, f.sha256 FROM spectrum_blob b JOIN source USING (source_id) "
        "JOIN input_file f USING (input_file_id)",
        CATALOG: "SELECT s.name, n_rows, params ->> 'sha256' FROM label_set s "
        "WHERE name = 'aspcap/mine' AND status = 'complete'",
        TABLE: "SELECT s.name, (SELECT sum(teff) FROM stellar_label l "
        "WHERE l.label_set_id = s.label_set_id), params ->> 'sha256' "
        "FROM label_set s WHERE name = 'mine' AND status = 'complete'",
    }[kind]
    with db.reader() as conn:
        return tuple(map(tuple, conn.execute(sa.text(query))))


def cut_off(path: Path, new: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def remove(path: Path, new: Path) -> None:
    path.unlink()


EVENTS: dict[str, Callable[[Path, Path], object]] = {
    "replaced": lambda path, new: Path(shutil.copy(new, f"{path}.new")).replace(path),
    "overwritten": lambda path, new: path.write_bytes(new.read_bytes()),
    "cut off": cut_off,
    "removed": remove,
}


@pytest.mark.parametrize("kind", [CATALOG, TABLE, SPECTRUM])
@pytest.mark.parametrize("event", EVENTS)
def test_changed_between_its_digest_and_its_opening(
    cli: Cli, db: Database, survey: Path, files: tuple[Path, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, kind: str, event: str,
) -> None:  # fmt: skip
    folder = tmp_path / "data"
    folder.mkdir()
    old, new = (next(path.glob(f"{kind}*")) for path in files)
    path = folder / old.name
    shutil.copy(old, path)
    if kind == TABLE:
        catalog = survey / "allStar-l31c.2.fits"
        assert cli("ingest", "apogee", catalog, "--release", "dr14")[0] == 0
    happened = []

    def identify(asked: Path) -> FileIdentity:
        found = file_identity(asked)
        if not happened:
            happened.append(EVENTS[event](path, new))
        return found

    with monkeypatch.context() as patch:
        patch.setattr("jobs.ingest.watched_file.file_identity", identify)
        code, out, err = cli(*words(folder, kind))
    assert happened
    if event != "removed":
        assert code == 65, out + err
        assert "[CHANGED]" in err
        assert f"{path} was replaced or written to" in err
    elif kind == SPECTRUM:
        assert code == 0, out + err  # what is not there is not missed
    else:
        assert code == 2, out + err
        assert f"there is no file {path}" in err
    assert content(db, kind) == ()
    shutil.copy(new, path)
    code, out, err = cli(*words(folder, kind))
    assert code == 0, out + err
    found = content(db, kind)
    assert len(found) == 1
    assert file_identity(new).sha256 in found[0][-1]
    if kind == TABLE:
        assert found[0][1] == 3 * 4200
    query = (
        "SELECT count(*) FROM quarantine JOIN input_file USING (input_file_id) WHERE sha256 = :s"
    )
    with db.reader() as conn:
        assert conn.scalar(sa.text(query), {"s": file_identity(new).sha256}) == 0


def test_cut_off_between_two_chunks(
    db: Database, files: tuple[Path, Path], tmp_path: Path, cli: Cli
) -> None:
    from jobs.ingest.catalogs import ingest_catalog

    path = tmp_path / CATALOG
    shutil.copy(files[0] / CATALOG, path)

    def progress(job: str, done: int, total: int) -> None:
        if done == 10:
            cut_off(path, path)

    run = ingest_catalog(db, "apogee", [path], "mine", rows_per_chunk=10, progress=progress)
    assert run.state == "failed"
    assert all("[CHANGED]" in error for error in run.errors), run.errors
    assert content(db, CATALOG) == ()
    code, _, err = cli(*words(tmp_path, CATALOG))
    assert (code, "[TRUNCATED]" in err) == (65, True)
    shutil.copy(files[0] / CATALOG, path)
    assert cli(*words(tmp_path, CATALOG))[0] == 0
    assert len(content(db, CATALOG)) == 1
