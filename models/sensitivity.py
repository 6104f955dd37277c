"""Sensitivity of labels to pixels: the Jacobian of a model, summed over a list of features.

The Jacobian J = d label / d flux is measured on the model as a whole, whatever its preset, by
central differences: all pixels of a narrow block are raised, then lowered, by one step. With the
noise sigma of the pixels, (J sigma)^2 is what each pixel's noise adds to the variance of the label.
For an estimator of least variance that is the information on the label that it takes from the
pixel. So the *share* of a window is the sum over its pixels, divided by that over all pixels;
shares add up to 1. The *lift* is the share over the window's fraction of the good pixels: 1 if the
label depended on all pixels alike.

The continuum of the first round is fixed: the effect of a change of flux on it is not included.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.core.arrays import Float32Array, FloatArray
from models.predict import Model
from models.spectra.grid import grid_wavelength
from models.spectra.lines import LINES, REGIONS, Window, find_pixels

WIDTH = 3  # pixels: about one element of resolution at R = 2000
STEP = 0.01  # of the continuum
BATCH = 1024  # spectra per call of the model: bounds the memory
STRETCH = 20.0  # length of a stretch without a name [Angstrom]


@dataclass(frozen=True, eq=False)
class Share:
    """Share of one window in the sensitivity of the labels.

    Parameters
    ----------
    name : str
        Of the window; the ends in Angstrom for a stretch without a name.
    low, high : float [Angstrom, vacuum]
        Its ends, from the first of its windows to the last.
    share, lift : ndarray, shape (k,)
        Of the labels' sensitivity, and that over the share of the good pixels.
    """

    name: str
    low: float
    high: float
    share: FloatArray
    lift: FloatArray


def jacobian(
    model: Model,
    flux: Float32Array,
    ivar: Float32Array,
    continuum: Float32Array,
    *,
    width: int = WIDTH,
) -> FloatArray:
    """Return d label / d flux of each pixel.

    Parameters
    ----------
    model : Model
        Of any preset.
    flux, ivar, continuum : ndarray of float32, shape (n, p)
        Normalized spectra, as for `Model.predict`.
    width : int
        Pixels per block; pixels of a block share their mean derivative.

    Returns
    -------
    ndarray, shape (n, k, p) [units of the labels, per unit of the continuum]
        0 where a pixel has no information.
    """
    n, p = flux.shape
    k = len(model.spec.labels)
    starts = np.arange(0, p, width)
    found = np.zeros((n, k, p))
    per_call = max(1, BATCH // 2)
    for row in range(n):
        good = ivar[row] > 0.0
        wanted = [s for s in starts.tolist() if good[s : s + width].any()]
        for i in range(0, len(wanted), per_call):
            part = wanted[i : i + per_call]
            # Rows 2 j and 2 j + 1: the block raised and lowered by one step.
            moved = np.repeat(flux[row][None], 2 * len(part), axis=0)
            for j, s in enumerate(part):
                inside = slice(s, s + width)
                moved[2 * j, inside] += STEP * good[inside]
                moved[2 * j + 1, inside] -= STEP * good[inside]
            shape = moved.shape
            values = model.predict(
                moved,
                np.broadcast_to(ivar[row], shape),
                np.broadcast_to(continuum[row], shape),
            ).values
            slope = (values[0::2] - values[1::2]) / (2.0 * STEP)
            for j, s in enumerate(part):
                inside = slice(s, s + width)
                found[row, :, inside] = np.outer(good[inside], slope[j] / good[inside].sum()).T
    return found


def pixel_shares(slopes: FloatArray, ivar: Float32Array) -> FloatArray:
    """Return the share of each pixel in the sensitivity of each label, the mean over the spectra.

    Parameters
    ----------
    slopes : ndarray, shape (n, k, p)
        From `jacobian`.
    ivar : ndarray of float32, shape (n, p)
        Of the same spectra.

    Returns
    -------
    ndarray, shape (k, p)
        Adds up to 1 over the pixels of a label; NaN for a label that depends on none.
    """
    variance = np.divide(1.0, ivar, out=np.zeros(ivar.shape), where=ivar > 0.0)
    weight = slopes**2 * variance[:, None, :]
    total = weight.sum(axis=2, keepdims=True)
    shares = np.divide(weight, total, out=np.full(weight.shape, np.nan), where=total > 0.0)
    known = np.isfinite(shares)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, shares, 0.0).sum(axis=0) / count
    return np.where(known.any(axis=0), mean, np.nan)


def line_shares(
    shares: FloatArray, ivar: Float32Array, first_index: int, *, margin: float = 0.0
) -> tuple[list[Share], list[Share]]:
    """Return the shares of the named features.

    Parameters
    ----------
    shares : ndarray, shape (k, p)
        From `pixel_shares`.
    ivar : ndarray of float32, shape (n, p)
        Of the same spectra: tells the good pixels.
    first_index : int
        Grid index of pixel 0.
    margin : float [km/s]
        Widening of the regions that are not of the star (see `models.spectra.lines.find_pixels`).

    Returns
    -------
    lines : list of Share
        Of `models.spectra.lines.LINES`, in the order of wavelength.
    regions : list of Share
        Of `models.spectra.lines.REGIONS`: each region as a whole, then its windows. They overlap
        the lines.
    """
    wavelength = grid_wavelength(first_index, shares.shape[1])
    good = (ivar > 0.0).mean(axis=0)

    def share(name: str, windows: Sequence[Window], margin: float = 0.0) -> Share:
        return _sum(name, windows, find_pixels(windows, wavelength, margin), shares, good)

    names = dict.fromkeys(line.name for line in LINES)
    lines = [share(name, [line for line in LINES if line.name == name]) for name in names]
    regions = []
    for region, windows in REGIONS.items():
        parts = [share(f"{region}: {window.name}", [window], margin) for window in windows]
        regions += [share(region, windows, margin), *parts]
    return _covered(lines), _covered(regions)


def unnamed_shares(shares: FloatArray, ivar: Float32Array, first_index: int) -> list[Share]:
    """Return the shares of stretches of `STRETCH` between the named features of the star."""
    wavelength = grid_wavelength(first_index, shares.shape[1])
    free = ~find_pixels(LINES, wavelength)
    good = (ivar > 0.0).mean(axis=0)
    number = np.floor(wavelength / STRETCH).astype(np.int64)
    found = []
    for i in np.unique(number[free]):
        low, high = i * STRETCH, (i + 1) * STRETCH
        window = Window(f"{low:.0f}-{high:.0f}", low, high)
        found.append(_sum(window.name, [window], free & (number == i), shares, good))
    return _covered(found)


def _covered(found: list[Share]) -> list[Share]:
    """Return the shares of windows that have good pixels."""
    return [share for share in found if np.isfinite(share.lift).any()]


def _sum(
    name: str,
    windows: Iterable[Window],
    pixels: NDArray[np.bool_],
    shares: FloatArray,
    good: FloatArray,
) -> Share:
    """Return share and lift of some pixels; the lift is NaN where none of them is good."""
    ends = [end for window in windows for end in (window.low, window.high)]
    share = shares[:, pixels].sum(axis=1)
    expected = good[pixels].sum() / max(good.sum(), 1e-30)
    lift = share / expected if expected > 0.0 else np.full(share.shape, np.nan)
    return Share(name, min(ends), max(ends), share, lift)
