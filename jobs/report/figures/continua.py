"""Draw the fits of the pseudo-continuum of a few spectra, by both recipes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import sqlalchemy as sa
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from catalog.words import count
from jobs.report import style
from jobs.report.chosen import ChosenSpectra, choose_spectra
from jobs.report.drawing import Drawing, Missing, Subject
from models.spectra.normalize import RECIPES, continuum_steps

NAME, TITLE = "continuum-fits", "Iterated fits of the continuum"
FloatArray = NDArray[np.float64]
_SPECTRA = 3
_DASHED = (0, (4, 2))
_LEAST_SN = 0.3  # the noisiest ones show the noise, not the fits


@dataclass(frozen=True)
class ContinuumFits:
    """The pseudo-continua of one spectrum: each fit of the polynomials, and the running Gaussian.

    Attributes
    ----------
    name : str
        Heading of the panel.
    wavelength : ndarray, shape (p,) [Angstrom]
        Vacuum wavelengths in the frame of the observer.
    flux : ndarray, shape (p,) [1e-17 erg s^-1 cm^-2 A^-1]
        NaN where there is no information.
    steps : ndarray, shape (n_steps, p) [unit of flux]
        Of the recipe ``seed-2018``: the plain polynomials, then the weighted fits.
    smooth_wavelength, smooth : ndarray, shape (q,)
        Of the recipe ``default``: wavelengths in the observer's frame, and the running Gaussian.
    """

    name: str
    wavelength: FloatArray
    flux: FloatArray
    steps: FloatArray
    smooth_wavelength: FloatArray
    smooth: FloatArray


def draw(conn: sa.Connection, subject: Subject) -> list[Drawing | Missing]:
    """Draw the fits."""
    chosen = choose_spectra(conn, subject, _SPECTRA, least_sn=_LEAST_SN)
    if chosen is None:
        return [Missing(NAME, TITLE, NO_SPECTRA)]
    fits = fit_continua(chosen)
    caption = (
        f"{count(len(fits), 'spectrum')} of the sample {subject.sample}, cool to hot, with the "
        "pseudo-continua of both recipes. Recipe seed-2018, the notebook's: polynomials of degree "
        "7 in a blue and a red arm, fitted once plainly (palest line) and "
        f"{len(fits[0].steps) - 1} times more with residuals below the last fit weighted by 0.15, "
        "so that each fit (darker) leans more on the tops between the lines. Recipe default (red, "
        "dashed): a running Gaussian, weighted by the inverse variance, which follows the flux "
        "itself. Flux in 1e-17 erg/s/cm2/Angstrom, vacuum wavelengths in Angstrom in the "
        "observer's frame."
    )
    return [Drawing(NAME, TITLE, caption, draw_continua(fits))]


NO_SPECTRA = (
    "The sample has no spectrum with a temperature in the reference label set: "
    "crosslabel ingest spectra, then crosslabel sample create."
)


def fit_continua(chosen: ChosenSpectra) -> list[ContinuumFits]:
    """Fit the continua of some spectra by both recipes, step by step."""
    m = chosen.matrix
    window = (m.first_index, m.flux, m.ivar, m.and_mask, m.z)
    polynomials, gaussian = RECIPES["seed-2018"], RECIPES["default"]
    flux, steps = continuum_steps(polynomials, *window)
    _, smooth = continuum_steps(gaussian, *window)
    stretch = 1.0 + np.nan_to_num(m.z)
    return [
        ContinuumFits(
            name, polynomials.wavelength, flux[i], steps[:, i],
            gaussian.wavelength * stretch[i], smooth[-1, i],
        )
        for i, name in enumerate(map(": ".join, zip(chosen.keys, chosen.labels, strict=True)))
    ]  # fmt: skip


@style.style()
def draw_continua(fits: Sequence[ContinuumFits]) -> Figure:
    """Draw each spectrum with its fits, one panel below the other."""
    figure = style.new_figure(3.4 * len(fits) + 0.6)
    panels = np.atleast_1d(figure.subplots(len(fits), 1, sharex=True))
    shades = mpl.colormaps["Blues"](np.linspace(0.4, 1.0, len(fits[0].steps)))
    widths = [1.2] * (len(shades) - 1) + [2.2]
    for axes, fit in zip(panels, fits, strict=True):
        axes.plot(fit.wavelength, fit.flux, color=style.PALE, linewidth=0.8)
        for step, shade, width in zip(fit.steps, shades, widths, strict=True):
            axes.plot(fit.wavelength, step, color=shade, linewidth=width)
        axes.plot(
            fit.smooth_wavelength, fit.smooth, linestyle=_DASHED, color=style.VERMILION,
            linewidth=1.5,
        )  # fmt: skip
        axes.set_title(fit.name, loc="left", fontsize=12)
        axes.set_ylim(*_flux_limits(fit))
    keys = [
        Line2D([], [], color=style.PALE, label="spectrum"),
        Line2D([], [], color=shades[0], label="first fit"),
        Line2D([], [], color=shades[-1], linewidth=2.2, label="last fit"),
        Line2D([], [], linestyle=_DASHED, color=style.VERMILION, label="running Gaussian"),
    ]
    figure.legend(handles=keys, loc="outside upper center", ncols=4, columnspacing=1.2)
    figure.supylabel(style.FLUX_AXIS)
    panels[-1].set_xlabel(style.WAVELENGTH_AXIS)
    panels[-1].set_xlim(fits[0].wavelength[0], fits[0].wavelength[-1])
    return figure


def _flux_limits(fit: ContinuumFits) -> tuple[float, float]:
    """Return limits that show spectrum and fits, but not single wild pixels."""
    low, high = style.spectrum_limits(fit.flux)
    fits = np.concatenate([fit.steps.ravel(), fit.smooth])
    low, high = min(low, np.nanmin(fits)), max(high, np.nanmax(fits))
    return min(0.0, low) if low < 0.2 * high else low, high
