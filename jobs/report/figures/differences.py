"""The two surveys' labels of the same stars: their differences, with the errors of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from catalog.store.bulk import fetch_arrays
from catalog.store.columns import LABELS
from catalog.store.labels import find_label_set
from catalog.words import count
from jobs.report import style
from jobs.report.drawing import Drawing, Missing, Subject
from models.core import metrics

NAME, TITLE = "label-differences", "Differences of the two surveys' labels"
FloatArray = NDArray[np.float64]
_MOST = 150  # spectra of a panel with error bars
_REACH = 6.0  # how far from the bias a panel shows [robust scatters]
# to_jsonb: the column of the label's error, which no join could name
_ROWS = f"""
    SELECT array_position('{{{",".join(LABELS)}}}'::text[], c.label)::bigint, c.ref_value, c.delta,
           coalesce((to_jsonb(r) ->> (c.label || '_err'))::float8, 'NaN'),
           coalesce(c.delta_err, 'NaN')
    FROM comparison_rows(:ref, ARRAY[:test], :sample) c
    LEFT JOIN LATERAL (
        SELECT * FROM stellar_label x
        WHERE x.label_set_id = :label_set_id AND x.source_id IN (c.left_id, c.right_id)
        ORDER BY x.source_id = c.right_id DESC LIMIT 1
    ) r ON true
    ORDER BY c.star_id, c.left_id, c.right_id"""
_ROW = np.dtype(
    [("label", "i8")] + [(name, "f8") for name in ("value", "delta", "value_err", "delta_err")]
)


@dataclass(frozen=True)
class Differences:
    """One label in two label sets, spectrum by spectrum.

    Attributes
    ----------
    value, value_err : ndarray, shape (n,)
        In the reference, with its error [unit of the label]; errors are NaN where unknown.
    delta, delta_err : ndarray, shape (n,)
        Compared minus reference, with the error of both combined.
    """

    value: FloatArray
    value_err: FloatArray
    delta: FloatArray
    delta_err: FloatArray


def draw(conn: sa.Connection, subject: Subject) -> list[Drawing | Missing]:
    """Draw the differences."""
    if subject.compared is None:
        return [
            Missing(
                NAME, TITLE,
                "The catalog has no second survey's labels: crosslabel ingest sspp publishes them.",
            )
        ]  # fmt: skip
    found = read_differences(conn, subject)
    if not found:
        return [
            Missing(
                NAME, TITLE,
                f"No star of the sample has a label in {subject.reference} and {subject.compared}.",
            )
        ]  # fmt: skip
    agreement = "; ".join(
        f"{style.plain(label)}: bias {style.number(score.bias, label)}, scatter "
        f"{style.number(score.sigma_mad, label)} {LABELS[label].unit} "
        f"({count(score.n, 'spectrum')})"
        for label, score in ((label, metrics.score(rows.delta)) for label, rows in found.items())
    )
    caption = (
        f"{subject.compared} minus {subject.reference} against {subject.reference}, on the spectra "
        f"of the sample {subject.sample} that both label.{errors_told(found)} The dashed line is "
        "the bias (median), the band the robust scatter (1.4826 median absolute deviations) about "
        f"it, of all spectra.{outside_told(found)} {agreement}."
    )
    figure = draw_differences(found, subject.compared, subject.reference, subject.seed)
    return [Drawing(NAME, TITLE, caption, figure)]


def read_differences(conn: sa.Connection, subject: Subject) -> dict[str, Differences]:
    """Read the labels of both surveys on the spectra of the sample that both label, by label."""
    given = {
        "ref": subject.reference, "test": subject.compared, "sample": subject.sample,
        "label_set_id": find_label_set(conn, subject.reference).label_set_id,
    }  # fmt: skip
    rows = fetch_arrays(conn, _ROWS, _ROW, given)
    found = {}
    for i, label in enumerate(LABELS, start=1):
        mine = rows["label"] == i
        if mine.any():
            columns = (rows[name][mine] for name in ("value", "value_err", "delta", "delta_err"))
            found[label] = Differences(*columns)
    return found


@style.style()
def draw_differences(
    found: Mapping[str, Differences], compared: str, reference: str, seed: int = 0
) -> Figure:
    """Draw the differences of each label against the reference, with error bars."""
    figure = style.new_figure(3.3 * len(found))
    panels = np.atleast_1d(figure.subplots(len(found), 1))
    for axes, (label, rows) in zip(panels, found.items(), strict=True):
        _panel(axes, label, rows, seed)
        axes.set_xlabel(style.axis_label(label, f"{style.symbol(label)} of {reference}"))
    panels[0].set_title(f"{compared} minus {reference}", loc="left")
    return figure


def _panel(axes: Axes, label: str, rows: Differences, seed: int) -> None:
    """One label: points, some with error bars, bias and scatter."""
    score = metrics.score(rows.delta)
    axes.axhspan(
        score.bias - score.sigma_mad, score.bias + score.sigma_mad, color=style.ORANGE, alpha=0.25
    )
    axes.axhline(0, color=style.BLACK, linewidth=1)
    axes.axhline(score.bias, color=style.VERMILION, linestyle="--")
    axes.plot(
        rows.value, rows.delta, ".", color=style.BLUE, markersize=3, alpha=0.6, rasterized=True
    )
    inside = np.flatnonzero(_shown(rows))
    some = inside[style.choose(inside.size, _MOST, seed)]
    across, upwards = (np.nan_to_num(e[some]) for e in (rows.value_err, rows.delta_err))
    axes.errorbar(
        rows.value[some], rows.delta[some], xerr=across, yerr=upwards,
        fmt="o", color=style.BLUE, markersize=3, elinewidth=0.7, alpha=0.7,
    )  # fmt: skip
    axes.set(
        xlim=_widened(style.limits(rows.value[inside], 0.0), rows.value[some], across),
        ylim=_widened(_reach(rows), rows.delta[some], upwards),
    )
    axes.set_ylabel(style.axis_label(label, rf"$\Delta${style.symbol(label)}"))
    style.astronomers_way(axes, label)


def _reach(rows: Differences) -> tuple[float, float]:
    """Return differences within `_REACH` robust scatters of the bias."""
    score = metrics.score(rows.delta)
    reach = _REACH * score.sigma_mad or 1.0
    return score.bias - reach, score.bias + reach


def _shown(rows: Differences) -> NDArray[np.bool_]:
    """Return True for points within the range of a panel, shape (n,)."""
    low, high = _reach(rows)
    return (rows.delta >= low) & (rows.delta <= high)


def _widened(
    ends: tuple[float, float], at: FloatArray, error: FloatArray, margin: float = 0.02
) -> tuple[float, float]:
    """Return limits of an axis that hold whole error bars too."""
    low = min([ends[0], *(at - error)])
    high = max([ends[1], *(at + error)])
    pad = margin * (high - low)
    return (low - pad if low < ends[0] else low), (high + pad if high > ends[1] else high)


def errors_told(found: Mapping[str, Differences]) -> str:
    """The words of a caption on error bars, with a space before them; empty where none is known."""
    bars = [
        words
        for name, words in (
            ("value_err", "across that of the reference"),
            ("delta_err", "upwards both combined"),
        )
        if any((np.nan_to_num(getattr(rows, name)) > 0).any() for rows in found.values())
    ]
    if not bars:
        return ""
    most = max(int(_shown(rows).sum()) for rows in found.values())
    who = f" of {_MOST} of them, chosen at random" if most > _MOST else ""
    return f" Error bars{who}: {', '.join(bars)}."


def outside_told(found: Mapping[str, Differences]) -> str:
    """Return the words of a caption on points that are not shown, with a space before them."""
    n = sum(int((~_shown(rows)).sum()) for rows in found.values())
    if not n:
        return ""
    return f" Not shown: {count(n, 'point')} farther than {_REACH:g} scatters from the bias."
