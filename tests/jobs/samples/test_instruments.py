"""Spectra of several instruments: counted, never mixed without a word, flagged in predictions."""

from __future__ import annotations

import dataclasses

import pytest
import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.store.db import Database
from catalog.store.samples import find_sample
from jobs.engine.runner import run_job
from jobs.export.matrix import sample_matrix
from jobs.samples.options import make_rules
from jobs.samples.select import SampleParams, sample_job, sample_report
from jobs.training.predict import PredictParams, predict_job
from models.predict import load
from models.reliability.flags import BIT
from tests.support.learning import TRAININGS, rows, train, value

SHORT = dataclasses.replace(TRAININGS["default"], preset="ridge", members=1, epochs=None)
N_BOSS = 7


def select(db: Database, name: str, *instruments: str) -> str:
    """Create a sample and return what is printed about it."""
    rules = make_rules("clean", {"instruments": instruments})
    run_job(sample_job(SampleParams(name, rules=rules), db), db)
    with db.reader() as conn:
        return sample_report(conn, name)[1]


@pytest.fixture
def mixed(survey: Database) -> Database:
    """The simulated survey with some spectra of `clean` from another spectrograph."""
    with survey.begin() as conn:
        conn.execute(
            sa.text(
                "UPDATE spectrum_blob SET instrument = 'BOSS' WHERE source_id IN ("
                "SELECT right_id FROM star_link JOIN sample USING (sample_id) "
                "WHERE name = 'clean' ORDER BY right_id LIMIT :n)"
            ),
            {"n": N_BOSS},
        )
    return survey


def test_one_instrument_needs_no_word(survey):
    text = select(survey, "usual")
    assert "accepted spectra by instrument: " in text
    assert "BOSS" not in text
    assert train(survey, SHORT, sample="usual").state == "succeeded"
    assert instruments(survey) == ["SDSS"]


def test_a_mixture_is_counted_and_must_be_named(mixed):
    assert f"SDSS, {N_BOSS} BOSS" in select(mixed, "all")
    with pytest.raises(UsageError, match="of several instruments: BOSS, SDSS") as refused:
        train(mixed, SHORT, sample="all")
    assert "--instruments BOSS,SDSS" in refused.value.todo
    with mixed.reader() as conn:  # a matrix says which is which, so it may hold both
        exported = sample_matrix(conn, find_sample(conn, "all"), "default")
    assert (exported["instrument"] == "BOSS").sum() == N_BOSS
    text = select(mixed, "both", "SDSS", "BOSS")
    assert "other than preset clean: instruments SDSS, BOSS" in text
    assert train(mixed, SHORT, sample="both").state == "succeeded"
    assert instruments(mixed) == ["BOSS", "SDSS"]


def test_spectra_of_another_instrument_are_flagged(mixed):
    assert "OTHER_INSTRUMENT" in select(mixed, "one", "SDSS")
    query = (
        "SELECT count(*) FROM sample_member JOIN sample USING (sample_id) "
        "WHERE name = 'one' AND reason = 'OTHER_INSTRUMENT'"
    )
    assert value(mixed, query) == N_BOSS
    train(mixed, SHORT, sample="one")
    assert instruments(mixed) == ["SDSS"]
    run_job(predict_job(PredictParams("small", "pred"), mixed), mixed)
    flagged = rows(
        mixed,
        "SELECT b.instrument, s.flags & :bit <> 0, count(*) FROM stellar_label s "
        "JOIN current_label_set c USING (label_set_id) JOIN spectrum_blob b USING (source_id) "
        "WHERE c.name = 'pred' GROUP BY 1, 2 ORDER BY 1",
        bit=int(BIT["OTHER_INSTRUMENT"]),
    )
    assert [row[:2] for row in flagged] == [("BOSS", True), ("SDSS", False)]
    assert flagged[0][2] == N_BOSS
    meaning = "SELECT name FROM flag_bit WHERE producer = 'pred' AND bit = 9"
    assert value(mixed, meaning) == "OTHER_INSTRUMENT"


def instruments(db: Database) -> list[str]:
    """The instruments that the model says it was trained on."""
    artifact = value(db, "SELECT artifact FROM model WHERE name = :n", n=SHORT.name)
    return load(bytes(artifact)).manifest["instruments"]
