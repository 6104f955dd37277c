"""The two-row residual figure: labels against those of the reference, and their differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from catalog.words import count
from jobs.evaluation.data import ComparedLabel
from jobs.evaluation.records import Score
from jobs.report.per_model import label_panels, name_sets, score_of
from jobs.report.style import (
    BLACK,
    GREY,
    choose,
    key_of,
    limits,
    number,
    style,
    symbol,
)

MOST_POINTS = 2000  # of a label set in a panel
EDGE = 0.05  # between crosses and frame, as a share of the frame
STATISTICS = ("bias", "sigma_mad", "seed_bias", "seed_scatter")


@style()
def draw_residuals(
    labels: Sequence[ComparedLabel],
    scores: Sequence[Score],
    shown: Sequence[str],
    order: Sequence[str],
    seed: int = 0,
) -> Figure:
    """Draw labels against the reference above, differences below, numbers under them.

    Parameters
    ----------
    labels : sequence of ComparedLabel
        A column of panels each: labels with their errors, in their units.
    scores : sequence of Score
        Of the same labels: the numbers that are printed.
    shown : sequence of str
        Label sets to show; more than two have little room for their numbers.
    order : sequence of str
        All label sets, in the order in which they take colours and markers.
    seed : int
        Of the random choice of points where there are more than `MOST_POINTS`.

    Returns
    -------
    Figure
        The rows of panels are two for every three labels: values, and differences. Thick lines
        are the biases; error bars in the corners the mean errors.
    """
    figure, panels = label_panels(len(labels), 9.8, (1.6, 1.0, 1.05))
    for (above, below, table), data in zip(panels, labels, strict=True):
        table.set_axis_off()
        here = [name for name in shown if name in data.names]
        _draw_label(above, below, data, here, order, seed)
        _print_numbers(table, data, scores, here, order)
    name_sets(figure, shown, order)
    return figure


def outside(data: ComparedLabel, shown: Sequence[str]) -> int:
    """Return the number of points outside the frames of `draw_residuals`."""
    found = 0
    for name in shown:
        test = data.test[data.names.index(name)]
        low, high = _frame(data, shown)
        floor, ceiling = _delta_frame(data, shown)
        delta = test - data.reference
        beyond = (test < low) | (test > high) | (delta < floor) | (delta > ceiling)
        found += int((beyond | (data.reference < low) | (data.reference > high)).sum())
    return found


def mean_errors(data: ComparedLabel, name: str) -> tuple[float, float]:
    """Mean stated errors of the reference and of a label set [unit]; NaN where none is stated."""
    return (
        _mean(data.reference_err),
        _mean(data.sigma[data.names.index(name)]),
    )


def _draw_label(
    above: Axes,
    below: Axes,
    data: ComparedLabel,
    here: Sequence[str],
    order: Sequence[str],
    seed: int,
) -> None:
    """Fill the two panels of a label."""
    low, high = _frame(data, here)
    above.axline((low, low), slope=1.0, color=BLACK, linewidth=1.0, zorder=1)
    below.axhline(0.0, color=BLACK, linewidth=1.0, zorder=1)
    rows = choose(data.reference.size, MOST_POINTS, seed)
    for name in here:
        key, test = key_of(order.index(name)), data.test[data.names.index(name)]
        points = {
            "linestyle": "none", "marker": key["marker"], "color": key["color"], "markersize": 2.6,
            "alpha": 0.45, "markeredgewidth": 0.0, "rasterized": True, "label": name,
        }  # fmt: skip
        above.plot(data.reference[rows], test[rows], **points)
        below.plot(data.reference[rows], (test - data.reference)[rows], **points)
        bias = float(np.median(test - data.reference))
        below.axhline(bias, color=key["color"], linestyle=key["linestyle"], linewidth=2.0)
    above.set(xlim=(low, high), ylim=(low, high))
    below.set(xlim=(low, high), ylim=_delta_frame(data, here))
    stated = [name for name in here if np.isfinite(mean_errors(data, name)[1])]
    for place, name in enumerate(stated):
        _draw_mean_errors(above, below, data, name, key_of(order.index(name)), place)
    unit = f" [{data.unit}]" if data.unit else ""
    above.set(ylabel=f"{symbol(data.label)}{unit}", title=symbol(data.label))
    above.tick_params(labelbottom=False)
    below.set(ylabel=f"difference{unit}", xlabel=f"reference{unit}")
    for panel in (above, below):
        panel.locator_params(axis="x", nbins=3)
        panel.tick_params(axis="x", labelsize=12)
        panel.locator_params(axis="y", nbins=5)


def _draw_mean_errors(
    above: Axes, below: Axes, data: ComparedLabel, name: str, key: dict[str, Any], place: int
) -> None:
    """Draw one cross per label set in the lower right corner: its mean error and the reference's.

    A cross that would leave the frame moves inwards; the frame grows where it is larger than that.
    """
    of_reference, own = mean_errors(data, name)
    across = float(np.nan_to_num(of_reference))
    both = np.hypot(data.sigma[data.names.index(name)], np.nan_to_num(data.reference_err))
    for panel, error in ((above, own), (below, _mean(both))):
        _make_room(panel, across, error)
        (left, right), (bottom, top) = panel.get_xlim(), panel.get_ylim()
        width, height = right - left, top - bottom
        x = right - max((0.13 + 0.16 * place) * width, across + EDGE * width)
        y = bottom + max(0.16 * height, error + EDGE * height)
        panel.errorbar(
            max(x, left + across + EDGE * width), y, yerr=error, xerr=across or None,
            color=key["color"], marker=key["marker"], markersize=5, capsize=3, linewidth=1.8,
            markeredgecolor="white", zorder=5,
        )  # fmt: skip


def _make_room(panel: Axes, across: float, upwards: float) -> None:
    """Widen a frame in which a cross would take more than nine tenths."""
    for error, get, put in (
        (across, panel.get_xlim, panel.set_xlim),
        (upwards, panel.get_ylim, panel.set_ylim),
    ):
        low, high = get()
        lacking = 2.0 * error / (1.0 - 2.0 * EDGE) - (high - low)
        if lacking > 0.0:
            put(low - 0.55 * lacking, high + 0.55 * lacking)


def _print_numbers(
    table: Axes,
    data: ComparedLabel,
    scores: Sequence[Score],
    here: Sequence[str],
    order: Sequence[str],
) -> None:
    """Write a line for each statistic and label set, in its colour and behind its marker."""
    text: dict[str, Any] = {
        "transform": table.transAxes,
        "va": "center",
        "fontsize": 12,
        "in_layout": False,
    }
    place = table.get_subplotspec()
    is_first = place is not None and place.is_first_col()  # the names would not fit between panels
    lines = [(statistic, name) for statistic in (*STATISTICS, "mean error") for name in here]
    step = 1.0 / (len(lines) + 1)
    for i, (statistic, name) in enumerate(lines):
        height = 1.0 - (i + 0.5) * step
        key = key_of(order.index(name))
        table.plot(
            0.98, height, marker=key["marker"], color=key["color"], markersize=5, clip_on=False,
            transform=table.transAxes, in_layout=False,
        )  # fmt: skip
        printed = _printed(data, scores, name, statistic)
        table.text(0.93, height, printed, ha="right", color=key["color"], **text)
        if name == here[0] and is_first:
            table.text(-0.4, height, statistic, ha="left", **text)
    n = count(data.reference.size, "spectrum")
    table.text(1.0, 0.5 * step, n, ha="right", color=GREY, **text)


def _printed(data: ComparedLabel, scores: Sequence[Score], name: str, line: str) -> str:
    """Return a number of the table, with its error where it has one."""
    if line == "mean error":
        return number(mean_errors(data, name)[1], data.label)
    score = score_of(scores, data.label, name)
    error = getattr(score, f"{line}_err")
    shown = number(getattr(score, line), data.label)
    return shown if error is None else f"{shown} ± {number(error, data.label)}"


def _frame(data: ComparedLabel, shown: Sequence[str]) -> tuple[float, float]:
    """Return limits of values that hold almost all points of all label sets."""
    return limits([data.reference, *(data.test[data.names.index(name)] for name in shown)])


def _delta_frame(data: ComparedLabel, shown: Sequence[str]) -> tuple[float, float]:
    """Return limits of differences, the same on both sides of zero."""
    deltas = [data.test[data.names.index(name)] - data.reference for name in shown]
    far = max(abs(end) for end in limits(deltas, share=0.015))
    return -far, far


def _mean(values: np.ndarray) -> float:
    """Return the mean of the finite values; NaN where there is none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")
