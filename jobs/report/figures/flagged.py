"""Draw the fraction of spectra that each model flags as unreliable, by S/N."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from catalog.store.bulk import fetch_arrays
from catalog.store.labels import flag_meanings
from catalog.store.models import find_model
from jobs.evaluation.records import EDGES, Cell, cells_of
from jobs.report.drawing import Drawing, Missing, Subject
from jobs.report.figures.signal_to_noise import bin_name
from jobs.report.per_model import NO_MODEL, caution
from jobs.report.style import BLACK, GREY, key_of, new_figure, style

NAME, TITLE = "flags", "Flags by S/N"
NO_WARNING = "TRAINED_ON"  # says where a label comes from, nothing against it
COLUMNS = 2
_ROW = np.dtype([("flags", "i8"), ("snr", "f4")])
_ROWS = """
    SELECT s.flags, coalesce(b.sn_median, 'NaN')
    FROM stellar_label s JOIN spectrum_blob b USING (source_id)
    WHERE s.label_set_id = label_set_id_of(:name)"""
TICKS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True, eq=False)
class Flagged:
    """Flags of a label set, with the S/N of the spectra, both of shape (n,).

    Parameters
    ----------
    name : str
        Label set, ``name@edition``.
    flags : ndarray of int64, shape (n,)
        Bits.
    snr : ndarray, shape (n,)
        Median S/N per pixel; NaN where unknown.
    bits : dict of int to str
        Names of the bits that warn of something.
    """

    name: str
    flags: np.ndarray
    snr: np.ndarray
    bits: Mapping[int, str]


def draw(conn: sa.Connection, subject: Subject) -> list[Drawing | Missing]:
    """Draw how many spectra the models flag, in their out-of-fold labels and predictions."""
    if not subject.models:
        return [Missing(NAME, TITLE, NO_MODEL)]
    sets = [name for model in subject.models for name in _sets_of(conn, model)]
    found = [flagged for name in sets if (flagged := read_flagged(conn, name)).flags.size]
    if not found:
        reason = f"No labels by these models are here. Run: crosslabel predict {subject.models[0]}"
        return [Missing(NAME, TITLE, reason)]
    counts = "; ".join(_counted(flagged) for flagged in found)
    own = any("/oof@" in flagged.name for flagged in found)
    others = any("/oof@" not in flagged.name for flagged in found)
    caption = (
        "Fraction of the spectra with any warning (black, thick) and with each flag, by median S/N "
        "per pixel; under the axis the number of spectra; dotted: 5%."
        + (
            " Out-of-fold sets (oof) hold the training stars, each by a model that did not see it: "
            "few of these should be flagged."
            if own
            else ""
        )
        + (" Predictions hold all kinds of spectra." if others else "")
        + f" Flagged: {counts}.{caution(conn, subject)}"
    )
    return [Drawing(NAME, TITLE, caption, draw_flagged(found))]


def read_flagged(conn: sa.Connection, name: str) -> Flagged:
    """Read the flags of a complete label set, ``name@edition``, of spectra."""
    rows = fetch_arrays(conn, _ROWS, _ROW, {"name": name})
    meanings = flag_meanings(conn, name.partition("@")[0])
    bits = {bit: called for bit, (called, _) in meanings.items() if called != NO_WARNING}
    return Flagged(name, rows["flags"], rows["snr"], bits)


def any_warning(flagged: Flagged) -> np.ndarray:
    """True for spectra with a flag that warns, shape (n,)."""
    mask = sum(1 << bit for bit in flagged.bits)
    return (flagged.flags & mask) != 0


def fractions(flagged: Flagged, cells: Sequence[Cell], hit: np.ndarray) -> np.ndarray:
    """Return the fraction of the spectra of each bin that are hit; NaN where a bin is empty."""
    inside = [cell.holds(flagged.snr) for cell in cells]
    return np.array([hit[rows].mean() if rows.any() else np.nan for rows in inside])


@style()
def draw_flagged(sets: Sequence[Flagged]) -> Figure:
    """Draw the flagged fractions of each label set in a panel of its own.

    Parameters
    ----------
    sets : sequence of Flagged
        Panels are named after them; each flag that occurs has one colour in all.
    """
    names = list(dict.fromkeys(name for one in sets for name in _occurring(one)))
    columns = min(COLUMNS, len(sets))
    n_rows = -(-len(sets) // columns)
    figure = new_figure(3.9 * n_rows + 1.2)
    panels = figure.subplots(n_rows, columns, squeeze=False).ravel()
    for panel, flagged in zip(panels, sets, strict=False):
        _draw_set(panel, flagged, names)
    for panel in panels[len(sets) :]:
        panel.remove()
    handles = {h.get_label(): h for p in figure.axes for h in p.get_lines()}
    figure.legend(handles=list(handles.values()), loc="outside upper center", ncols=3)
    return figure


def _draw_set(panel: Axes, flagged: Flagged, names: Sequence[str]) -> None:
    """Fractions of a label set by bin of S/N."""
    cells = cells_of("snr", EDGES["snr"])
    at = np.arange(len(cells))
    whole = fractions(flagged, cells, any_warning(flagged))
    panel.plot(at, whole, color=BLACK, linewidth=2.6, marker="o", label="any warning")
    for bit, name in flagged.bits.items():
        if name in names:
            hit = (flagged.flags >> bit) & 1 == 1
            key = key_of(names.index(name))
            panel.plot(at, fractions(flagged, cells, hit), linewidth=1.3, label=name, **key)
    panel.axhline(0.05, color=GREY, linewidth=1.0, linestyle=":", label="5%")
    counts = [int(cell.holds(flagged.snr).sum()) for cell in cells]
    ticks = [
        f"{bin_name(cell.bin_low, cell.bin_high)}\n{n:,}"
        for cell, n in zip(cells, counts, strict=True)
    ]
    panel.set_xticks(at, ticks)
    panel.set(title=flagged.name, ylabel="spectra flagged", xlabel="S/N per pixel; spectra")
    panel.set_yscale("symlog", linthresh=0.02, linscale=0.5)  # few and many are both to be seen
    panel.set_yticks(TICKS, [f"{100 * tick:g}%" for tick in TICKS])
    panel.yaxis.set_minor_locator(NullLocator())
    panel.set_ylim(-0.002, 1.0)
    panel.grid(visible=False, axis="x")


def _occurring(flagged: Flagged) -> list[str]:
    """Return names of the warnings that any spectrum has."""
    return [name for bit, name in flagged.bits.items() if ((flagged.flags >> bit) & 1).any()]


def _sets_of(conn: sa.Connection, model: str) -> list[str]:
    """Out-of-fold labels of a model, and the newest edition of each set that it predicted."""
    query = sa.text(
        "SELECT name || '@' || max(edition) FROM label_set WHERE model_id = :id "
        "AND status = 'complete' GROUP BY name, kind ORDER BY kind, name"
    )
    return list(conn.scalars(query, {"id": find_model(conn, model).model_id}))


def _counted(flagged: Flagged) -> str:
    """Return the number of spectra of a set with a warning, in words."""
    n = int(any_warning(flagged).sum())
    return f"{flagged.name} {n:,} of {flagged.flags.size:,} ({n / flagged.flags.size:.1%})"
