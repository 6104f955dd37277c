"""A newer reduction of a spectrum replaces the older for people; what rests on that one stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from astropy.io import fits

from catalog.store.db import Database
from catalog.surveys.simulate import NAMES, write_survey
from catalog.surveys.specobjid import pack_specobjid
from jobs.crossmatch.crossmatch import CrossmatchParams, crossmatch_job
from jobs.engine.runner import run_job
from jobs.ingest.spectra import SpectraParams, ingest_spectra_job
from jobs.samples.select import SampleParams, sample_job
from jobs.training.predict import PredictParams, predict_job
from jobs.training.train import TrainParams
from tests.conftest import Cli
from tests.support.learning import normalize, rows, train, value
from tests.support.specobj_file import specobj_rows, write_specobj
from tests.support.spectrum_files import write_lamost, write_sdss

ACCEPTED = """SELECT r.survey_key, f.path FROM star_link k JOIN sample p USING (sample_id)
    JOIN source r ON r.source_id = k.right_id JOIN spectrum_blob b ON b.source_id = k.right_id
    JOIN input_file f USING (input_file_id) WHERE p.name = :sample ORDER BY 1"""
REASON = """SELECT r.survey_key, m.reason FROM sample_member m JOIN sample p USING (sample_id)
    JOIN source r ON r.source_id = m.right_id
    WHERE p.name = :sample AND r.survey_key LIKE :fibre ORDER BY 1"""
LABELLED = """SELECT r.survey_key, (l.flags >> b.bit) & 1 FROM stellar_label l
    JOIN current_label_set c USING (label_set_id) JOIN source r USING (source_id)
    JOIN flag_bit b ON b.producer = c.name AND b.name = 'TRAINED_ON'
    WHERE c.name = :name AND r.survey_key LIKE :fibre ORDER BY 1"""


def reduce_again(file: str, folder: Path, run2d: str) -> Path:
    """Write a spectrum as another reduction has it: a tenth brighter."""
    with fits.open(file, memmap=False) as hdus:
        primary, row = hdus[0].header, hdus["SPECOBJ"].data
        key = (primary["PLATEID"], primary["MJD"], primary["FIBERID"], run2d)
        primary["RUN2D"], row["RUN2D"] = run2d, run2d
        row["SPECOBJID"] = str(pack_specobjid(*key)).rjust(row["SPECOBJID"].dtype.itemsize)
        hdus["COADD"].data["flux"] *= 1.1
        to = folder / run2d / Path(file).name
        to.parent.mkdir(parents=True)
        hdus.writeto(to)
    return to


def ingest(db: Database, file: Path) -> None:
    assert run_job(ingest_spectra_job(SpectraParams((str(file),)), db), db).state == "succeeded"
    assert run_job(crossmatch_job(CrossmatchParams(), db), db).state == "succeeded"


def predict(db: Database, name: str, sample: str | None = None) -> None:
    run_job(predict_job(PredictParams("net", name, sample=sample), db), db)


def test_people_see_the_newest_reduction_only(survey: Database, tmp_path: Path) -> None:
    key, file = rows(survey, ACCEPTED, sample="clean")[0]
    old, fibre = key, key.rpartition("-")[0] + "-%"
    new = fibre.replace("%", "999")
    n_pairs = len(rows(survey, ACCEPTED, sample="clean"))
    train(survey, TrainParams("net", "ridge", "clean", folds=3))
    ingest(survey, reduce_again(file, tmp_path, "999"))

    # What was made before stays as it is: the sample, the model, and what is made of them.
    assert (old, file) in rows(survey, ACCEPTED, sample="clean")
    predict(survey, "of/sample", "clean")
    assert [k for k, _ in rows(survey, LABELLED, name="of/sample", fibre=fibre)] == [old]

    for preset in ("clean", "seed-2018"):
        run_job(sample_job(SampleParams(preset, preset), survey), survey)
        assert rows(survey, REASON, sample=preset, fibre=fibre) == sorted(
            [(old, "OLD_REDUCTION"), (new, None)]
        )
        again = run_job(sample_job(SampleParams(preset, preset), survey), survey)
        assert again.rows_written == 0
    assert len(rows(survey, ACCEPTED, sample="clean")) == n_pairs
    assert normalize(survey, "default").rows_written == 1
    assert normalize(survey, "default").state == "idle"
    predict(survey, "all")
    # The same photons that the model was trained on, whoever reduced them.
    assert rows(survey, LABELLED, name="all", fibre=fibre) == [(new, 1)]
    trained = "SELECT survey_key FROM training_member JOIN source USING (source_id)"
    assert (old,) in rows(survey, trained)
    assert (new,) not in rows(survey, trained)
    replaced = "SELECT survey_key FROM superseded_spectrum JOIN source USING (source_id)"
    assert rows(survey, replaced) == [(old,)]

    # An older one that comes later changes nothing.
    ingest(survey, reduce_again(file, tmp_path, "1"))
    run_job(sample_job(SampleParams("clean", "clean"), survey), survey)
    assert [k for k, reason in rows(survey, REASON, sample="clean", fibre=fibre) if not reason] == [
        new
    ]
    assert normalize(survey, "default").state == "idle"


@pytest.mark.parametrize(
    ("older", "newer"),
    [("26", "103"), ("v5_7_0", "v5_13_2"), ("v5_13_2", "v6_0_4"), ("v5_13", "v5_13_2")],
)
def test_versions_are_compared_by_their_numbers(db: Database, older: str, newer: str) -> None:
    """One without a number is neither older nor newer; one without a spectrum replaces nothing."""
    with db.begin() as conn:
        conn.execute(
            sa.text(
                "INSERT INTO input_file (path, size, sha256, kind) VALUES ('x', 1, 'x', 'spectrum')"
            )
        )
        for run2d in (older, newer, "master"):
            conn.execute(
                sa.text(
                    "WITH s AS (INSERT INTO source (survey, survey_key, ra, dec, healpix29) "
                    "VALUES ('sdss', :run2d, 1, 1, 1) RETURNING source_id), "
                    "d AS (INSERT INTO sdss_spectrum (source_id, plate, mjd, fiberid, run2d) "
                    "SELECT source_id, 1, 2, 3, :run2d FROM s) "
                    "INSERT INTO spectrum_blob (source_id, input_file_id, instrument, "
                    "spectrum_state) SELECT s.source_id, f.input_file_id, 'BOSS', 'ZERO_SPECTRUM' "
                    "FROM s, input_file f"
                ),
                {"run2d": run2d},
            )
    assert rows(db, "SELECT run2d FROM superseded_spectrum") == [(older,)]
    with db.begin() as conn:
        conn.execute(
            sa.text(
                "DELETE FROM spectrum_blob WHERE source_id = "
                "(SELECT source_id FROM source WHERE survey_key = :run2d)"
            ),
            {"run2d": newer},
        )
    assert rows(db, "SELECT run2d FROM superseded_spectrum") == []


def test_a_replaced_spectrum_takes_its_position_with_it(
    cli: Cli, db: Database, tmp_path: Path
) -> None:
    """The crossmatch sees that the spectrum moved."""
    write_survey(tmp_path, n_matched=5, n_apogee=40, n_sspp=30, seed=5)
    assert cli("ingest", "apogee", tmp_path / NAMES["dr14"], "--release", "dr14")[0] == 0
    ra, dec = rows(db, "SELECT ra, dec FROM source ORDER BY survey_key LIMIT 1")[0]
    name = "spec-56919-EG012606S021203F_sp01-015.fits"
    files = []
    for version, north in (("v2.9.7", 60.0), ("v2.10.1", 0.0)):
        (tmp_path / version).mkdir()
        cards = {"VERSPIPE": version, "RA": ra, "DEC": dec + north / 3600, "Z": north * 1e-6}
        files.append(write_lamost(tmp_path / version / name, cards))
    matched = "SELECT count(*) > 0 FROM match"
    words = ("crossmatch", "--left", "apogee/dr14", "--right", "lamost")
    for file, is_near in ((files[0], False), (files[1], True), (files[0], True)):
        assert cli("ingest", "spectra", file)[0] == 0
        assert cli(*words)[0] == 0
        assert value(db, matched) is is_near
    place = "SELECT ra, dec FROM source WHERE survey = 'lamost'"
    np.testing.assert_allclose(rows(db, place), [(ra, dec)], atol=1e-9)
    assert "nothing to do" in cli(*words)[1]


def test_a_position_of_a_catalog_stays_whatever_files_say_later(
    cli: Cli, db: Database, tmp_path: Path
) -> None:
    key = {"plate": 1000, "mjd": 52000, "fiberid": 1, "run2d": "26", "ra": 20.0, "dec": 2.0}
    place = "SELECT ra, dec FROM source WHERE survey_key = '1000-52000-1-26'"
    sdss = tmp_path / "spec-1000-52000-0001.fits"
    for right in (11.0, 12.0):
        write_sdss(sdss, flux=right, cards={"PLUG_RA": right})
        assert cli("ingest", "spectra", sdss)[0] == 0
        assert rows(db, place) == [(right, 1.0)]
    write_specobj(tmp_path / "specObj.fits", specobj_rows(key))
    assert cli("ingest", "specobj", tmp_path / "specObj.fits", "--release", "dr17")[0] == 0
    write_sdss(sdss, flux=30.0, cards={"PLUG_RA": 13.0})
    assert cli("ingest", "spectra", sdss)[0] == 0
    assert rows(db, place) == [(20.0, 2.0)]
