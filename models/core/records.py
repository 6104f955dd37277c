"""Inputs and results of training and prediction: frozen records of NumPy arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.core.arrays import Float32Array, FloatArray
from models.core.options import Pairs

VALIDATION_FOLD = -1  # HistoryRow.fold of the validation run
FINAL_FOLD = -2  # HistoryRow.fold of the final fit on all rows

ERROR_FLOORS: Mapping[str, float] = {"teff": 30.0, "logg": 0.05}
"""Least plausible label errors: teff [K], logg [dex]. ASPCAP's internal errors are far smaller."""
ERROR_FLOOR = 0.02  # [dex], for the abundances


@dataclass(frozen=True)
class TrainSpec:
    """Specification of a training: all that decides its result, apart from the data.

    Parameters
    ----------
    preset : str
        Name of a preset in `models.presets`; `models.presets.registry.resolve` checks what is its
        own.
    labels : tuple of str
        Names of the labels to learn, in the order of the columns of `TrainingData.labels`.
    recipe : str
        Name of the normalization recipe of the spectra.
    folds : int
        Number of cross-validation folds; every star is left out once.
    epochs, reverse_epochs : int, optional
        Passes over the training rows for the forward and the reverse network. None is the nominal
        number of the preset.
    rounds : {1, 2}
        Rounds of normalization, of a preset with a reverse network. In the second, continuum pixels
        are found with that network inside each fold and the spectra normalized again. The notebook
        in fact had 1.
    validation : float
        Fraction of the stars set aside in a run of its own whose loss curves show over-fitting; 0
        leaves the run out.
    seed : int
        Root of all random numbers.
    members : int
        Networks in an ensemble.
    components : int
        Spectral components that spectra are projected on.
    error_floors : tuple of float, optional [units of the labels]
        Least label errors, one per label; None takes `ERROR_FLOORS`.
    train_stars : int, optional
        Stars that each fold (and the final fit) is trained on, drawn at random from those it has;
        all of them if None. For learning curves: a smaller draw is part of every larger one.
    options : tuple of (str, int or float or str) pairs
        Settings that only this preset has, by name. A mapping is taken too. What is not named has
        its default.

    Raises
    ------
    ValueError
        If a value makes no sense.
    """

    preset: str
    labels: tuple[str, ...]
    recipe: str
    folds: int = 10
    epochs: int | None = None
    reverse_epochs: int | None = None
    rounds: int = 2
    validation: float = 0.0
    seed: int = 0
    members: int = 5
    components: int = 64
    error_floors: tuple[float, ...] | None = None
    train_stars: int | None = None
    options: Pairs = ()

    def __post_init__(self) -> None:
        checks = (
            (bool(self.labels), "there is no label to learn"),
            (self.folds >= 2, f"cross-validation needs at least 2 folds, not {self.folds}"),
            (self.rounds in (1, 2), f"there are 1 or 2 normalization rounds, not {self.rounds}"),
            (0.0 <= self.validation < 1.0, f"validation fraction {self.validation} not in [0, 1)"),
            (self.members >= 1 and self.components >= 1, "members and components start at 1"),
            (self.seed >= 0, f"the seed is a whole number from 0, not {self.seed}"),
            (
                all(e is None or e >= 1 for e in (self.epochs, self.reverse_epochs)),
                "there must be at least 1 epoch",
            ),
            (self.train_stars is None or self.train_stars >= 2, "one star teaches nothing"),
            (
                self.error_floors is None or len(self.error_floors) == len(self.labels),
                "error_floors needs one number per label",
            ),
        )
        for holds, message in checks:
            if not holds:
                raise ValueError(f"This training cannot be done: {message}.")
        object.__setattr__(self, "options", tuple(sorted(dict(self.options).items())))

    @property
    def floors(self) -> FloatArray:
        """Return the least label errors, shape (k,) [units of the labels]."""
        named = tuple(ERROR_FLOORS.get(name, ERROR_FLOOR) for name in self.labels)
        return np.array(self.error_floors or named, dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        values = dataclasses.asdict(self)
        values["options"] = dict(self.options)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainSpec:
        """Return the specification of plain values, the inverse of `to_dict`.

        Parameters
        ----------
        values : mapping
            From `to_dict`, also after a round trip through JSON.

        Raises
        ------
        ValueError
            If there are settings that this version does not know.
        """
        unknown = values.keys() - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise ValueError(
                f"This training has settings that this program does not know: "
                f"{', '.join(sorted(unknown))}. It was written by another version."
            )
        arguments: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**arguments)


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Normalized spectra with known labels; the order of the rows is part of the data.

    Parameters
    ----------
    flux, ivar, continuum : ndarray of float32, shape (n, p)
        As in `models.spectra.normalize.Normalized`.
    labels, label_errors : ndarray of float64, shape (n, k) [units of the labels]
        NaN where missing.
    group : ndarray of int64, shape (n,)
        Number of the star; rows of one star never part.
    names : tuple of str
        Names of the k labels.
    first_index : int
        Grid index of pixel 0.
    instruments : tuple of str
        Those that took the spectra, where that is known.

    Raises
    ------
    ValueError
        If the shapes do not belong together.
    """

    flux: Float32Array
    ivar: Float32Array
    continuum: Float32Array
    labels: FloatArray
    label_errors: FloatArray
    group: NDArray[np.int64]
    names: tuple[str, ...]
    first_index: int
    instruments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n, k = self.flux.shape[0], len(self.names)
        if (
            self.flux.ndim != 2
            or not self.flux.shape == self.ivar.shape == self.continuum.shape
            or not self.labels.shape == self.label_errors.shape == (n, k)
            or self.group.shape != (n,)
        ):
            raise ValueError(
                "Training data need flux, ivar and continuum of one shape (n, p), labels and "
                "label_errors of shape (n, k) for k names, and group of shape (n,); got "
                f"{self.flux.shape}, {self.ivar.shape}, {self.continuum.shape}, "
                f"{self.labels.shape}, {self.label_errors.shape}, {self.group.shape} for {k} names."
            )


@dataclass(frozen=True, eq=False)
class Predictions:
    """Labels that a model gives to n spectra.

    Parameters
    ----------
    values, sigma, half_width95, raw_sigma, ensemble_std : ndarray of float64, shape (n, k)
        Predicted labels; their errors after calibration, and half the width of the interval that
        holds 95%; the errors before calibration; the spread between the members of the ensemble.
        [units of the labels]; NaN where the preset has none or there is no information.
    chi2 : ndarray of float64, shape (n,)
        Reduced chi-square of the model's reconstruction of the spectrum; NaN where there is none.
    distance : ndarray of float64, shape (n,)
        Mahalanobis distance to the training spectra in score space.
    linear : ndarray of float64, shape (n, 2, k) [units of the labels]
        Labels by robust linear fits, for the flags (`models.reliability.applicability_domain`).
    flags : ndarray of int64, shape (n,)
        Bits of `models.predict.FLAG_BITS`.
    """

    values: FloatArray
    sigma: FloatArray
    half_width95: FloatArray
    raw_sigma: FloatArray
    ensemble_std: FloatArray
    chi2: FloatArray
    distance: FloatArray
    linear: FloatArray
    flags: NDArray[np.int64]

    @classmethod
    def empty(cls, n: int, k: int) -> Predictions:
        """Return predictions without any value, to be filled fold by fold."""
        wide, line = (n, k), (n,)
        return cls(
            values=np.full(wide, np.nan),
            sigma=np.full(wide, np.nan),
            half_width95=np.full(wide, np.nan),
            raw_sigma=np.full(wide, np.nan),
            ensemble_std=np.full(wide, np.nan),
            chi2=np.full(line, np.nan),
            distance=np.full(line, np.nan),
            linear=np.full((n, 2, k), np.nan),
            flags=np.zeros(line, dtype=np.int64),
        )

    def put(self, rows: NDArray[np.int64], part: Predictions) -> None:
        """Write the predictions of some rows into these.

        Parameters
        ----------
        rows : ndarray of int64, shape (m,)
            Row numbers.
        part : Predictions
            Of m spectra.
        """
        for f in dataclasses.fields(self):
            getattr(self, f.name)[rows] = getattr(part, f.name)

    def take(self, rows: NDArray[np.int64]) -> Predictions:
        """Return the predictions of some rows."""
        parts = {f.name: getattr(self, f.name)[rows] for f in dataclasses.fields(self)}
        return Predictions(**parts)


@dataclass(frozen=True)
class HistoryRow:
    """Mean loss of one epoch, in the loss's own units (scaled labels or normalized flux)."""

    network: str
    fold: int
    epoch: int
    loss: float
    val_loss: float


@dataclass(frozen=True, eq=False)
class Step:
    """Result of one chunk of a training.

    Parameters
    ----------
    state : bytes
        Input of the next chunk.
    history : tuple of HistoryRow
        Loss curves of the chunk's epochs, thinned to at most about 2,000 points a curve.
    fold_of_row : ndarray of int64, shape (n,), optional
        The fold in which each row was left out; comes with the chunk that ends the folds.
    out_of_fold : Predictions, optional
        Each row as predicted by the model trained without its star; comes with the same chunk.
    artifact : bytes, optional
        The finished model; comes with the last chunk.
    metrics : dict of str to float
        Scores of the out-of-fold predictions, named ``label.metric``; comes with `out_of_fold`.
    """

    state: bytes
    history: tuple[HistoryRow, ...] = ()
    fold_of_row: NDArray[np.int64] | None = None
    out_of_fold: Predictions | None = None
    artifact: bytes | None = None
    metrics: dict[str, float] = field(default_factory=dict)
