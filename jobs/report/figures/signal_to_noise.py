"""Draw scatter, coverage and internal precision against the S/N of the spectra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jobs.evaluation.records import Repeat, Score
from jobs.report.figures.calibration import NOMINAL
from jobs.report.per_model import label_panels, name_sets
from jobs.report.style import BLACK, axis_label, key_of, style, symbol

SPREAD = 0.5  # part of the room of a bin over which label sets stand side by side


def bin_name(low: float | None, high: float | None) -> str:
    """Return the name of a bin of S/N, such as ``20-40``."""
    if low is None and high is None:
        return "all"
    if low is None:
        return f"< {high:g}"
    return f"≥ {low:g}" if high is None else f"{low:g}–{high:g}"


@style()
def draw_signal_to_noise(scores: Sequence[Score], order: Sequence[str]) -> Figure:
    """Draw scatter above and coverage of the errors below, by bins of S/N.

    Parameters
    ----------
    scores : sequence of Score
        Of an evaluation with bins of S/N; a column of panels for each label.
    order : sequence of str
        All label sets, in the order in which they take colours and markers.

    Returns
    -------
    Figure
        Bars are errors from resampled stars; for coverage, those of a binomial distribution.
    """
    rows = [s for s in scores if s.bin_by == "snr" and s.population == "all"]
    labels = list(dict.fromkeys(s.label for s in rows))
    figure, panels = label_panels(len(labels), 7.2, (1.3, 1.0))
    for (above, below), label in zip(panels, labels, strict=True):
        chosen = [s for s in rows if s.label == label]
        _draw_points(above, chosen, order, "sigma_mad", "sigma_mad_err")
        above.set(ylabel=axis_label(label, r"$\sigma_{\rm MAD}$"), title=symbol(label), ylim=0)
        below.axhline(NOMINAL[0], color=BLACK, linewidth=1.0)
        _draw_coverage(below, chosen, order)
        below.set(ylabel="coverage of 68%", ylim=(0, 1))
        _name_bins(above, below, chosen)
    name_sets(figure, _names(rows, order), order)
    return figure


@style()
def draw_repeats(repeats: Sequence[Repeat], order: Sequence[str]) -> Figure:
    """Draw the scatter between spectra of one star, by the lower S/N of the two.

    Parameters
    ----------
    repeats : sequence of Repeat
        Of an evaluation; a column of panels for each label.
    order : sequence of str
        All label sets, in the order in which they take colours and markers.

    Returns
    -------
    Figure
        Above the scatter with its error; below its ratio to the error that the label set states.
    """
    rows = [r for r in repeats if r.n_pairs and r.bin_by == "snr"]
    labels = list(dict.fromkeys(r.label for r in rows))
    figure, panels = label_panels(len(labels), 7.2, (1.3, 1.0))
    for (above, below), label in zip(panels, labels, strict=True):
        chosen = [r for r in rows if r.label == label]
        _draw_points(above, chosen, order, "repeat_sigma", "repeat_sigma_err")
        above.set(ylabel=axis_label(label, "repeat scatter"), title=symbol(label), ylim=0)
        below.axhline(1.0, color=BLACK, linewidth=1.0)
        _draw_ratio(below, chosen, order)
        below.set(ylabel="scatter / stated", ylim=0)
        _name_bins(above, below, chosen)
    name_sets(figure, _names(rows, order), order)
    return figure


def _draw_points(
    panel: Axes, rows: Sequence[Any], order: Sequence[str], value: str, error: str
) -> None:
    """A statistic with its error, by bin and label set."""
    for name, at, own in _by_set(rows, order):
        known = [i for i, row in enumerate(own) if getattr(row, value) is not None]
        _points(
            panel, name, order, at[known], [getattr(own[i], value) for i in known],
            [getattr(own[i], error) or 0.0 for i in known],
        )  # fmt: skip


def _draw_coverage(panel: Axes, rows: Sequence[Score], order: Sequence[str]) -> None:
    """Coverage of the errors, by bin and label set."""
    for name, at, own in _by_set(rows, order):
        known = [i for i, row in enumerate(own) if row.coverage68 is not None and row.n_sigma]
        p = np.array([own[i].coverage68 for i in known], float)
        n = np.array([own[i].n_sigma for i in known], float)
        _points(panel, name, order, at[known], p, np.sqrt(p * (1.0 - p) / n))


def _draw_ratio(panel: Axes, rows: Sequence[Repeat], order: Sequence[str]) -> None:
    """Repeat scatter over the stated error, by bin and label set."""
    for name, at, own in _by_set(rows, order):
        stated = np.array([row.predicted_sigma or np.nan for row in own], float)
        value = np.array([row.repeat_sigma for row in own], float) / stated
        error = np.array([row.repeat_sigma_err or 0.0 for row in own], float) / stated
        known = np.isfinite(value)
        _points(panel, name, order, at[known], value[known], error[known])


def _by_set(rows: Sequence[Any], order: Sequence[str]) -> list[tuple[str, np.ndarray, list[Any]]]:
    """For each label set its rows, and where they stand on the axis of bins."""
    names, bins = _names(rows, order), _bins(rows)
    found = []
    for i, name in enumerate(names):
        own = [row for row in rows if row.test_set == name]
        shift = SPREAD * ((i + 0.5) / len(names) - 0.5)
        found.append((name, np.array([bins.index(_bin(row)) + shift for row in own]), own))
    return found


def _points(
    panel: Axes, name: str, order: Sequence[str], x: np.ndarray, y: Any, error: Any
) -> None:
    """Points of a label set with error bars, joined by a line."""
    key = key_of(order.index(name))
    panel.errorbar(
        x, y, yerr=error, color=key["color"], marker=key["marker"], linestyle=key["linestyle"],
        linewidth=1.2, elinewidth=1.5, capsize=2, label=name,
    )  # fmt: skip


def _name_bins(above: Axes, below: Axes, rows: Sequence[Any]) -> None:
    """Write the bins and how much is in them under the lower panel."""
    bins, first = _bins(rows), rows[0].test_set
    pairs = isinstance(rows[0], Repeat)
    count = {_bin(r): r.n_pairs if pairs else r.n for r in rows if r.test_set == first}
    for panel in (above, below):
        panel.set_xticks(range(len(bins)), [""] * len(bins))
        panel.grid(visible=False, axis="x")
        panel.set_xlim(-0.6, len(bins) - 0.4)
    names = [f"{bin_name(*edges)}\n{count.get(edges, 0):,}" for edges in bins]
    below.set_xticks(range(len(bins)), names, fontsize=10)
    axis_label = "lower S/N of two\npairs" if pairs else "S/N per pixel\nspectra"
    below.set_xlabel(axis_label)


def _names(rows: Sequence[Any], order: Sequence[str]) -> list[str]:
    """Return the label sets of some rows, in order."""
    return [name for name in order if any(row.test_set == name for row in rows)]


def _bin(row: Any) -> tuple[float | None, float | None]:
    """Return edges of the bin of a row."""
    return row.bin_low, row.bin_high


def _bins(rows: Sequence[Any]) -> list[tuple[float | None, float | None]]:
    """Return the bins, in order."""
    return [
        edges for _, edges in sorted({(row.bin, _bin(row)) for row in rows}, key=lambda b: b[0])
    ]
