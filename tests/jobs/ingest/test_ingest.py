"""Ingest through the command line: real formats, bad inputs, second runs, changed files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from astropy.io import fits

from catalog.errors import BadInputError, LockedError
from catalog.files.identity import file_identity
from catalog.records import FileIdentity
from catalog.store.db import Database, advisory_lock, is_locked
from catalog.surveys.simulate import write_survey
from jobs.engine import ledger
from jobs.engine.params import params_hash, to_dict
from jobs.ingest.catalogs import CatalogParams, ingest_catalog, ingest_job
from jobs.ingest.labels import ingest_labels
from jobs.ingest.specobj import ingest_specobj
from tests.conftest import Cli
from tests.support.spectrum_files import write_lamost


def count(db: Database, table: str, where: str = "true") -> int:
    with db.reader() as conn:
        return conn.scalar(sa.text(f"SELECT count(*) FROM {table} WHERE {where}")) or 0


@pytest.fixture(scope="session")
def survey(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    folder = tmp_path_factory.mktemp("survey")
    return folder, write_survey(folder, n_matched=30, n_apogee=120, n_sspp=100, seed=3)


def ingest_all(cli: Cli, folder: Path) -> None:
    assert cli("ingest", "apogee", folder / "allStar-l31c.2.fits", "--release", "dr14")[0] == 0
    assert cli("ingest", "sspp", folder / "ssppOut-dr12.fits", "--release", "dr12")[0] == 0
    assert cli("ingest", "spectra", folder / "spectra")[0] == 0


def test_simulated_survey_and_second_run(
    cli: Cli, db: Database, survey: tuple[Path, dict[str, int]]
) -> None:
    folder, _ = survey
    ingest_all(cli, folder)
    with fits.open(folder / "allStar-l31c.2.fits") as hdus:
        rows = hdus[1].data
        labelled = np.all([rows[c] > -9000 for c in ("TEFF", "LOGG", "FE_H")], axis=0)
        duplicates = (rows["EXTRATARG"] & 16) != 0
        n_rows = len(rows)
    assert count(db, "apogee_star") == n_rows
    assert count(db, "apogee_star", "NOT is_primary") == duplicates.sum() > 0
    with db.reader() as conn:
        n = conn.scalar(sa.text("SELECT n_rows FROM current_label_set WHERE name = 'aspcap/dr14'"))
    assert n == labelled.sum() < n_rows
    n_files = len(list((folder / "spectra").rglob("spec-*.fits")))
    assert count(db, "spectrum_blob") == n_files
    assert count(db, "sdss_spectrum", "in_sspp") == 100
    before = {t: count(db, t) for t in ("source", "star", "stellar_label", "quarantine")}
    for words in (
        ("apogee", folder / "allStar-l31c.2.fits", "--release", "dr14"),
        ("sspp", folder / "ssppOut-dr12.fits", "--release", "dr12"),
        ("spectra", folder / "spectra"),
    ):
        code, out, _ = cli("ingest", *words)
        assert code == 0
        assert "nothing to do" in out
    assert before == {t: count(db, t) for t in before}


def test_no_input_is_opened_without_the_lock(
    db: Database, survey: tuple[Path, dict[str, int]]
) -> None:
    """Eight starts at once: seven hear that they are late before they read anything."""

    def touched(path: Path) -> FileIdentity:
        raise AssertionError(f"{path} was opened")

    def under_the_lock(path: Path) -> FileIdentity:
        with db.reader() as conn:
            held.extend(n for n in locks if is_locked(conn, n))
        return file_identity(path)

    folder, held = survey[0], list[str]()
    locks = ("ingest apogee aspcap/dr14", "ingest specobj specobj/dr17", "ingest labels mine")
    (folder / "mine.csv").write_text("apogee_id,teff\n2M0,5000\n")

    def starts(identify: Callable[[Path], FileIdentity]) -> list[Callable[[], object]]:
        allstar = folder / "allStar-l31c.2.fits"
        return [
            lambda: ingest_catalog(db, "apogee", [allstar], "dr14", identify=identify),
            lambda: ingest_specobj(db, [allstar], "dr17", identify=identify),
            lambda: ingest_labels(db, folder / "mine.csv", "apogee", "mine", identify=identify),
        ]

    for lock, start in zip(locks, starts(touched), strict=True):
        with advisory_lock(db, lock), pytest.raises(LockedError):
            start()
    for start in starts(under_the_lock):
        with suppress(BadInputError):
            start()
    assert held == list(locks)


@pytest.mark.parametrize(
    ("kind", "name"), [("apogee", "allStar-l31c.2.fits"), ("sspp", "ssppOut-dr12.fits")]
)
def test_a_file_of_another_release_is_refused_unless_it_is_to_be(
    cli: Cli, db: Database, survey: tuple[Path, dict[str, int]], kind: str, name: str
) -> None:
    words = ("ingest", kind, survey[0] / name, "--release", "dr9")
    code, _, err = cli(*words)
    assert (code, "BAD_RELEASE" in err, "--as-release" in err) == (65, True, True)
    assert count(db, "quarantine", "reason_code = 'BAD_RELEASE'") == 1
    assert count(db, "label_set") == count(db, "source") == 0
    assert cli(*words, "--as-release")[0] == 0
    assert count(db, "quarantine", "reason_code = 'BAD_RELEASE'") == 0
    # DR15 has no new allStar and ssppOut: DR14's and DR12's are its own.
    assert cli("ingest", kind, survey[0] / name, "--release", "dr15")[0] == 0


def test_a_catalog_without_rows_is_refused(
    cli: Cli, survey: tuple[Path, dict[str, int]], tmp_path: Path
) -> None:
    empty = tmp_path / "empty.fits"
    with fits.open(survey[0] / "allStar-l31c.2.fits") as hdus:
        hdus[1].data = hdus[1].data[:0]
        hdus.writeto(empty)
    code, _, err = cli("ingest", "apogee", empty, "--release", "dr14")
    assert (code, f"{empty} has no rows" in err) == (65, True)


def test_changed_file_publishes_an_edition(
    cli: Cli, db: Database, survey: tuple[Path, dict[str, int]], tmp_path: Path
) -> None:
    file = tmp_path / "allStar-l31c.2.fits"
    shutil.copy(survey[0] / file.name, file)
    assert cli("ingest", "apogee", file, "--release", "dr14")[0] == 0
    with fits.open(file, mode="update") as hdus:
        good = np.flatnonzero(hdus[1].data["TEFF"] > 0)[0]
        hdus[1].data["TEFF"][good] += 10
        key = hdus[1].data["APSTAR_ID"][good].strip()
    code, out, _ = cli("ingest", "apogee", file, "--release", "dr14")
    assert code == 0
    assert "nothing to do" not in out
    assert count(db, "label_set", "name = 'aspcap/dr14' AND status = 'complete'") == 2
    query = (
        "SELECT l.teff FROM stellar_label l JOIN label_set s USING (label_set_id) "
        "JOIN apogee_star a USING (source_id) WHERE a.apstar_id = :key ORDER BY s.edition"
    )
    with db.reader() as conn:
        old, new = conn.scalars(sa.text(query), {"key": key}).all()
    assert new == pytest.approx(old + 10)


def test_dry_run_quiet_and_json(
    cli: Cli, db: Database, survey: tuple[Path, dict[str, int]]
) -> None:
    words = ("ingest", "apogee", survey[0] / "allStar-l31c.2.fits", "--release", "dr14")
    code, out, _ = cli(*words, "--dry-run")
    assert (code, count(db, "source"), count(db, "job_run")) == (0, 0, 0)
    assert "1 chunk to do" in out
    code, out, err = cli(*words, "--quiet")
    assert (code, out, err) == (0, "", "")
    code, out, _ = cli(*words, "--json")
    assert json.loads(out)["state"] == "idle"
    code, out, _ = cli("status", "--json")
    assert json.loads(out)["kind"] == "ingest apogee"


def test_real_files(cli: Cli, db: Database, kit: Path) -> None:
    """The genuine DR12 table, SDSS, BOSS and LAMOST spectra of the survey kit."""
    file = kit / "data" / "apogee" / "allStar-v603-Hipparcos.fits.gz"
    assert cli("ingest", "apogee", file, "--release", "dr12")[0] == 0
    assert count(db, "apogee_star") == 3244
    native = kit / "data" / "lamost" / "native"
    assert cli("ingest", "spectra", kit / "data" / "sdss", native)[0] == 0
    assert count(db, "spectrum_blob", "spectrum_state = 'ok'") == 17 + 6
    assert count(db, "source", "survey = 'lamost'") == 6
    assert count(db, "spectrum_blob", "instrument = 'BOSS'") == 8


def test_position_of_the_catalog_stays(
    cli: Cli, db: Database, survey: tuple[Path, dict[str, int]]
) -> None:
    """Spectra before or after SSPP: the sources come out the same."""
    folder, _ = survey
    assert cli("ingest", "spectra", folder / "spectra")[0] == 0
    assert cli("ingest", "sspp", folder / "ssppOut-dr12.fits", "--release", "dr12")[0] == 0
    with fits.open(folder / "ssppOut-dr12.fits") as hdus:
        rows = hdus[1].data
        expected = {
            f"{r['PLATE']}-{r['MJD']}-{r['FIBER']}-{r['RUN2D'].strip()}": r["PLUG_RA"] for r in rows
        }
    with db.reader() as conn:
        query = "SELECT survey_key, ra FROM source JOIN sdss_spectrum USING (source_id)"
        found = dict(conn.execute(sa.text(f"{query} WHERE in_sspp")).all())
    assert found == expected


def test_bad_inputs_of_the_kit(kit: Path, db: Database, cli: Cli, tmp_path: Path) -> None:
    """Every malformed input ends in its reason code and exit code; the good ones go in."""
    folder = tmp_path / "bad"
    subprocess.run(
        [sys.executable, kit / "tools" / "make_survey.py", "--bad", folder],
        check=True, capture_output=True,
    )  # fmt: skip
    manifest = json.loads((folder / "manifest.json").read_text())
    assert len(manifest) == 56
    wrong = []
    for case in manifest:
        truncate(db)
        path = folder / case["file"]
        words = {
            "allstar": ("apogee", path, "--release", "dr14"),
            "sspp": ("sspp", path, "--release", "dr12"),
            "spectrum": ("spectra", path),
        }[case["kind"]]
        code, out, err = cli("ingest", *words)
        problem = judge(db, case, code, out + err)
        if problem:
            wrong.append(f"{case['file']} ({case['expected']}): {problem}\n{out}{err}")
    assert not wrong, "\n".join(wrong)


def truncate(db: Database) -> None:
    with db.begin() as conn:
        conn.execute(sa.text("DELETE FROM label_set"))  # complete ones are not emptied
        conn.execute(sa.text("TRUNCATE input_file, star, source, job_run, label_set CASCADE"))


def judge(db: Database, case: dict, code: int, text: str) -> str:
    """What is wrong with the outcome of one case; empty if nothing is."""
    allowed = {case["expected"], *case["also"]}
    with db.reader() as conn:
        found = conn.execute(sa.text("SELECT item_key, reason_code FROM quarantine")).all()
        labels = conn.scalar(sa.text("SELECT count(*) FROM stellar_label"))
        blobs = conn.scalar(sa.text("SELECT count(*) FROM spectrum_blob WHERE flux IS NOT NULL"))
        published = conn.scalar(sa.text("SELECT count(*) FROM label_set"))
    if "Traceback" in text:
        return "traceback"
    if case["expected"] == "OK":
        ok = code == 0 and not found and (labels or blobs)
        return "" if ok else f"refused: exit {code}, {found}"
    codes = {row.reason_code for row in found}
    if case["scope"] == "row":
        rows = {int(row.item_key.split()[1]) for row in found}
        if not codes <= allowed or not rows <= set(case["rows"]):
            return f"quarantine {found}"
        if case["rows"] and rows != set(case["rows"]) and "OK" not in allowed:
            return f"rows {rows}"
        return "" if code == 0 and published == 1 and labels else f"exit {code}, {labels} labels"
    if code != 65:
        return f"exit {code}"
    if not codes or not codes <= allowed or not any(c in text for c in codes):
        return f"quarantine {found}"
    return f"partial rows: {labels} labels, {blobs} spectra" if labels or blobs or published else ""


def test_release_that_could_not_be_named_is_refused(
    cli: Cli, db: Database, survey: tuple[Path, dict[str, int]]
) -> None:
    for release in ("", "ünï", "a/b", "dr14@2", "dr\n14", "x" * 300):
        code, _, err = cli(
            "ingest", "apogee", survey[0] / "allStar-l31c.2.fits", "--release", release
        )
        assert (code, "cannot be the name of a release" in err) == (2, True)
    assert (count(db, "job_run"), count(db, "source")) == (0, 0)


def test_file_named_twice_is_one_input(
    cli: Cli, db: Database, survey: tuple[Path, dict[str, int]]
) -> None:
    file = survey[0] / "allStar-l31c.2.fits"
    assert cli("ingest", "apogee", file, file, "--release", "dr14")[0] == 0
    code, out, _ = cli("ingest", "apogee", file, "--release", "DR14")
    assert (code, "nothing to do" in out, count(db, "label_set")) == (0, True, 1)


def test_copies_of_a_blank_spectrum_are_read_once(
    cli: Cli, db: Database, survey: tuple[Path, dict[str, int]], tmp_path: Path
) -> None:
    """Also below folders with odd names; a copy must not take the place of the other for ever."""
    assert cli("ingest", "spectra", survey[0] / "spectra")[0] == 0
    with db.reader() as conn:
        blank = conn.scalar(
            sa.text(
                "SELECT f.path FROM spectrum_blob JOIN input_file f USING (input_file_id) "
                "WHERE spectrum_state <> 'ok' LIMIT 1"
            )
        )
    folders = [tmp_path / "one .. two", tmp_path / "ünï 'x' %s"]
    for folder in folders:
        folder.mkdir()
        shutil.copy(blank, folder)
    assert cli("ingest", "spectra", *folders, "--max-bad", 1)[0] == 0
    code, out, _ = cli("ingest", "spectra", *folders, "--max-bad", 1)
    assert (code, "nothing to do" in out) == (0, True)


def test_spectrum_whose_name_is_not_text_is_named(cli: Cli, db: Database, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"f\xff")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (folder / "spec-1-2-3.fits").touch()
    code, _, err = cli("ingest", "spectra", tmp_path)
    assert (code, "is not UTF-8" in err) == (65, True)
    assert count(db, "quarantine", "reason_code = 'BAD_NAME' AND item_key = ''") == 1
    assert count(db, "input_file", r"path LIKE '%/f\\xff/spec-1-2-3.fits'") == 1


def test_a_run_that_cannot_go_on_does_not_hold_up_the_others(
    cli: Cli, db: Database, survey: tuple[Path, dict[str, int]], tmp_path: Path
) -> None:
    lost = tmp_path / "lost.fits"
    shutil.copy(survey[0] / "allStar-l31c.2.fits", lost)
    files = {"apogee": lost, "sspp": survey[0] / "ssppOut-dr12.fits"}
    for kind, file in files.items():
        params = CatalogParams(kind, "mine", (file_identity(file).sha256,), (str(file),))
        job = ingest_job(params, db)
        with db.begin() as conn:  # what a killed process leaves
            run = ledger.start_run(
                conn, job.kind, job.target, to_dict(params), params_hash(params), job.plan(conn)
            )
            job.begin(conn, run)
        job.close()
    lost.unlink()
    code, out, err = cli("resume")
    assert code == 2
    assert "ingest sspp sspp/mine: done" in out
    assert f"run 1, ingest apogee aspcap/mine: there is no file {lost}" in err
    assert count(db, "label_set", "name = 'sspp/mine' AND status = 'complete'") == 1
    # Its file is gone for good: the run is given up, and with it the edition that it was building.
    assert count(db, "label_set", "status = 'building'") == 1
    with advisory_lock(db, "ingest apogee aspcap/mine"):
        assert cli("abandon", "1")[0] == 75  # alive
    assert cli("abandon", "1")[:2] == (0, "run 1, ingest apogee aspcap/mine, is abandoned\n")
    assert count(db, "label_set", "status = 'building'") == 0
    assert count(db, "job_run", "run_id = 1 AND state = 'abandoned'") == 1
    assert cli("resume")[:2] == (0, "nothing to resume\n")
    code, _, err = cli("abandon", "1")
    assert (code, "there is no open run 1" in err) == (2, True)


def test_refusals_of_a_wrong_command_are_not_those_of_the_right_one(
    cli: Cli, survey: tuple[Path, dict[str, int]]
) -> None:
    file = survey[0] / "allStar-l31c.2.fits"
    code, _, err = cli("ingest", "sspp", file, "--release", "dr12")
    assert (code, "OTHER_PRODUCT" in err) == (65, True)
    assert f"crosslabel ingest apogee {file.name} --release" in err
    code, out, err = cli("ingest", "apogee", file, "--release", "dr14")
    assert code == 0
    assert "quarantine" not in out + err


@pytest.mark.parametrize(
    "event",
    ["removed", "replaced", "written to", "written to, times put back", "touched", "linked"],
)
def test_file_that_does_not_stay_as_it_is(
    cli: Cli, db: Database, survey: tuple[Path, dict[str, int]], tmp_path: Path, event: str
) -> None:
    """What is open stays whole when its name goes; what is written into is not what was checked."""
    file, other = tmp_path / "all.fits", tmp_path / "other.fits"
    for path in (file, other):
        shutil.copy(survey[0] / "allStar-l31c.2.fits", path)
    seen = []

    def progress(job: str, done: int, total: int) -> None:
        seen.append(done)
        assert job == "ingest apogee: rows"
        if done == 50 and seen.count(50) == 1:
            if event == "removed":
                file.unlink()
            elif event == "replaced":
                other.rename(file)
            elif event == "linked":
                os.link(file, tmp_path / "link.fits")
            elif event == "touched":
                os.utime(file)
            else:
                before = file.stat()
                with fits.open(file, mode="update") as hdus:
                    hdus[1].data["TEFF"][hdus[1].data["TEFF"] > 0] += 10
                if event.endswith("put back"):
                    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    run = ingest_catalog(db, "apogee", [file], "mine", rows_per_chunk=50, progress=progress)
    written = event.startswith("written")
    assert run.state == ("failed" if written else "succeeded")
    assert ("[CHANGED]" in " ".join(run.errors)) == written
    assert count(db, "label_set", "status = 'complete'") == (not written)
    if written:  # the advice is to ingest it again
        code, out, _ = cli("ingest", "apogee", file, "--release", "mine")
        assert (code, "nothing to do" in out) == (0, False)
        assert count(db, "label_set", "status = 'complete'") == 1


def test_what_is_written_back_can_be_ingested_again(
    cli: Cli, db: Database, survey: tuple[Path, dict[str, int]], tmp_path: Path
) -> None:
    """The failed chunks are those of the same content: they are tried again without being told."""
    file = tmp_path / "all.fits"
    shutil.copy(survey[0] / "allStar-l31c.2.fits", file)

    def spoil(job: str, done: int, total: int) -> None:
        if 0 < done < total:
            with file.open("r+b") as stream:
                stream.seek(-3000, os.SEEK_END)
                stream.write(b"x")

    run = ingest_catalog(db, "apogee", [file], "mine", rows_per_chunk=50, progress=spoil)
    assert run.state == "failed"
    shutil.copy(survey[0] / "allStar-l31c.2.fits", file)
    assert cli("ingest", "apogee", file, "--release", "mine")[0] == 0
    assert count(db, "label_set", "status = 'complete'") == 1


@pytest.mark.parametrize("contradict", [True, False])
def test_one_key_in_two_files_of_a_run(
    cli: Cli, db: Database, survey: tuple[Path, dict[str, int]], tmp_path: Path, contradict: bool
) -> None:
    """The same row in both is no matter; rows that differ are refused, each naming the other."""
    one = survey[0] / "allStar-l31c.2.fits"
    two = tmp_path / "more.fits"
    with fits.open(one, memmap=False) as hdus:
        n = len(hdus[1].data)
        hdus[1].data = hdus[1].data[5:15]
        if contradict:
            hdus[1].data["RA"][2] += 0.5
        hdus.writeto(two, checksum=True)
    files = sorted([one, two])
    code, _, err = cli("ingest", "apogee", *files, "--release", "dr14")
    assert (code, "TRUNC" in err) == (0, False), err
    assert count(db, "apogee_star") == n - contradict
    with db.reader() as conn:
        found = conn.execute(sa.text("SELECT reason_code, detail FROM quarantine")).all()
    if not contradict:
        assert found == []
        return
    assert "2 DUP_CONFLICT" in err
    assert sorted(found) == sorted(
        ("DUP_CONFLICT", f"the same key has other content in row {row} of {file}")
        for row, file in ((7, one), (2, two))
    )


def test_folders_whose_names_begin_alike_are_all_read(
    cli: Cli, db: Database, survey: tuple[Path, dict[str, int]], tmp_path: Path
) -> None:
    """By folders ``a`` comes before ``a-b``; as text ``a-b/`` comes before ``a/``."""
    files = sorted((survey[0] / "spectra").rglob("spec-*.fits"))[:4]
    for name, file in zip(("a", "a-b", "a.c", "a d"), files, strict=True):
        (tmp_path / name).mkdir()
        shutil.copy(file, tmp_path / name)
    words = ("ingest", "spectra", tmp_path, "--max-bad", 1)  # one of the four is blank
    assert cli(*words)[0] == 0
    assert count(db, "spectrum_blob") == len(files)
    assert "nothing to do" in cli(*words)[1]


def test_an_unreadable_file_does_not_hold_up_the_others(
    cli: Cli, db: Database, survey: tuple[Path, dict[str, int]], tmp_path: Path
) -> None:
    *good, late = sorted((survey[0] / "spectra").rglob("spec-*.fits"))[:13]
    for file in good:
        shutil.copy(file, tmp_path / file.name)
    closed = tmp_path / "spec-0001-50000-0001.fits"
    closed.symlink_to("/proc/self/mem")  # opens, and fails to be read, for root too
    code, _, err = cli("ingest", "spectra", tmp_path, "--max-bad", 0.5)
    assert code == 0
    assert f"refused [UNREADABLE] {closed}" in err
    assert count(db, "spectrum_blob") == 12
    closed.unlink()
    shutil.copy(late, tmp_path / late.name)
    code, _, err = cli("ingest", "spectra", tmp_path)
    assert code == 0
    assert "UNREADABLE" not in err
    assert count(db, "spectrum_blob") == 13


def test_what_is_no_file_is_refused_by_name(
    cli: Cli, db: Database, survey: tuple[Path, dict[str, int]], tmp_path: Path
) -> None:
    """Links to nothing and to themselves, a device, a pipe: none blocks, none is passed over."""
    good, late = sorted((survey[0] / "spectra").rglob("spec-*.fits"))[1:3]  # the first is blank
    shutil.copy(good, tmp_path / good.name)
    (tmp_path / late.name).symlink_to(tmp_path / "gone")
    (tmp_path / "spec-loop.fits").symlink_to(tmp_path / "spec-loop.fits")
    (tmp_path / "spec-device.fits").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "spec-pipe.fits")
    code, _, err = cli("ingest", "spectra", tmp_path, "--max-bad", 0.9)
    assert code == 0, err
    assert f"refused [UNREADABLE] {tmp_path / late.name} is a link to nothing. Mend or" in err
    assert f"refused [UNREADABLE] {tmp_path / 'spec-device.fits'} is a device, not a file" in err
    assert f"refused [UNREADABLE] {tmp_path / 'spec-pipe.fits'} is a pipe, not a file" in err
    assert f"refused [UNREADABLE] {tmp_path / 'spec-loop.fits'} cannot be read" in err
    assert count(db, "spectrum_blob") == 1
    assert count(db, "quarantine", "reason_code = 'UNREADABLE' AND item_key = ''") == 4
    (tmp_path / "gone").write_bytes(late.read_bytes())  # the disk is there again
    code, _, err = cli("ingest", "spectra", tmp_path, "--max-bad", 0.9)
    assert (code, late.name in err) == (0, False)
    assert count(db, "spectrum_blob") == 2
    assert cli("ingest", "spectra", tmp_path)[0] == 65


@pytest.mark.parametrize("kind", ["lamost", "sdss"])
def test_a_folder_of_one_survey_alone(
    cli: Cli, db: Database, survey: tuple[Path, dict[str, int]], lamost_file: Path, kind: str
) -> None:
    """No column of a chunk may depend on what its other spectra have: ids, plates, classes."""
    file = lamost_file
    if kind == "sdss":
        file = next((survey[0] / "spectra").rglob("spec-*.fits"))
    code, out, err = cli("ingest", "spectra", file, "--max-bad", 1)
    assert (code, "Traceback" in out + err) == (0, False)
    assert count(db, "source", f"survey = '{kind}'") == count(db, "spectrum_blob") == 1
    assert count(db, "sdss_spectrum") == (kind == "sdss")
    assert "nothing to do" in cli("ingest", "spectra", file, "--max-bad", 1)[1]


@pytest.fixture
def lamost_file(tmp_path: Path) -> Path:
    """A LAMOST spectrum of the layout of DR8 and later."""
    return write_lamost(tmp_path / "spec-56919-EG012606S021203F_sp01-015.fits")
