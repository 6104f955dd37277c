"""A small simulated survey in the formats of the real ones, for the demo and for tests.

Nothing in it is observed. Numbers, flags and traps are plausible; good results on it show that the
software works and say nothing about APOGEE or SDSS.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
from astropy.io import fits

from catalog.files.simulate_rows import (
    N_UNLABELLED,
    STAR_BAD,
    allstar_rows,
    draw_stars,
    record_type,
    sspp_rows,
    star_names,
)
from catalog.files.simulate_spectra import (
    FIRST_INDEX,
    FULLREJECT,
    N_PIXELS,
    line_model,
    model_flux,
    observe,
)

NAMES = {"dr14": "allStar-l31c.2.fits", "dr17": "allStar-dr17-synspec_rev1.fits"}
N_CHANCE = 3
COADD = "flux:>f4 loglam:>f4 ivar:>f4 and_mask:>i4 or_mask:>i4 wdisp:>f4 sky:>f4 model:>f4"
OBJECT = """SURVEY:S6 INSTRUMENT:S4 SPECOBJID:S22 RUN2D:S3 PLATE:>i4 MJD:>i4 FIBERID:>i4
    PLUG_RA:>f8 PLUG_DEC:>f8 CLASS:S6 SUBCLASS:S21 Z:>f4 Z_ERR:>f4 ZWARNING:>i4"""


def write_survey(
    out: str | os.PathLike[str],
    *,
    n_matched: int = 150,
    n_apogee: int = 600,
    n_sspp: int = 500,
    seed: int = 1,
    release: str = "dr14",
) -> dict[str, int]:
    """Write allStar, ssppOut, spectra and ``truth.csv`` below a folder.

    The same arguments and library versions give the same bytes.

    Parameters
    ----------
    out : path-like
        Folder; made if absent.
    n_matched : int
        Labelled APOGEE stars with an SDSS spectrum of their own.
    n_apogee, n_sspp : int
        Rows of the two catalogs.
    seed : int
        Seed of all random numbers.
    release : {'dr14', 'dr17'}
        Name, proper motions and sentinels of allStar.

    Returns
    -------
    dict of str to int
        The counts that a correct reader finds: allstar_rows, duplicate_rows, labelled_rows,
        star_bad_rows, sspp_rows, sspp_without_labels, matched_stars, repeat_spectra,
        chance_neighbours, spectra, zero_spectra.

    Raises
    ------
    ValueError
        Numbers that do not fit together, or an unknown release.
    """
    n_repeat, n_duplicate = max(2, n_matched // 20), max(2, n_apogee * 3 // 100)
    n_own = n_matched + N_UNLABELLED
    n_file = n_own + n_repeat + N_CHANCE
    n_star = n_apogee - n_duplicate
    if n_matched < 5 or n_sspp < n_file or n_star < n_own:
        raise ValueError(
            f"{n_matched} matched stars (at least 5) need n_sspp >= {n_file} and "
            f"n_apogee >= {n_own + n_duplicate}."
        )
    if release not in NAMES:
        raise ValueError(f"Release {release!r} cannot be simulated: choose {' or '.join(NAMES)}.")
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    # APOGEE's stars come first, then those that only SDSS has seen; some of these lie beside
    # matched ones.
    others = np.arange(n_star, n_star + n_sspp - n_own - n_repeat)
    stars = draw_stars(rng, n_star + len(others))
    for i, star in enumerate(others[:N_CHANCE]):
        stars["ra"][star] = stars["ra"][i + 1]
        stars["dec"][star] = stars["dec"][i + 1] + rng.uniform(0.8, 1.6) / 3600
    names = star_names(stars)
    star_of_row = np.append(np.arange(n_star), rng.choice(n_star, n_duplicate, replace=False))
    repeated = rng.choice(n_matched, n_repeat, replace=False)
    targets = np.concatenate([np.arange(n_own), repeated, others])

    allstar = allstar_rows(rng, stars, names, star_of_row, n_matched, release)
    _save(folder / NAMES[release], allstar, seed)
    sspp = sspp_rows(rng, stars[targets], n_own, n_repeat)
    _save(folder / "ssppOut-dr12.fits", sspp, seed)
    snr = sspp["SNR"].astype(float)
    _write_spectra(folder, rng, stars[targets[:n_file]], sspp[:n_file], snr, seed)
    relations = ["true"] * n_own + ["repeat"] * n_repeat + ["chance"] * N_CHANCE
    hosts = np.concatenate([targets[: n_own + n_repeat], np.arange(1, N_CHANCE + 1)])
    with (folder / "truth.csv").open("w", newline="", encoding="ascii") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        labels = ("teff", "logg", "fe_h", "rv")
        writer.writerow(["apogee_id", "survey_key", "specobjid", "relation", *labels])
        for row, host, target, relation in zip(
            sspp[:n_file], hosts, targets, relations, strict=False
        ):
            key = f"{row['PLATE']}-{row['MJD']}-{row['FIBER']}-{row['RUN2D'].decode().strip()}"
            values = [f"{stars[label][target]:.4f}" for label in labels]
            ids = [names[host].decode(), key, row["SPECOBJID"].decode().strip()]
            writer.writerow([*ids, relation, *values])
    missing = np.isnan(allstar["TEFF"]) | (allstar["TEFF"] == -9999)
    return {
        "allstar_rows": n_apogee,
        "duplicate_rows": n_duplicate,
        "labelled_rows": int((~missing).sum()),
        "star_bad_rows": int(((allstar["ASPCAPFLAG"] & STAR_BAD) != 0).sum()),
        "sspp_rows": n_sspp,
        "sspp_without_labels": int((sspp["TEFF_ADOP"] == -9999).sum()),
        "matched_stars": n_matched,
        "repeat_spectra": n_repeat,
        "chance_neighbours": N_CHANCE,
        "spectra": n_file,
        "zero_spectra": 1,
    }


def _write_spectra(
    folder: Path,
    rng: np.random.Generator,
    stars: np.ndarray,
    rows: np.ndarray,
    snr: np.ndarray,
    seed: int,
) -> None:
    """One file per spectrum; the first one holds nothing but zeros."""
    model = line_model()
    for i, (star, row) in enumerate(zip(stars, rows, strict=True)):
        light = model_flux(model, *(float(star[x]) for x in ("teff", "logg", "fe_h", "rv")))
        light = light * 57 * 10 ** (-0.4 * (row["G_MAG"] - 17))
        first = int(rng.integers(0, 40))
        flux, ivar, mask = (values[first:] for values in observe(light, snr[i], rng))
        pixels = np.zeros(N_PIXELS - first, record_type(COADD))
        pixels["loglam"] = 3.5 + 1e-4 * (FIRST_INDEX + np.arange(first, N_PIXELS))
        pixels["or_mask"], pixels["and_mask"] = mask, mask & FULLREJECT
        pixels["wdisp"], pixels["sky"] = 1.0, 3.0
        if i:
            pixels["flux"], pixels["ivar"], pixels["model"] = flux, ivar, light[first:]
        thing = np.zeros(1, record_type(OBJECT))
        names = {"FIBERID": "FIBER", "SUBCLASS": "SPECTYPE_SUBCLASS"}
        for name in ("SPECOBJID", "RUN2D", "PLATE", "MJD", "FIBERID", "PLUG_RA", "PLUG_DEC"):
            thing[name] = row[names.get(name, name)]
        thing["SURVEY"], thing["INSTRUMENT"], thing["CLASS"] = b"segue1", b"SDSS", b"STAR  "
        thing["SUBCLASS"] = row["SPECTYPE_SUBCLASS"]
        thing["Z"], thing["Z_ERR"] = star["rv"] / 299_792.458, 1e-5
        plate, mjd, fiber = (int(row[x]) for x in ("PLATE", "MJD", "FIBER"))
        cards = {
            "PLATEID": plate,
            "MJD": mjd,
            "FIBERID": fiber,
            "RUN2D": row["RUN2D"].decode().strip(),
            "COEFF0": round(3.5 + 1e-4 * (FIRST_INDEX + first), 4),
            "COEFF1": 1e-4,
            "VACUUM": True,
            "FBADPIX": float(np.mean(pixels["ivar"] == 0)),
        }
        name = f"{plate:04d}/spec-{plate:04d}-{mjd:05d}-{fiber:04d}.fits"
        _save(folder / "spectra" / name, pixels, seed, thing, cards)


def _save(
    path: Path,
    table: np.ndarray,
    seed: int,
    second: np.ndarray | None = None,
    cards: dict[str, object] | None = None,
) -> None:
    """Write one or two tables, and say in the header that they are simulated."""
    primary = fits.PrimaryHDU()
    primary.header["SIMULATE"] = (True, "simulated survey: not an SDSS product")
    primary.header["SEED"] = (seed, "random seed of the simulation")
    primary.header.update(cards or {})
    hdus = [primary, fits.BinTableHDU(table, name=None if second is None else "COADD")]
    if second is not None:
        hdus.append(fits.BinTableHDU(second, name="SPECOBJ"))
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList(hdus).writeto(path, overwrite=True)
