"""Normalizations against each other by the labels of noisy spectra: LAMOST's, with noise added.

Each star of 4000 to 7500 K whose spectrum has a median S/N of 40 or more is seen three times, with
noise added until the median S/N is 10, 20 and 40; ``--snr 0`` takes spectra of S/N 20 and more as
they are. The copies of a star never part in the five folds. Every way to normalize gets the same
noise, the same folds and the same model; the table gives its robust scatter of left-out stars as a
ratio to that of the recipe `default`, with errors from resampled stars, the same for both. Below 1
is better than `default`.

LASP found the labels in the spectra before the noise was added. Errors that real faint spectra have
beside their noise (sky residuals, flux calibration) are not in here.
Not one of ``python -m benchmarks``: it takes minutes.

Usage: python -m benchmarks.normalization [NAME ...] [--model MODEL] [--stars N] [--snr SNR ...]
[--seed SEED]
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.common import KIT, check_finite, skip_without_kit
from benchmarks.real_spectra import LABELS, TEFF_RANGE, leave_out, number_stars
from models.core import metrics, resampling
from models.core.records import TrainingData, TrainSpec
from models.spectra.grid import LOGLAM_STEP, LOGLAM_ZERO
from models.spectra.normalize import RECIPES, Normalized, Recipe, align, divide, normalize

BASE = RECIPES["default"]
TARGET_SNR = (10, 20, 40)
AS_IT_IS = 0  # in place of a target: no noise is added
MIN_SNR = 20.0  # of spectra as they are
FOLDS = 5
MEMBERS = 2  # networks, where the model is `default`
DRAWS = 200
CHEBYSHEV_DEGREE = 6  # of each half

FloatArray = NDArray[np.float64]


class Spectra(NamedTuple):
    """Noisy copies of spectra, all stars at the first S/N, then at the second, and so on.

    Attributes
    ----------
    first_index : int
        Grid index of pixel 0.
    flux, ivar : ndarray, shape (n, m)
        Relative flux and its inverse variance.
    z : ndarray, shape (n,)
        Redshift.
    labels : ndarray, shape (n, 3)
        teff [K], logg [dex], fe_h [dex].
    star : ndarray of int64, shape (n,)
        Number of the star.
    snr : ndarray of int64, shape (n,)
        Median S/N of the copy, or `AS_IT_IS`.
    """

    first_index: int
    flux: FloatArray
    ivar: FloatArray
    z: FloatArray
    labels: FloatArray
    star: NDArray[np.int64]
    snr: NDArray[np.int64]


def read_noisy(n_stars: int, targets: Sequence[int], seed: int) -> Spectra:
    """Read good spectra of some random stars, one of each, and add noise to copies of them."""
    folder = KIT / "data" / "lamost"
    if not (folder / "spectra.npz").exists():
        skip_without_kit()
    table = pd.read_parquet(folder / "labels.parquet")
    with np.load(folder / "spectra.npz", allow_pickle=False) as file:
        loglam, flux, ivar = (file[name].astype(np.float64) for name in ("loglam", "flux", "ivar"))
    ratio = np.where(ivar > 0.0, flux * np.sqrt(ivar), np.nan)
    snr = np.nanmedian(ratio, axis=1)
    kept = np.flatnonzero(table["teff"].between(*TEFF_RANGE) & (snr >= (max(targets) or MIN_SNR)))
    star = number_stars(table["ra"].to_numpy()[kept], table["dec"].to_numpy()[kept])
    kept = kept[np.unique(star, return_index=True)[1]]
    rng = np.random.default_rng(seed)
    kept = np.sort(rng.permutation(kept)[:n_stars])
    flux, ivar, snr = flux[kept], ivar[kept], snr[kept]
    factors = [snr / target if target else np.ones(snr.size) for target in targets]
    noisy = [_add_noise(flux, ivar, factor, rng) for factor in factors]
    times, n = len(targets), kept.size
    return Spectra(
        first_index=round((loglam[0] - LOGLAM_ZERO) / LOGLAM_STEP),
        flux=np.concatenate([copy[0] for copy in noisy]),
        ivar=np.concatenate([copy[1] for copy in noisy]),
        z=np.tile(table["z"].to_numpy(np.float64)[kept], times),
        labels=np.tile(table[list(LABELS)].to_numpy(np.float64)[kept], (times, 1)),
        star=np.tile(np.arange(n), times),
        snr=np.repeat(targets, n),
    )


def _add_noise(
    flux: FloatArray, ivar: FloatArray, factor: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Raise the noise of each spectrum by a factor of 1 or more."""
    sigma = np.divide(1.0, np.sqrt(ivar), out=np.zeros_like(ivar), where=ivar > 0.0)
    added = sigma * np.sqrt(factor**2 - 1.0)[:, None] * rng.standard_normal(flux.shape)
    return flux + added, ivar / factor[:, None] ** 2


def _by_recipe(**changes: object) -> Callable[[Spectra], Normalized]:
    """Normalize as `default` does but for some changes."""
    recipe = dataclasses.replace(BASE, **changes)  # type: ignore[arg-type]

    def apply(spectra: Spectra) -> Normalized:
        mask = np.zeros(spectra.flux.shape, np.int32)
        return normalize(recipe, spectra.first_index, spectra.flux, spectra.ivar, mask, spectra.z)

    return apply


def _by_fit(fit: Callable[[FloatArray, FloatArray, Recipe], FloatArray]) -> Callable:
    """Normalize on the pixels of `default` by a continuum that no recipe has."""

    def apply(spectra: Spectra) -> Normalized:
        mask = np.zeros(spectra.flux.shape, np.int32)
        flux, ivar, flags = align(
            BASE, spectra.first_index, spectra.flux, spectra.ivar, mask, spectra.z
        )
        return divide(BASE, flux, ivar, fit(flux, ivar, BASE), flags)

    return apply


def fit_level(flux: FloatArray, ivar: FloatArray, recipe: Recipe) -> FloatArray:
    """Mean flux, weighted by ivar: only the brightness goes, the shape stays."""
    del recipe
    level = (ivar * flux).sum(axis=1) / ivar.sum(axis=1)
    return np.broadcast_to(level[:, None], flux.shape)


def fit_chebyshev(flux: FloatArray, ivar: FloatArray, recipe: Recipe) -> FloatArray:
    """Chebyshev polynomials of each half, by least squares weighted by ivar."""
    continuum = np.empty(flux.shape)
    middle = int(np.searchsorted(recipe.wavelength, recipe.split))
    for half in (slice(0, middle), slice(middle, None)):
        wave = recipe.wavelength[half]
        place = 2.0 * (wave - wave[0]) / (wave[-1] - wave[0]) - 1.0
        basis = np.polynomial.chebyshev.chebvander(place, CHEBYSHEV_DEGREE)
        weight = ivar[:, half] / ivar[:, half].mean(axis=1, keepdims=True)
        gram = np.einsum("np,pi,pj->nij", weight, basis, basis, optimize=True)
        right = (weight * flux[:, half]) @ basis
        continuum[:, half] = np.linalg.solve(gram, right[..., None])[..., 0] @ basis.T
    return continuum


CANDIDATES: Mapping[str, Callable[[Spectra], Normalized]] = {
    "default": _by_recipe(),
    "L = 25 A": _by_recipe(length=25.0),
    "L = 75 A": _by_recipe(length=75.0),
    "L = 100 A": _by_recipe(length=100.0),
    "L = 150 A": _by_recipe(length=150.0),
    "L = 200 A": _by_recipe(length=200.0),
    "notebook's polynomials": _by_recipe(continuum="polynomial"),
    "Chebyshev by ivar": _by_fit(fit_chebyshev),
    "level only": _by_fit(fit_level),
    "no telluric": _by_recipe(excluded=("telluric",)),
    "no interstellar": _by_recipe(excluded=("interstellar",)),
    "neither, no sky lines": _by_recipe(excluded=("telluric", "interstellar", "sky")),
    "observed frame": _by_recipe(rest_frame=False),
}


def label(model: str, normalized: Normalized, spectra: Spectra, seed: int) -> FloatArray:
    """Labels of each row by a model that never saw its star, shape (n, 3)."""
    options = {"process": 0.0} if model == "default" else {}  # the networks alone: faster
    spec = TrainSpec(
        model, LABELS, BASE.name, folds=FOLDS, seed=seed, members=MEMBERS, options=options
    )  # type: ignore[arg-type]
    data = TrainingData(
        flux=normalized.flux,
        ivar=normalized.ivar,
        continuum=normalized.continuum,
        labels=spectra.labels,
        label_errors=np.full(spectra.labels.shape, np.nan),
        group=spectra.star,
        names=LABELS,
        first_index=BASE.first_index,
    )
    return leave_out(spec, data)[1].values


def report(spectra: Spectra, found: Mapping[str, FloatArray]) -> None:
    """Print sigma_mad of `default`, and the ratios of the others to it."""
    draws = resampling.draw_stars(np.arange(np.unique(spectra.star).size), DRAWS, 0)
    columns = [(j, snr) for snr in np.unique(spectra.snr) for j in range(len(LABELS))]
    head = "".join(f"{f'{LABELS[j]} {snr}':>14}" for j, snr in columns)
    print(f"\n{'':24}{head}")
    first = next(iter(found))
    for name, values in found.items():
        line = f"{name:24}"
        for j, snr in columns:
            here = spectra.snr == snr
            truth = spectra.labels[here, j]
            sigma = metrics.sigma_mad(values[here, j] - truth)
            if name == first:
                line += f"{sigma:14.{1 if j == 0 else 3}f}"
                continue
            drawn, base = (
                resampling.scores(truth, v[here, j], draws)["sigma_mad"]
                for v in (values, found[first])
            )
            low, high = np.percentile(drawn / base, [16.0, 84.0])
            ratio = sigma / metrics.sigma_mad(found[first][here, j] - truth)
            line += f"{ratio:8.3f}+-{0.5 * (high - low):4.2f}"
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="only these, beside default")
    parser.add_argument("--model", default="ridge", help="preset that learns the labels")
    parser.add_argument("--stars", type=int, default=444)
    parser.add_argument("--snr", type=int, nargs="+", default=TARGET_SNR, help="0: as they are")
    parser.add_argument("--seed", type=int, default=0, help="of stars, noise, folds and networks")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(CANDIDATES):
        parser.error(f"no candidate {', '.join(unknown)}; there are {', '.join(CANDIDATES)}")
    spectra = read_noisy(arguments.stars, arguments.snr, arguments.seed)
    print(f"{np.unique(spectra.star).size} stars, model {arguments.model}", flush=True)
    found = {}
    for name, apply in CANDIDATES.items():
        if name == "default" or not arguments.names or name in arguments.names:
            found[name] = label(arguments.model, apply(spectra), spectra, arguments.seed)
    for name, values in found.items():
        check_finite(name, values)
    report(spectra, found)


if __name__ == "__main__":
    main()
