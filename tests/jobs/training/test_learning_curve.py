"""Learning curves: the same left-out stars at all sizes, resumable, and no labels published."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from catalog.errors import UsageError
from catalog.store.db import Database
from jobs.cli import app
from jobs.engine import ledger
from jobs.engine.runner import run_job
from jobs.evaluation.curves import read_curve
from jobs.evaluation.records import CurvePoint
from jobs.registry import job_of
from jobs.training.learning_curve import CurveParams, curve_job, curve_jobs
from jobs.training.train import TrainParams
from tests.support.learning import TRAININGS, Stopped, rows, stopping_after, train, value

RIDGE = TrainParams("floor", "ridge", "clean", folds=3, components=8)
PUBLISHED = """SELECT (SELECT count(*) FROM model), (SELECT count(*) FROM label_set),
    (SELECT count(*) FROM stellar_label), (SELECT count(*) FROM training_checkpoint)"""


def curve(db: Database, model: str) -> list[CurvePoint]:
    with db.reader() as conn:
        return read_curve(conn, model)


def run_curve(db: Database, model: str, *sizes: int) -> str:
    return run_job(curve_job(CurveParams(model, sizes), db), db).state


def test_more_stars_teach_more_and_all_are_the_model_itself(survey):
    train(survey, RIDGE)
    before = rows(survey, PUBLISHED)
    assert run_curve(survey, "floor@1", 8, 20, 0) == "succeeded"
    points = curve(survey, "floor@1")
    n_stars = value(survey, "SELECT count(DISTINCT star_id) FROM training_member")
    most = points[2].training_stars
    assert [(p.label, p.training_stars) for p in points] == [
        (label, size) for label in ("teff", "logg", "fe_h") for size in (8, 20, most)
    ]
    assert most == n_stars - -(-n_stars // 3)  # what the fold that leaves most out has
    assert {(p.n, p.n_stars) for p in points} == {(points[0].n, n_stars)}
    teff = points[:3]
    assert teff[0].mae > teff[1].mae > teff[2].mae
    assert all(p.sigma_mad_err > 0 for p in points)
    metrics = value(survey, "SELECT metrics FROM model")
    assert teff[2].sigma_mad == pytest.approx(metrics["teff.sigma_mad"], rel=1e-3)
    assert rows(survey, PUBLISHED) == before
    assert run_curve(survey, "floor@1", 8, 20, 0) == "idle"
    assert run_curve(survey, "floor@1", 8, 30) == "succeeded"  # what is there stays
    assert len(curve(survey, "floor@1")) == 12


@pytest.mark.parametrize(
    ("params", "sizes"),
    [(RIDGE, (15, 25)), (TRAININGS["default"], (15,))],
    ids=["ridge", "default"],
)
def test_stopped_and_resumed_is_the_same_as_not_stopped(survey, params, sizes):
    train(survey, params)
    model = f"{params.name}@1"
    job = curve_job(CurveParams(model, sizes), survey)
    with survey.reader() as conn:
        chunks = list(job.plan(conn))
    assert len(chunks) >= 4
    with pytest.raises(Stopped):
        run_job(stopping_after(job, len(chunks) // 2 + 1), survey)  # within a size
    assert rows(survey, "SELECT count(*) FROM training_checkpoint") == [(1,)]
    with survey.reader() as conn:
        run = ledger.open_run(conn, job.kind, job.target)
    assert run is not None
    assert run_job(job_of(run, survey), survey).state == "succeeded"  # as `resume` does
    resumed = curve(survey, model)
    assert len(resumed) == 3 * len(sizes)
    with survey.begin() as conn:
        conn.execute(sa.text("DELETE FROM learning_curve"))
    assert run_curve(survey, model, *sizes) == "succeeded"
    assert curve(survey, model) == resumed
    assert rows(survey, "SELECT count(*) FROM training_checkpoint") == [(0,)]


def test_sizes_that_no_fold_has_are_left_out_or_refused(survey):
    train(survey, RIDGE)
    assert run_curve(survey, "floor@1", 12, 5000) == "succeeded"
    assert {p.training_stars for p in curve(survey, "floor@1")} == {12}
    with pytest.raises(UsageError, match=r"a fold of floor@1 is trained on \d+ stars, fewer than"):
        run_curve(survey, "floor@1", 4000, 5000)


def test_a_model_whose_inputs_have_changed_has_no_curve(survey):
    train(survey, RIDGE)
    with survey.begin() as conn:
        conn.execute(sa.text("UPDATE spectrum_blob SET sha256 = 'other' WHERE flux IS NOT NULL"))
    with pytest.raises(UsageError, match="not normalized by the recipe"):
        run_curve(survey, "floor@1", 12)


def test_command_prints_the_curve_beside_the_scores(survey):
    train(survey, RIDGE)
    url = survey.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    words = ["--database-url", url, "evaluate", "floor", "--bootstrap", "5"]
    result = CliRunner().invoke(app, [*words, "--learning-curve", "12,20,all"])
    assert result.exit_code == 0, result.output
    assert "learning curve of floor@1" in result.output
    assert "Simulated data, no measurement of real stars" in result.output
    assert max(len(line) for line in result.stdout.splitlines()) <= 100
    with pytest.raises(UsageError, match="there is no model nope"):
        curve_jobs(survey, ["nope"], "12,20,all")


def test_a_point_is_scored_by_hand(survey):
    train(survey, RIDGE)
    run_curve(survey, "floor@1", 0)
    [point] = [p for p in curve(survey, "floor@1") if p.label == "fe_h"]
    found = rows(
        survey,
        "SELECT s.fe_h - r.fe_h FROM training_member m "
        "JOIN stellar_label s ON s.source_id = m.source_id "
        "JOIN label_set o ON o.label_set_id = s.label_set_id AND o.name = 'floor/oof' "
        "JOIN star_link k ON k.right_id = m.source_id "
        "JOIN sample c ON c.sample_id = k.sample_id AND c.name = 'clean' "
        "JOIN stellar_label r ON r.source_id = k.left_id "
        "WHERE s.fe_h IS NOT NULL AND r.fe_h IS NOT NULL",
    )
    delta = np.array(found, float)[:, 0]
    assert point.n == delta.size
    assert point.bias == pytest.approx(np.median(delta), abs=1e-6)
    assert point.mae == pytest.approx(np.abs(delta).mean(), rel=1e-6)
    assert dataclasses.asdict(point)["unit"] == "dex"
