"""Draw the sample on the sky, over all of its reference survey."""

from __future__ import annotations

from typing import Any, NamedTuple

import cdshealpix.nested
import numpy as np
import sqlalchemy as sa
from astropy import units as u
from astropy.coordinates import Latitude, Longitude, SkyCoord
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from catalog.sky.healpix import MAX_ORDER
from catalog.store.bulk import fetch_arrays
from catalog.store.samples import find_sample
from catalog.words import count
from jobs.crossmatch.pixels import split_spec
from jobs.report import style
from jobs.report.drawing import Drawing, Missing, Subject

NAME, TITLE = "sky-map", "The sample on the sky"
ORDER = 4  # of the HEALPix cells of the map: 13 square degrees
CENTRE = 180.0  # right ascension in the middle: the survey's northern cap stays in one piece [deg]
_STEPS = (720, 360)  # of the map in right ascension and declination
_MOST = 5000  # stars of the sample that are drawn
PLANE = "plane of the Galaxy"

_CELLS = f"""
    SELECT healpix29 >> {2 * (MAX_ORDER - ORDER)}, count(*) FROM source
    WHERE survey = :survey AND starts_with(survey_key, :prefix) GROUP BY 1"""
_SAMPLE = """
    SELECT r.ra, r.dec FROM source r
    WHERE r.source_id IN (SELECT left_id FROM star_link WHERE sample_id = :sample_id)
    ORDER BY r.survey_key"""
_LEFT = """
    SELECT c.left_spec FROM sample s JOIN crossmatch c USING (crossmatch_id)
    WHERE s.sample_id = :sample_id"""


class Sky(NamedTuple):
    """Positions of a sample and the density of the catalog that it is of.

    Attributes
    ----------
    catalog : str
        Such as ``apogee/dr14``.
    cell, entries : ndarray of int64, shape (n_cells,)
        Nested HEALPix cells of order `ORDER`, and how many entries of the catalog lie in each.
    ra, dec : ndarray, shape (n,)
        ICRS positions of the sample's stars [deg].
    """

    catalog: str
    cell: NDArray[np.int64]
    entries: NDArray[np.int64]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]


def draw(conn: sa.Connection, subject: Subject) -> list[Drawing | Missing]:
    """Draw the map of the sample."""
    sky = read_sky(conn, subject.sample)
    if not sky.ra.size:
        return [Missing(NAME, TITLE, "The sample has no accepted pair; the counts above say why.")]
    chosen = style.choose(sky.ra.size, _MOST, subject.seed)
    shown = sky._replace(ra=sky.ra[chosen], dec=sky.dec[chosen])
    points = f"stars of the sample {subject.sample}"
    caption = (
        f"Points: {points} ({style.drawn_of(chosen.size, sky.ra.size, 'entry')}). Blue, "
        f"the darker the more: all of {count(int(sky.entries.sum()), 'entry')} of {sky.catalog}, "
        f"counted per HEALPix cell of {41253 / (12 * 4**ORDER):.1f} square degrees; white where "
        f"there is none. Dashed line: {PLANE}. Mollweide projection of ICRS positions, east to the "
        f"left, right ascension {CENTRE:.0f} degrees in the middle."
    )
    return [Drawing(NAME, TITLE, caption, draw_sky(shown, points))]


def read_sky(conn: sa.Connection, sample: str) -> Sky:
    """Read the positions of a sample, and count the catalog that it is of in cells."""
    given = {"sample_id": find_sample(conn, sample).sample_id}
    left = str(conn.scalar(sa.text(_LEFT), given) or "apogee")
    survey, prefix = split_spec(left)
    cells = fetch_arrays(
        conn, _CELLS, np.dtype([("cell", "i8"), ("entries", "i8")]),
        {"survey": survey, "prefix": prefix},
    )  # fmt: skip
    stars = fetch_arrays(conn, _SAMPLE, np.dtype([("ra", "f8"), ("dec", "f8")]), given)
    return Sky(left, cells["cell"], cells["entries"], stars["ra"], stars["dec"])


@style.style()
def draw_sky(sky: Sky, points: str) -> Figure:
    """Draw a sample on the density of its catalog, in Mollweide's projection.

    Parameters
    ----------
    sky : Sky
        Positions and counts.
    points : str
        What the legend calls the positions.
    """
    figure = style.new_figure(5.4)
    axes = figure.add_subplot(projection="mollweide")
    x, y, density = _density(sky)
    most = max(2.0, float(np.nanmax(density, initial=1.0)))
    mesh = axes.pcolormesh(
        x, y, density, norm=LogNorm(0.5, most),
        cmap=style.SEQUENTIAL, rasterized=True,
    )  # fmt: skip
    plane = SkyCoord(np.linspace(0, 360, 721) * u.deg, np.zeros(721) * u.deg, frame="galactic").icrs
    axes.plot(
        *project(sky.ra, sky.dec), "o", color=style.VERMILION, markersize=3.4,
        markeredgewidth=0.5, markeredgecolor="white", label=points,
    )  # fmt: skip
    axes.plot(
        *_split(*project(plane.ra.deg, plane.dec.deg)), "--", color=style.BLACK, linewidth=1.2,
        label=PLANE,
    )  # fmt: skip
    ticks = np.arange(-120, 121, 60)
    axes.set_xticks(np.radians(ticks), [])
    for t in ticks:  # in front of the points, where axes would put them behind
        axes.text(
            np.radians(t), np.radians(-38), f"{CENTRE - t:.0f}°", ha="center", va="center",
            zorder=5, bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0},
        )  # fmt: skip
    axes.set_yticks(np.radians(np.arange(-60, 61, 30)))
    figure.legend(loc="outside upper center", ncols=2, markerscale=2)
    axes.set_xlabel(style.axis_label("ra", "Right ascension"))
    axes.set_ylabel(style.axis_label("dec", "Declination"))
    bar = figure.colorbar(mesh, ax=axes, orientation="horizontal", shrink=0.6, pad=0.06)
    bar.set_label(f"{sky.catalog} entries per cell")
    whole = _whole_numbers(most)
    bar.set_ticks(whole, labels=[f"{n:,}" for n in whole])
    bar.minorticks_off()
    return figure


def _whole_numbers(most: float) -> list[int]:
    """Return the ticks of a logarithmic scale of counts."""
    steps = (1, 2, 3, 4, 5) if most < 6.0 else (1, 2, 5) if most < 200.0 else (1,)
    return [n for d in range(9) for k in steps if (n := k * 10**d) <= most]


def project(ra: Any, dec: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Turn positions [deg] into the coordinates of the map, east to the left [rad]."""
    x = -(np.mod(np.asarray(ra, dtype=np.float64) - CENTRE + 180.0, 360.0) - 180.0)
    return np.radians(x), np.radians(np.asarray(dec, dtype=np.float64))


def _density(sky: Sky) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the map's edges and the counts in its pixels, NaN where there is nothing."""
    x, y = np.linspace(-180, 180, _STEPS[0] + 1), np.linspace(-90, 90, _STEPS[1] + 1)
    lon, lat = np.meshgrid(CENTRE - 0.5 * (x[1:] + x[:-1]), 0.5 * (y[1:] + y[:-1]))
    cell = cdshealpix.nested.lonlat_to_healpix(
        Longitude(np.mod(lon.ravel(), 360.0), u.deg), Latitude(lat.ravel(), u.deg), ORDER
    )
    counts = np.full(12 * 4**ORDER, np.nan)
    counts[sky.cell] = sky.entries
    return np.radians(x), np.radians(y), counts[cell.astype(np.int64)].reshape(lon.shape)


def _split(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a line without the stroke from one end of the map to the other."""
    breaks = np.flatnonzero(np.abs(np.diff(x)) > np.pi) + 1
    return np.insert(x, breaks, np.nan), np.insert(y, breaks, np.nan)
