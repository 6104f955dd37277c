"""One spectrum as it enters the catalog: its record, and the checks on its pixels.

Flux and inverse variance follow the SDSS data model: ivar = 0 is a pixel without information, and
the signal-to-noise ratio of a spectrum is the median of flux * sqrt(ivar) over the others.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from catalog.errors import BadInputError
from catalog.files.units import scale_to
from catalog.fits.cards import CardValue
from catalog.words import count

GRID_START = 3.5
GRID_STEP = 1e-4
# LAMOST's grid lies 0.02 pixel off; float32 rounds log10(wavelength) to 0.0024 pixel.
GRID_TOLERANCE = 0.1
MIN_PIXELS = 100
LARGEST_INT32 = 2**31 - 1
LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
FLUX_UNIT = "1e-17 erg/s/cm2/Angstrom"
IVAR_UNIT = "1e34 s2 cm4 Angstrom2 / erg2"
# What units of relative flux are called; without the slash of "1/flux^2", that of its ivar.
RELATIVE = ("relative", "relative flux", "arbitrary", "arbitrary units", "counts", "adu", "flux")
INVERSE_FLUX = re.compile(r"(1/)?\(?flux\)?(\^|\*\*)?-?2", re.I)

State = Literal["ok", "ZERO_SPECTRUM", "NO_GOOD_PIXELS"]


@dataclass(frozen=True)
class Pixels:
    """The pixels of a spectrum on the logarithmic grid of SDSS, checked by `check_pixels`.

    Parameters
    ----------
    loglam0 : float
        log10 of the vacuum wavelength [Angstrom] of the first pixel; the step is 1e-4.
    first_index : int
        Number of the first pixel on the grid 3.5 + 1e-4 k.
    flux : numpy.ndarray
        float32, shape (n_pixels,), 1e-17 erg s-1 cm-2 A-1 (LAMOST: relative); 0 where ivar is 0
        and the file has no number.
    ivar : numpy.ndarray
        float32, shape (n_pixels,), inverse variance of flux; 0 is no information.
    and_mask, or_mask : numpy.ndarray
        int32, shape (n_pixels,): mask bits set in all exposures, in any exposure.
    sn_median : float
        Median of flux * sqrt(ivar) over pixels with ivar > 0; NaN if there is none.
    state : str
        ``ok``, or the reason why the pixels are empty: ``ZERO_SPECTRUM`` or ``NO_GOOD_PIXELS``.
    """

    loglam0: float
    first_index: int
    flux: np.ndarray
    ivar: np.ndarray
    and_mask: np.ndarray
    or_mask: np.ndarray
    sn_median: float
    state: State


@dataclass(frozen=True)
class SpectrumFile(Pixels):
    """A spectrum with what its file says about it.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    survey : str
        Such as ``sdss`` or ``lamost``: a name of `catalog.surveys.registry.SURVEYS`.
    survey_key : str
        ``plate-mjd-fiber-run2d`` (SDSS), or the obsid (LAMOST; where a file has none,
        ``lmjd-planid-spectrograph-fiber``).
    ra, dec : float
        Degrees, ICRS.
    plate, mjd, fiberid : int or None
        Plate and fibre are None where the survey has none.
    run2d : str or None
        Reduction (SDSS).
    specobjid : int or None
        Unsigned 64-bit id (SDSS).
    class_, subclass : str
        Classification; empty where there is none.
    z, z_err : float
        Redshift and its error; NaN where there is none.
    zwarning : int or None
        Warning bits of the redshift.
    instrument : str
        Such as ``SDSS``, ``BOSS`` or ``LAMOST``: one of the survey's instruments.
    fbadpix : float
        Fraction of bad pixels as the file says; the fraction with ivar = 0 where it says nothing.
    simulated : bool
        Whether the file says that nobody observed this.
    pipeline : str
        Version of the reduction, where it is not part of the key (LAMOST's VERSPIPE); else empty.
    notes : tuple of str
        What is odd about the file and does not touch the spectrum.
    """

    path: Path
    survey: str
    survey_key: str
    ra: float
    dec: float
    plate: int | None
    mjd: int | None
    fiberid: int | None
    run2d: str | None
    specobjid: int | None
    class_: str
    subclass: str
    z: float
    z_err: float
    zwarning: int | None
    instrument: str
    fbadpix: float
    simulated: bool = False
    pipeline: str = ""
    notes: tuple[str, ...] = ()


def check_pixels(
    path: Path,
    loglam: np.ndarray,
    flux: np.ndarray,
    ivar: np.ndarray,
    and_mask: np.ndarray,
    or_mask: np.ndarray,
) -> Pixels:
    """Check the pixels of one spectrum and place them on the grid.

    Parameters
    ----------
    path : pathlib.Path
        For messages.
    loglam : numpy.ndarray
        log10 of the vacuum wavelength [Angstrom], shape (n_pixels,).
    flux, ivar : numpy.ndarray
        Shape (n_pixels,).
    and_mask, or_mask : numpy.ndarray
        Integers, shape (n_pixels,).

    Returns
    -------
    Pixels

    Raises
    ------
    BadInputError
        BAD_GRID, BAD_IVAR or BAD_FLUX.
    """
    # What is too large for float32 is infinite, and refused as NaN is.
    with np.errstate(over="ignore", invalid="ignore"):
        loglam0, first_index = _place_on_grid(path, np.asarray(loglam, "f8"))
        flux, ivar = np.array(flux, "f4"), np.array(ivar, "f4")
    odd = ~np.isfinite(ivar) | (ivar < 0)
    if odd.any():
        raise BadInputError(
            "BAD_IVAR",
            f"ivar is negative or not finite in {odd.sum()} pixels of {path}",
            "Download the file again.",
        )
    good = ivar > 0
    unknown = ~np.isfinite(flux)
    if (unknown & good).any():
        raise BadInputError(
            "BAD_FLUX",
            f"flux is not finite in {(unknown & good).sum()} pixels of {path} with ivar > 0",
            "Download the file again.",
        )
    flux[unknown] = 0.0
    state: State = "ok"
    if not flux.any():
        state = "ZERO_SPECTRUM"
    elif not good.any():
        state = "NO_GOOD_PIXELS"
    return Pixels(
        loglam0=loglam0,
        first_index=first_index,
        flux=flux,
        ivar=ivar,
        and_mask=_mask_bits(and_mask),
        or_mask=_mask_bits(or_mask),
        sn_median=signal_to_noise(flux, ivar),
        state=state,
    )


def signal_to_noise(flux: np.ndarray, ivar: np.ndarray) -> float:
    """Return the median of flux * sqrt(ivar) over the pixels with ivar > 0.

    Parameters
    ----------
    flux, ivar : numpy.ndarray
        Shape (n_pixels,).

    Returns
    -------
    float
        NaN if no pixel is good.
    """
    good = ivar > 0
    if not good.any():
        return float("nan")
    return float(np.median(flux[good].astype("f8") * np.sqrt(ivar[good].astype("f8"))))


def convert_fluxes(
    path: Path, flux: np.ndarray, ivar: np.ndarray, units: Mapping[str, str], *, relative: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the flux and inverse variance in the catalog's unit.

    Parameters
    ----------
    path : pathlib.Path
        For messages.
    flux, ivar : numpy.ndarray
        As the file has them, shape (n_pixels,).
    units : mapping of str to str
        Units that the file names, of ``flux`` and ``ivar``; empty where it names none. Flux is
        then taken as it is, and ivar for that of the flux.
    relative : bool
        Whether the survey's fluxes are relative: words for that are then no unit.

    Returns
    -------
    flux, ivar : numpy.ndarray
        In 1e-17 erg s-1 cm-2 A-1 and its inverse square.

    Raises
    ------
    BadInputError
        BAD_UNIT.
    """
    said = {name: unit.strip() for name, unit in units.items()}
    if relative and said["flux"].lower() in RELATIVE:
        said["flux"] = ""
    if INVERSE_FLUX.fullmatch(said["ivar"].replace(" ", "")):
        said["ivar"] = ""
    scale = scale_to(said["flux"], FLUX_UNIT, f"flux of {path}")
    weight = scale_to(said["ivar"], IVAR_UNIT, f"ivar of {path}")
    factor = scale.factor**-2 if weight.assumed else weight.factor
    with np.errstate(over="ignore", invalid="ignore"):  # `check_pixels` looks at what is no number
        flux, ivar = np.asarray(flux, "f8"), np.asarray(ivar, "f8")
        return scale.value(flux), ivar if factor == 1.0 else ivar * factor


def plain_text(value: object) -> str:
    """Return text of a header or a cell; empty where it is none, or not printable ASCII."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if not isinstance(value, str):
        return ""
    text = value.strip(" \0")
    return text if text.isascii() and text.isprintable() else ""


def real_number(value: object) -> float:
    """Return a number that float32 can hold; NaN where there is none."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float):
        return math.nan
    return float(value) if abs(value) <= LARGEST_FLOAT32 else math.nan


def check_key(path: Path, key: str) -> str:
    """Return the key of a spectrum; BAD_ID if it is not printable ASCII without blanks."""
    if not (key and key.isascii() and key.isprintable() and " " not in key):
        raise BadInputError(
            "BAD_ID", f"{key!r} in {path} cannot be the key of a spectrum", "Download it again."
        )
    return key


def whole_number(path: Path, name: str, value: int) -> int:
    """Return a plate, MJD or fibre; BAD_ID if it is beyond what a survey counts to."""
    if not 0 <= value <= LARGEST_INT32:
        raise BadInputError("BAD_ID", f"{name} of {path} is {value}", "Download it again.")
    return value


def check_position(path: Path, ra: float, dec: float) -> tuple[float, float]:
    """Return a position in degrees if it is one; fail with BAD_COORD if not.

    A right ascension of exactly 360 is 0: a program rounded 359.99999... up.
    """
    ra = 0.0 if ra == 360 else ra
    if not (0 <= ra < 360 and -90 <= dec <= 90):
        raise BadInputError(
            "BAD_COORD", f"RA {ra}, Dec {dec} (degrees) in {path} is no position", ""
        )
    return ra, dec


def check_vacuum(path: Path, header: Mapping[str, CardValue]) -> None:
    """Fail with BAD_GRID if a header says that the wavelengths are those in air."""
    if header.get("VACUUM") in (False, 0, "F"):
        raise BadInputError(
            "BAD_GRID",
            f"the wavelengths of {path} are in air, as its card VACUUM says",
            "Only spectra with vacuum wavelengths can be used.",
        )


def bad_fraction(ivar: np.ndarray) -> float:
    """Return the fraction of the pixels with ivar = 0."""
    return float(np.mean(ivar == 0))


def _mask_bits(mask: np.ndarray) -> np.ndarray:
    """Mask bits as int32; LAMOST stores them as floats."""
    if mask.dtype.kind == "f":
        mask = np.where(np.abs(mask) < 2.0**31, mask, 0)
    return mask.astype("i4")


def _place_on_grid(path: Path, loglam: np.ndarray) -> tuple[float, int]:
    """First wavelength and first index, if the pixels follow the grid one by one."""
    if len(loglam) < MIN_PIXELS:
        raise BadInputError(
            "BAD_GRID", f"{path} has {count(len(loglam), 'pixel')}, fewer than {MIN_PIXELS}", ""
        )
    place = (loglam - GRID_START) / GRID_STEP
    if not np.isfinite(place).all() or np.abs(place).max() > 1e6:
        raise BadInputError("BAD_GRID", f"loglam of {path} is not a wavelength everywhere", "")
    index = np.rint(place)
    offset = place - index
    if np.any(np.diff(index) != 1):
        row = int(np.flatnonzero(np.diff(index) != 1)[0])
        raise BadInputError(
            "BAD_GRID",
            f"loglam of {path} does not rise by {GRID_STEP} from pixel {row} to the next",
            "Only spectra on the logarithmic grid of SDSS can be used.",
        )
    if np.abs(offset).max() > GRID_TOLERANCE:
        raise BadInputError(
            "BAD_GRID",
            f"loglam of {path} lies {np.abs(offset).max():.2f} pixel off 3.5 + 1e-4 k",
            "Only spectra on the logarithmic grid of SDSS can be used.",
        )
    loglam0 = GRID_START + GRID_STEP * (index[0] + float(np.median(offset)))
    return round(loglam0, 6), int(index[0])
