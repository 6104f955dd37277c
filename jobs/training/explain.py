"""Say what a model looks at: the pixels its labels hang on, and what moves them but should not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from catalog.errors import UsageError
from catalog.store.models import TrainedModel, find_model, training_sources
from catalog.store.normalized import normalize_command, normalized_keys
from catalog.store.samples import sample_id_of
from catalog.store.spectra import SpectrumMatrix, read_spectra
from jobs.normalize import find_recipe
from jobs.training.model_files import open_model
from models.predict import Model
from models.sensitivity import (
    Share,
    jacobian,
    line_shares,
    pixel_shares,
    unnamed_shares,
)
from models.spectra.foreground_absorption import interstellar_sodium, telluric_bands
from models.spectra.grid import grid_wavelength
from models.spectra.normalize import Normalized, Recipe, normalize

MARGIN = 150.0  # km/s: most stars are slower, so what is not of the star lies within
CONTAMINATED = 100  # spectra on which the effect of absorption is tried, at most
SODIUM_WIDTH = 0.4  # equivalent width of D2 [Angstrom], that of E(B-V) of 0.1 mag
TELLURIC_DEPTH = 0.1  # of the A band: a correction that is off by a tenth

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Shift:
    """Change of the labels by some absorption.

    Parameters
    ----------
    name : str
        What is added to the spectra, or taken away.
    median : ndarray, shape (k,) [units of the labels]
        Of the changes.
    typical : ndarray, shape (k,) [units of the labels]
        68% of the changes are smaller.
    in_sigma : ndarray, shape (k,)
        The same of each change over the error of its label; NaN where the model has no errors.
    """

    name: str
    median: FloatArray
    typical: FloatArray
    in_sigma: FloatArray


@dataclass(frozen=True, eq=False)
class Reverse:
    """The label dependence of the pixels, by the reverse network of a model.

    Parameters
    ----------
    sensitivity : ndarray, shape (p,)
        Range of each pixel over the labels, in units of the continuum.
    pixels : ndarray of bool, shape (p,)
        The continuum pixels chosen.
    """

    sensitivity: FloatArray
    pixels: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Explanation:
    """The sensitivity of a model's labels to pixels, lines and absorption that is not of the star.

    Parameters
    ----------
    model : TrainedModel
        Which model.
    units : dict of str to str
        Units of its labels.
    n_spectra, n_contaminated : int
        Spectra on which the pixels were moved, and to which absorption was added.
    wavelength : ndarray, shape (p,) [Angstrom, vacuum]
        Of the pixels.
    pixels : ndarray, shape (k, p)
        Share of each pixel in the sensitivity of each label.
    slopes : ndarray, shape (k, p) [units of the labels, per unit of the continuum]
        Median over the spectra of the change of each label with the flux of each pixel.
    lines, regions, stretches : list of Share
        The same in sums: over the lines of stars; over what is not of the star; between the lines.
    shifts : list of Shift
        What absorption by gas and atmosphere does to the labels.
    reverse : Reverse, optional
        Of a model that has a reverse network.
    """

    model: TrainedModel
    units: dict[str, str]
    n_spectra: int
    n_contaminated: int
    wavelength: FloatArray
    pixels: FloatArray
    slopes: FloatArray
    lines: list[Share]
    regions: list[Share]
    stretches: list[Share]
    shifts: list[Shift]
    reverse: Reverse | None


def explain_model(
    conn: sa.Connection, name: str, sample: str | None = None, n_spectra: int = 12
) -> Explanation:
    """Measure on stored spectra what a model looks at.

    Parameters
    ----------
    conn : Connection
        For reading.
    name : str
        Model: ``name`` or ``name@edition``.
    sample : str, optional
        Take the spectra of this sample; if not given, those that the model was trained on, and
        where these are not here all.
    n_spectra : int
        Number of spectra, spread evenly over the natural keys.

    Raises
    ------
    UsageError
        If there is no such model or sample, no spectrum that the model could label, or another
        version wrote it.
    """
    trained = find_model(conn, name)
    recipe = find_recipe(trained.recipe)
    model = open_model(conn, trained)
    keys = normalized_keys(conn, recipe, sample_id_of(conn, sample))
    if sample is None:
        member = set(training_sources(conn, trained.model_id))
        keys = [key for key in keys if key.source_id in member] or keys
    if not keys:
        raise UsageError(
            f"no spectrum is normalized by the recipe {recipe.name}, as {trained.full_name} needs "
            "it to show what it looks at",
            normalize_command(recipe.name, sample),
        )
    ordered = [key.source_id for key in sorted(keys, key=lambda k: (k.survey, k.survey_key))]
    raw = read_spectra(conn, _spread(ordered, n_spectra))
    shown = _normalized(recipe, raw)
    slopes = jacobian(model, shown.flux, shown.ivar, shown.continuum)
    pixels = pixel_shares(slopes, shown.ivar)
    margin = MARGIN if recipe.rest_frame else 0.0
    lines, regions = line_shares(pixels, shown.ivar, recipe.first_index, margin=margin)
    many = read_spectra(conn, _spread(ordered, CONTAMINATED))
    return Explanation(
        model=trained,
        units=dict(model.manifest["units"]),
        n_spectra=len(raw.source_id),
        n_contaminated=len(many.source_id),
        wavelength=recipe.wavelength,
        pixels=pixels,
        slopes=np.median(slopes, axis=0),
        lines=lines,
        regions=regions,
        stretches=unnamed_shares(pixels, shown.ivar, recipe.first_index),
        shifts=_shifts(model, recipe, many),
        reverse=_reverse(model),
    )


def _spread(ids: list[int], n: int) -> list[int]:
    """So many of the ids, evenly spread over their order."""
    return [ids[i] for i in np.unique(np.linspace(0, len(ids) - 1, min(n, len(ids))).astype(int))]


def _normalized(
    recipe: Recipe, raw: SpectrumMatrix, transmission: FloatArray | float = 1.0
) -> Normalized:
    """Normalize spectra as they would be seen through something."""
    return normalize(
        recipe, raw.first_index, raw.flux * transmission, raw.ivar, raw.and_mask, raw.z
    )


def _shifts(model: Model, recipe: Recipe, raw: SpectrumMatrix) -> list[Shift]:
    """Put absorption onto the observed spectra, and see where the labels go."""
    wavelength = grid_wavelength(raw.first_index, raw.flux.shape[1])
    plain = _normalized(recipe, raw)
    before = model.predict(plain.flux, plain.ivar, plain.continuum)
    found = []
    for name, transmission in (
        (f"+{SODIUM_WIDTH} A of interstellar Na D", interstellar_sodium(wavelength, SODIUM_WIDTH)),
        (f"-{SODIUM_WIDTH} A of interstellar Na D", interstellar_sodium(wavelength, -SODIUM_WIDTH)),
        (f"+{TELLURIC_DEPTH:.0%} telluric bands", telluric_bands(wavelength, TELLURIC_DEPTH)),
        (f"-{TELLURIC_DEPTH:.0%} telluric bands", telluric_bands(wavelength, -TELLURIC_DEPTH)),
    ):
        absorbed = _normalized(recipe, raw, transmission)
        after = model.predict(absorbed.flux, absorbed.ivar, absorbed.continuum)
        change = after.values - before.values
        with np.errstate(invalid="ignore"):
            relative = np.abs(change) / before.sigma
        found.append(
            Shift(
                name, _column(change, 50.0), _column(abs(change), 68.27), _column(relative, 68.27)
            )
        )
    return found


def _column(values: FloatArray, percent: float) -> FloatArray:
    """Return a percentile of each column's finite values; NaN where there is none."""
    return np.array(
        [
            np.percentile(known, percent) if (known := column[np.isfinite(column)]).size else np.nan
            for column in values.T
        ]
    )


def _reverse(model: Model) -> Reverse | None:
    """Return the label dependence by the reverse network, where the model has one."""
    if "pixels" not in model.arrays or "sensitivity" not in model.arrays:
        return None
    return Reverse(
        model.arrays["sensitivity"].astype(np.float64), model.arrays["pixels"].astype(bool)
    )
