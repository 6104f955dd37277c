"""Immutable scaling of labels to zero mean and unit variance, and the same for their errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from models.core.arrays import FloatArray


@dataclass(frozen=True, eq=False)
class LabelScaler:
    """Centre and scale of each label, fitted once on training rows.

    Parameters
    ----------
    center, scale : ndarray of float64, shape (k,) [units of the labels]
        Mean and standard deviation.
    """

    center: FloatArray
    scale: FloatArray

    @classmethod
    def from_data(cls, values: ArrayLike, names: tuple[str, ...]) -> LabelScaler:
        """Return the scaler fitted to training rows, without missing values.

        Parameters
        ----------
        values : array_like, shape (n, k) [units of the labels]
            NaN where missing.
        names : tuple of str
            Names of the columns, for the message.

        Raises
        ------
        ValueError
            If a label is constant or has fewer than two values: it cannot be learned.
        """
        values = np.asarray(values, dtype=np.float64)
        known = np.isfinite(values)
        count = known.sum(axis=0)
        center = np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1)
        square = np.where(known, (values - center) ** 2, 0.0).sum(axis=0)
        scale = np.sqrt(square / np.maximum(count, 1))
        constant = (count < 2) | ~(scale > 1e-9 * np.maximum(np.abs(center), 1e-30))
        if constant.any():
            listed = ", ".join(n for n, bad in zip(names, constant, strict=True) if bad)
            raise ValueError(
                f"These labels have fewer than two different values in the training rows: "
                f"{listed}. Leave them out or choose a larger training sample."
            )
        return cls(center, scale)

    def transform(self, values: ArrayLike) -> FloatArray:
        """Return scaled labels, shape (..., k)."""
        return (np.asarray(values, dtype=np.float64) - self.center) / self.scale

    def inverse(self, scaled: ArrayLike) -> FloatArray:
        """Return labels from scaled ones, shape (..., k)."""
        return np.asarray(scaled, dtype=np.float64) * self.scale + self.center

    def transform_errors(self, errors: ArrayLike) -> FloatArray:
        """Return the errors of scaled labels, shape (..., k)."""
        return np.asarray(errors, dtype=np.float64) / self.scale

    def inverse_errors(self, scaled: ArrayLike) -> FloatArray:
        """Return the errors of labels from those of scaled ones, shape (..., k)."""
        return np.asarray(scaled, dtype=np.float64) * self.scale
