"""Presets against each other on real spectra: LAMOST spectra of the survey kit, with LASP labels.

Stars of 4000 to 7500 K with S/N of at least 20 in g; observations within 3 arcsec are one star.
All presets get the same spectra (recipe `default`) and the same ten folds, made of stars. Scores
are those of stars left out: sigma_mad, mean absolute error, their ratios to those of `ridge` and
what `default` has less of them than the others, with errors from resampled stars (the same stars
for both sides of a ratio or a difference); and the share of differences within the raw error, the
calibrated error and the interval that is to hold 95%.

LASP found its labels in these same spectra, without stated errors. So the scores compare presets;
they flatter a transfer of labels from another survey. Folds and predictions go to OUT as npz.
Not one of ``python -m benchmarks``: ten folds of all presets take minutes.

Usage: python -m benchmarks.real_spectra [PRESET ...] [--rows N] [--out FOLDER] [--reuse]
       [--seed-epochs N] [--seed SEED]
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.common import KIT, check_learned, skip_without_kit
from models import trainer
from models.core import crossval, metrics, resampling
from models.core.records import Predictions, TrainingData, TrainSpec
from models.presets.registry import PRESETS
from models.spectra.grid import LOGLAM_STEP, LOGLAM_ZERO
from models.spectra.normalize import RECIPES, normalize

LABELS = ("teff", "logg", "fe_h")
RECIPE = RECIPES["default"]
FOLDS = 10
TEFF_RANGE, MIN_SNRG = (4000.0, 7500.0), 20.0
STAR_ARCSEC = 3.0
GIANT_LOGG = 3.5  # giants have less [dex]
MIN_GIANTS = 20  # for a table of their own
DRAWS = 500
STATISTICS = ("sigma_mad", "mae")

FloatArray = NDArray[np.float64]


def read_spectra(n_stars: int | None, seed: int) -> TrainingData:
    """Read, select and normalize the kit's spectra; all of them, or those of some random stars."""
    folder = KIT / "data" / "lamost"
    if not (folder / "spectra.npz").exists():
        skip_without_kit()
    table = pd.read_parquet(folder / "labels.parquet")
    with np.load(folder / "spectra.npz", allow_pickle=False) as spectra:
        loglam, flux, ivar = (spectra[name] for name in ("loglam", "flux", "ivar"))
        if not np.array_equal(spectra["obsid"], table["obsid"]):
            sys.exit("the rows of spectra.npz and labels.parquet in the survey kit differ")
    kept = (table["teff"].between(*TEFF_RANGE) & (table["snrg"] >= MIN_SNRG)).to_numpy()
    table, flux, ivar = table[kept], flux[kept], ivar[kept]
    group = number_stars(table["ra"].to_numpy(), table["dec"].to_numpy())
    if n_stars is not None:
        drawn = np.random.default_rng(seed).permutation(np.unique(group))[:n_stars]
        chosen = np.isin(group, drawn)
        table, flux, ivar, group = table[chosen], flux[chosen], ivar[chosen], group[chosen]
    first_index = round((loglam[0] - LOGLAM_ZERO) / LOGLAM_STEP)
    no_mask = np.zeros(flux.shape, dtype=np.int32)
    spectra = normalize(RECIPE, first_index, flux, ivar, no_mask, table["z"].to_numpy())
    labels = table[list(LABELS)].to_numpy(dtype=np.float64)
    return TrainingData(
        flux=spectra.flux,
        ivar=spectra.ivar,
        continuum=spectra.continuum,
        labels=labels,
        label_errors=np.full(labels.shape, np.nan),
        group=group,
        names=LABELS,
        first_index=RECIPE.first_index,
    )


def number_stars(ra: FloatArray, dec: FloatArray) -> NDArray[np.int64]:
    """Number of the star of each position [deg]: the first position within `STAR_ARCSEC` of it."""
    lon, lat = np.radians(ra), np.radians(dec)
    unit = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
    # Chords, as cosines of arcseconds have no digits left.
    chord = 2.0 * np.sin(np.radians(STAR_ARCSEC / 3600.0) / 2.0)
    star = np.arange(ra.size)
    for i, position in enumerate(unit):
        near = np.linalg.norm(unit[:i] - position, axis=1) <= chord
        if near.any():
            star[i] = star[int(np.argmax(near))]
    return star.astype(np.int64)


def leave_out(spec: TrainSpec, data: TrainingData) -> tuple[NDArray[np.int64], Predictions]:
    """Folds, and the labels of each row by the model that never saw its star."""
    state = None
    for key in trainer.plan(spec, data.flux.shape[0]):
        step = trainer.run_chunk(spec, data, key, state)
        state = step.state
        if step.out_of_fold is not None and step.fold_of_row is not None:
            return step.fold_of_row, step.out_of_fold
    raise RuntimeError(f"the training of {spec.preset} ended without predictions")


def report(
    title: str, rows: NDArray[np.int64], data: TrainingData, found: Mapping[str, Predictions]
) -> None:
    """Print the tables of some rows: scores of each preset, and differences from `default`."""
    draws = resampling.draw_stars(data.group[rows], DRAWS, 0)
    once = resampling.every_row(rows.size)
    stars = np.unique(data.group[rows]).size
    print(f"\n{title}: {rows.size} spectra of {stars} stars, LASP labels")
    head = f"{'label':6}{'preset':>11}{'sigma_mad':>11}{'MAE':>9}"
    print(f"{head}{'sigma/ridge':>16}{'MAE/ridge':>16}{'raw 68%':>9}{'68%':>6}{'95%':>6}")
    differences = []
    for j, name in enumerate(LABELS):
        digits = 1 if name == "teff" else 3
        known = data.labels[rows, j]
        exact = {p: resampling.scores(known, o.values[rows, j], once) for p, o in found.items()}
        drawn = {p: resampling.scores(known, o.values[rows, j], draws) for p, o in found.items()}
        for preset, predicted in found.items():
            line = f"{name:6}{preset:>11}"
            for width, statistic in zip((11, 9), STATISTICS, strict=True):
                line += f"{exact[preset][statistic][0]:{width}.{digits}f}"
            for statistic in STATISTICS:
                if "ridge" not in found:
                    line += f"{'':16}"
                    continue
                ratio = exact[preset][statistic] / exact["ridge"][statistic]
                error = resampling.error_of(drawn[preset][statistic] / drawn["ridge"][statistic])
                line += f"{ratio[0]:9.3f} +-{error:5.3f}"
            delta = predicted.values[rows, j] - known
            nothing = np.zeros(rows.size)
            wide = predicted.half_width95[rows, j]
            for width, sigma in ((9, predicted.raw_sigma[rows, j]), (6, predicted.sigma[rows, j])):
                line += f"{metrics.coverage(metrics.pull(delta, sigma, nothing)):{width}.2f}"
            print(line + f"{metrics.coverage(metrics.pull(delta, wide, nothing)):6.2f}")
        for other in found if "default" in found else ():
            if other == "default":
                continue
            line = f"{name:6}{'- ' + other:>13}"
            for statistic in STATISTICS:
                less = exact["default"][statistic][0] - exact[other][statistic][0]
                error = resampling.error_of(drawn["default"][statistic] - drawn[other][statistic])
                line += f"{less:12.{digits}f} +-{error:6.{digits}f}"
            differences.append(line)
    if differences:
        print(f"{'default':>19}{'sigma_mad':>21}{'MAE':>21}")
        print("\n".join(differences))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("presets", nargs="*", default=["ridge", "cannon", "default"])
    parser.add_argument("--rows", type=int, help="only the spectra of this many random stars")
    parser.add_argument("--out", type=Path, help="folder for folds and predictions (npz)")
    parser.add_argument("--reuse", action="store_true", help="take predictions that are in OUT")
    parser.add_argument("--seed-epochs", type=int, help="of seed-2018, instead of 16,000")
    parser.add_argument("--seed", type=int, default=0, help="of the stars, folds and networks")
    arguments = parser.parse_args()
    for preset in arguments.presets:
        if preset not in PRESETS:
            parser.error(f"no preset is called {preset!r}; there are {', '.join(PRESETS)}")
    data = read_spectra(arguments.rows, arguments.seed)
    found: dict[str, Predictions] = {}
    fold_of_row = crossval.assign_folds(data.group, FOLDS, arguments.seed)
    for preset in arguments.presets:
        start = time.perf_counter()
        file = arguments.out / f"{preset}.npz" if arguments.out else None
        if arguments.reuse and file and file.exists():
            found[preset] = read(arguments.out, preset, data, fold_of_row)
            continue
        epochs = arguments.seed_epochs if preset == "seed-2018" else None
        spec = TrainSpec(
            preset, data.names, RECIPE.name, folds=FOLDS, seed=arguments.seed, epochs=epochs
        )
        folds, found[preset] = leave_out(spec, data)
        if not np.array_equal(folds, fold_of_row):
            sys.exit(f"{preset} had other folds than the others")
        fewer = f", only {epochs} epochs" if epochs else ""
        check_learned(preset, LABELS, data.labels, found[preset].values)
        print(f"{preset}: {FOLDS} folds in {time.perf_counter() - start:.0f} s{fewer}", flush=True)
        if arguments.out is not None:
            save(arguments.out, data, fold_of_row, {preset: found[preset]})
    everything = np.arange(data.group.size)
    report("All", everything, data, found)
    giants = np.flatnonzero(data.labels[:, LABELS.index("logg")] < GIANT_LOGG)
    if giants.size >= MIN_GIANTS:
        report(f"Giants, log g < {GIANT_LOGG}", giants, data, found)


def read(
    folder: Path, preset: str, data: TrainingData, fold_of_row: NDArray[np.int64]
) -> Predictions:
    """Read what `save` wrote for the same spectra and folds."""
    with np.load(folder / "folds.npz") as folds:
        if not (
            np.array_equal(folds["fold"], fold_of_row)
            and np.array_equal(folds["labels"], data.labels)
        ):
            sys.exit(f"the predictions in {folder} are of other spectra or folds")
    found = Predictions.empty(*data.labels.shape)
    with np.load(folder / f"{preset}.npz") as arrays:
        # What a file from before a change holds in another shape, no score looks at.
        known = {
            f.name: arrays[f.name]
            for f in dataclasses.fields(Predictions)
            if f.name in arrays and arrays[f.name].shape == getattr(found, f.name).shape
        }
    return dataclasses.replace(found, **known)


def save(
    folder: Path,
    data: TrainingData,
    fold_of_row: NDArray[np.int64],
    found: Mapping[str, Predictions],
) -> None:
    """Write the folds, and the predictions of each preset, row by row."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "folds.npz", fold=fold_of_row, star=data.group, labels=data.labels)
    for preset, predictions in found.items():
        arrays = {f.name: getattr(predictions, f.name) for f in dataclasses.fields(predictions)}
        np.savez(folder / f"{preset}.npz", **arrays)


if __name__ == "__main__":
    main()
