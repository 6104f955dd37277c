"""Style of the figures: colours that the colour-blind can tell apart, labels with units.

Sizes are for a page of 1280 pixels, on which a figure is as wide as the text, and are still
readable on a telephone, where it is 360 pixels wide: few panels in a row, large letters. Colours
are those of Okabe and Ito (2008); markers and line styles differ as well, so that black and white
print shows the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import median_filter

from catalog.store.columns import LABELS, VOCABULARY
from catalog.words import count, part

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, BLACK = "#CC79A7", "#56B4E9", "#000000"
GREY, PALE = "#767676", "#D0D0D0"

#: In the order in which label sets and models take them.
COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (2, 2)))

#: For densities: light is few, dark is many; prints in grey.
SEQUENTIAL = "Blues"

WIDTH = 8.0  # of a figure [inch]
WILD = 2  # pixels of a spectrum that are taken for no feature
RESOLUTION = 160  # of PNG files [dots per inch]: 1280 pixels

_RC = MappingProxyType(
    {
        "axes.axisbelow": True,
        "axes.formatter.useoffset": False,
        "axes.grid": True,
        "axes.labelsize": 15,
        "axes.linewidth": 0.8,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlesize": 15,
        "figure.constrained_layout.use": True,
        "figure.facecolor": "white",
        "font.family": "DejaVu Sans",  # comes with Matplotlib: the same everywhere
        "font.size": 14,
        "grid.color": "#E4E4E4",
        "grid.linewidth": 0.6,
        "image.cmap": SEQUENTIAL,
        "legend.fontsize": 13,
        "legend.frameon": False,
        "lines.linewidth": 1.6,
        "lines.markersize": 5,
        "pdf.fonttype": 42,
        "savefig.dpi": RESOLUTION,
        "xtick.labelsize": 13,
        "ytick.labelsize": 13,
    }
)

_SYMBOLS = {
    "teff": r"$T_{\rm eff}$",
    "logg": r"$\log\,g$",
    "m_h": "[M/H]",
    "alpha_m": r"[$\alpha$/M]",
    "fe_h": "[Fe/H]",
}

_PLAIN = {"teff": "Teff", "logg": "log g", "alpha_m": "[alpha/M]"}


@contextmanager
def style() -> Iterator[None]:
    """Draw in the report's style; everything outside is left as it was."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """Make an empty figure of a size in inches; call it, and draw, within `style`."""
    return Figure(figsize=(width, height), layout="constrained")


def symbol(label: str) -> str:
    """Return the symbol of a label, such as [Fe/H]."""
    if label in _SYMBOLS:
        return _SYMBOLS[label]
    if label in LABELS:
        return f"[{label.removesuffix('_fe').capitalize()}/Fe]"
    return label


def plain(label: str) -> str:
    """Return the symbol of a label for running text, such as Teff, log g, [Fe/H]."""
    return _PLAIN.get(label) or symbol(label)


def unit_of(name: str) -> str:
    """Return the unit of a label or column, empty where it has none."""
    return VOCABULARY[name].unit if name in VOCABULARY else ""


#: Of the axes of spectra.
WAVELENGTH_AXIS = "vacuum wavelength [Å]"
FLUX_AXIS = r"flux [$10^{-17}$ erg s$^{-1}$ cm$^{-2}$ Å$^{-1}$]"


def axis_label(name: str, text: str | None = None) -> str:
    """Write what an axis shows, with the unit of a label or column of the catalog.

    Parameters
    ----------
    name : str
        A label or column: its unit is taken from the catalog's vocabulary.
    text : str, optional
        What to call it; its symbol, if not given.

    Returns
    -------
    str
        Such as ``[Fe/H] [dex]``.
    """
    shown = symbol(name) if text is None else text
    unit = unit_of(name)
    return f"{shown} [{unit}]" if unit else shown


def number(value: float | None, name: str) -> str:
    """Write a value of a label with the digits that its unit needs; a dash where there is none."""
    if value is None or not np.isfinite(value):
        return "–"
    digits = 1 if unit_of(name) == "K" else 3
    return f"{round(float(value), digits) + 0.0:.{digits}f}"  # no -0


def key_of(index: int) -> dict[str, Any]:
    """Colour, marker and line style of the n-th thing of a figure: no two alike."""
    n = len(COLOURS)
    i, other = index % n, (index + index // n) % n  # the second time round with another marker
    return {"color": COLOURS[i], "marker": MARKERS[other], "linestyle": LINES[other]}


def astronomers_way(axes: Axes, x: str | None = None, y: str | None = None) -> None:
    """Turn the axes of temperatures and gravities into the direction in which they are shown."""
    if x in ("teff", "logg") and not axes.xaxis_inverted():
        axes.invert_xaxis()
    if y in ("teff", "logg") and not axes.yaxis_inverted():
        axes.invert_yaxis()


def limits(values: ArrayLike, share: float = 0.005, margin: float = 0.06) -> tuple[float, float]:
    """Tell between which values an axis shows almost all points.

    Parameters
    ----------
    values : array_like
        What is to be shown; what is not finite is left out.
    share : float
        Share of the points at either end that need not be seen.
    margin : float
        What to add on both sides, as a share of the range.

    Returns
    -------
    low, high : float
    """
    known = _finite(values)
    if not known.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.quantile(known, (share, 1.0 - share)))
    pad = margin * (high - low) if high > low else max(1e-3, 0.01 * abs(low))
    return low - pad, high + pad


def spectrum_limits(flux: ArrayLike, margin: float = 0.1) -> tuple[float, float]:
    """Tell between which values an axis shows all features of a spectrum, but no wild pixels.

    A running median takes away what is narrower than `WILD` pixels; a line as strong and as wide as
    those of Ca II stays whole, whatever small share of the pixels it has.

    Parameters
    ----------
    flux : array_like
        Pixels in order; what is not finite is left out.
    margin : float
        What to add on both sides, as a share of the range.

    Returns
    -------
    low, high : float
    """
    known = _finite(flux)
    if not known.size:
        return 0.0, 1.0
    features = median_filter(known, size=min(2 * WILD + 1, known.size), mode="nearest")
    usual = np.quantile(known, (0.005, 0.995))
    return limits([features.min(), features.max(), *usual], 0.0, margin)


def bin_edges(sets: Iterable[ArrayLike], bins: int = 40, share: float = 0.002) -> NDArray[Any]:
    """Edges of bins that several sets of values share, so that histograms can be compared."""
    low, high = limits(np.concatenate([_finite(v) for v in sets]), share, 0.01)
    return np.linspace(low, high, bins + 1)


def choose(n: int, at_most: int, seed: int) -> NDArray[np.intp]:
    """Choose points to draw where there are too many: the same ones every time, in order."""
    if n <= at_most:
        return np.arange(n, dtype=np.intp)
    rows = np.random.default_rng(seed).choice(n, at_most, replace=False)
    return np.sort(rows).astype(np.intp)


def drawn_of(drawn: int, n: int, what: str) -> str:
    """Say in a caption how many were drawn of how many."""
    return count(n, what) if drawn == n else f"{part(drawn, n, what)}, chosen at random"


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    """Return the finite values, flat."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    return flat[np.isfinite(flat)]
