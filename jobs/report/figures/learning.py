"""Learning curves: how good each model gets with how many training stars."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import sqlalchemy as sa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from catalog.words import count
from jobs.evaluation.curves import BOOTSTRAP, read_curve
from jobs.evaluation.records import CurvePoint
from jobs.report.drawing import Drawing, Missing, Subject
from jobs.report.per_model import NO_MODEL, label_panels, name_sets
from jobs.report.style import axis_label, key_of, style, symbol

NAME, TITLE = "learning-curve", "Learning curve"


def draw(conn: sa.Connection, subject: Subject) -> list[Drawing | Missing]:
    """Draw the learning curves that the catalog has."""
    if not subject.models:
        return [Missing(NAME, TITLE, NO_MODEL)]
    points = [point for model in subject.models for point in read_curve(conn, model)]
    points = [point for point in points if point.sigma_mad is not None]
    if not points:
        command = f"crosslabel evaluate {subject.models[0]} --learning-curve 100,200,400,all"
        return [Missing(NAME, TITLE, f"None was computed. Run: {command}")]
    with_curve = list(dict.fromkeys(point.model for point in points))
    without = [model for model in subject.models if model not in with_curve]
    n = max(point.n for point in points)
    caption = (
        "sigma_mad (1.4826 times the median absolute deviation) of out-of-fold labels minus those "
        "learned, by the number of stars that each fold is trained on, drawn at random; always on "
        f"the same left-out stars (up to {count(n, 'spectrum')}). Errors from {BOOTSTRAP} "
        "resamplings of the stars; both axes are logarithmic."
        + (f" Not computed for {', '.join(without)}." if without else "")
    )
    order = ("", *subject.models)  # the first colour is the survey's
    return [Drawing(NAME, TITLE, caption, draw_learning(points, order))]


@style()
def draw_learning(points: Sequence[CurvePoint], order: Sequence[str]) -> Figure:
    """Draw scatter against training stars, a panel for each label.

    Parameters
    ----------
    points : sequence of CurvePoint
        With a scatter each.
    order : sequence of str
        All models, in the order in which they take colours and markers.
    """
    labels = list(dict.fromkeys(point.label for point in points))
    models = [name for name in order if any(point.model == name for point in points)]
    figure, panels = label_panels(len(labels), 4.6)
    for (panel,), label in zip(panels, labels, strict=True):
        chosen = [point for point in points if point.label == label]
        _draw_label(panel, chosen, order)
        panel.set(xlabel="training stars", title=symbol(label))
        panel.set_ylabel(axis_label(label, r"$\sigma_{\rm MAD}$"))
    name_sets(figure, models, order)
    return figure


def _draw_label(panel: Axes, points: Sequence[CurvePoint], order: Sequence[str]) -> None:
    """The curves of a label."""
    for name in order:
        own = [point for point in points if point.model == name]
        if not own:
            continue
        stars = np.array([point.training_stars for point in own])
        key = key_of(order.index(name))
        panel.errorbar(
            stars, np.array([point.sigma_mad for point in own], float),
            yerr=[point.sigma_mad_err or 0.0 for point in own], color=key["color"],
            marker=key["marker"], linestyle=key["linestyle"], capsize=3,
        )  # fmt: skip
    sizes = sorted({point.training_stars for point in points})
    panel.set(xscale="log", yscale="log")
    panel.xaxis.set_major_locator(FixedLocator(sizes))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    for axis in (panel.yaxis.set_major_formatter, panel.yaxis.set_minor_formatter):
        axis(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.tick_params(axis="x", labelsize=11)
    panel.tick_params(axis="y", which="both", labelsize=11)
