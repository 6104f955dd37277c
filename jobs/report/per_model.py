"""Common parts of the sections on models: names of figures, panels by label, scores, cautions."""

from __future__ import annotations

import re
from collections.abc import Sequence

import sqlalchemy as sa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jobs.evaluation.records import Score
from jobs.report.drawing import Subject
from jobs.report.origin import simulated_words
from jobs.report.style import key_of, new_figure

PER_ROW = 3  # labels side by side

#: Why there is no figure where there is no model.
NO_MODEL = "No model was trained on this sample. Run: crosslabel train"


def stem(kind: str, name: str) -> str:
    """File stem of a figure of one model, such as ``loss-seed-2018-1`` of ``seed-2018@1``."""
    return f"{kind}-{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}"


def caution(conn: sa.Connection, subject: Subject) -> str:
    """Return the end of a caption of simulated data, with a space before; empty for real data."""
    words = simulated_words(conn, subject)
    return f" Simulated data: {words}." if words else ""


def score_of(scores: Sequence[Score], label: str, test_set: str) -> Score:
    """The score of a label set, of all its spectra together."""
    wanted = (label, test_set, "all", "all")
    return next(s for s in scores if (s.label, s.test_set, s.bin_by, s.population) == wanted)


def label_panels(
    n_labels: int, height: float, heights: Sequence[float] = (1.0,)
) -> tuple[Figure, list[tuple[Axes, ...]]]:
    """Make a figure with panels for each label, `PER_ROW` labels side by side.

    Parameters
    ----------
    n_labels : int
        How many labels.
    height : float
        Of a row of labels [inch].
    heights : sequence of float
        Of the panels of a label, from above, relative to each other.

    Returns
    -------
    figure : Figure
    panels : list of tuple of Axes
        For each label its panels, from above.
    """
    rows, blocks = len(heights), -(-n_labels // PER_ROW)
    figure = new_figure(height * blocks)
    ratios = (*heights,) * blocks
    grid = figure.subplots(rows * blocks, PER_ROW, squeeze=False, height_ratios=ratios)
    found = []
    for place in range(blocks * PER_ROW):
        row, column = divmod(place, PER_ROW)
        panels = tuple(grid[rows * row : rows * (row + 1), column])
        if place < n_labels:
            found.append(panels)
            continue
        for panel in panels:
            panel.remove()
    return figure, found


def name_sets(figure: Figure, names: Sequence[str], order: Sequence[str]) -> None:
    """Name label sets or models above the panels, by their lines and markers."""
    handles = [Line2D([], [], label=name, **key_of(order.index(name))) for name in names]
    figure.legend(handles=handles, loc="outside upper center", ncols=min(3, len(handles)))
