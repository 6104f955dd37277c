"""A row that only the database refuses goes to the quarantine; the others of its chunk are kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from astropy.io import fits

from catalog.files.identity import file_identity
from catalog.records import BadItem
from catalog.store.db import Database
from catalog.store.inputs import quarantine_items, register_file, release_rows
from catalog.store.savepoints import MAX_REFUSED
from catalog.surveys.simulate import NAMES, write_survey
from catalog.surveys.specobj import open_specobj
from jobs.ingest.catalogs import ingest_catalog
from jobs.ingest.rows import refused_rows
from jobs.ingest.specobj import ingest_specobj
from tests.conftest import Cli
from tests.support.specobj_file import specobj_rows, write_specobj

ROW = 7


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("survey")
    write_survey(folder, n_matched=10, n_apogee=60, n_sspp=50, seed=5)
    return folder


def rows_of(db: Database, query: str) -> list[tuple]:
    with db.reader() as conn:
        return [tuple(row) for row in conn.execute(sa.text(query))]


def constrain(db: Database, table: str, check: str) -> None:
    """Add a constraint of the database's own."""
    with db.begin() as conn:
        conn.execute(sa.text(f"ALTER TABLE {table} ADD CONSTRAINT planted CHECK ({check})"))


QUARANTINE = """SELECT f.path, q.item_key, q.reason_code, q.detail
    FROM quarantine q JOIN input_file f USING (input_file_id) ORDER BY 2"""


def test_a_constraint_of_stars_refuses_a_row_of_a_catalog(
    cli: Cli, db: Database, survey: Path
) -> None:
    """It is counted, told and bounded like other bad rows."""
    file = survey / NAMES["dr14"]
    with fits.open(file) as hdus:
        key, n_rows = hdus[1].data["APSTAR_ID"][ROW].strip(), len(hdus[1].data)
    constrain(db, "apogee_star", f"apstar_id <> '{key}'")
    words = ("ingest", "apogee", file, "--release", "dr14")
    code, out, err = cli(*words, "--max-bad", 0)
    assert (code, "Traceback" in out + err) == (65, False)
    assert f"1 of {n_rows} rows of {file} is bad (1 UNEXPECTED)" in err
    assert "UNEXPECTED: report it, with the traceback in the log" in err
    assert rows_of(db, "SELECT name FROM label_set WHERE status = 'complete'") == []
    assert cli(*words)[0] == 0
    [(path, item, reason, detail)] = rows_of(db, QUARANTINE)
    assert (path, item, reason) == (str(file), f"row {ROW} dr14/{key}", "UNEXPECTED")
    assert 'violates check constraint "planted"' in detail
    assert rows_of(db, "SELECT count(*) FROM apogee_star") == [(n_rows - 1,)]
    assert "nothing to do" in cli(*words)[1]


@pytest.mark.parametrize("rows_per_chunk", [10_000, 16])
def test_a_constraint_of_labels_refuses_a_row_of_a_catalog(
    db: Database, survey: Path, rows_per_chunk: int
) -> None:
    """Nothing of that row is written, and mending the row lets it go from the quarantine."""
    file = survey / "ssppOut-dr12.fits"
    with fits.open(file) as hdus:
        names = ("PLATE", "MJD", "FIBER", "RUN2D")
        key = "-".join(str(hdus[1].data[name][ROW]).strip() for name in names)
        teff = float(hdus[1].data["TEFF_ADOP"][ROW])
    constrain(db, "stellar_label", f"teff <> CAST({teff!r} AS real)")
    ingest_catalog(db, "sspp", [file], "dr12", rows_per_chunk=rows_per_chunk)
    [(_, item, reason, detail)] = rows_of(db, QUARANTINE)
    assert (item, reason) == (f"row {ROW} {key}", "UNEXPECTED")
    assert 'violates check constraint "planted"' in detail
    assert rows_of(db, "SELECT count(*) FROM source") == [(49,)]
    assert rows_of(db, f"SELECT 1 FROM source WHERE survey_key = '{key}'") == []
    with db.reader() as conn:
        [told] = refused_rows(conn, "sspp", [file])
    assert (told.reason_code, told.n_rows, told.example.split(":")[0]) == ("UNEXPECTED", 1, item)
    with db.begin() as conn:
        conn.execute(sa.text("ALTER TABLE stellar_label DROP CONSTRAINT planted"))
        conn.execute(sa.text("DELETE FROM label_set"))
    ingest_catalog(db, "sspp", [file], "dr12", rows_per_chunk=rows_per_chunk)
    assert rows_of(db, QUARANTINE) == []
    assert rows_of(db, "SELECT count(*) FROM source") == [(50,)]


def test_a_constraint_of_sources_refuses_a_row_of_specobj(db: Database, tmp_path: Path) -> None:
    """Row numbers are the file's, also where rows are left out before."""
    rows = [{"class": "GALAXY"}, *({"fiberid": i, "dec": 1.0 + i} for i in range(1, 9))]
    write_specobj(tmp_path / "specObj.fits", specobj_rows(*rows))
    with open_specobj(tmp_path / "specObj.fits", "dr17") as file:
        assert file.read(0, 9).rows.tolist() == list(range(1, 9))
    constrain(db, "source", "dec <> 6.0")
    ingest_specobj(db, [tmp_path / "specObj.fits"], "dr17", max_bad=0.2)
    [(_, item, reason, _)] = rows_of(db, QUARANTINE)
    assert (item.split()[:2], reason) == (["row", "5"], "UNEXPECTED")
    assert rows_of(db, "SELECT dec FROM source ORDER BY 1") == [
        (1.0 + i,) for i in range(1, 9) if i != 5
    ]


def test_a_constraint_refuses_a_row_of_a_label_table(
    cli: Cli, db: Database, survey: Path, tmp_path: Path
) -> None:
    """What became of the rows still adds up to the file, with an example of the refused one."""
    ingest_catalog(db, "apogee", [survey / NAMES["dr14"]], "dr14")
    query = "SELECT apogee_id FROM apogee_star WHERE is_primary ORDER BY 1 LIMIT 6"
    keys = [key for (key,) in rows_of(db, query)]
    lines = [f"{key},{5000 + i}" for i, key in enumerate(keys)]
    (tmp_path / "mine.csv").write_text("\n".join(["apogee_id,teff", "2M0,4000", *lines, ",1"]))
    constrain(db, "stellar_label", "teff <> 5002")
    words = ("ingest", "labels", tmp_path / "mine.csv", "--survey", "apogee", "--name", "mine")
    code, _, err = cli(*words)
    assert code == 65
    assert "2 of 8 rows" in err
    code, out, err = cli(*words, "--max-bad", 0.5)
    assert code == 0, err
    assert "8 rows: 5 labelled, 1 unknown to the catalog, 2 in quarantine" in out
    told = [(item, reason) for _, item, reason, _ in rows_of(db, QUARANTINE)]
    assert told == [(f"row 3 {keys[2]}", "UNEXPECTED"), ("row 7", "BAD_ID")]
    params = json.loads(
        str(rows_of(db, "SELECT params::text FROM label_set WHERE name = 'mine'")[0][0])
    )
    assert any(example.startswith(f"row 3 {keys[2]}: ") for example in params["bad"])
    query = "SELECT teff FROM stellar_label JOIN label_set USING (label_set_id) WHERE name = 'mine'"
    assert sorted(rows_of(db, query)) == [(5000 + i,) for i in (0, 1, 3, 4, 5)]


def test_what_refuses_every_row_is_no_fault_of_a_row(
    db: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It ends the chunk, soon and with a short log."""
    rows = [{"fiberid": i, "dec": i / 10} for i in range(1, 301)]
    write_specobj(tmp_path / "specObj.fits", specobj_rows(*rows))
    constrain(db, "source", "dec > 90")
    summary, _ = ingest_specobj(db, [tmp_path / "specObj.fits"], "dr17")
    assert summary.state == "failed"
    assert rows_of(db, "SELECT count(*) FROM source") == [(0,)]
    assert rows_of(db, QUARANTINE) == []
    assert len(caplog.records) < MAX_REFUSED + 20


def test_what_a_file_says_can_always_be_told(db: Database, tmp_path: Path) -> None:
    """NUL and halves of surrogates, which are no text for the database, are escaped."""
    (tmp_path / "a.csv").write_text("x")
    with db.begin() as conn:
        file_id = register_file(conn, file_identity(tmp_path / "a.csv"), "labels")
        items = [
            BadItem("k\0", 3, "BAD_TEXT", "x is \udc80"),
            BadItem("e\u0301", 4, "BAD_ID", "\0"),
        ]
        assert quarantine_items(conn, file_id, items) == 2
        release_rows(conn, file_id, range(10), items)
    told = [(item, detail) for _, item, _, detail in rows_of(db, QUARANTINE)]
    assert told == [("row 3 k\\0", "x is \\udc80"), ("row 4 e\u0301", "\\0")]
