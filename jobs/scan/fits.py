"""The fits of a scan: which folds are trained together, in which chunks, and one chunk of them.

Folds that try the same settings are one fit. Its chunks are named ``trial-0007/fold-00/...`` after
the trial and the first of the folds, or ``score/fold-00/...`` when the chosen settings are judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catalog.errors import ChunkFailed
from jobs.scan.params import ScanParams, spec_of
from jobs.scan.trials import Trial
from models import nested
from models.core.arrays import Arrays
from models.core.crossval import Split
from models.core.records import FINAL_FOLD, TrainingData, TrainSpec
from models.core.schedule import Chunk

SCORE = "score"  # what comes after the trials
PREDICTED = "predicted"  # labels of the stars held out so far, in the state of the scoring
Splits = dict[int, Split]  # by fold


@dataclass(frozen=True, eq=False)
class Fit:
    """One fit: folds that share settings, and where one of its chunks stands.

    Attributes
    ----------
    spec : TrainSpec
        What is trained.
    group : tuple of Trial
        The folds, with their settings.
    splits : tuple of Split
        Their rows.
    chunks : tuple of Chunk
        All chunks of the fit.
    position : int
        Which of them it is.
    stem : str
        Beginning of the keys of all chunks.
    """

    spec: TrainSpec
    group: tuple[Trial, ...]
    splits: tuple[Split, ...]
    chunks: tuple[Chunk, ...]
    position: int
    stem: str

    @property
    def key_before(self) -> str | None:
        """Key of the chunk that this one builds on; None for the first."""
        before = self.chunks[self.position - 1].key
        return f"{self.stem}/{before}" if self.position else None


def plan_fits(
    params: ScanParams, recipe: str, splits: Splits, stem: str, trials: Sequence[Trial]
) -> tuple[list[str], list[Trial]]:
    """Cut the fits of all folds into chunks.

    Parameters
    ----------
    params, recipe
        What is scanned, and by which recipe.
    splits : dict of int to Split
        Of each fold.
    stem : str
        Beginning of the keys.
    trials : sequence of Trial
        What each fold tries.

    Returns
    -------
    keys : list of str
        Of the chunks.
    trials : list of Trial
        As given; those whose settings cannot go together have failed.
    """
    keys: list[str] = []
    planned: list[Trial] = []
    for first in trials:
        group = _sharing(trials, first)
        if first is not group[0]:
            continue
        own = tuple(splits[t.fold] for t in group)
        try:
            chunks = nested.fit_plan(spec_of(params, recipe, first.settings), _phase(stem), own)
        except ValueError as exc:
            planned.extend(t.failed(str(exc).rstrip(".")) for t in group)
            continue
        planned.extend(group)
        keys.extend(f"{stem}/{_fold_name(first.fold)}/{chunk.key}" for chunk in chunks)
    return keys, planned


def find_fit(
    params: ScanParams, recipe: str, splits: Splits, key: str, trials: Sequence[Trial]
) -> Fit | None:
    """Return the fit that a chunk belongs to; None if it has failed before.

    Parameters
    ----------
    params, recipe, splits
        As in `plan_fits`.
    key : str
        Key of the chunk.
    trials : sequence of Trial
        What the folds of the trial try, or have chosen.

    Raises
    ------
    ChunkFailed
        If such a fit has no such chunk.
    """
    stem, fold, rest = key.split("/", 2)
    first = next(t for t in trials if _fold_name(t.fold) == fold)
    if first.state != "open":
        return None
    group = _sharing(trials, first)
    own = tuple(splits[t.fold] for t in group)
    spec = spec_of(params, recipe, first.settings)
    chunks = nested.fit_plan(spec, _phase(stem), own)
    keys = [chunk.key for chunk in chunks]
    if rest not in keys:
        raise ChunkFailed(
            f"this version of crosslabel has no chunk {key} in such a scan",
            "Use the version that began it, or scan under another name",
        )
    return Fit(spec, tuple(group), own, chunks, keys.index(rest), f"{stem}/{fold}")


def run_fit(
    fit: Fit, data: TrainingData, state: Arrays, objective: nested.Objective
) -> tuple[list[Trial], Arrays]:
    """Run one chunk of a fit.

    Parameters
    ----------
    fit : Fit
        From `find_fit`.
    data : TrainingData
        All rows.
    state : dict of str to ndarray
        What the chunk before left. `PREDICTED` in it are labels of held-out stars, shape (n, k)
        [units of the labels]; those of this fit are added.
    objective : {"mae", "mse"}
        How left-out stars judge.

    Returns
    -------
    trials : list of Trial
        With their losses or failures, if the fit has ended.
    state : dict of str to ndarray
        For the next chunk.
    """
    kept: Arrays = {PREDICTED: state[PREDICTED]} if PREDICTED in state else {}
    state = {name: a for name, a in state.items() if name != PREDICTED}
    done: list[Trial] = []
    try:
        state = nested.advance(fit.spec, data, fit.splits, fit.chunks[fit.position], state)
        if fit.position < len(fit.chunks) - 1:
            return [], state | kept
        for split, values in nested.predict_left_out(fit.spec, data, fit.splits, state):
            done.append(fit.group[len(done)].after(nested.loss(data, split, values, objective)))
            if kept:
                kept[PREDICTED] = kept[PREDICTED].copy()
                kept[PREDICTED][split.test] = values
    except (FloatingPointError, ValueError) as exc:
        return [t.failed(str(exc).rstrip(".")) for t in fit.group], kept
    return done, kept


def nothing_predicted(data: TrainingData) -> Arrays:
    """Return the state that a scoring begins with."""
    return {PREDICTED: np.full(data.labels.shape, np.nan)}


def _sharing(trials: Sequence[Trial], first: Trial) -> list[Trial]:
    """Return the folds of a trial that have the settings of one of them."""
    return [t for t in trials if t.settings == first.settings]


def _phase(stem: str) -> str:
    """Return the phase of the fits under a stem."""
    return nested.OUTER if stem == SCORE else nested.INNER


def _fold_name(fold: int) -> str:
    """Return a fold in a key."""
    return "all" if fold == FINAL_FOLD else f"fold-{fold:02d}"
