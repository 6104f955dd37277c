"""Normalized spectra with their lines named, and a grid of spectra before and after."""

from __future__ import annotations

import numpy as np
import sqlalchemy as sa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from catalog.words import count
from jobs.report import style
from jobs.report.chosen import ChosenSpectra, choose_spectra
from jobs.report.drawing import Drawing, Missing, Subject
from jobs.report.figures.continua import NO_SPECTRA
from models.spectra.grid import grid_wavelength
from models.spectra.lines import LINES
from models.spectra.normalize import RECIPES, Normalized, normalize
from models.spectra.recipes import Recipe

LINES_TITLE = "Normalized spectra and their lines"
GRID_TITLE = "Spectra before and after normalization"
FloatArray = NDArray[np.float64]
RECIPE = RECIPES["default"]
#: Stretches of wavelength, one panel each [Angstrom].
RANGES = ((3900.0, 4500.0), (4500.0, 5500.0), (5500.0, 7000.0), (7000.0, 8800.0))
_STACKED, _IN_GRID = 4, 6
_STEP = 0.6  # between stacked spectra, in units of the continuum
_LEAST_SN = 0.5
_ROOM = 0.35  # above stacked spectra for the names of lines, as a share of what they take


def draw(conn: sa.Connection, subject: Subject) -> list[Drawing | Missing]:
    """Draw both figures."""
    best = choose_spectra(conn, subject, _STACKED, least_sn=_LEAST_SN)
    grid = choose_spectra(conn, subject, _IN_GRID)
    if best is None or grid is None:
        return [
            Missing("normalized-spectra", LINES_TITLE, NO_SPECTRA),
            Missing("before-and-after", GRID_TITLE, NO_SPECTRA),
        ]
    listed = "; ".join(map(": ".join, zip(best.keys, best.labels, strict=True)))
    lines = (
        f"{count(len(best.keys), 'spectrum')} of the sample {subject.sample}, divided by their "
        f"continuum (recipe {RECIPE.name}, frame of the star, vacuum wavelengths in Angstrom); "
        f"from the coolest at the bottom to the hottest at the top, shifted by {_STEP:g} each: "
        f"{listed}. Shaded: features of which the labels are known to show. Gaps are masked pixels."
    )
    grid_caption = (
        f"{count(len(grid.keys), 'spectrum')} of the sample {subject.sample} at even steps of "
        "temperature, of any signal-to-noise ratio. Left: flux [1e-17 erg/s/cm2/Angstrom] with "
        f"the continuum of the recipe {RECIPE.name} (red, dashed). Right: flux over continuum, "
        "without unit, as the networks see it."
    )
    return [
        Drawing("normalized-spectra", LINES_TITLE, lines, draw_lines(_divided(best))),
        Drawing("before-and-after", GRID_TITLE, grid_caption, draw_grid(grid, _divided(grid))),
    ]


def _divided(chosen: ChosenSpectra) -> Normalized:
    """Some spectra, normalized."""
    m = chosen.matrix
    return normalize(RECIPE, m.first_index, m.flux, m.ivar, m.and_mask, m.z)


@style.style()
def draw_lines(spectra: Normalized, recipe: Recipe = RECIPE) -> Figure:
    """Draw normalized spectra above each other, in stretches of wavelength, with the lines named.

    Parameters
    ----------
    spectra : Normalized
        n spectra on the pixels of `recipe`.
    recipe : Recipe
        By which they are normalized.
    """
    figure = style.new_figure(3.1 * len(RANGES))
    panels = figure.subplots(len(RANGES), 1)
    flux = np.where(spectra.ivar > 0, spectra.flux, np.nan)
    frames = [style.spectrum_limits(row + _STEP * i) for i, row in enumerate(flux)]
    bottom, top = min(frame[0] for frame in frames), max(frame[1] for frame in frames)
    for axes, (low, high) in zip(panels, RANGES, strict=True):
        part = (recipe.wavelength >= low) & (recipe.wavelength <= high)
        for i in range(len(flux)):
            axes.plot(
                recipe.wavelength[part], flux[i, part] + _STEP * i,
                color=style.COLOURS[i % len(style.COLOURS)], linewidth=0.9,
            )  # fmt: skip
        axes.set(xlim=(low, high), ylim=(bottom, top + _ROOM * (top - bottom)))
        axes.set_ylabel("flux / continuum")
        _name_lines(axes, low, high)
    panels[-1].set_xlabel(style.WAVELENGTH_AXIS)
    return figure


def _name_lines(axes: Axes, low: float, high: float) -> None:
    """Shade the windows of the lines within the panel, and write their names above."""
    inside = [window for window in LINES if low <= window.middle <= high]
    for window in inside:
        axes.axvspan(window.low, window.high, color=style.ORANGE, alpha=0.2, linewidth=0)
    for name in dict.fromkeys(window.name for window in inside):
        middle = float(np.mean([window.middle for window in inside if window.name == name]))
        axes.text(
            middle,
            axes.get_ylim()[1] - 0.06,
            name.replace(", ", "\n"),
            rotation=90,
            ha="center",
            va="top",
            fontsize=11,
        )


@style.style()
def draw_grid(chosen: ChosenSpectra, spectra: Normalized, recipe: Recipe = RECIPE) -> Figure:
    """Draw spectra with their continuum on the left, divided by it on the right.

    Parameters
    ----------
    chosen : ChosenSpectra
        Whose headings are written.
    spectra, recipe
        As in `draw_lines`.
    """
    figure = style.new_figure(1.95 * len(chosen.keys) + 0.6)
    panels = figure.subplots(len(chosen.keys), 2, sharex=True, squeeze=False)
    good = spectra.ivar > 0
    wavelength = grid_wavelength(recipe.first_index, recipe.n_pixels)
    for i, (before, after) in enumerate(panels):
        continuum = np.where(good[i], spectra.continuum[i], np.nan)
        flux = np.where(good[i], spectra.flux[i], np.nan)
        before.plot(wavelength, flux * continuum, color=style.BLUE, linewidth=0.6)
        before.plot(wavelength, continuum, linestyle="--", color=style.VERMILION, linewidth=1.4)
        before.set_ylim(*style.spectrum_limits(flux * continuum))
        after.plot(wavelength, flux, color=style.BLUE, linewidth=0.6)
        after.axhline(1.0, color=style.VERMILION, linestyle="--", linewidth=1.0)
        after.set_ylim(*style.spectrum_limits(flux))
        before.set_title(chosen.keys[i], loc="left", fontsize=11)
        after.set_title(chosen.labels[i], loc="left", fontsize=11)
        after.set_ylabel("flux / cont.")
    figure.supylabel(style.FLUX_AXIS)
    for axes in panels[-1]:
        axes.set_xlabel(style.WAVELENGTH_AXIS)
        axes.set_xlim(wavelength[0], wavelength[-1])
    return figure
