"""Plan of a training: phases, stages, and the chunks that they are divided into.

A training has the phases `folds` (all folds together), `validation` (where asked for) and `final`
(one fit on all rows). Each phase runs the stages of its preset, such as `reverse` and `forward`.
The plan depends on the specification and the number of rows only, so a resumed run has the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from models.core.records import TrainSpec

MAX_CURVE_POINTS = 2000


@dataclass(frozen=True)
class Stage:
    """One stage of a phase: `total` epochs (or other units), `step` of them per chunk."""

    name: str
    total: int
    step: int


@dataclass(frozen=True)
class Chunk:
    """One piece of work: units ``start .. stop - 1`` of a stage.

    Parameters
    ----------
    phase : str
        ``folds``, ``validation`` or ``final``.
    stage : Stage
        The stage it belongs to.
    start, stop : int
        Its units.
    ends_phase : bool
        True for the last chunk of the phase.
    """

    phase: str
    stage: Stage
    start: int
    stop: int
    ends_phase: bool = False

    @property
    def key(self) -> str:
        """Name of the chunk, such as ``folds/forward/00000-00040``."""
        return f"{self.phase}/{self.stage.name}/{self.start:05d}-{self.stop:05d}"


def n_splits(spec: TrainSpec, phase: str) -> int:
    """Return the number of splits that a phase trains."""
    return spec.folds if phase == "folds" else 1


def n_train(spec: TrainSpec, phase: str, n_rows: int) -> int:
    """Return the expected number of training rows per split, exact where no star repeats."""
    left_out = {"folds": 1.0 / spec.folds, "validation": spec.validation, "final": 0.0}[phase]
    n_left = max(1, round(n_rows * (1.0 - left_out)))
    return n_left if spec.train_stars is None else min(n_left, spec.train_stars)


Stages = Callable[[TrainSpec, int, int], tuple[Stage, ...]]
"""The stages of a fit: ``stages(spec, n_splits, n_train)`` for a number of splits, each with about
so many training rows."""


def plan_chunks(spec: TrainSpec, n_rows: int, stages: Stages) -> tuple[Chunk, ...]:
    """Return the chunks of a training, in the order in which they run.

    Parameters
    ----------
    spec : TrainSpec
        The training.
    n_rows : int
        Number of training rows.
    stages : callable
        Those of the preset.
    """
    phases = ["folds", *(["validation"] if spec.validation > 0.0 else []), "final"]
    chunks: list[Chunk] = []
    for phase in phases:
        of_phase = stages(spec, n_splits(spec, phase), n_train(spec, phase, n_rows))
        chunks.extend(phase_chunks(phase, of_phase))
    return tuple(chunks)


def phase_chunks(phase: str, stages: tuple[Stage, ...]) -> tuple[Chunk, ...]:
    """Return the chunks of one phase."""
    chunks = []
    for stage in stages:
        for start in range(0, stage.total, stage.step):
            stop = min(start + stage.step, stage.total)
            ends = stop == stage.total and stage is stages[-1]
            chunks.append(Chunk(phase, stage, start, stop, ends))
    return tuple(chunks)


def keep_epoch(epoch: int, total: int) -> bool:
    """Return True for the epochs that a curve of `total` keeps: first, last, every stride-th."""
    stride = -(-total // MAX_CURVE_POINTS)
    return epoch == 0 or epoch == total - 1 or (epoch + 1) % stride == 0
