"""Spectra written from scratch, in the layouts of the surveys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits


def write_lamost(
    path: Path,
    cards: dict[str, Any] | None = None,
    units: dict[str, str] | None = None,
    n: int = 3000,
) -> Path:
    """Write a LAMOST spectrum of S/N 16 in the table layout of DR8 and later."""
    wave = 10 ** (3.5682 + 1e-4 * np.arange(n))
    names = ("FLUX", "IVAR", "WAVELENGTH", "ANDMASK", "ORMASK")
    values = (np.full(n, 8.0), np.full(n, 4.0), wave, np.zeros(n), np.ones(n))
    columns = [
        fits.Column(name, f"{n}E", array=value[None].astype("f4"), unit=(units or {}).get(name))
        for name, value in zip(names, values, strict=True)
    ]
    primary = fits.PrimaryHDU()
    header = {"TELESCOP": "LAMOST", "OBSID": 353301015, "RA": 10.5, "DEC": 41.2, "Z": -9999.0}
    primary.header.update(header | (cards or {}))
    fits.HDUList([primary, fits.BinTableHDU.from_columns(columns, name="COADD")]).writeto(path)
    return path


def write_sdss(
    path: Path,
    fiber: int = 1,
    flux: float = 10.0,
    run2d: str = "26",
    cards: dict[str, Any] | None = None,
    n: int = 3000,
) -> Path:
    """Write the spectrum 1000-52000-FIBER of SDSS with this flux, or noise around it."""
    primary = fits.PrimaryHDU()
    key = {"PLATEID": 1000, "MJD": 52000, "FIBERID": fiber, "RUN2D": run2d}
    primary.header.update(key | {"PLUG_RA": 10.0 + fiber, "PLUG_DEC": 1.0} | (cards or {}))
    columns = [
        fits.Column("flux", "E", array=np.full(n, flux)),
        fits.Column("loglam", "E", array=3.58 + 1e-4 * np.arange(n)),
        fits.Column("ivar", "E", array=np.ones(n)),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList([primary, fits.BinTableHDU.from_columns(columns, name="COADD")]).writeto(
        path, overwrite=True
    )
    return path
