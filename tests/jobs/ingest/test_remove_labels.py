"""Files belong to the editions that they made; an edition that nothing rests on can be undone."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from astropy.io import fits

from catalog.errors import UsageError
from catalog.store.db import Database
from catalog.store.inputs import IS_USED
from catalog.surveys.simulate import write_survey
from jobs.training.remove import remove_label_set
from tests.conftest import Cli
from tests.support.specobj_file import specobj_rows, write_specobj


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("survey")
    write_survey(folder, n_matched=15, n_apogee=60, n_sspp=50, seed=5)
    return folder


def rows(db: Database, query: str) -> list[tuple[object, ...]]:
    with db.reader() as conn:
        return [tuple(row) for row in conn.execute(sa.text(query))]


def counts(db: Database, *tables: str) -> dict[str, int]:
    return {t: int(str(rows(db, f"SELECT count(*) FROM {t}")[0][0])) for t in tables}


USED = """
    SELECT f.release, l.name || '@' || l.edition FROM label_set_file u
    JOIN input_file f USING (input_file_id) JOIN label_set l USING (label_set_id) ORDER BY 2"""
WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND datname = current_database()"""
HELD = ("source", "star", "apogee_star", "sdss_spectrum", "stellar_label", "input_file")


def rewrite(file: Path, to: Path, **rows: dict[str, object]) -> Path:
    """Write a catalog again with other values in some rows: ``r3={"TEFF": 1.0}``."""
    with fits.open(file, memmap=False) as hdus:
        for name, values in rows.items():
            for column, value in values.items():
                hdus[1].data[column][int(name[1:])] = value
        to.parent.mkdir(exist_ok=True)
        hdus.writeto(to)
    return to


def ingest(cli: Cli, kind: str, file: Path, release: str, *more: str) -> None:
    code, _, err = cli("ingest", kind, file, "--release", release, *more)
    assert code == 0, err


def test_one_file_under_two_releases_is_told_twice_and_undone(
    cli: Cli, db: Database, survey: Path
) -> None:
    allstar = survey / "allStar-l31c.2.fits"
    ingest(cli, "apogee", allstar, "dr14")
    before = counts(db, *HELD)
    ingest(cli, "apogee", allstar, "dr17", "--as-release")
    assert rows(db, USED) == [("dr14", "aspcap/dr14@1"), ("dr17", "aspcap/dr17@1")]
    assert counts(db, "source")["source"] == 2 * before["source"]
    code, out, _ = cli("label", "remove", "aspcap/dr17")
    assert code == 0
    assert f"{before['source']} sources used by nothing else" in out
    assert counts(db, *HELD) == before
    assert rows(db, USED) == [("dr14", "aspcap/dr14@1")]
    ingest(cli, "apogee", allstar, "dr17", "--as-release")  # and done again
    assert counts(db, "source")["source"] == 2 * before["source"]


def test_what_is_used_stays(cli: Cli, db: Database, survey: Path) -> None:
    """Sources with spectra, and those of other editions."""
    ingest(cli, "sspp", survey / "ssppOut-dr12.fits", "dr12")
    assert cli("ingest", "spectra", survey / "spectra")[0] == 0
    assert cli("label", "remove", "sspp/dr12@1")[0] == 0
    with_pixels = counts(db, "spectrum_blob")["spectrum_blob"]
    assert counts(db, "source", "sdss_spectrum") == {
        "source": with_pixels, "sdss_spectrum": with_pixels,
    }  # fmt: skip
    assert rows(db, "SELECT DISTINCT in_sspp, sspp_flag, bv FROM sdss_spectrum") == [
        (None, None, None)
    ]
    assert rows(db, "SELECT DISTINCT kind FROM input_file") == [("spectrum",)]


def test_a_second_edition_goes_without_the_first(
    cli: Cli, db: Database, survey: Path, tmp_path: Path
) -> None:
    """A reprocessing of one path is a new edition; provenance says which file made which."""
    file = tmp_path / "allStar-l31c.2.fits"
    shutil.copy(survey / "allStar-l31c.2.fits", file)
    ingest(cli, "apogee", file, "dr14")
    before = counts(db, *HELD)
    with fits.open(file, memmap=False) as hdus:
        hdus[1].data["TEFF"][hdus[1].data["TEFF"] > 0] += 10
        hdus[1].data["APSTAR_ID"][3] = "another"
        hdus.writeto(file, overwrite=True)
    ingest(cli, "apogee", file, "dr14")
    assert [row[1] for row in rows(db, USED)] == ["aspcap/dr14@1", "aspcap/dr14@2"]
    assert counts(db, "source")["source"] == before["source"] + 1
    assert cli("label", "remove", "aspcap/dr14")[0] == 0
    assert rows(db, USED) == [("dr14", "aspcap/dr14@1")]
    assert counts(db, *HELD) == before


def test_entries_without_labels_belong_to_the_editions_that_list_them(
    cli: Cli, db: Database, survey: Path, tmp_path: Path
) -> None:
    """Of two editions of one name, each takes with it what only its own files had."""
    nothing = dict.fromkeys(("TEFF", "LOGG", "FE_H", "M_H", "ALPHA_M"), -9999.0)
    first = survey / "allStar-l31c.2.fits"
    both = rewrite(first, tmp_path / "one" / first.name, r3=nothing, r5=nothing)
    other = rewrite(both, tmp_path / "two" / first.name, r3={"APSTAR_ID": "another"})
    ingest(cli, "apogee", both, "dr14")
    before = counts(db, *HELD)
    ingest(cli, "apogee", other, "dr14")
    known = "SELECT survey_key FROM source ORDER BY 1"
    n = before["source"]
    assert counts(db, "source", "stellar_label") == {
        "source": n + 1, "stellar_label": 2 * before["stellar_label"],
    }  # fmt: skip
    code, out, _ = cli("label", "remove", "aspcap/dr14@1")
    assert code == 0
    assert ", 1 source used by nothing else" in out
    assert f"; {n - 1} sources stay: {n - 1} of another edition or label set" in out
    assert ("dr14/another",) in rows(db, known)
    ingest(cli, "apogee", both, "dr14")  # back again, as edition 3
    assert counts(db, "source")["source"] == n + 1
    assert cli("label", "remove", "aspcap/dr14@2")[0] == 0
    assert counts(db, *HELD) == before
    assert ("dr14/another",) not in rows(db, known)
    assert remove_label_set(db, "aspcap/dr14").sources == n
    assert counts(db, "source", "unlabelled_source") == {"source": 0, "unlabelled_source": 0}


def test_spectra_that_other_catalogs_named_stay_and_the_others_go(
    cli: Cli, db: Database, survey: Path, tmp_path: Path
) -> None:
    """specObj names some, SkyServer one; what else SSPP brought goes with it."""
    file = survey / "ssppOut-dr12.fits"
    ingest(cli, "sspp", file, "dr12")
    with fits.open(file) as hdus:
        named = [
            {"plate": int(r["PLATE"]), "mjd": int(r["MJD"]), "fiberid": int(r["FIBER"]),
             "run2d": r["RUN2D"].strip(), "ra": r["PLUG_RA"], "dec": r["PLUG_DEC"]}
            for r in hdus[1].data[:5]
        ]  # fmt: skip
    write_specobj(tmp_path / "specObj-dr17.fits", specobj_rows(*named))
    ingest(cli, "specobj", tmp_path / "specObj-dr17.fits", "dr17")
    with db.begin() as conn:  # as `fetch positions` does
        conn.execute(
            sa.text(
                "UPDATE sdss_spectrum SET in_skyserver = true WHERE source_id IN (SELECT source_id "
                "FROM sdss_spectrum WHERE in_specobj IS NULL ORDER BY source_id LIMIT 1)"
            )
        )
    code, out, _ = cli("label", "remove", "sspp/dr12")
    assert code == 0
    assert "; 6 sources stay: 5 named by specObj, 1 named by SkyServer" in out
    assert rows(db, "SELECT in_sspp, bv, count(*) FROM sdss_spectrum GROUP BY 1, 2") == [
        (None, None, 6)
    ]


def test_what_sspp_said_stays_with_another_release_that_lists_the_spectrum(
    cli: Cli, db: Database, survey: Path, tmp_path: Path
) -> None:
    """Also where that release has no label of it."""
    file = survey / "ssppOut-dr12.fits"
    nothing = dict.fromkeys(("TEFF_ADOP", "LOGG_ADOP", "FEH_ADOP"), -9999.0)
    other = rewrite(file, tmp_path / "ssppOut-dr12.fits", r0=nothing)
    ingest(cli, "sspp", file, "dr12")
    ingest(cli, "sspp", other, "dr10", "--as-release")
    query = "SELECT count(*) FROM unlabelled_source GROUP BY label_set_id ORDER BY label_set_id"
    [(n,), (n_other,)] = rows(db, query)
    assert int(str(n_other)) == int(str(n)) + 1
    assert remove_label_set(db, "sspp/dr12").kept == {"of another edition or label set": 50}
    assert rows(db, "SELECT DISTINCT in_sspp FROM sdss_spectrum") == [(True,)]


def test_a_spectrum_that_comes_while_an_edition_goes_is_not_lost(
    cli: Cli, db: Database, survey: Path
) -> None:
    """The removal waits for it, and then sees it."""
    ingest(cli, "sspp", survey / "ssppOut-dr12.fits", "dr12")
    spectrum = """
        INSERT INTO spectrum_blob (source_id, input_file_id, instrument, spectrum_state)
        SELECT (SELECT min(source_id) FROM source), min(input_file_id), 'SDSS', 'ZERO_SPECTRUM'
        FROM input_file"""
    with ThreadPoolExecutor() as pool:
        with db.begin() as conn:
            conn.execute(sa.text(spectrum))
            removal = pool.submit(remove_label_set, db, "sspp/dr12")
            while not rows(db, WAITING)[0][0] and not removal.done():
                time.sleep(0.05)
        assert removal.result().kept == {"with a spectrum": 1}
    assert counts(db, "source", "spectrum_blob") == {"source": 1, "spectrum_blob": 1}


def test_what_rests_on_an_edition_keeps_it(cli: Cli, db: Database, survey: Path) -> None:
    ingest(cli, "apogee", survey / "allStar-l31c.2.fits", "dr14")
    ingest(cli, "sspp", survey / "ssppOut-dr12.fits", "dr12")
    assert cli("crossmatch", "--quiet")[0] == 0
    assert cli("sample", "create", "clean", "--quiet")[0] == 0
    for name in ("aspcap/dr14", "sspp/dr12@1"):
        with pytest.raises(UsageError, match="on it rests the sample clean"):
            remove_label_set(db, name)
    ingest(cli, "apogee", survey / "allStar-l31c.2.fits", "dr15")  # nothing rests on that
    assert remove_label_set(db, "aspcap/dr15").sources > 0
    assert cli("sample", "remove", "clean")[0] == 0
    assert remove_label_set(db, "aspcap/dr14").sources > 0
    assert counts(db, "match", "apogee_star", "star") == {"match": 0, "apogee_star": 0, "star": 0}
    assert cli("crossmatch", "--quiet")[0] == 2  # nothing is left to match
    with pytest.raises(UsageError, match="there is no label set aspcap/dr14"):
        remove_label_set(db, "aspcap/dr14")


def test_an_evaluation_goes_only_if_told_to(cli: Cli, db: Database, survey: Path) -> None:
    ingest(cli, "apogee", survey / "allStar-l31c.2.fits", "dr14")
    with db.begin() as conn:
        conn.execute(
            sa.text(
                "INSERT INTO evaluation (ref_set, test_sets, settings, notes, inputs_hash, "
                "code_version) VALUES ('aspcap/dr14@1', '{a@1}', '{}', '{}', 'x', 'x')"
            )
        )
    code, _, err = cli("label", "remove", "aspcap/dr14")
    assert (code, "took part in 1 stored evaluation" in err) == (2, True)
    assert cli("label", "remove", "aspcap/dr14", "--with-evaluations", "--quiet")[:2] == (0, "")
    assert counts(db, "evaluation", "label_set", "source") == {
        "evaluation": 0, "label_set": 0, "source": 0,
    }  # fmt: skip


def test_labels_of_anyone_go_and_leave_the_sources(
    cli: Cli, db: Database, survey: Path, tmp_path: Path
) -> None:
    ingest(cli, "apogee", survey / "allStar-l31c.2.fits", "dr14")
    [(key,)] = rows(db, "SELECT min(apogee_id) FROM apogee_star WHERE is_primary")
    (tmp_path / "mine.csv").write_text(f"apogee_id,teff\n{key},5000\n")
    before = counts(db, *HELD)
    words = ("ingest", "labels", tmp_path / "mine.csv", "--survey", "apogee", "--name", "mine")
    assert cli(*words)[0] == 0
    assert cli("label", "remove", "mine")[0] == 0
    assert counts(db, *HELD) == before
    assert cli(*words)[0] == 0


def test_a_refused_file_is_not_listed_as_used(
    cli: Cli, db: Database, survey: Path, tmp_path: Path
) -> None:
    """Nor one whose labels were not published, nor one whose edition has been removed."""
    (tmp_path / "broken.fits").write_text("no FITS")
    assert cli("ingest", "apogee", tmp_path / "broken.fits", "--release", "dr14")[0] == 65
    assert cli("ingest", "apogee", survey / "allStar-l31c.2.fits", "--release", "dr17")[0] == 65
    ingest(cli, "sspp", survey / "ssppOut-dr12.fits", "dr12")
    listed = f"SELECT f.kind, f.release FROM input_file f WHERE {IS_USED}"
    assert rows(db, listed) == [("sspp", "dr12")]
    assert cli("label", "remove", "sspp/dr12")[0] == 0
    assert rows(db, listed) == []
