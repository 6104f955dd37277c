"""Scans: what they try, that no star judges what it helped to choose, and that they go on."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from catalog.errors import UsageError
from catalog.store.db import Database
from jobs.cli import app
from jobs.engine.job import RunSummary
from jobs.engine.params import digest
from jobs.engine.runner import run_job
from jobs.scan import scan as scan_settings
from jobs.scan.params import ScanParams
from jobs.scan.report import scan_csv, scan_report
from jobs.scan.scan import scan_job
from jobs.scan.space import make_space
from models.presets import seed2018
from tests.conftest import libpq_url
from tests.support.learning import Stopped, rows, stopping_after, value

GRID = ScanParams(
    "grid", "seed-2018", "clean", folds=2, recipe="default",
    space=dataclasses.asdict(make_space({
        "fixed": {"rounds": 1, "epochs": 4, "batch": 32},
        "grid": {"neurons": [4, 6], "rate": [1e-3, 1e-2]},
    }, "seed-2018")),
)  # fmt: skip
RANGES = ScanParams(
    "ranges", "ridge", "clean", folds=2, trials=13,
    space=dataclasses.asdict(make_space({
        "objective": "mse", "range": {"components": {"low": 2, "high": 30, "log": True}},
    }, "ridge")),
)  # fmt: skip


def scan(db: Database, params: ScanParams) -> RunSummary:
    return run_job(scan_job(params, db), db)


def answer(db: Database, params: ScanParams) -> str:
    """All that a scan says."""
    found = rows(
        db,
        "SELECT t.trial, t.fold, t.trial_settings, t.trial_state, t.inner_loss, t.failure "
        "FROM scan_trial t JOIN scan USING (scan_id) WHERE name = :n ORDER BY 1, 2",
        n=params.name,
    )
    chosen = rows(
        db,
        "SELECT f.fold, f.trial, f.trial_settings, f.inner_loss, f.outer_loss "
        "FROM scan_fold f JOIN scan USING (scan_id) WHERE name = :n ORDER BY 1",
        n=params.name,
    )
    [whole] = rows(
        db,
        "SELECT n_trials, best_settings, best_loss, metrics, state_bytes, chunk_key "
        "FROM scan WHERE name = :n",
        n=params.name,
    )
    return digest([[list(r) for r in found], [list(r) for r in chosen], list(whole)])


def test_all_of_a_grid_is_tried_and_each_fold_chooses_its_best(survey):
    summary = scan(survey, GRID)
    assert summary.state == "succeeded"
    assert summary.rows_written == 1 + 2 * 4 * 2 + 2 * 2  # the scan, trials and choices, twice
    tried = rows(
        survey,
        "SELECT trial, fold, trial_settings, trial_state, inner_loss FROM scan_trial ORDER BY 1, 2",
    )
    assert [(t[0], t[1]) for t in tried] == [(n, f) for n in range(4) for f in range(2)]
    assert {(t[2]["neurons"], t[2]["rate"]) for t in tried} == {
        (4, 1e-3), (4, 1e-2), (6, 1e-3), (6, 1e-2),
    }  # fmt: skip
    assert {t[3] for t in tried} == {"done"}
    for fold, trial, inner, outer in rows(
        survey, "SELECT fold, trial, inner_loss, outer_loss FROM scan_fold ORDER BY fold"
    ):
        losses = {t[0]: t[4] for t in tried if t[1] == fold}
        assert inner == losses[trial] == min(losses.values())
        assert math.isfinite(outer)
        assert outer not in losses.values()
    [(best, loss, metrics, n)] = rows(
        survey, "SELECT best_settings, best_loss, metrics, n_trials FROM scan"
    )
    means = {n: np.mean([t[4] for t in tried if t[0] == n]) for n in range(4)}
    winner = min(means, key=means.__getitem__)
    assert loss == pytest.approx(means[winner])
    assert best == next(t[2] for t in tried if t[0] == winner)
    n_rows = value(
        survey, "SELECT count(*) FROM star_link JOIN sample USING (sample_id) WHERE name = 'clean'"
    )
    assert metrics["teff.n"] == n_rows  # every star was held out once
    assert metrics["teff.sigma_mad"] > 0
    assert n == 4
    assert scan(survey, GRID).state == "idle"


def test_results_are_shown_sorted_by_loss(survey):
    scan(survey, GRID)
    with survey.reader() as conn:
        text, table = scan_report(conn, "grid"), scan_csv(conn, "grid")
    lines = [line.split(",") for line in table.splitlines()]
    assert lines[0] == ["trial", "folds", "inner_loss", "failure", "neurons", "rate"]
    losses = [float(line[2]) for line in lines[1:]]
    assert losses == sorted(losses)
    assert len(losses) == 4
    assert {line[1] for line in lines[1:]} == {"0 1"}
    assert f"{losses[0]:.5f}" in text
    assert "inner_loss" in text.splitlines()[1]  # settings may be called loss
    assert "--set neurons=" in text
    assert "--set epochs=4" in text
    assert "SIMULATED" in text
    with pytest.raises(UsageError, match="no scan other"), survey.reader() as conn:
        scan_csv(conn, "other")


def test_more_trials_go_on_and_end_like_one_scan(survey):
    scan(survey, dataclasses.replace(GRID, trials=1))
    assert value(survey, "SELECT max(trial) FROM scan_trial") == 0
    first = value(survey, "SELECT xmin::text FROM scan_trial WHERE trial = 0 AND fold = 0")
    assert scan(survey, GRID).state == "succeeded"
    again = value(survey, "SELECT xmin::text FROM scan_trial WHERE trial = 0 AND fold = 0")
    assert first == again  # what was tried is not tried again
    whole = dataclasses.replace(GRID, name="whole")
    scan(survey, whole)
    assert answer(survey, GRID) == answer(survey, whole)
    assert scan(survey, dataclasses.replace(GRID, trials=2)).state == "idle"


def test_a_scan_that_is_stopped_anywhere_ends_like_one_that_is_not(survey, monkeypatch):
    monkeypatch.setattr(seed2018, "STEPS_PER_CHUNK", 4)  # several chunks a fit
    whole = dataclasses.replace(GRID, name="whole")
    total = scan(survey, whole).chunks_done
    assert total >= 16
    for chunks in (2, 8, total - 2):
        params = dataclasses.replace(GRID, name=f"stopped-{chunks}")
        with pytest.raises(Stopped):
            run_job(stopping_after(scan_job(params, survey), chunks), survey)
        left = dataclasses.replace(params, trials=3 if chunks == 8 else None)
        scan(survey, left)  # another number of trials abandons the run, not what was found
        scan(survey, params)
        assert answer(survey, params) == answer(survey, whole)


def test_ranges_are_searched_by_studies_of_optuna_in_a_schema_of_their_own(survey):
    before = rows(survey, "SELECT version_num FROM alembic_version")
    whole = dataclasses.replace(RANGES, name="whole")
    total = scan(survey, whole).chunks_done
    with pytest.raises(Stopped):
        run_job(stopping_after(scan_job(RANGES, survey), total - 8), survey)
    assert scan(survey, RANGES).state == "succeeded"
    assert answer(survey, RANGES) == answer(survey, whole)
    assert rows(survey, "SELECT version_num FROM public.alembic_version") == before
    names = [n for (n,) in rows(survey, "SELECT study_name FROM optuna.studies ORDER BY 1")]
    assert [n.partition(": ")[2] for n in names] == ["all stars", "fold 0", "fold 1"] * 2
    stored = rows(
        survey,
        "SELECT count(*), count(DISTINCT t.study_id), min(v.value), min(t.state::text) "
        "FROM optuna.trials t JOIN optuna.trial_values v USING (trial_id) "
        "JOIN optuna.studies s USING (study_id) WHERE study_name LIKE 'ranges%'",
    )
    least = value(survey, "SELECT min(inner_loss) FROM scan_trial JOIN scan USING (scan_id)")
    assert stored == [(39, 3, least, "COMPLETE")]
    assert value(survey, "SELECT count(*) FROM pg_tables WHERE tablename = 'studies'") == 1
    tried = {
        (t, s["components"])
        for t, s in rows(
            survey,
            "SELECT trial, trial_settings FROM scan_trial JOIN scan USING (scan_id) "
            "WHERE name = 'ranges'",
        )
    }
    assert {c for _, c in tried} <= set(range(2, 31))
    # The first ten are drawn at random, the same for all folds; then each goes its own way.
    assert len({t for t in tried if t[0] < 10}) == 10


@pytest.mark.parametrize("params", [GRID, RANGES], ids=["grid", "ranges"])
def test_stars_that_judge_a_fold_have_no_say_in_what_it_tries_and_chooses(
    survey, monkeypatch, params
):
    scan(survey, params)
    read = scan_settings.read_training_data

    def shuffled(*arguments):
        """The data with the labels of the stars that fold 0 holds out given to one another."""
        data = read(*arguments)
        test = scan_settings.nested.outer_splits(data.group, params.folds, params.seed)[0].test
        labels = data.labels.copy()
        labels[test] = np.random.default_rng(1).permutation(labels[test])
        return dataclasses.replace(data, labels=labels)

    monkeypatch.setattr(scan_settings, "read_training_data", shuffled)
    scan(survey, dataclasses.replace(params, name="shuffled"))
    trials = "SELECT trial, trial_settings, inner_loss FROM scan_trial JOIN scan USING (scan_id) "
    chosen = "SELECT trial, trial_settings, inner_loss FROM scan_fold JOIN scan USING (scan_id) "
    for query in (trials, chosen):
        where = query + "WHERE name = :n AND fold = :f ORDER BY trial"
        assert rows(survey, where, n=params.name, f=0) == rows(survey, where, n="shuffled", f=0)
        assert rows(survey, where, n=params.name, f=1) != rows(survey, where, n="shuffled", f=1)
    judged = "SELECT outer_loss FROM scan_fold JOIN scan USING (scan_id) WHERE name=:n AND fold=0"
    assert value(survey, judged, n="shuffled") > value(survey, judged, n=params.name)


def test_a_failed_trial_has_a_reason_and_stops_nothing(survey, monkeypatch):
    advance = scan_settings.nested.advance

    def fragile(spec, *arguments):
        if {("neurons", 6), ("rate", 1e-2)} <= set(spec.options):
            raise FloatingPointError("the training loss was not finite in epoch 2")
        return advance(spec, *arguments)

    monkeypatch.setattr(scan_settings.nested, "advance", fragile)
    assert scan(survey, GRID).state == "succeeded"
    failed = rows(
        survey, "SELECT DISTINCT trial, failure FROM scan_trial WHERE trial_state = 'failed'"
    )
    assert [f[1] for f in failed] == ["the training loss was not finite in epoch 2"]
    assert value(survey, "SELECT count(*) FROM scan_trial WHERE trial_state = 'done'") == 6
    assert failed[0][0] not in [t for (t,) in rows(survey, "SELECT trial FROM scan_fold")]
    with survey.reader() as conn:
        assert (
            scan_csv(conn, "grid").splitlines()[-1].startswith(f"{failed[0][0]},0 1,,the training")
        )
        assert f"trial {failed[0][0]} failed: the training loss" in scan_report(conn, "grid")
    assert value(survey, "SELECT count(*) FROM optuna.trials WHERE state = 'FAIL'") == 2


def test_a_scan_in_which_everything_fails_says_so(survey, monkeypatch):
    monkeypatch.setattr(scan_settings.nested, "loss", lambda *arguments: float("nan"))
    assert scan(survey, GRID).state == "succeeded"
    assert rows(survey, "SELECT best_settings, n_trials FROM scan") == [(None, 4)]
    assert rows(survey, "SELECT * FROM scan_fold") == []
    with survey.reader() as conn:
        assert "4 trials of seed-2018, 4 failed" in scan_report(conn, "grid")
    reasons = {f for (f,) in rows(survey, "SELECT failure FROM scan_trial")}
    assert reasons == {"the validation loss is nan"}


def test_what_cannot_be_scanned_is_refused(survey):
    scan(survey, dataclasses.replace(GRID, trials=1))
    with pytest.raises(UsageError, match="a scan grid of something else"):
        scan(survey, dataclasses.replace(GRID, seed=1))
    with pytest.raises(UsageError, match="folds need at least"):
        scan(survey, dataclasses.replace(GRID, name="x", folds=5000))
    with pytest.raises(UsageError, match="no sample"):
        scan(survey, dataclasses.replace(GRID, name="x", sample="none"))
    with pytest.raises(UsageError, match="has no end"):
        scan(survey, dataclasses.replace(RANGES, trials=None))
    assert value(survey, "SELECT count(*) FROM scan") == 1


def test_the_command_prints_plans_and_writes_csv(survey, tmp_path):
    url = libpq_url(survey.engine.url)
    space = tmp_path / "space.toml"
    space.write_text("[grid]\ncomponents = [2, 20]\n")
    words = [
        "--database-url",
        url,
        "scan",
        "--preset",
        "ridge",
        "--sample",
        "clean",
        "--folds",
        "2",
    ]
    words += ["--name", "small", "--space", str(space)]

    def crosslabel(*more: str) -> Result:
        return CliRunner().invoke(app, [*words, *more])

    planned = crosslabel("--dry-run")
    assert "2 trials in 2 folds" in planned.output
    assert value(survey, "SELECT count(*) FROM scan") == 0
    found = tmp_path / "trials.csv"
    done = crosslabel("--to", str(found))
    assert done.exit_code == 0, done.output
    assert "Recommended: crosslabel train --preset ridge --set components=" in done.output
    losses = [float(line.split(",")[2]) for line in found.read_text().splitlines()[1:]]
    assert len(losses) == 2
    assert losses == sorted(losses)
    assert crosslabel("--quiet").output == ""
    again = crosslabel("--json")
    assert json.loads(again.output)["state"] == "idle"
    nowhere = crosslabel("--to", str(tmp_path / "none" / "x.csv"))
    assert isinstance(nowhere.exception, UsageError)
    endless = crosslabel("--space", "nothing.toml")
    assert "no file nothing.toml" in str(endless.exception)
