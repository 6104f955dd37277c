"""Draw the calibration of errors: coverage of intervals, differences in units of the error."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jobs.evaluation.data import ComparedLabel
from jobs.evaluation.records import Score
from jobs.report.per_model import PER_ROW, label_panels, name_sets, score_of
from jobs.report.style import BLACK, GREY, key_of, style, symbol
from models.core import metrics

LEVELS = np.linspace(0.05, 0.99, 48)
WIDTHS = np.array([NormalDist().inv_cdf(0.5 * (1.0 + level)) for level in LEVELS])
NOMINAL = (2.0 * NormalDist().cdf(1.0) - 1.0, 0.95)  # of one sigma, and of the interval of 95%
PULL_EDGES = np.linspace(-4.0, 4.0, 33)


def with_errors(data: ComparedLabel) -> list[str]:
    """Return the label sets that state errors of a label."""
    return [
        name for name, own in zip(data.names, data.sigma, strict=True) if np.isfinite(own).any()
    ]


def pulls_of(data: ComparedLabel, name: str, *, raw: bool = False) -> np.ndarray:
    """Return differences over combined errors, shape (m,), where the label set states an error.

    Parameters
    ----------
    data : ComparedLabel
        The labels.
    name : str
        Label set.
    raw : bool
        Take the errors before calibration.
    """
    i = data.names.index(name)
    sigma = (data.raw_sigma if raw else data.sigma)[i]
    stated = np.isfinite(sigma)
    delta = (data.test[i] - data.reference)[stated]
    found = metrics.pull(delta, sigma[stated], data.reference_err[stated])
    return found[np.isfinite(found)]


@style()
def draw_calibration(
    labels: Sequence[ComparedLabel], scores: Sequence[Score], order: Sequence[str]
) -> Figure:
    """Draw observed against nominal coverage above, and the distribution of pulls below.

    Parameters
    ----------
    labels : sequence of ComparedLabel
        A column of panels each.
    scores : sequence of Score
        Of the same labels: coverage by the intervals of 68% and 95%, drawn as markers.
    order : sequence of str
        All label sets, in the order in which they take colours and markers.

    Returns
    -------
    Figure
        Thin lines are errors before calibration, where there are such.
    """
    stating = [name for name in order if any(name in with_errors(data) for data in labels)]
    figure, panels = label_panels(len(labels), 7.4, (1.0, 1.0))
    for place, ((above, below), data) in enumerate(zip(panels, labels, strict=True)):
        _draw_coverage(above, data, scores, order)
        _draw_pulls(below, data, order)
        above.set_title(symbol(data.label))
        if place % PER_ROW == 0:
            above.set_ylabel("observed coverage")
            below.set_ylabel("density")
    name_sets(figure, stating, order)
    return figure


def _draw_coverage(
    panel: Axes, data: ComparedLabel, scores: Sequence[Score], order: Sequence[str]
) -> None:
    """Observed against nominal coverage of a label."""
    panel.plot([0, 1], [0, 1], color=BLACK, linewidth=1.0)
    for name in with_errors(data):
        key = key_of(order.index(name))
        look = {"color": key["color"], "linestyle": key["linestyle"]}
        for raw, width in ((True, 0.8), (False, 2.0)):
            pulls = pulls_of(data, name, raw=raw)
            if pulls.size:
                observed = [metrics.coverage(pulls, w) for w in WIDTHS]
                panel.plot(LEVELS, observed, linewidth=width, **look)
        score = score_of(scores, data.label, name)
        panel.plot(
            NOMINAL, np.array([score.coverage68, score.coverage95], float), color=key["color"],
            marker=key["marker"], markersize=7, markeredgecolor="white", linestyle="none",
            clip_on=False, zorder=5,
        )  # fmt: skip
    panel.set(xlim=(0, 1), ylim=(0, 1), xlabel="nominal coverage")


def _draw_pulls(panel: Axes, data: ComparedLabel, order: Sequence[str]) -> None:
    """Histogram of the pulls of a label, beside the unit normal."""
    fine = np.linspace(PULL_EDGES[0], PULL_EDGES[-1], 161)
    panel.fill_between(fine, np.exp(-0.5 * fine**2) / np.sqrt(2 * np.pi), color=GREY, alpha=0.35)
    for name in with_errors(data):
        key = key_of(order.index(name))
        for raw, width in ((True, 0.8), (False, 2.0)):
            pulls = pulls_of(data, name, raw=raw)
            if pulls.size:
                clipped = np.clip(pulls, PULL_EDGES[0], PULL_EDGES[-1])
                density, _ = np.histogram(clipped, PULL_EDGES, density=True)
                panel.stairs(
                    density, PULL_EDGES, color=key["color"], linestyle=key["linestyle"],
                    linewidth=width,
                )  # fmt: skip
    panel.set(xlim=(PULL_EDGES[0], PULL_EDGES[-1]), xlabel="difference / error")
