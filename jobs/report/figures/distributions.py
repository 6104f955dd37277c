"""Draw the distributions of the labels of the sample and of both surveys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import sqlalchemy as sa
from matplotlib.figure import Figure
from numpy.typing import NDArray

from catalog.store.bulk import fetch_arrays
from catalog.store.labels import find_label_set
from catalog.store.samples import find_sample
from jobs.report import style
from jobs.report.drawing import Drawing, Missing, Subject

NAME, TITLE = "label-distributions", "Labels of the sample and of both surveys"
LABELS = ("teff", "logg", "fe_h")
FloatArray = NDArray[np.float64]

_COLUMNS = ", ".join(f"coalesce(s.{label}, 'NaN')::float8" for label in LABELS)
_ALL = f"SELECT {_COLUMNS} FROM stellar_label s WHERE s.label_set_id = :label_set_id"
_SAMPLE = (
    f"{_ALL} AND s.source_id IN (SELECT left_id FROM star_link WHERE sample_id = :sample_id "
    "UNION SELECT right_id FROM star_link WHERE sample_id = :sample_id)"
)


def draw(conn: sa.Connection, subject: Subject) -> list[Drawing | Missing]:
    """Draw the histograms."""
    sets = read_distributions(conn, subject)
    counts = "; ".join(
        f"{name}: "
        + ", ".join(
            f"{int(np.isfinite(values[:, j]).sum()):,} with {style.plain(label)}"
            for j, label in enumerate(LABELS)
        )
        + f" of {len(values):,}"
        for name, values in sets.items()
    )
    caption = (
        "Histograms of effective temperature [K], surface gravity [dex] and iron abundance [dex], "
        "each with an area of one. A sample that lies where a survey has few stars teaches little "
        f"about the others. Labels that are missing are left out. {counts}."
    )
    return [Drawing(NAME, TITLE, caption, draw_distributions(sets))]


def read_distributions(conn: sa.Connection, subject: Subject) -> dict[str, FloatArray]:
    """Read the labels `LABELS` of the sample and of the surveys' label sets.

    Returns
    -------
    dict of str to ndarray, shape (n, 3)
        By name for the legend, the sample first; NaN where unknown.
    """
    reference = find_label_set(conn, subject.reference)
    given = {"label_set_id": reference.label_set_id}
    sample = {"sample_id": find_sample(conn, subject.sample).sample_id}
    sets = {
        f"sample {subject.sample}": _read(conn, _SAMPLE, given | sample),
        f"all of {reference.name}": _read(conn, _ALL, given),
    }
    if subject.compared is not None:
        compared = find_label_set(conn, subject.compared)
        given = {"label_set_id": compared.label_set_id}
        sets[f"all of {compared.name}"] = _read(conn, _ALL, given)
    return sets


def _read(conn: sa.Connection, query: str, given: dict[str, int]) -> FloatArray:
    """Return the labels of a query as the columns of a matrix."""
    rows = fetch_arrays(conn, query, np.dtype([(label, "f8") for label in LABELS]), given)
    return np.column_stack([rows[label] for label in LABELS])


@style.style()
def draw_distributions(sets: Mapping[str, FloatArray], labels: Sequence[str] = LABELS) -> Figure:
    """Draw a histogram of each label, all sets in one panel.

    Parameters
    ----------
    sets : mapping of str to ndarray, shape (n, n_labels)
        Labels of each set by its name; NaN where unknown. The first is filled.
    labels : sequence of str
        Names of the columns.
    """
    figure = style.new_figure(2.9 * len(labels))
    panels = np.atleast_1d(figure.subplots(len(labels), 1))
    for j, (axes, label) in enumerate(zip(panels, labels, strict=True)):
        edges = style.bin_edges([values[:, j] for values in sets.values()])
        for i, (name, values) in enumerate(sets.items()):
            known = values[np.isfinite(values[:, j]), j]
            height, _ = np.histogram(known, edges)
            share = height / max(1, known.size) / np.diff(edges)
            if i == 0:
                axes.stairs(share, edges, fill=True, color=style.SKY, alpha=0.55, label=name)
            line = style.LINES[i - 1] if i else "-"
            axes.stairs(
                share, edges, color=style.COLOURS[i], linestyle=line, linewidth=2,
                label=None if i == 0 else name,
            )  # fmt: skip
        unit = style.unit_of(label)
        axes.set(xlabel=style.axis_label(label), ylabel=f"share per {unit}", ylim=(0, None))
        style.astronomers_way(axes, label)
    panels[0].legend(loc="best")
    return figure
