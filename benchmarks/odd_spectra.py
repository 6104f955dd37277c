"""Spectra that a model of ordinary stars must not believe, real and made, from the survey kit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from catalog.surveys.sdss_spectrum import read_spectrum
from models.spectra.grid import LOGLAM_STEP, LOGLAM_ZERO
from models.spectra.normalize import Recipe, normalize

HOT_TEFF = 8000.0
SPIKES = 30  # pixels with emission in a spoilt spectrum
SNR = 60.0  # of made spectra, per pixel

# Fibres of the kit by what they hold; the G and K stars among its spectra are ordinary.
REAL = {
    "galaxy": ("1678-53433-0425",),
    "quasar": ("0548-51986-0020",),
    "sky": ("2344-53740-0358", "2297-53738-0042"),
    "M stars": (
        "0618-52049-0372",
        "1079-52621-0509",
        "1123-52882-0065",
        "3764-55514-0972",
        "5047-55833-0936",
    ),
    "white dwarf": ("0266-51602-0031",),
}

Spectra = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


def odd_spectra(kit: Path, good: Spectra, recipe: Recipe, seed: int = 0) -> dict[str, Spectra]:
    """Flux, ivar and continuum, each of shape (n, p), of each kind of odd spectrum.

    Parameters
    ----------
    kit : Path
        The folder of the survey kit.
    good : tuple of ndarray
        Spectra of ordinary stars, which are spoilt to make some of the kinds.
    recipe : Recipe
        How they are normalized.
    seed : int
        Of what is made.
    """
    kinds = {"hot stars": hot_stars(kit / "data" / "lamost", recipe)}
    for kind, names in REAL.items():
        files = [kit / "data" / "sdss" / f"spec-{name}.fits" for name in names]
        kinds[kind] = _join([sdss_spectrum(path, recipe) for path in files])
        # As bright as ordinary stars, so that low S/N is not what gives them away.
        kinds[f"{kind}, bright"] = _join([brighten(sdss_spectrum(p, recipe)) for p in files])
    rng = np.random.default_rng(seed)
    for name, spoil in SPOILT.items():
        kinds[name] = spoil(rng, good)
    return kinds


def hot_stars(folder: Path, recipe: Recipe) -> Spectra:
    """LAMOST's stars hotter than `HOT_TEFF`, whatever their S/N."""
    table = pd.read_parquet(folder / "labels.parquet")
    rows = np.flatnonzero(table["teff"] > HOT_TEFF)
    with np.load(folder / "spectra.npz", allow_pickle=False) as spectra:
        loglam, flux, ivar = (spectra[name] for name in ("loglam", "flux", "ivar"))
    first = round((loglam[0] - LOGLAM_ZERO) / LOGLAM_STEP)
    mask = np.zeros((rows.size, loglam.size), np.int32)
    found = normalize(recipe, first, flux[rows], ivar[rows], mask, table["z"].to_numpy()[rows])
    return found.flux, found.ivar, found.continuum


def sdss_spectrum(path: Path, recipe: Recipe) -> Spectra:
    """One SDSS spectrum, at rest by the redshift of its file."""
    file = read_spectrum(path)
    planes = (file.flux[None], file.ivar[None], file.and_mask[None])
    found = normalize(recipe, file.first_index, *planes, np.array([file.z]))
    return found.flux, found.ivar, found.continuum


def brighten(spectrum: Spectra) -> Spectra:
    """The same flux with a stated noise as that of ordinary spectra."""
    flux, ivar, continuum = spectrum
    good = ivar > 0.0
    factor = SNR**2 / np.median(ivar[good]) if good.any() else 1.0
    return flux, (ivar * max(factor, 1.0)).astype(np.float32), continuum


def _join(spectra: list[Spectra]) -> Spectra:
    """Stack spectra of one grid."""
    flux, ivar, continuum = (np.concatenate(planes) for planes in zip(*spectra, strict=True))
    return flux, ivar, continuum


def _shuffled(rng: np.random.Generator, spectra: Spectra) -> Spectra:
    """All pixels of each spectrum in another order."""
    flux, ivar, continuum = (a.copy() for a in spectra)
    for row in range(flux.shape[0]):
        order = rng.permutation(flux.shape[1])
        flux[row], ivar[row] = flux[row, order], ivar[row, order]
    return flux, ivar, continuum


def _blocks(rng: np.random.Generator, spectra: Spectra) -> Spectra:
    """Pieces of 100 pixels of each spectrum in another order: lines, but not those of a star."""
    flux, ivar, continuum = (a.copy() for a in spectra)
    n_blocks = flux.shape[1] // 100
    for row in range(flux.shape[0]):
        order = rng.permutation(n_blocks)
        pixels = (order[:, None] * 100 + np.arange(100)).ravel()
        flux[row, : pixels.size] = flux[row, pixels]
        ivar[row, : pixels.size] = ivar[row, pixels]
    return flux, ivar, continuum


def _noise(rng: np.random.Generator, spectra: Spectra) -> Spectra:
    """Noise about the continuum, as large as it says."""
    flux, ivar, continuum = spectra
    flux = 1.0 + rng.standard_normal(flux.shape) / SNR
    return flux.astype(np.float32), np.full_like(ivar, SNR**2), continuum


def _constant(rng: np.random.Generator, spectra: Spectra) -> Spectra:
    """No lines and no noise."""
    flux, ivar, continuum = spectra
    return np.ones_like(flux), np.full_like(ivar, SNR**2), continuum


def _spikes(rng: np.random.Generator, spectra: Spectra) -> Spectra:
    """Emission of up to four times the continuum in some pixels of a good spectrum."""
    flux, ivar, continuum = spectra
    flux = flux.copy()
    for row in range(flux.shape[0]):
        flux[row, rng.choice(flux.shape[1], SPIKES, replace=False)] += rng.uniform(1.0, 4.0, SPIKES)
    return flux, ivar, continuum


def _moved(rng: np.random.Generator, spectra: Spectra) -> Spectra:
    """A wrong redshift: lines 15 to 60 pixels from where they belong."""
    flux, ivar, continuum = (a.copy() for a in spectra)
    for row in range(flux.shape[0]):
        step = int(rng.integers(15, 60)) * (1 if rng.random() < 0.5 else -1)
        flux[row], ivar[row] = np.roll(flux[row], step), np.roll(ivar[row], step)
    return flux, ivar, continuum


SPOILT: dict[str, Callable[[np.random.Generator, Spectra], Spectra]] = {
    "shuffled pixels": _shuffled,
    "shuffled pieces": _blocks,
    "wrong redshift": _moved,
    "noise": _noise,
    "constant": _constant,
    "emission spikes": _spikes,
}
