"""Draw how pixels depend on labels and labels on pixels, for each model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import sqlalchemy as sa
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from catalog.errors import UsageError
from catalog.store.models import TrainedModel, find_model
from catalog.words import count
from jobs.report.drawing import Drawing, Missing, Subject
from jobs.report.per_model import stem
from jobs.report.style import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    PALE,
    SKY,
    VERMILION,
    WAVELENGTH_AXIS,
    new_figure,
    style,
    symbol,
    unit_of,
)
from jobs.training.explain import Explanation, explain_model
from jobs.training.model_files import open_model
from models.presets.continuum_pixels import THRESHOLD
from models.spectra.grid import grid_wavelength
from models.spectra.lines import LINES, REGIONS, Window

N_SPECTRA = 12  # on which the pixels are moved
PERCENT = 0.01  # of the continuum: by how much pixels are brightened
STRONGEST = 3  # features that the caption names
FOREIGN = ("telluric", "interstellar")  # regions that are marked: not of the star
TITLE = "Label dependence"


def draw(conn: sa.Connection, subject: Subject) -> list[Drawing | Missing]:
    """Draw what each model looks at."""
    return [_draw_model(conn, find_model(conn, name)) for name in subject.models]


@style()
def draw_reverse(
    wavelength: np.ndarray, sensitivity: np.ndarray, pixels: np.ndarray, threshold: float
) -> Figure:
    """Draw how far each pixel depends on the labels, with the continuum pixels.

    Parameters
    ----------
    wavelength : ndarray, shape (p,) [Angstrom, vacuum]
        Of the pixels.
    sensitivity : ndarray, shape (p,) [units of the continuum]
        Range of each pixel over the labels, by the reverse network.
    pixels : ndarray of bool, shape (p,)
        The chosen continuum pixels.
    threshold : float [units of the continuum]
        Below it a pixel may be chosen.
    """
    figure = new_figure(5.6)
    panel = figure.subplots()
    panel.plot(wavelength, sensitivity, color=BLUE, linewidth=0.9, label="label dependence")
    panel.axhline(threshold, color=BLACK, linestyle="--", linewidth=1.0, label=f"{threshold:g}")
    panel.plot(
        wavelength[pixels], sensitivity[pixels], linestyle="none", marker="o", markersize=6,
        color=VERMILION, markeredgecolor="white", zorder=5,
        label=f"{int(pixels.sum())} continuum pixels",
    )  # fmt: skip
    panel.set(
        xlabel=WAVELENGTH_AXIS, ylabel="range over labels [continuum]",
        xlim=(wavelength[0], wavelength[-1]), ylim=(0.0, None),
    )  # fmt: skip
    _mark_windows(panel)
    _name_lines(panel, wavelength)
    figure.legend(loc="outside upper center", ncols=3)
    return figure


@style()
def draw_jacobian(wavelength: np.ndarray, names: Sequence[str], slopes: np.ndarray) -> Figure:
    """Draw by how much each label changes if a pixel were brighter by 1% of the continuum.

    Parameters
    ----------
    wavelength : ndarray, shape (p,) [Angstrom, vacuum]
        Of the pixels.
    names : sequence of str
        The k labels; a panel each.
    slopes : ndarray, shape (k, p) [units of the labels, per unit of the continuum]
        Change of the labels with the flux of each pixel.
    """
    figure = new_figure(2.3 * len(names) + 1.5)
    panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for panel, name, slope in zip(panels, names, slopes, strict=True):
        panel.axhline(0.0, color=BLACK, linewidth=0.8)
        panel.plot(wavelength, PERCENT * slope, color=BLUE, linewidth=0.8)
        far = 1.05 * np.nanmax(np.abs(PERCENT * slope), initial=1e-12)
        panel.set(
            ylabel=f"Δ {symbol(name)} [{unit_of(name) or 1}]", ylim=(-far, far),
            xlim=(wavelength[0], wavelength[-1]),
        )  # fmt: skip
        panel.locator_params(axis="y", nbins=5)
        _mark_windows(panel)
    _name_lines(panels[0], wavelength)
    panels[-1].set_xlabel(WAVELENGTH_AXIS)
    return figure


def _mark_windows(panel: Axes) -> None:
    """Shade the lines of the star, and what is not of the star."""
    for window in LINES:
        panel.axvspan(window.low, window.high, color=ORANGE, alpha=0.25, linewidth=0)
    for region, colour in zip(FOREIGN, (PALE, SKY), strict=True):
        for window in REGIONS[region]:
            panel.axvspan(window.low, window.high, color=colour, alpha=0.5, linewidth=0)
    panel.grid(visible=False, axis="x")


def _name_lines(panel: Axes, wavelength: np.ndarray) -> None:
    """Write the names of the lines above a panel, with room between them."""
    shown = [w for w in _by_name(LINES) if wavelength[0] < w.middle < wavelength[-1]]
    gap = 0.024 * (wavelength[-1] - wavelength[0])
    places: list[float] = []
    for window in shown:
        places.append(max(window.middle, places[-1] + gap if places else -np.inf))
    for window, place in zip(shown, places, strict=True):
        panel.annotate(
            window.name, (window.middle, 1.0), (place, 1.06), rotation=90, ha="center",
            va="bottom", fontsize=10.5, color=GREY, xycoords=("data", "axes fraction"),
            arrowprops={
                "arrowstyle": "-", "color": GREY, "linewidth": 0.6, "shrinkA": 0,
                "relpos": (0.5, 0.0),
            },
        )  # fmt: skip


def _by_name(windows: Sequence[Window]) -> list[Window]:
    """Return the first window of each name."""
    return list({window.name: window for window in reversed(windows)}.values())[::-1]


def _draw_model(conn: sa.Connection, trained: TrainedModel) -> Drawing | Missing:
    """Return the figure of a model, or why there is none."""
    name, title = stem("dependence", trained.full_name), f"{TITLE}: {trained.full_name}"
    try:
        model = open_model(conn, trained)
        if "sensitivity" not in model.arrays:
            found = explain_model(conn, trained.full_name, n_spectra=N_SPECTRA)
            figure = draw_jacobian(found.wavelength, found.model.labels, found.slopes)
            return Drawing(name, title, _caption(found), figure)
    except UsageError as exc:  # such as another version's model, or no normalized spectrum
        return Missing(name, title, str(exc))
    sensitivity = model.arrays["sensitivity"].astype(np.float64)
    pixels = model.arrays["pixels"].astype(bool)
    caption = (
        "How far each pixel of the normalized spectra depends on the labels: the range between the "
        "16th and the 84th percentile of what the reverse network predicts over a grid of labels, "
        f"the middle 68% of those of the training stars. The {int(pixels.sum())} circles are the "
        f"continuum pixels to which the second normalization is fitted: the least dependent ones "
        f"of their windows, below {THRESHOLD:g} where there are enough. Wavelengths are of the "
        "observed frame. Orange: lines of stars; grey: the atmosphere; blue: interstellar gas."
    )
    wavelength = grid_wavelength(model.first_index, model.n_pixels)
    return Drawing(name, title, caption, draw_reverse(wavelength, sensitivity, pixels, THRESHOLD))


def _caption(found: Explanation) -> str:
    """Return the caption of the Jacobian, with the strongest features of each label."""
    strongest = []
    for k, label in enumerate(found.model.labels):
        ordered = sorted(found.lines, key=lambda line: -np.nan_to_num(line.share[k]))[:STRONGEST]
        words = ", ".join(f"{line.name} {line.share[k]:.0%}" for line in ordered)
        strongest.append(f"{label}: {words}")
    return (
        "By how much each label changes if one pixel were brighter by 1% of the continuum: median "
        f"over {count(found.n_spectra, 'training spectrum')}; three pixels are moved at a time. "
        "Orange: lines of stars; grey: the atmosphere; blue: interstellar gas (there the labels "
        "should not react). Lines with the largest share in the sensitivity of each label, "
        f"weighted with the noise of the pixels: {'; '.join(strongest)}. The rest: crosslabel "
        f"explain {found.model.full_name}."
    )
