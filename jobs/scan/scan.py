"""Search the settings of a preset, and score the search on stars that had no say in it.

A trial begins with a chunk that chooses its settings and appends the chunks of its fits: a few
seconds of training each, with the state saved in the transaction of the mark. When all trials are
done, each fold's best is trained on the fold's whole training part and judged by the stars that
the fold held out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sqlalchemy as sa

from catalog.errors import ChunkFailed, UsageError
from catalog.store.db import Database
from catalog.store.names import check_name
from catalog.store.samples import sample_id_of
from jobs.engine import ledger
from jobs.engine.job import Job
from jobs.engine.ledger import Run
from jobs.normalize import find_recipe
from jobs.scan.fits import PREDICTED, SCORE, Splits, find_fit, nothing_predicted, plan_fits, run_fit
from jobs.scan.params import ScanParams
from jobs.scan.study import Studies
from jobs.scan.trials import (
    Trial,
    begin_scan,
    best_of_fold,
    find_scan,
    rank,
    read_choices,
    read_state,
    read_trials,
    scan_id_of,
    write_choices,
    write_outer,
    write_scan,
    write_trials,
)
from jobs.training.data import (
    TrainingRows,
    check_labels,
    find_target,
    read_training_data,
    read_training_rows,
)
from jobs.training.params import recipe_name
from models import nested
from models.core import arrays as ar
from models.core import metrics
from models.core.arrays import Arrays
from models.core.records import TrainingData

KIND = "scan"
CHOOSE, END = "choose", "end"


@dataclass(frozen=True)
class Batch:
    """The result of a chunk: chunks to append, rows of trials, of choices and of the scan."""

    append: Sequence[str] = ()
    trials: Sequence[Trial] = ()
    choices: Sequence[Trial] | None = None
    judged: Sequence[Trial] = ()
    scan: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Loaded:
    """Data of a scan with the splits of its folds."""

    data: TrainingData
    inner: Splits
    outer: Splits


def scan_job(params: ScanParams, db: Database) -> Job:
    """Make the job that scans.

    Parameters
    ----------
    params : ScanParams
        Those of a run of the ledger name exactly what it was started with; in new ones the label
        set's edition and the digest of the inputs are filled in here.
    db : Database
        Where to look these up.

    Raises
    ------
    UsageError
        If the parameters make no sense, name what is not there, or the name is that of a scan of
        something else.
    """
    check_name(params.name, "scan")
    check_labels(params.labels)
    n_trials = params.search.n_trials(params.trials)
    recipe = find_recipe(recipe_name(params.preset, params.recipe))
    params = dataclasses.replace(params, recipe=recipe.name)
    with db.reader() as conn:
        if not params.inputs:
            target = find_target(conn, params.sample, params.target).full_name
            params = dataclasses.replace(params, target=target)
            params = dataclasses.replace(params, inputs=_read_rows(conn, params).inputs)
        found = find_scan(conn, params.name)
    if found is not None and found.params_hash != params.identity:
        raise UsageError(
            f"there is a scan {params.name} of something else, or of other data",
            "Choose another name; a scan can only go on with more trials",
        )
    studies = Studies(db)
    loaded: list[Loaded] = []  # read once per process
    last: dict[str, Arrays] = {}  # the state after the last chunk, if this process computed it

    def load(conn: sa.Connection) -> Loaded:
        if not loaded:
            rows = _read_rows(conn, params)
            if rows.inputs != params.inputs:
                raise ChunkFailed(
                    "the labels or spectra that this scan began with have changed",
                    "Scan again under another name",
                )
            data = read_training_data(conn, rows, params.labels, recipe)
            loaded.append(Loaded(data, *_splits(params, rows)))
        return loaded[0]

    def plan(conn: sa.Connection) -> Sequence[str]:
        known = find_scan(conn, params.name)
        if known is not None and (known.n_trials or 0) >= n_trials:
            return []
        _splits(params, _read_rows(conn, params))
        trials = read_trials(conn, known.scan_id) if known else []
        finished = {t.number for t in trials} - {t.number for t in trials if t.state == "open"}
        left = (i for i in range(n_trials) if i not in finished)
        return [_choose_key(next(left, n_trials), n_trials)]

    def compute(conn: sa.Connection, key: str) -> Batch:
        stem, _, rest = key.partition("/")
        scan_id, here = scan_id_of(conn, params.name), load(conn)
        trials = read_trials(conn, scan_id)
        if rest == CHOOSE and stem == SCORE:
            studies.record(params, scan_id, trials)
            choices = [t for fold in here.outer if (t := best_of_fold(trials, fold))]
            keys, _ = plan_fits(params, recipe.name, here.outer, stem, choices)
            start = {"chunk_key": None, "state_bytes": None}
            return Batch([*keys, f"{SCORE}/{END}"], choices=choices, scan=start)
        if rest == CHOOSE:
            number = int(stem.removeprefix("trial-"))
            tried = studies.choose(params, scan_id, trials, number, list(here.inner))
            keys, tried = plan_fits(params, recipe.name, here.inner, stem, tried)
            return Batch([*keys, _choose_key(number + 1, n_trials)], trials=tried)
        state_key, state = next(iter(last.items()), (None, {}))
        if state_key is None:
            state_key, raw = read_state(conn, scan_id)
            state = ar.unpack(raw) if raw else {}
        scoring = (state_key or "").startswith(SCORE)
        if rest == END:
            return _end(here.data, trials, state if scoring else {}, n_trials)
        if stem == SCORE:
            rows, splits = read_choices(conn, scan_id), here.outer
        else:
            rows = [t for t in trials if stem == f"trial-{t.number:04d}"]
            splits = here.inner
        fit = find_fit(params, recipe.name, splits, key, rows)
        if fit is None:
            return Batch()
        if fit.position and state_key != fit.key_before:
            raise ChunkFailed(
                f"the scan has no saved state after {fit.key_before}", "Scan under another name"
            )
        if not fit.position:
            state = {PREDICTED: state[PREDICTED]} if scoring else {}
            if stem == SCORE and not scoring:
                state = nothing_predicted(here.data)
        objective: Any = params.search.objective
        done, state = run_fit(fit, here.data, state, objective)
        last.clear()
        last[key] = state
        saved = {"chunk_key": key, "state_bytes": ar.pack(state)}
        if stem == SCORE:
            return Batch(judged=done, scan=saved)
        return Batch(trials=done, scan=saved)

    def write(conn: sa.Connection, run: Run, batch: Batch) -> int:
        scan_id = scan_id_of(conn, params.name)
        written = write_trials(conn, scan_id, batch.trials)
        if batch.choices is not None:
            written += write_choices(conn, scan_id, batch.choices)
        written += write_outer(conn, scan_id, batch.judged)
        if batch.scan:
            write_scan(conn, scan_id, **batch.scan)
        if batch.append:
            ledger.append_chunks(conn, run, batch.append)
        return written

    return Job(
        KIND, f"scan {params.name}", params, plan, compute, write,
        begin=lambda conn, run: begin_scan(conn, params), close=studies.close, ordered=True,
        unit="steps of trials",
    )  # fmt: skip


def _read_rows(conn: sa.Connection, params: ScanParams) -> TrainingRows:
    """Read what the parameters say to train on."""
    sample_id = sample_id_of(conn, params.sample)
    target = find_target(conn, params.sample, params.target)
    recipe = find_recipe(params.recipe or "")
    return read_training_rows(conn, params.sample, sample_id, target, params.labels, recipe)


def _splits(params: ScanParams, rows: TrainingRows) -> tuple[Splits, Splits]:
    """Inner and outer splits of the folds."""
    space = params.search
    try:
        inner = nested.inner_splits(
            rows.group, params.folds, space.validation, params.seed, with_all=space.adaptive
        )
        outer = nested.outer_splits(rows.group, params.folds, params.seed)
    except ValueError as exc:
        raise UsageError(str(exc).rstrip(".")) from exc
    return {s.fold: s for s in inner}, {s.fold: s for s in outer}


def _choose_key(number: int, n_trials: int) -> str:
    """Return the key of the chunk that chooses the settings of a trial, or what is to be scored."""
    return f"{SCORE if number >= n_trials else f'trial-{number:04d}'}/{CHOOSE}"


def _end(data: TrainingData, trials: Sequence[Trial], state: Arrays, n_trials: int) -> Batch:
    """Return the honest score of the search, and what it recommends for a training on all stars."""
    scores: dict[str, float | None] = {}
    for j, name in enumerate(data.names):
        predicted = state.get(PREDICTED, np.full(data.labels.shape, np.nan))[:, j]
        score = metrics.score(predicted - data.labels[:, j])
        for statistic, value in dataclasses.asdict(score).items():
            scores[f"{name}.{statistic}"] = value if np.isfinite(value) else None
    best = next(iter(rank(trials)), None)
    won = best is not None and best.inner_loss is not None
    return Batch(
        scan={
            "n_trials": n_trials,
            "metrics": scores,
            "best_settings": best.settings if best and won else None,
            "best_loss": best.inner_loss if best and won else None,
            "chunk_key": None,
            "state_bytes": None,
        }
    )
