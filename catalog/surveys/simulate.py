"""A small simulated survey in the formats of the real ones, for the demo and for tests.

Nothing in it is observed. Numbers, flags and traps are plausible; good results on it show that the
software works and say nothing about APOGEE or SDSS.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from catalog.surveys.simulate_spectra import LIGHT_KMS, LOGLAM, model_flux
from catalog.surveys.specobjid import pack_specobjid

NAMES = {"dr14": "allStar-l31c.2.fits", "dr17": "allStar-dr17-synspec_rev1.fits"}
# Bits of EXTRATARG, ASPCAPFLAG and SPPIXMASK.
DUPLICATE, STAR_BAD, FULLREJECT = 1 << 4, 1 << 23, 1 << 18
SKY_LINES = (5578.9, 5891.6, 6302.1, 7278.3, 7752.7, 8346.9, 8432.5, 8829.5, 8921.5)  # Angstrom
N_UNLABELLED, N_CHANCE = 4, 3
Array = np.ndarray
Rng = np.random.Generator


def write_survey(
    out: str | Path,
    *,
    n_matched: int = 150,
    n_apogee: int = 600,
    n_sspp: int = 500,
    seed: int = 1,
    release: str = "dr14",
) -> dict[str, int]:
    """Write allStar, ssppOut, spectra and ``truth.csv`` below a folder.

    Parameters
    ----------
    out : str or Path
        Folder; made if absent.
    n_matched, n_apogee, n_sspp : int
        Labelled APOGEE stars with an SDSS spectrum of their own; rows of the two catalogs.
    seed : int
        Seed of all random numbers: the same arguments give the same bytes.
    release : {'dr14', 'dr17'}
        Name, proper motions and sentinels of allStar.

    Returns
    -------
    dict of str to int
        The counts that a correct reader finds.

    Raises
    ------
    ValueError
        Numbers that do not fit together, or an unknown release.
    """
    n_repeat, n_duplicate = max(2, n_matched // 20), max(2, n_apogee * 3 // 100)
    n_own, n_star = n_matched + N_UNLABELLED, n_apogee - n_duplicate
    n_file = n_own + n_repeat + N_CHANCE
    if n_matched < 5 or n_sspp < n_file or n_star < n_own:
        need = f"at least {n_file} rows of ssppOut and {n_own + n_duplicate} of allStar"
        raise ValueError(f"{n_matched} matched stars (at least 5) need {need}.")
    if release not in NAMES:
        raise ValueError(f"Release {release!r} cannot be simulated: choose {' or '.join(NAMES)}.")
    folder, rng = Path(out), np.random.default_rng(seed)
    # APOGEE's stars come first, then those that only SDSS has seen, a few beside matched ones.
    others = np.arange(n_star, n_star + n_sspp - n_own - n_repeat)
    stars = _draw_stars(rng, n_star + len(others))
    hosts, chance = np.arange(1, 1 + N_CHANCE), others[:N_CHANCE]
    stars["ra"][chance] = stars["ra"][hosts]
    stars["dec"][chance] = stars["dec"][hosts] + rng.uniform(0.8, 1.6, N_CHANCE) / 3600
    # Some stars with a spectrum have no labels, and a fifth of those without one.
    labelled = (np.arange(n_star) < n_matched) | (rng.random(n_star) < 0.8)
    labelled[n_matched:n_own] = False
    shown = np.append(np.arange(n_star), rng.choice(n_star, n_duplicate, replace=False))
    allstar = _allstar(rng, stars[shown], np.arange(n_apogee) >= n_star, ~labelled[shown], release)
    again = rng.choice(n_matched, n_repeat, replace=False)
    targets = np.concatenate([np.arange(n_own), again, others])
    relation = np.repeat(["true", "repeat", "chance"], [n_own, n_repeat, len(others)])
    sspp = _sspp(rng, stars[targets], relation == "repeat")

    _save(folder / NAMES[release], {"SEED": seed}, ALLSTAR=allstar)
    _save(folder / "ssppOut-dr12.fits", {"SEED": seed}, SSPPOUT=sspp)
    _write_spectra(rng, folder / "spectra", stars[targets[:n_file]], sspp[:n_file])
    lines = ["apogee_id,survey_key,relation,teff,logg,fe_h,rv"]
    for i, host in enumerate([*range(n_own), *again, *hosts]):
        plate, mjd, fiber, run2d = sspp[["PLATE", "MJD", "FIBER", "RUN2D"]][i]
        ids = f"{stars['name'][host]},{plate}-{mjd}-{fiber}-{run2d.decode().strip()}"
        truth = (f"{stars[name][targets[i]]:.4f}" for name in ("teff", "logg", "fe_h", "rv"))
        lines.append(",".join([ids, relation[i], *truth]))
    (folder / "truth.csv").write_text("\n".join([*lines, ""]), encoding="ascii")
    return {
        "allstar_rows": n_apogee, "duplicate_rows": n_duplicate,
        "labelled_rows": int(labelled[shown].sum()),
        "star_bad_rows": int((allstar["ASPCAPFLAG"] != 0).sum()),
        "sspp_rows": n_sspp, "sspp_without_labels": int((sspp["TEFF_ADOP"] == -9999).sum()),
        "matched_stars": n_matched, "repeat_spectra": n_repeat, "chance_neighbours": N_CHANCE,
        "spectra": n_file, "zero_spectra": 1,
    }  # fmt: skip


def _draw_stars(rng: Rng, n: int) -> Array:
    """Giants like APOGEE's, with names like 2MASS's: degrees, K, dex, km/s, mas/yr, mag."""
    ra, dec = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-0.17, 0.93, n)))
    name = [f"2M{a * 1e5:08.0f}{d * 1e5:+08.0f}" for a, d in zip(ra, dec, strict=True)]
    teff, fe_h = 3900 + 1700 * rng.beta(2.5, 1.8, n), np.clip(rng.normal(-0.35, 0.4, n), -2.3, 0.45)
    # The giant branch: hotter giants are smaller, metal-poor ones hotter at the same size.
    branch = 0.5 + 3.3 * (teff - 3900) / 1700 + 0.35 * (fe_h + 0.35)
    star: dict[str, Any] = {
        "name": name, "ra": ra, "dec": dec, "teff": teff, "fe_h": fe_h,
        "logg": np.clip(rng.normal(branch, 0.2), 0.4, 3.85),
        "alpha": rng.normal(np.clip(0.03 - 0.18 * fe_h, -0.05, 0.32), 0.03),
        "rv": rng.normal(-20, 70, n), "h_mag": rng.uniform(10, 13.5, n),
        "pmra": rng.normal(0, 5, n), "pmdec": rng.normal(0, 5, n),
    }  # fmt: skip
    return np.rec.fromarrays([*star.values()], formats="U18" + 10 * ",f8", names=",".join(star))


def _allstar(rng: Rng, stars: Array, second: Array, missing: Array, release: str) -> Array:
    """Return rows of allStar; some are second observations of a star, some have no labels."""
    gone, prefix = (np.nan, "GAIAEDR3_") if release == "dr17" else (-9999.0, "")
    n, telescope = len(stars), np.where(second, "apo1m", "apo25m")
    target = np.strings.add("4264.", stars["name"])
    apstar = [f"apogee.{t}.s.stars.{x}" for t, x in zip(telescope, target, strict=True)]
    no_motion = rng.random(n) < 0.1
    labels: dict[str, Any] = {
        "TEFF": rng.normal(stars["teff"], 60), "TEFF_ERR": 60.0,
        "LOGG": rng.normal(stars["logg"], 0.06), "LOGG_ERR": 0.06,
        "M_H": rng.normal(stars["fe_h"], 0.02), "M_H_ERR": 0.02,
        "FE_H": rng.normal(stars["fe_h"], 0.02), "FE_H_ERR": 0.02,
        "ALPHA_M": rng.normal(stars["alpha"], 0.02), "ALPHA_M_ERR": 0.02,
    }  # fmt: skip
    # Two abundances that follow alpha, each missing for a few stars.
    own = rng.spawn(1)[0]
    for name, part in (("O_FE", 0.9), ("SI_FE", 0.7)):
        lost, value = own.random(n) < 0.1, own.normal(part * stars["alpha"], 0.03)
        labels |= {name: np.where(lost, gone, value), f"{name}_ERR": np.where(lost, gone, 0.03)}
    columns: dict[str, Any] = {
        "APSTAR_ID": np.strings.ljust(apstar, 45), "APOGEE_ID": np.strings.ljust(stars["name"], 18),
        "TARGET_ID": np.strings.ljust(target, 34), "TELESCOPE": np.strings.ljust(telescope, 8),
        "RA": stars["ra"], "DEC": stars["dec"], "VHELIO_AVG": stars["rv"], "STARFLAG": 0,
        "J": stars["h_mag"] + 0.6, "H": stars["h_mag"], "K": stars["h_mag"] - 0.15,
        "SNR": rng.lognormal(4.8, 0.4, n) * np.where(second, 0.5, 1),
        "ASPCAPFLAG": np.where(missing | (rng.random(n) < 0.04), STAR_BAD, 0),
        "EXTRATARG": np.where(second, DUPLICATE, 0),
        **{prefix + x.upper(): np.where(no_motion, gone, stars[x]) for x in ("pmra", "pmdec")},
    }  # fmt: skip
    return _table(columns | {name: np.where(missing, gone, x) for name, x in labels.items()})


def _sspp(rng: Rng, stars: Array, repeat: Array) -> Array:
    """Return rows of ssppOut, one per spectrum; the specObjIDs of repeats are beyond 2**63."""
    n, number = len(stars), np.arange(len(stars))
    plate = np.where(repeat, 8954 + number // 60, 1960 + 97 * (number // 60) % 6000)
    mjd, fiber = 52_000 + plate // 2, 1 + 10 * (number % 60) + rng.integers(0, 10, n)
    run2d = np.where(plate < 2500, "26", "103")
    keys = zip(plate.tolist(), mjd.tolist(), fiber.tolist(), run2d.tolist(), strict=True)
    # Seven years of proper motion, and errors of 0.1 arcsec.
    east, north = (rng.normal(7 * stars[x] / 3.6e6, 0.1 / 3600) for x in ("pmra", "pmdec"))
    colour, v_mag = 1.0 - (stars["teff"] - 4800) / 2200, stars["h_mag"] + 2.5
    # A tenth has no labels; of the others one in fifty is far off. Scatter, with that of ASPCAP, as
    # SEGUE found it against high resolution: 117 K, 0.26 and 0.22 dex; stated errors are smaller.
    missing, worse = rng.random(n) < 0.1, np.where(rng.random(n) < 0.02, 6, 1)
    labels: dict[str, Any] = {
        "TEFF_ADOP": rng.normal(stars["teff"] + 110, 101 * worse), "TEFF_ADOP_UNC": 75.0,
        "LOGG_ADOP": rng.normal(stars["logg"] + 0.15, 0.25 * worse), "LOGG_ADOP_UNC": 0.2,
        "FEH_ADOP": rng.normal(stars["fe_h"] - 0.1, 0.22 * worse), "FEH_ADOP_UNC": 0.1,
        "AFE": rng.normal(stars["alpha"], 0.1 * worse), "AFE_UNC": 0.07,
        "RV_ADOP": rng.normal(stars["rv"], 4 * worse), "RV_ADOP_UNC": 4.0,
    }  # fmt: skip
    columns: dict[str, Any] = {
        "SPECOBJID": [f"{pack_specobjid(*key):>22}" for key in keys],
        "SPECPRIMARY": np.where(repeat, 0, 1), "PLATE": plate, "MJD": mjd, "FIBER": fiber,
        "RUN2D": np.strings.ljust(run2d, 3), "FLAG": np.where(missing, "Nnnnn", "nnnnn"),
        "PLUG_RA": (stars["ra"] + east / np.cos(np.radians(stars["dec"]))) % 360,
        "PLUG_DEC": stars["dec"] + north, "BV": colour, "V_MAG": v_mag,
        "G_MAG": v_mag + 0.56 * colour, "ZWARNING": 0, "SNR": 15 * (100 / 15) ** rng.random(n),
    }  # fmt: skip
    return _table(columns | {name: np.where(missing, -9999.0, x) for name, x in labels.items()})


def _observe(rng: Rng, flux: Array, snr: Array) -> tuple[Array, Array]:
    """Flux and ivar with errors of the calibration, noise, residuals of the sky, bad pixels."""
    x, (tilt, bend) = np.linspace(-1, 1, len(LOGLAM)), rng.normal(0, 0.05, (2, len(flux), 1))
    flux = flux * (1 + tilt * x + bend * x**2)
    sky = np.exp(-0.5 * ((10 ** LOGLAM[:, None] / SKY_LINES - 1) * 4400) ** 2).sum(axis=1)
    typical = np.median(flux, axis=1, keepdims=True)
    sigma = typical / snr[:, None] * np.sqrt(0.3 + 0.7 * flux / typical + 8 * sky)
    # Sky subtraction leaves more than the variance says.
    flux += sigma * rng.standard_normal(flux.shape) * (1 + 0.5 * np.minimum(sky, 1))
    bad = rng.random(flux.shape) < 0.01
    flux[bad] *= rng.uniform(0, 5, int(bad.sum()))
    return flux, np.where(bad, 0, sigma**-2.0)


def _write_spectra(rng: Rng, folder: Path, stars: Array, rows: Array) -> None:
    """One file per spectrum; the first one holds nothing but zeros."""
    light = model_flux(*(stars[name] for name in ("teff", "logg", "fe_h", "rv")))
    light *= 57 * 10 ** (-0.4 * (rows["G_MAG"][:, None] - 17))  # 57e-17 erg/s/cm2/A at g = 17
    flux, ivar = _observe(rng, light, rows["SNR"].astype(float))
    flux[0] = ivar[0] = 0
    same = ("SPECOBJID", "RUN2D", "PLATE", "MJD", "PLUG_RA", "PLUG_DEC", "ZWARNING")
    for i, first in enumerate(10 * rng.integers(0, 4, len(rows))):
        mask = np.where(ivar[i] > 0, 0, FULLREJECT)
        coadd = {"flux": flux[i], "ivar": ivar[i], "and_mask": mask, "or_mask": mask}
        row, z = rows[i : i + 1], stars["rv"][i] / LIGHT_KMS
        about = {"FIBERID": row["FIBER"], "CLASS": "STAR  ", "Z": z, "Z_ERR": 1e-5}
        about |= {name: row[name] for name in same}
        plate, mjd, fiber = (int(row[name][0]) for name in ("PLATE", "MJD", "FIBER"))
        cards = {"PLATEID": plate, "MJD": mjd, "FIBERID": fiber, "RUN2D": row["RUN2D"][0].decode()}
        path = folder / f"{plate:04d}" / f"spec-{plate:04d}-{mjd:05d}-{fiber:04d}.fits"
        _save(path, cards, COADD=_table(coadd | {"loglam": LOGLAM})[first:], SPECOBJ=_table(about))


def _table(columns: dict[str, Any]) -> Array:
    """Big-endian records, with numbers of 32 bits except for coordinates."""
    kinds, arrays = {"f": ">f4", "i": ">i4"}, np.broadcast_arrays(*columns.values())
    types = [
        ">f8" if name.endswith(("RA", "DEC")) else kinds.get(a.dtype.kind) or f"S{len(a[0])}"
        for name, a in zip(columns, arrays, strict=True)
    ]
    return np.rec.fromarrays(arrays, formats=types, names=",".join(columns))


@cache
def _table_header(dtype: np.dtype, n: int, name: str) -> bytes:
    """Header of a binary table; kept, because making it takes longer than all the rest."""
    header: str = fits.BinTableHDU(np.zeros(n, dtype), name=name).header.tostring()
    return header.encode("ascii")


def _save(path: Path, cards: dict[str, int | str], **tables: Array) -> None:
    """Write tables behind a header which says that they are simulated."""
    primary = fits.PrimaryHDU()
    primary.header["SIMULATE"] = (True, "simulated survey: not an SDSS product")
    primary.header.update(cards)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        stream.write(primary.header.tostring().encode("ascii"))
        for name, table in tables.items():
            stream.write(_table_header(table.dtype, len(table), name))
            stream.write(table.tobytes() + bytes(-table.nbytes % 2880))
