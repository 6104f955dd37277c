"""The label planes: joint distributions of two labels with their marginal densities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jobs.evaluation.data import ComparedLabel
from jobs.report.style import (
    GREY,
    astronomers_way,
    axis_label,
    bin_edges,
    choose,
    key_of,
    limits,
    new_figure,
    style,
)

#: Labels on the horizontal and on the vertical axis, and what the plane is called.
PLANES = (
    ("fe_h", "teff", "[Fe/H] and Teff"),
    ("teff", "logg", "Teff and log g"),
    ("fe_h", "logg", "[Fe/H] and log g"),
)
MOST_POINTS = 2000
COLUMNS = 2


def common_rows(labels: Sequence[ComparedLabel]) -> list[np.ndarray]:
    """Find the spectra that have several labels, by the sources of their rows.

    Parameters
    ----------
    labels : sequence of ComparedLabel
        Of the same label sets.

    Returns
    -------
    list of ndarray of int64
        For each label the row numbers of the common spectra, in one order.
    """
    places = [{tuple(ids): i for i, ids in enumerate(data.source_id.T.tolist())} for data in labels]
    common = [ids for ids in places[0] if all(ids in place for place in places[1:])]
    return [np.array([place[ids] for ids in common], np.int64) for place in places]


@style()
def draw_plane(
    x: str,
    y: str,
    reference: tuple[str, np.ndarray],
    tests: Mapping[str, np.ndarray],
    seed: int = 0,
) -> Figure:
    """Draw each label set over the reference, in panels of their own with shared limits.

    Parameters
    ----------
    x, y : str
        Labels on the axes.
    reference : tuple of str and ndarray, shape (n, 2) [units of the labels]
        Name of the reference and its labels.
    tests : mapping of str to ndarray, shape (n, 2) [units of the labels]
        Labels of the same spectra in the other sets.
    seed : int
        Of the random choice of points where there are more than `MOST_POINTS`.

    Returns
    -------
    Figure
        Densities above and beside the panels integrate to 1. The reference is grey: crosses, and
        filled densities.
    """
    everything = np.concatenate([reference[1], *tests.values()])
    frame = (limits(everything[:, 0]), limits(everything[:, 1]))
    edges = [bin_edges([everything[:, i]], 30) for i in range(2)]
    rows = choose(len(reference[1]), MOST_POINTS, seed)
    n_rows = -(-len(tests) // COLUMNS)
    columns = min(COLUMNS, len(tests))
    figure = new_figure(4.9 * n_rows + 0.3)
    outer = figure.add_gridspec(n_rows, columns)
    for i, (name, values) in enumerate(tests.items()):
        inner = outer[divmod(i, columns)].subgridspec(
            2, 2, width_ratios=(4, 1), height_ratios=(1, 4), wspace=0.02, hspace=0.02
        )
        joint = figure.add_subplot(inner[1, 0])
        top = figure.add_subplot(inner[0, 0], sharex=joint)
        side = figure.add_subplot(inner[1, 1], sharey=joint)
        key = key_of(i)
        below = {"color": GREY, "marker": "x", "linestyle": "none"}
        for (label, points), look in ((reference, below), ((name, values), key)):
            _draw_points(joint, label, points[rows], look)
            _draw_density(top, points[:, 0], edges[0], look, "vertical")
            _draw_density(side, points[:, 1], edges[1], look, "horizontal")
        joint.set(xlim=frame[0], ylim=frame[1], xlabel=axis_label(x), ylabel=axis_label(y))
        if (x, y) == ("teff", "logg"):
            astronomers_way(joint, x, y)
        for panel, axis in ((top, "x"), (side, "y")):
            panel.tick_params(axis="both", labelbottom=False, labelleft=False, length=0)
            panel.grid(visible=False)
            panel.spines[["left" if axis == "x" else "bottom"]].set_visible(False)
            panel.set(**{"ylim" if axis == "x" else "xlim": (0, None)})
        joint.locator_params(axis="x", nbins=5)
        top.legend(
            *joint.get_legend_handles_labels(), loc="lower left", bbox_to_anchor=(0.0, 1.0),
            markerscale=3, handletextpad=0.3,
        )  # fmt: skip
    return figure


def _draw_points(panel: Axes, name: str, points: np.ndarray, look: Mapping[str, str]) -> None:
    """Scatter the points of a label set."""
    is_cross = look["marker"] == "x"
    panel.plot(
        points[:, 0], points[:, 1], linestyle="none", marker=look["marker"], color=look["color"],
        markersize=3.4 if is_cross else 2.8, markeredgewidth=0.7 if is_cross else 0.0, alpha=0.6,
        rasterized=True, label=name,
    )  # fmt: skip


def _draw_density(
    panel: Axes,
    values: np.ndarray,
    edges: np.ndarray,
    look: Mapping[str, str],
    direction: Literal["vertical", "horizontal"],
) -> None:
    """Draw a histogram of density: an outline, or filled where a set has no line."""
    density, _ = np.histogram(values, edges, density=True)
    if look["linestyle"] == "none":
        panel.stairs(
            density, edges, orientation=direction, fill=True, color=look["color"], alpha=0.35
        )
        return
    panel.stairs(
        density, edges, orientation=direction, color=look["color"], linestyle=look["linestyle"],
        linewidth=1.5,
    )  # fmt: skip
