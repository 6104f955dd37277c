"""Parameters of a scan, and of the training of one trial."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from jobs.engine.params import params_hash
from jobs.scan.space import Settings, Space
from models.core.records import TrainSpec
from models.presets.registry import PRESETS, resolve


@dataclass(frozen=True)
class ScanParams:
    """Parameters of a scan.

    Attributes
    ----------
    name : str
        Name of the scan.
    preset, sample, target, recipe, labels, folds, seed
        As in `jobs.training.params.TrainParams`; the folds are the outer ones.
    space : mapping
        The fields of `jobs.scan.space.Space`, as JSON has them.
    trials : int, optional
        Number of settings that are tried; None is all of a grid.
    inputs : str
        Digest of keys, labels and spectra; `scan_job` fills it in.
    """

    name: str
    preset: str
    sample: str
    space: dict[str, Any] = field(default_factory=dict)
    trials: int | None = None
    target: str = ""
    recipe: str | None = None
    labels: tuple[str, ...] = ("teff", "logg", "fe_h")
    folds: int = 5
    seed: int = 0
    inputs: str = ""

    @property
    def identity(self) -> str:
        """Digest of everything but the number of trials: a scan can go on with more."""
        return params_hash(dataclasses.replace(self, trials=None))

    @property
    def search(self) -> Space:
        """The space."""
        return Space(**self.space)


def spec_of(params: ScanParams, recipe: str, settings: Settings) -> TrainSpec:
    """Return the specification of the training of a trial.

    Raises
    ------
    ValueError
        If the settings cannot go together.
    """
    both = {**params.search.fixed, **settings}
    fields, options = PRESETS[params.preset].split_settings(both)
    spec = TrainSpec(
        params.preset,
        params.labels,
        recipe,
        folds=params.folds,
        seed=params.seed,
        options=tuple(options.items()),
        **fields,
    )
    return resolve(spec)[1]
