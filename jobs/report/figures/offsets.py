"""Draw the separations of the pairs of the sample, and those expected by chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from catalog.sky.vectors import offsets_arcsec
from catalog.store.bulk import fetch_arrays
from catalog.store.labels import find_label_set
from catalog.store.samples import Sample, find_sample
from catalog.words import count
from jobs.report import style
from jobs.report.drawing import Drawing, Missing, Subject
from jobs.samples.query import read_candidates, read_left_rows
from jobs.samples.rules import SeedRules

FloatArray = NDArray[np.float64]
CIRCLES = (0.5, 1.0, 2.0)  # [arcsec]
_MOST = 4000  # pairs that are drawn
_FAR = 0.95  # share of the pairs whose distance has a colour of its own
_BINS = 40

_PAIRS = """
    SELECT m.left_id, m.right_id, m.accepted, p.sep_arcsec, l.ra, l.dec, r.ra, r.dec
    FROM sample_member m JOIN sample s USING (sample_id)
    JOIN match p ON (p.crossmatch_id, p.left_id, p.right_id)
                  = (s.crossmatch_id, m.left_id, m.right_id)
    JOIN source l ON l.source_id = m.left_id JOIN source r ON r.source_id = m.right_id
    WHERE m.sample_id = :sample_id ORDER BY l.survey_key, r.survey_key"""
_PAIR = np.dtype(
    [("left_id", "i8"), ("right_id", "i8"), ("accepted", "?"), ("sep", "f8")]
    + [(name, "f8") for name in ("ra", "dec", "to_ra", "to_dec")]
)


@dataclass(frozen=True)
class Offsets:
    """Candidate pairs of a sample, by where the optical source lies as seen from the star's.

    Attributes
    ----------
    east, north : ndarray, shape (n,)
        Offsets d(RA) cos(dec) and d(dec) [arcsec].
    sep : ndarray, shape (n,)
        Separation [arcsec].
    accepted : ndarray of bool, shape (n,)
    distance : ndarray, shape (n,)
        Label distance of the notebook; NaN where not accepted, or where it needs the labels of a
        set that the catalog does not have.
    radius : float
        Of the crossmatch [arcsec].
    chance : float
        Pairs among all of them that are expected to be chance neighbours; NaN if unknown.
    """

    east: FloatArray
    north: FloatArray
    sep: FloatArray
    accepted: NDArray[np.bool_]
    distance: FloatArray
    radius: float
    chance: float


def draw(conn: sa.Connection, subject: Subject) -> list[Drawing | Missing]:
    """Draw the offsets and the separations."""
    pairs = read_offsets(conn, subject)
    titles = (
        ("positional-offsets", "Positional offsets of the pairs"),
        ("separations", "Separations and chance neighbours"),
    )
    if pairs is None:
        reason = "The sample was not selected from a crossmatch: see crosslabel crossmatch."
        return [Missing(name, title, reason) for name, title in titles]
    sample = find_sample(conn, subject.sample)
    left, right = sample.title("left"), sample.title("right")
    n = int(pairs.accepted.sum())
    drawn = min(n, _MOST)
    words = (
        f"Where the {right} source lies as seen from the {left} source: "
        f"{style.drawn_of(drawn, n, 'accepted pair')} (sample {subject.sample}). Circles of "
        "0.5, 1 and 2 arcsec. The colour is the notebook's distance in labels and position: "
        "|dTeff|, |dlog g| and twice |d[Fe/H]|, each over its standard deviation, and twice the "
        "separation in arcsec, added up. Pairs that are far apart in it may be different stars."
        f" Crosses: the candidate pairs that the sample does not accept ({pairs.sep.size - n:,})."
    )
    separation_words = (
        f"Separations of {count(pairs.sep.size, 'candidate pair')} within {pairs.radius:g} arcsec, "
        f"and of those that are accepted ({n:,}). "
    )
    if np.isfinite(pairs.chance):
        separation_words += (
            f"Chance would give {pairs.chance:.2g} pairs in all, counted by moving the stars by a "
            "minute of arc"
        )
        separation_words += ": the dotted line, spread over the circle." if pairs.chance else "."
    figures = (draw_offsets(pairs, subject.seed), draw_separations(pairs))
    return [
        Drawing(name, title, caption, figure)
        for (name, title), caption, figure in zip(
            titles, (words, separation_words), figures, strict=True
        )
    ]


def read_offsets(conn: sa.Connection, subject: Subject) -> Offsets | None:
    """Read the candidate pairs of a sample; None where there are none."""
    sample = find_sample(conn, subject.sample)
    rows = fetch_arrays(conn, _PAIRS, _PAIR, {"sample_id": sample.sample_id})
    if not rows["sep"].size:
        return None
    east, north = offsets_arcsec(rows["ra"], rows["dec"], rows["to_ra"], rows["to_dec"])
    radius = conn.scalar(
        sa.text("SELECT radius_arcsec FROM crossmatch WHERE crossmatch_id = :id"),
        {"id": sample.crossmatch_id},
    )
    chance = (sample.counts or {}).get("expected_chance_pairs")
    return Offsets(
        east=east,
        north=north,
        sep=rows["sep"],
        accepted=rows["accepted"],
        distance=_label_distance(conn, subject, sample, rows),
        radius=float(radius),
        chance=np.nan if chance is None else float(chance),
    )


def _label_distance(
    conn: sa.Connection, subject: Subject, sample: Sample, rows: dict[str, NDArray[np.int64]]
) -> FloatArray:
    """Return the notebook's distance of the accepted pairs, whatever the preset of the sample."""
    distance = np.full(rows["sep"].size, np.nan)
    if subject.compared is None:
        return distance
    reference = find_label_set(conn, subject.reference).label_set_id
    compared = find_label_set(conn, subject.compared).label_set_id
    left = read_left_rows(conn, str(sample.params["left"]), reference)
    pairs = read_candidates(conn, sample.crossmatch_id, reference, compared, left)
    place = {pair: i for i, pair in enumerate(_keys(pairs.left_id, pairs.right_id))}
    mine = rows["accepted"]
    where = np.array([place[k] for k in _keys(rows["left_id"][mine], rows["right_id"][mine])], int)
    chosen = np.zeros(pairs.left_id.size, dtype=bool)
    chosen[where] = True
    found = np.full(pairs.left_id.size, np.nan)
    found[chosen] = SeedRules().distance(pairs, chosen)
    distance[mine] = found[where]
    return distance


def _keys(left: NDArray[np.int64], right: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return the pairs as keys of a dictionary."""
    return list(zip(left.tolist(), right.tolist(), strict=True))


@style.style()
def draw_offsets(pairs: Offsets, seed: int = 0) -> Figure:
    """Draw where the pairs lie, coloured by their label distance, with `CIRCLES`."""
    figure = style.new_figure(6.6)
    axes = figure.subplots()
    refused = np.flatnonzero(~pairs.accepted)
    axes.plot(
        pairs.east[refused], pairs.north[refused], "x", color=style.GREY, markersize=4,
        markeredgewidth=0.8, zorder=1, label=f"not accepted ({refused.size:,})",
    )  # fmt: skip
    mine = np.flatnonzero(pairs.accepted)
    mine = mine[style.choose(mine.size, _MOST, seed)]
    known = np.isfinite(pairs.distance[mine])
    top = float(np.quantile(pairs.distance[mine][known], _FAR)) if known.any() else 1.0
    axes.plot(
        pairs.east[mine][~known], pairs.north[mine][~known], "o", color=style.BLUE, markersize=4,
        markeredgewidth=0,
    )  # fmt: skip
    order = mine[known][np.argsort(pairs.distance[mine][known], kind="stable")]
    points = axes.scatter(
        pairs.east[order], pairs.north[order], c=pairs.distance[order], s=16, vmin=0, vmax=top,
        cmap="cividis_r", edgecolors=style.BLACK, linewidths=0.2,
        label=f"accepted ({int(pairs.accepted.sum()):,})",
    )  # fmt: skip
    _circles(axes)
    reach = 1.08 * max(CIRCLES[-1], pairs.radius)
    axes.set(xlim=(reach, -reach), ylim=(-reach, reach), aspect="equal")  # east to the left
    axes.set_xlabel(style.axis_label("sep_arcsec", r"$\Delta$RA cos(dec)"))
    axes.set_ylabel(style.axis_label("sep_arcsec", r"$\Delta$dec"))
    axes.legend(loc="upper left", bbox_to_anchor=(0.0, 1.1), ncols=2, columnspacing=1.0)
    if known.any():
        bar = figure.colorbar(points, ax=axes, extend="max", shrink=0.8)
        bar.set_label("label distance of the notebook")
    return figure


def _circles(axes: Axes) -> None:
    """Circles around the source of the star, with their radii."""
    angle = np.linspace(0, 2 * np.pi, 181)
    for radius, line in zip(CIRCLES, style.LINES[1:], strict=False):
        axes.plot(
            radius * np.cos(angle), radius * np.sin(angle), color=style.BLACK, linestyle=line,
            linewidth=1.2,
        )  # fmt: skip
        axes.text(
            0, -radius, f'{radius:g}"', ha="center", va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.85},
        )  # fmt: skip


@style.style()
def draw_separations(pairs: Offsets) -> Figure:
    """Draw the histogram of the separations, with what chance would give."""
    figure = style.new_figure(4.4)
    axes = figure.subplots()
    edges = np.linspace(0, pairs.radius, _BINS + 1)
    every, _ = np.histogram(pairs.sep, edges)
    mine, _ = np.histogram(pairs.sep[pairs.accepted], edges)
    axes.stairs(every, edges, color=style.BLACK, linestyle="--", label="all candidate pairs")
    axes.stairs(mine, edges, fill=True, color=style.BLUE, alpha=0.6, label="accepted pairs")
    low = 0.5
    if np.isfinite(pairs.chance) and pairs.chance > 0:
        ring = pairs.chance * np.diff(edges**2) / pairs.radius**2
        middle = 0.5 * (edges[1:] + edges[:-1])
        axes.plot(
            middle, ring, ":", color=style.VERMILION, linewidth=2.4, label="expected by chance"
        )
        low = min(low, 0.5 * float(ring[_BINS // 2]))
    axes.set(yscale="log", ylim=(low, 2 * max(1, int(every.max()))), xlim=(0, pairs.radius))
    axes.set_xlabel(style.axis_label("sep_arcsec", "separation"))
    axes.set_ylabel(f"pairs per {edges[1]:.2g} arcsec")
    axes.legend()
    return figure
