"""Predicting as a job: which spectra are labelled, what is published, and when again."""

from __future__ import annotations

import numpy as np
import pytest
import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.store.db import Database
from catalog.store.spectra import encode, read_normalized
from jobs.engine.job import RunSummary
from jobs.engine.runner import run_job
from jobs.training.predict import PredictParams, predict_job
from models.predict import FLAG_BITS, load, mark_trained_on
from models.reliability.flags import mark_low_snr
from tests.support.learning import (
    TRAININGS,
    Stopped,
    labels_by_key,
    normalize,
    rows,
    stopping_after,
    value,
)

FORGET_FIVE = """
    DELETE FROM normalized_spectrum WHERE recipe = 'default' AND source_id IN (
        SELECT source_id FROM normalized_spectrum WHERE recipe = 'default'
        ORDER BY source_id LIMIT 5)"""


def predict(db: Database, model: str = "small", name: str = "pred", **changes) -> RunSummary:
    return run_job(predict_job(PredictParams(model, name, **changes), db), db)


def n_normalized(db: Database) -> int:
    return value(db, "SELECT count(*) FROM normalized_spectrum WHERE recipe = 'default'")


def editions(db: Database, name: str = "pred") -> list[tuple[int, str, int | None]]:
    query = "SELECT edition, status, n_rows FROM label_set WHERE name = :n ORDER BY 1"
    return rows(db, query, n=name)


@pytest.mark.parametrize("params", TRAININGS.values(), ids=TRAININGS)
def test_all_normalized_spectra_are_labelled_by_the_stored_model(trained, params):
    summary = predict(trained, params.name, batch=30)
    labels = labels_by_key(trained, "pred")
    assert len(labels) == n_normalized(trained) > 70
    assert summary.rows_written == 2 * len(labels)
    ids = [
        i
        for (i,) in rows(
            trained,
            "SELECT source_id FROM normalized_spectrum n JOIN source USING (source_id) "
            "WHERE recipe = :r ORDER BY survey || ' ' || survey_key",
            r=params.preset,
        )
    ]
    artifact = value(trained, "SELECT artifact FROM model WHERE name = :n", n=params.name)
    model = load(bytes(artifact))
    with trained.reader() as conn:
        spectra = read_normalized(conn, params.preset, 1, ids, model.n_pixels)
    direct = model.predict(spectra.flux, spectra.ivar, spectra.continuum)
    place = np.searchsorted(spectra.source_id, ids)
    stored = np.array([row[:6] for row in labels.values()], float)
    np.testing.assert_allclose(stored[:, :3], direct.values[place], rtol=1e-4, atol=1e-3)
    query = "SELECT source_id FROM training_member JOIN model USING (model_id) WHERE name = :n"
    with trained.reader() as conn:
        member = conn.scalars(sa.text(query), {"n": params.name}).all()
    trained_on = np.isin(spectra.source_id, member)
    assert trained_on.any()
    assert not trained_on.all()
    by_id = dict(rows(trained, "SELECT source_id, sn_median FROM spectrum_blob"))
    snr = np.array([by_id[i] for i in spectra.source_id.tolist()], float)
    flags = mark_low_snr(mark_trained_on(direct.flags, trained_on), snr)
    assert [row[6] for row in labels.values()] == flags[place].tolist()
    if params.preset == "default":
        np.testing.assert_allclose(stored[:, 3:], direct.sigma[place], rtol=1e-4)
        assert all(len(row[7]) == len(row[8]) == 3 for row in labels.values())
    else:  # no error head: unknown, not zero
        assert np.isnan(stored[:, 3:]).all()
        assert {row[7:9] for row in labels.values()} == {(None, None)}


def test_label_set_names_its_model_and_flags(trained):
    predict(trained)
    [(kind, name, description)] = rows(
        trained,
        "SELECT l.kind, m.name, l.description FROM label_set l JOIN model m USING (model_id) "
        "WHERE l.name = 'pred'",
    )
    assert (kind, name) == ("prediction", "small")
    assert "small@1" in description
    bits = dict(rows(trained, "SELECT bit, name FROM flag_bit WHERE producer = 'pred'"))
    assert bits == {bit: name for bit, (name, _) in FLAG_BITS.items()}


def test_second_prediction_has_nothing_to_do(trained):
    predict(trained)
    again = predict(trained)
    assert (again.state, again.rows_written) == ("idle", 0)


def test_spectra_normalized_later_make_a_new_edition(trained):
    n = n_normalized(trained)
    with trained.begin() as conn:
        conn.execute(sa.text(FORGET_FIVE))
    predict(trained)
    normalize(trained, "default")
    predict(trained)
    assert editions(trained) == [(1, "complete", n - 5), (2, "complete", n)]


def test_the_command_normalizes_first_and_counts_training_spectra(trained, command_line):
    n = n_normalized(trained)
    with trained.begin() as conn:
        conn.execute(sa.text(FORGET_FIVE))
    planned = command_line(trained.engine.url, "predict", "small", "--name", "new", "--dry-run")
    assert planned == (0, "normalize recipe default: planned, 1 chunk to do\n", "")
    code, out, err = command_line(trained.engine.url, "predict", "small", "--name", "new")
    assert (code, err) == (0, "")
    n_trained = value(
        trained,
        "SELECT count(*) FROM training_member JOIN model USING (model_id) WHERE name = 'small'",
    )
    assert f"{n:,} spectra labelled in new@1, {n_trained:,} of them training spectra" in out
    assert "note: the model has seen the labels" in out


def test_another_model_makes_a_new_edition(trained):
    predict(trained, "small")
    predict(trained, "seed")
    query = "SELECT m.name FROM label_set l JOIN model m USING (model_id) WHERE l.name = 'pred'"
    assert rows(trained, query + " ORDER BY l.edition") == [("small",), ("seed",)]


def test_comparison_leaves_out_the_stars_that_the_model_was_trained_on(trained):
    predict(trained)
    compared = rows(
        trained,
        "SELECT DISTINCT star_id, left_id, right_id FROM comparison_rows('aspcap/dr14', '{pred}')",
    )
    members = rows(
        trained,
        "SELECT star_id, source_id FROM training_member JOIN model USING (model_id) "
        "WHERE name = 'small'",
    )
    stars, sources = (set(column) for column in zip(*members, strict=True))
    assert compared, "some matched stars must be outside the sample for this test to mean anything"
    for star_id, left_id, right_id in compared:
        assert star_id not in stars
        assert not {left_id, right_id} & sources
    n_oof = value(
        trained,
        "SELECT n FROM compare_label_sets('aspcap/dr14', '{small/oof}') WHERE label = 'teff'",
    )
    assert n_oof > len(stars) / 2  # out-of-fold labels are for comparing on these very stars


def test_sample_restricts_the_prediction(trained):
    predict(trained, sample="clean")
    wanted = "SELECT right_id FROM star_link JOIN sample USING (sample_id) WHERE name = 'clean'"
    found = (
        "SELECT source_id FROM stellar_label JOIN label_set USING (label_set_id) "
        "WHERE name = 'pred'"
    )
    assert sorted(rows(trained, wanted)) == sorted(rows(trained, found))


def test_low_snr_is_by_the_number_that_reports_bin_by(trained):
    """The S/N of normalized pixels differs a little: a flag would contradict the bins."""
    predict(trained)
    found = rows(
        trained,
        "SELECT s.kind, l.flags & 4 <> 0, b.sn_median FROM stellar_label l "
        "JOIN label_set s USING (label_set_id) JOIN spectrum_blob b USING (source_id) "
        "WHERE s.kind <> 'survey'",
    )
    assert {kind for kind, *_ in found} == {"out_of_fold", "prediction"}
    assert {low for _, low, _ in found} == {True, False}
    assert all(low == (snr < 20) for _, low, snr in found)


def test_spectrum_without_information_has_a_flag_and_no_labels(trained):
    source_id = value(trained, "SELECT min(source_id) FROM normalized_spectrum")
    with trained.begin() as conn:
        conn.execute(
            sa.text(
                "UPDATE normalized_spectrum SET ivar = :zero, good_fraction = 0 "
                "WHERE source_id = :id AND recipe = 'default'"
            ),
            {"zero": encode(np.zeros(3534)), "id": source_id},
        )
    predict(trained)
    [row] = rows(
        trained,
        "SELECT teff, teff_err, logg, fe_h, flags, raw_sigma, chi2 FROM stellar_label "
        "JOIN prediction_detail USING (label_set_id, source_id) "
        "JOIN label_set USING (label_set_id) "
        "WHERE name = 'pred' AND source_id = :id",
        id=source_id,
    )
    [bit] = [b for b, (name, _) in FLAG_BITS.items() if name == "NO_INFORMATION"]
    assert row[:4] == (None,) * 4
    assert row[4] >> bit & 1
    assert row[5:] == (None, None)


def test_stopped_prediction_goes_on_and_publishes_once(trained):
    predict(trained, name="whole")
    params = PredictParams("small", "pred", batch=30)
    with pytest.raises(Stopped):
        run_job(stopping_after(predict_job(params, trained), 1), trained)
    assert editions(trained) == [(1, "building", None)]
    job = predict_job(params, trained)
    assert run_job(predict_job(job.params, trained), trained).state == "succeeded"
    assert editions(trained) == [(1, "complete", n_normalized(trained))]
    pred, whole = labels_by_key(trained, "pred"), labels_by_key(trained, "whole")
    for key, row in whole.items():
        np.testing.assert_allclose(
            np.array(pred[key][:6], float), np.array(row[:6], float), rtol=1e-4, atol=1e-3
        )


def test_spectra_that_change_during_a_run_are_not_mixed_in(trained):
    params = PredictParams("small", "pred", batch=30)
    job = predict_job(params, trained)
    with pytest.raises(Stopped):
        run_job(stopping_after(job, 1), trained)
    with trained.begin() as conn:
        conn.execute(sa.text(FORGET_FIVE))
    resumed = run_job(predict_job(job.params, trained), trained)
    assert resumed.state == "failed"
    assert "no longer those that this prediction began with" in resumed.errors[0]
    assert run_job(predict_job(params, trained), trained).state == "succeeded"
    assert editions(trained) == [(1, "complete", n_normalized(trained))]


def test_model_of_another_recipe_version_is_refused(trained):
    with trained.begin() as conn:  # an older program wrote it
        conn.execute(sa.text("ALTER TABLE model DISABLE TRIGGER keep_model"))
        conn.execute(sa.text("UPDATE model SET recipe_version = 0 WHERE name = 'small'"))
        conn.execute(sa.text("ALTER TABLE model ENABLE TRIGGER keep_model"))
    with pytest.raises(UsageError, match=r"version 0 of the recipe default, .* now at version 1"):
        predict(trained)


def test_names_that_do_not_exist_or_are_taken_are_refused(trained):
    with pytest.raises(UsageError, match=r"there is no model big\. Models: seed, small"):
        predict(trained, "big")
    with pytest.raises(UsageError, match="there is no model small@7"):
        predict(trained, "small@7")
    with pytest.raises(UsageError, match="there is no sample dirty"):
        predict(trained, sample="dirty")
    with pytest.raises(UsageError, match="of the kind survey, not prediction"):
        predict(trained, name="aspcap/dr14")
    with pytest.raises(UsageError, match="cannot be the name of a label set"):
        predict(trained, name="pred@2")
    assert editions(trained) == []


def test_without_normalized_spectra_the_command_is_named(trained):
    with trained.begin() as conn:
        conn.execute(sa.text("DELETE FROM normalized_spectrum WHERE recipe = 'default'"))
    with pytest.raises(UsageError, match="no spectrum is normalized by the recipe default") as e:
        predict(trained)
    assert e.value.todo == "Run: crosslabel normalize --recipe default"
