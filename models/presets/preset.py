"""The record of a preset: its settings, and the functions that fit it and predict with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from models.core.arrays import Arrays, Float32Array, FloatArray
from models.core.crossval import Split
from models.core.options import Option, Value
from models.core.records import TrainingData, TrainSpec
from models.core.schedule import Chunk, Stages


@dataclass(frozen=True, eq=False)
class RawPrediction:
    """A preset's predictions before calibration and flags.

    Parameters
    ----------
    values, sigma, ensemble_std : ndarray, shape (n, k) [units of the labels]
        Labels, raw errors, spread of the ensemble; NaN where the preset has none.
    chi2 : ndarray, shape (n,)
        As in `models.core.records.Predictions`.
    points : ndarray, shape (n, c)
        Spectra in the coordinates of `models.reliability.applicability_domain.fit`.
    """

    values: FloatArray
    sigma: FloatArray
    ensemble_std: FloatArray
    chi2: FloatArray
    points: FloatArray


Splits = tuple[Split, ...]
Advanced = tuple[Arrays, Float32Array, Float32Array]
Advance = Callable[[TrainSpec, TrainingData, Splits, Chunk, Arrays], Advanced]
Fitted = Callable[[TrainSpec, TrainingData, Splits, Arrays], list[Arrays]]
PredictRaw = Callable[
    [TrainSpec, Arrays, int, Float32Array, Float32Array, Float32Array], RawPrediction
]


@dataclass(frozen=True, eq=False)
class Preset:
    """A kind of model.

    Parameters
    ----------
    name : str
        Name by which it is chosen.
    summary : str
        What it is, to complete the sentence "The model is ...".
    options : mapping of str to Option
        Settings that only this preset has, by name.
    fields : mapping of str to Option
        Fields of `models.core.records.TrainSpec` that decide its result and can be set like an
        option.
    stages : callable
        ``stages(spec, n_splits, n_train)``: the stages of a fit; see `models.core.schedule`.
    advance : callable
        ``advance(spec, data, splits, chunk, state)``: run one chunk of a fit from the state that
        the chunk before returned (empty at the start of a phase). Returns the new state, and the
        training and test losses of its epochs, of shape (n_splits, epochs).
    fitted : callable
        ``fitted(spec, data, splits, state)``: the arrays of the finished model of each split, from
        the state that ends a phase.
    predict_raw : callable
        ``predict_raw(spec, model, first_index, flux, ivar, continuum)``: predictions before
        calibration, from the arrays of one fitted model.
    """

    name: str
    summary: str
    options: Mapping[str, Option]
    fields: Mapping[str, Option]
    stages: Stages
    advance: Advance
    fitted: Fitted
    predict_raw: PredictRaw

    @property
    def has_epochs(self) -> bool:
        """Return False for a model that is solved at once: no epochs, no loss curves."""
        return "epochs" in self.fields

    @property
    def settings(self) -> dict[str, Option]:
        """Return all settings by name: the fields it uses and its options."""
        return {**self.fields, **self.options}

    def find_setting(self, name: str) -> Option:
        """Return the setting of a name.

        Raises
        ------
        ValueError
            If there is none of that name; the message lists those there are.
        """
        known = self.settings
        if name not in known:
            raise ValueError(
                f"{self.name} has no setting {name!r}; it has {', '.join(sorted(known)) or 'none'}"
            )
        return known[name]

    def split_settings(
        self, settings: Mapping[str, Value]
    ) -> tuple[dict[str, Any], dict[str, Value]]:
        """Return the settings that are fields of `TrainSpec`, and those that are options."""
        fields = {name: value for name, value in settings.items() if name in self.fields}
        return fields, {name: v for name, v in settings.items() if name not in fields}

    def check(self, spec: TrainSpec) -> TrainSpec:
        """Return a specification with its options in their own types.

        Raises
        ------
        ValueError
            If it has options or fields that this preset does not take.
        """
        epochs = (spec.epochs, spec.reverse_epochs, spec.validation)
        try:
            if not self.has_epochs and epochs != (None, None, 0.0):
                raise ValueError(
                    f"the preset {self.name} is solved without epochs, so it takes no number of "
                    "epochs and no validation fraction"
                )
            if fields := [name for name, _ in spec.options if name in self.fields]:
                raise ValueError(f"{fields[0]} is a field of its own, not an option")
            options = [(n, self.find_setting(n).check(n, v)) for n, v in spec.options]
        except ValueError as error:
            raise ValueError(f"This training cannot be done: {error}.") from error
        return dataclasses.replace(spec, options=tuple(options))

    def option_values(self, spec: TrainSpec) -> dict[str, Any]:
        """Return the value of each option: the one given, else its default."""
        defaults = {name: option.default for name, option in self.options.items()}
        return {**defaults, **dict(spec.options)}
