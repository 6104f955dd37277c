"""Optuna: its studies in a schema of their own, and what it suggests to try next.

A scan has one study per fold, so that what a fold is offered never depends on the stars that judge
it. The scan's own rows are the record; finished trials are copied into the studies, whose
sampler then looks at nothing else. So a process that dies in a trial leaves nothing to mend, and
the suggestions are the same after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
import sqlalchemy as sa
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from catalog.store.db import Database
from jobs.scan.params import ScanParams
from jobs.scan.space import Settings, Space
from jobs.scan.trials import Trial
from models.core.records import FINAL_FOLD

SCHEMA = "optuna"
STARTUP_TRIALS = 10  # drawn at random, the same ones for all folds, before the sampler learns
NUMBER = "trial"  # attribute of a study's trial: its number in the scan


class Studies:
    """The studies of a scan; the connection to them opens with the first use.

    Parameters
    ----------
    db : Database
        The catalog's, which they share.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._storage: optuna.storages.RDBStorage | None = None

    def choose(
        self,
        params: ScanParams,
        scan_id: int,
        trials: Sequence[Trial],
        number: int,
        folds: Sequence[int],
    ) -> list[Trial]:
        """Return the next trial of each fold.

        Parameters
        ----------
        params : ScanParams
            The scan.
        scan_id : int
            Its key.
        trials : sequence of Trial
            Those so far.
        number : int
            Of the trial.
        folds : sequence of int
            Those that try something.
        """
        space = params.search
        studies = self.record(params, scan_id, [t for t in trials if t.number < number])
        if not space.adaptive:
            settings = space.combinations(params.seed)[number]
            return [Trial(number, fold, settings) for fold in folds]
        return [
            Trial(number, fold, suggest(studies.get(fold), space, params.seed, number))
            for fold in folds
        ]

    def record(
        self, params: ScanParams, scan_id: int, trials: Sequence[Trial]
    ) -> dict[int, optuna.Study]:
        """Copy finished trials into the study of their fold, where they are not yet."""
        if self._storage is None:
            self._storage = _open_storage(self._db)
        studies = {}
        for fold in {t.fold for t in trials}:
            name = f"{params.name} ({scan_id}): " + (
                "all stars" if fold == FINAL_FOLD else f"fold {fold}"
            )
            own = [t for t in trials if t.fold == fold and t.state != "open"]
            studies[fold] = _record(self._storage, name, params.search, own)
        return studies

    def close(self) -> None:
        """Give the connection back."""
        if self._storage is not None:
            self._storage.remove_session()
            self._storage.engine.dispose()
            self._storage = None


def _open_storage(db: Database) -> optuna.storages.RDBStorage:
    """Optuna's own tables in the catalog's database, made when they are missing.

    They lie in a schema of their own: Optuna keeps a table `alembic_version`, as the catalog does.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    lock = sa.text("SELECT pg_advisory_xact_lock(hashtext('crosslabel optuna'))")
    with db.begin() as conn:
        conn.execute(lock)
        conn.execute(sa.text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    with db.begin() as conn:  # of two scans that begin, the second finds the tables made
        conn.execute(lock)
        return optuna.storages.RDBStorage(
            db.engine.url.render_as_string(hide_password=False),
            engine_kwargs={
                "connect_args": {"options": f"-c search_path={SCHEMA} -c timezone=UTC"},
                "pool_size": 1,
            },
        )


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return the varied settings of a space as Optuna's distributions."""
    found: dict[str, BaseDistribution] = {}
    for name, values in (space.range or space.grid).items():
        if isinstance(values, Mapping):
            kind = IntDistribution if isinstance(values["low"], int) else FloatDistribution
            found[name] = kind(values["low"], values["high"], log=values["log"])
        else:
            found[name] = CategoricalDistribution(tuple(values))
    return found


def _record(
    storage: optuna.storages.RDBStorage, name: str, space: Space, trials: Sequence[Trial]
) -> optuna.Study:
    """Copy finished trials of one fold into its study, where they are not yet."""
    study = optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
    known = {t.user_attrs[NUMBER] for t in study.get_trials(deepcopy=False)}
    for trial in trials:
        if trial.number not in known:
            failed = trial.judged_loss is None
            study.add_trial(
                optuna.trial.create_trial(
                    state=TrialState.FAIL if failed else TrialState.COMPLETE,
                    value=trial.judged_loss,
                    params=trial.settings,
                    distributions=distributions(space),
                    user_attrs={NUMBER: trial.number},
                )
            )
    return study


def suggest(study: optuna.Study | None, space: Space, seed: int, number: int) -> Settings:
    """Return settings for the next trial, given the finished ones of a study.

    Parameters
    ----------
    study : optuna.Study or None
        Of the fold; None before its first trial has ended.
    space : Space
        Ranges.
    seed, number : int
        Seed of the scan and number of the trial: all that the random numbers depend on.
    """
    state = np.random.SeedSequence([seed, number]).generate_state(1)
    sampler = optuna.samplers.TPESampler(n_startup_trials=STARTUP_TRIALS, seed=int(state[0]))
    thought = optuna.create_study(sampler=sampler)  # in memory: nothing half-done is stored
    before = study.get_trials() if study else []
    thought.add_trials(sorted(before, key=lambda t: t.user_attrs[NUMBER]))
    asked: dict[str, Any] = thought.ask(distributions(space)).params
    return asked
