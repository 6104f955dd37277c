"""Training as a job: what it publishes, that it resumes to the same bits, that nothing leaks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import sqlalchemy as sa

from catalog.errors import ExitCode, UsageError
from catalog.store.db import Database
from jobs.engine.runner import run_job
from jobs.normalize import NormalizeParams, normalize_job
from jobs.training.train import TrainParams, train_job
from models.predict import FLAG_BITS, load
from tests.support.factories import add_label_set
from tests.support.learning import (
    TRAININGS,
    Stopped,
    answer_of,
    labels_by_key,
    rows,
    stopping_after,
    train,
    value,
)

DEFAULT, SEED = TRAININGS["default"], TRAININGS["seed-2018"]
UNPUBLISHED = """SELECT (SELECT count(*) FROM model WHERE status = 'building'),
    (SELECT count(*) FROM label_set WHERE status = 'building'),
    (SELECT count(*) FROM training_checkpoint)"""


@pytest.mark.parametrize("params", TRAININGS.values(), ids=TRAININGS)
def test_model_is_complete_with_its_origin(trained, params):
    [model] = rows(
        trained,
        "SELECT m.edition, m.preset, m.seed, m.labels, m.recipe, m.recipe_version, m.n_pixels, "
        "m.sha256 = encode(sha256(m.artifact), 'hex'), l.name, l.edition, s.name, r.state, "
        "m.params_hash = r.params_hash, m.versions ? 'jax' "
        "FROM model m JOIN label_set l USING (label_set_id) JOIN sample s USING (sample_id) "
        "JOIN job_run r ON r.run_id = m.run_id WHERE m.name = :n AND m.status = 'complete'",
        n=params.name,
    )
    n_pixels = {"default": 3534, "seed-2018": 3577}[params.preset]
    assert model == (
        1, params.preset, 0, ["teff", "logg", "fe_h"], params.preset, 1, n_pixels, True,
        "aspcap/dr14", 1, params.sample, "succeeded", True, True,
    )  # fmt: skip
    assert rows(trained, UNPUBLISHED) == [(0, 0, 0)]
    metrics = value(trained, "SELECT metrics FROM model WHERE name = :n", n=params.name)
    assert metrics["teff.n"] == value(trained, COUNT_MEMBERS, n=params.name)
    manifest = load(
        bytes(value(trained, "SELECT artifact FROM model WHERE name = :n", n=params.name))
    ).manifest
    assert manifest["labels"] == ["teff", "logg", "fe_h"]
    assert manifest["versions"].keys() >= {"jax", "numpy", "crosslabel"}


COUNT_MEMBERS = "SELECT count(*) FROM training_member JOIN model USING (model_id) WHERE name = :n"


@pytest.mark.parametrize("params", TRAININGS.values(), ids=TRAININGS)
def test_history_has_every_epoch_of_every_network(trained, params):
    found = rows(
        trained,
        "SELECT network, fold, count(*)::int, min(training_epoch), max(training_epoch), "
        "count(loss)::int, count(val_loss)::int "
        "FROM training_history JOIN model USING (model_id) WHERE name = :n GROUP BY 1, 2",
        n=params.name,
    )
    epochs = {"forward": params.epochs, "reverse": params.reverse_epochs}
    networks = ["forward"] if params.preset == "default" else ["forward", "reverse"]
    assert sorted(found) == sorted(
        (name, fold, epochs[name], 1, epochs[name], epochs[name], epochs[name] * (fold == -1))
        for name in networks
        for fold in (-2, -1, 0, 1, 2)
        if fold != -1 or params.validation  # the validation run
    )


@pytest.mark.parametrize("params", TRAININGS.values(), ids=TRAININGS)
def test_out_of_fold_set_has_one_row_per_accepted_labelled_spectrum(trained, params):
    expected = rows(
        trained,
        "SELECT r.survey || ' ' || r.survey_key FROM star_link k JOIN sample USING (sample_id) "
        "JOIN source r ON r.source_id = k.right_id "
        "JOIN stellar_label s ON s.source_id = k.left_id WHERE name = :sample ORDER BY 1",
        sample=params.sample,
    )
    labels = labels_by_key(trained, params.out_of_fold_set)
    assert list(labels) == [key for (key,) in expected]
    numbers = np.array([row[:6] for row in labels.values()], float)
    assert np.isfinite(numbers[:, :3]).all()
    # The notebook's networks have no error head: unknown errors are NULL, not zero.
    has_errors = params.preset == "default"
    assert (np.isfinite(numbers[:, 3:]) == has_errors).all()
    assert all(
        (row[7] is not None) == (row[8] is not None) == has_errors for row in labels.values()
    )
    kinds = rows(
        trained,
        "SELECT kind, model.name FROM label_set l JOIN model USING (model_id) WHERE l.name = :n",
        n=params.out_of_fold_set,
    )
    assert kinds == [("out_of_fold", params.name)]
    query = "SELECT bit, name FROM flag_bit WHERE producer = :n"
    bits = dict(rows(trained, query, n=params.out_of_fold_set))
    assert bits == {bit: name for bit, (name, _) in FLAG_BITS.items()}


@pytest.mark.parametrize("params", TRAININGS.values(), ids=TRAININGS)
def test_spectra_of_a_star_are_held_out_together(trained, params):
    of_star = rows(
        trained,
        "SELECT count(DISTINCT fold), count(*), min(fold), max(fold) FROM training_member "
        "JOIN model USING (model_id) WHERE name = :n GROUP BY star_id",
        n=params.name,
    )
    assert {n for n, *_ in of_star} == {1}
    assert {low for *_, low, _ in of_star} == {0, 1, 2}
    if params.sample == "clean":  # the other one takes one spectrum per star
        assert max(n for _, n, *_ in of_star) > 1


def test_default_beats_predicting_the_mean_on_stars_never_seen(trained):
    for label, part in (("teff", 0.6), ("logg", 0.8), ("fe_h", 0.6)):
        pairs = rows(
            trained,
            f"SELECT a.{label}, o.{label} FROM star_link k JOIN sample USING (sample_id) "
            "JOIN stellar_label a ON a.source_id = k.left_id "
            "JOIN stellar_label o ON o.source_id = k.right_id "
            "JOIN label_set l ON l.label_set_id = o.label_set_id AND l.name = 'small/oof' "
            "WHERE sample.name = 'clean'",
        )
        truth, found = np.array(pairs, float).T
        error = np.abs(found - truth).mean()
        assert error < part * np.abs(truth - truth.mean()).mean(), label


def test_label_of_a_star_never_reaches_its_own_prediction(trained):
    """A star's label, changed by far, changes what is said of others, and nothing of itself."""
    before = labels_by_key(trained, "small/oof")
    left_id, key = rows(
        trained,
        "SELECT k.left_id, r.survey || ' ' || r.survey_key FROM training_member m "
        "JOIN model USING (model_id) JOIN star_link k ON k.right_id = m.source_id "
        "AND k.sample_id = model.sample_id JOIN source r ON r.source_id = k.right_id "
        "WHERE model.name = 'small' ORDER BY 2 LIMIT 1",
    )[0]
    columns = ("teff", "teff_err", "logg", "logg_err", "fe_h", "fe_h_err")
    old = rows(
        trained,
        f"SELECT s.source_id, {', '.join(columns)} FROM stellar_label s "
        "JOIN current_label_set c USING (label_set_id) WHERE c.name = 'aspcap/dr14'",
    )
    table = np.array(old, float)
    table[table[:, 0] == left_id, 1] += 1500.0
    with trained.begin() as conn:
        add_label_set(
            conn, "aspcap/dr14", table[:, 0].astype(int),
            {name: table[:, 1 + j] for j, name in enumerate(columns)},
        )  # fmt: skip
    assert train(trained, DEFAULT).state == "succeeded"
    after = labels_by_key(trained, "small/oof")
    raw = [0, 1, 2, 7, 8]  # values, raw sigma, ensemble: calibration alone looks at other folds
    assert [before[key][i] for i in raw] == [after[key][i] for i in raw]
    assert sum(before[k][0] != after[k][0] for k in before) > len(before) / 2


@pytest.mark.parametrize("params", TRAININGS.values(), ids=TRAININGS)
def test_second_training_has_nothing_to_do(trained, params):
    again = train(trained, params)
    assert (again.state, again.rows_written) == ("idle", 0)


def test_other_parameters_make_a_new_edition(trained):
    old = answer_of(trained, SEED)
    assert train(trained, SEED, seed=1).state == "succeeded"
    assert answer_of(trained, SEED)["artifact"] != old["artifact"]
    editions = rows(
        trained,
        "SELECT m.edition, l.edition, l.status FROM model m JOIN label_set l USING (model_id) "
        "WHERE m.name = 'seed' ORDER BY 1",
    )
    assert editions == [(1, 1, "complete"), (2, 2, "complete")]


@pytest.mark.parametrize("params", TRAININGS.values(), ids=TRAININGS)
def test_training_stopped_between_chunks_ends_the_same(survey, trained, params):
    with survey.reader() as conn:
        n_chunks = len(train_job(params, survey).plan(conn))
    stops = 0
    while stops <= n_chunks:
        try:
            summary = run_job(stopping_after(train_job(params, survey), 1), survey)
            break
        except Stopped:
            stops += 1
            assert value(survey, "SELECT count(*) FROM model WHERE status = 'complete'") == 0
    assert stops == n_chunks - 1
    assert summary.state == "succeeded"
    assert answer_of(survey, params) == answer_of(trained, params)


def stop_early(db: Database, params: TrainParams) -> None:
    with pytest.raises(Stopped):
        run_job(stopping_after(train_job(params, db), 1), db)


def test_other_parameters_take_away_what_an_unfinished_training_left(survey):
    stop_early(survey, SEED)
    assert rows(survey, UNPUBLISHED) == [(1, 1, 1)]
    stop_early(survey, dataclasses.replace(SEED, seed=5))
    assert rows(survey, UNPUBLISHED) == [(1, 1, 1)]
    assert value(survey, "SELECT seed FROM model") == 5
    assert value(survey, "SELECT count(DISTINCT model_id) FROM training_history") == 1
    states = rows(survey, "SELECT state FROM job_run WHERE kind = 'train' ORDER BY run_id")
    assert states == [("abandoned",), ("running",)]


def test_resume_refuses_spectra_that_changed_meanwhile(survey):
    job = train_job(SEED, survey)
    with pytest.raises(Stopped):
        run_job(stopping_after(job, 1), survey)
    with survey.begin() as conn:
        conn.execute(sa.text("UPDATE spectrum_blob SET sha256 = reverse(sha256)"))
        conn.execute(
            sa.text("UPDATE normalized_spectrum SET spectrum_sha256 = reverse(spectrum_sha256)")
        )
    summary = run_job(train_job(job.params, survey), survey, retry_failed=True)
    assert summary.exit_code == ExitCode.FAILED
    assert "have changed" in summary.errors[0]
    assert rows(survey, UNPUBLISHED) == [(1, 1, 1)]


def test_spectra_that_are_not_normalized_name_the_command(survey):
    with survey.begin() as conn:
        conn.execute(
            sa.text(
                "DELETE FROM normalized_spectrum WHERE recipe = 'default' AND source_id IN "
                "(SELECT right_id FROM star_link JOIN sample USING (sample_id) "
                "WHERE name = 'clean' ORDER BY right_id LIMIT 3)"
            )
        )
    with pytest.raises(UsageError, match=r"^3 of \d+ spectra to train on are not") as e:
        train_job(DEFAULT, survey)
    assert e.value.todo == "Run: crosslabel normalize --recipe default --sample clean"
    run_job(normalize_job(NormalizeParams("default", "clean"), survey), survey)
    assert train_job(DEFAULT, survey).params.target == "aspcap/dr14@1"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ("teff", "mass")}, "there is no label mass"),
        ({"labels": ()}, "at least one"),
        ({"labels": ("teff", "teff")}, "must be different"),
        ({"preset": "deep"}, "there is no preset deep"),
        ({"preset": "cannon"}, "cannon is solved without epochs"),
        ({"recipe": "sharp"}, "there is no recipe sharp"),
        ({"folds": 1}, "at least 2 folds"),
        ({"folds": 1000}, "1000 folds need as many stars"),
        ({"sample": "dirty"}, "there is no sample dirty"),
        ({"target": "aspcap/dr99"}, "there is no label set aspcap/dr99"),
        ({"name": "a@1"}, "cannot be the name of a model"),
        ({"rounds": 2}, "only seed-2018 has a reverse network"),
        ({"labels": ("c_fe",)}, "has any of c_fe"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(survey, changes, message):
    runs = value(survey, "SELECT count(*) FROM job_run")
    with pytest.raises(UsageError, match=message):
        train(survey, DEFAULT, **changes)
    assert value(survey, "SELECT count(*) FROM job_run") == runs


def test_constant_label_is_refused_by_name(survey):
    ids = [i for (i,) in rows(survey, "SELECT DISTINCT left_id FROM star_link")]
    with survey.begin() as conn:
        add_label_set(conn, "flat", ids, {"teff": np.arange(4000.0, 4000 + len(ids)),
                                          "logg": np.full(len(ids), 2.5)})  # fmt: skip
    with pytest.raises(UsageError, match=r"^logg has fewer than two different values"):
        train(survey, DEFAULT, target="flat", labels=("teff", "logg"))


def test_name_of_another_kind_of_label_set_is_refused(survey):
    with survey.begin() as conn:
        add_label_set(conn, "small/oof", [], {}, kind="survey")
    with pytest.raises(UsageError, match="small/oof exists and is of the kind survey"):
        train_job(DEFAULT, survey)


def test_ridge_trains_end_to_end_on_the_default_recipe(survey):
    params = TrainParams("floor", "ridge", "clean", folds=3)
    assert train(survey, params).state == "succeeded"
    query = "SELECT preset, recipe, status, artifact FROM model WHERE name = 'floor'"
    [(*origin, artifact)] = rows(survey, query)
    assert origin == ["ridge", "default", "complete"]
    assert load(bytes(artifact)).spec.preset == "ridge"
    labels = labels_by_key(survey, "floor/oof")
    assert len(labels) == value(survey, COUNT_MEMBERS, n="floor")
    assert np.isfinite(np.array([row[:6] for row in labels.values()], float)).all()
    # It knows its errors, but neither an ensemble nor what a spectrum should look like.
    assert all(row[7] and row[8:10] == (None, None) for row in labels.values())
    assert value(survey, "SELECT count(*) FROM training_history") == 0
    metrics = value(survey, "SELECT metrics FROM model WHERE name = 'floor'")
    spread = value(
        survey,
        "SELECT avg(abs(a.teff - m.mean)) FROM star_link k JOIN sample USING (sample_id) "
        "JOIN stellar_label a ON a.source_id = k.left_id, "
        "(SELECT avg(teff) AS mean FROM stellar_label a JOIN star_link k "
        "ON a.source_id = k.left_id) m WHERE sample.name = 'clean'",
    )
    assert metrics["teff.mae"] < 0.6 * spread
    assert train(survey, params).state == "idle"


def test_a_model_does_not_learn_from_a_model(trained):
    params = dataclasses.replace(DEFAULT, name="copy", target="small/oof")
    with pytest.raises(UsageError, match="small/oof@1 was made by a model"):
        train_job(params, trained)
