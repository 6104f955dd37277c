"""LAMOST low-resolution spectra: the image layout (to DR7) and the table layout (from DR8).

Image layout, https://www.lamost.org/dr7/v2.0/doc/lr-data-production-description: rows of the
primary image are flux, inverse variance, wavelength (pilot survey: flux without continuum), andmask
and ormask. Table layout: one row of arrays FLUX, IVAR, WAVELENGTH, ANDMASK, ORMASK in COADD.
Wavelengths are in vacuum and heliocentric, on a grid 0.02 pixel off that of SDSS at most.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import numpy as np

from catalog.errors import BadInputError
from catalog.files.missing import MISSING_BELOW
from catalog.files.units import scale_to
from catalog.fits.cards import CardValue
from catalog.fits.checksum import verify_checksums
from catalog.fits.file import FitsFile, open_fits
from catalog.fits.table import native, open_table
from catalog.surveys.spectrum import (
    SpectrumFile,
    bad_fraction,
    check_key,
    check_pixels,
    check_position,
    check_vacuum,
    convert_fluxes,
    plain_text,
    real_number,
    whole_number,
)

FILE_NAME = re.compile(r"spec-(\d+)-(.+)_sp(\d+)-(\d+)\.fits(\.gz)?")
TABLE_COLUMNS = ("flux", "ivar", "wavelength", "andmask", "ormask")
N_IMAGE_ROWS = 5
# The third image row is a wavelength if it looks like one: Angstrom, not normalized flux.
MIN_WAVELENGTH = 1000.0


def is_lamost(file: FitsFile) -> bool:
    """Return whether an open file has a spectrum of LAMOST: its header names the telescope."""
    return str(file.hdus[0].header.get("TELESCOP", "")).strip().upper() == "LAMOST"


def read_lamost(path: str | os.PathLike[str]) -> SpectrumFile:
    """Read a LAMOST spectrum of either layout.

    Parameters
    ----------
    path : path-like
        ``spec-LMJD-PLANID_spNN-FFF.fits``, gzip-compressed or not. Another name is accepted; a
        name of this form must agree with the header.

    Returns
    -------
    SpectrumFile
        Without plate, run2d and specobjid; flux is relative.

    Raises
    ------
    BadInputError
        The codes of `open_fits`, and NO_TABLE_HDU, MISSING_COLUMN, BAD_DTYPE, CHECKSUM,
        WRONG_CONTENT, BAD_COORD, BAD_GRID, BAD_IVAR, BAD_FLUX.
    """
    path = Path(path)
    with open_fits(path) as file:
        header = file.hdus[0].header
        check_vacuum(path, header)
        arrays = _read_image(file) if header.get("NAXIS") == 2 else _read_table(file)
        simulated, notes = file.simulated, file.notes
    key, fiberid = _identity(path, header)
    loglam = _loglam(header, arrays["wavelength"])
    pixels = check_pixels(
        path, loglam, arrays["flux"], arrays["ivar"], arrays["andmask"], arrays["ormask"]
    )
    ra, dec = check_position(path, _number(header, "RA"), _number(header, "DEC"))
    mjd = header.get("MJD")
    if isinstance(mjd, int):
        whole_number(path, "MJD", mjd)
    return SpectrumFile(
        **vars(pixels),
        path=path,
        survey="lamost",
        survey_key=key,
        ra=ra,
        dec=dec,
        plate=None,
        mjd=mjd if isinstance(mjd, int) else None,
        fiberid=fiberid,
        run2d=None,
        specobjid=None,
        class_=plain_text(header.get("CLASS")),
        subclass=plain_text(header.get("SUBCLASS")),
        z=_number(header, "Z"),
        z_err=_number(header, "Z_ERR"),
        zwarning=None,
        instrument="LAMOST",
        fbadpix=bad_fraction(pixels.ivar),
        simulated=simulated,
        pipeline=plain_text(header.get("VERSPIPE")),
        notes=notes,
    )


def _read_image(file: FitsFile) -> dict[str, np.ndarray]:
    """Return the rows of the primary image, by the names of the table layout."""
    hdu = file.hdus[0]
    header = hdu.header
    if header["BITPIX"] != -32 or header["NAXIS2"] != N_IMAGE_ROWS or header.get("GROUPS") is True:
        raise BadInputError(
            "BAD_DTYPE",
            f"the image of {file.path} has not {N_IMAGE_ROWS} rows of 32-bit numbers",
            "Check that this is a LAMOST low-resolution spectrum.",
        )
    verify_checksums(file, hdu)
    file.stream.seek(hdu.data_offset)
    image = np.fromfile(file.stream, ">f4", N_IMAGE_ROWS * int(header["NAXIS1"]))
    arrays = dict(zip(TABLE_COLUMNS, image.reshape(N_IMAGE_ROWS, -1).astype("f4"), strict=True))
    return _converted(file.path, arrays, {"flux": str(header.get("BUNIT", ""))})


def _read_table(file: FitsFile) -> dict[str, np.ndarray]:
    """Return the arrays in the only row of the table."""
    table = open_table(file, "COADD")
    verify_checksums(file, table.hdu)
    columns = {name: table.require(name, "float", array=True) for name in TABLE_COLUMNS[:3]}
    for name in TABLE_COLUMNS[3:]:
        columns[name] = table.require(name, "number", array=True)
    rows = table.read(0, 1, columns.values())
    if not len(rows):
        raise BadInputError("BAD_GRID", f"the COADD table of {file.path} has no row", "")
    arrays = {name: np.asarray(native(rows, c)).reshape(-1) for name, c in columns.items()}
    if len({len(values) for values in arrays.values()}) > 1:
        raise BadInputError("BAD_DTYPE", f"the arrays of {file.path} differ in length", "")
    return _converted(file.path, arrays, {name: c.unit for name, c in columns.items()})


def _converted(
    path: Path, arrays: dict[str, np.ndarray], units: dict[str, str]
) -> dict[str, np.ndarray]:
    """Return the arrays in the catalog's units, by the units that the file names, if any."""
    flux, ivar = convert_fluxes(
        path, arrays["flux"], arrays["ivar"],
        {"flux": units.get("flux", ""), "ivar": units.get("ivar", "")}, relative=True,
    )  # fmt: skip
    scale = scale_to(units.get("wavelength"), "Angstrom", f"wavelength of {path}")
    return arrays | {"flux": flux, "ivar": ivar, "wavelength": scale.value(arrays["wavelength"])}


def _loglam(header: dict[str, CardValue], wavelength: np.ndarray) -> np.ndarray:
    """Return log10 of the vacuum wavelength: stored where there is a row for it, else by header."""
    if len(wavelength) and np.min(wavelength) > MIN_WAVELENGTH:
        return np.asarray(np.log10(wavelength.astype("f8")))
    start, step = _number(header, "COEFF0"), _number(header, "COEFF1")
    return start + step * np.arange(len(wavelength))


def _identity(path: Path, header: dict[str, CardValue]) -> tuple[str, int | None]:
    """Return the key of the observation and its fibre, checked against the file name."""
    cards = [header.get(card) for card in ("LMJD", "PLANID", "SPID", "FIBERID")]
    said = None if None in cards else tuple(str(card).strip() for card in cards)
    if said and not said[3].isdecimal():
        raise BadInputError("BAD_ID", f"FIBERID of {path} is {said[3]!r}, not a number", "")
    found = FILE_NAME.fullmatch(path.name)
    if found and said:
        lmjd, plan, spectrograph, fiber = found.groups()[:4]
        name = (str(int(lmjd)), plan, str(int(spectrograph)), str(int(fiber)))
        if name != said:
            raise BadInputError(
                "WRONG_CONTENT",
                f"{path} holds the spectrum {'-'.join(said)}",
                "Download the right file.",
            )
    obsid = str(header.get("OBSID", "")).strip()
    if not obsid and not said:
        raise BadInputError(
            "WRONG_CONTENT", f"{path} has neither OBSID nor LMJD, PLANID, SPID and FIBERID", ""
        )
    fiberid = whole_number(path, "FIBERID", int(said[3])) if said else None
    return check_key(path, obsid or "-".join(said or ())), fiberid


def _number(header: dict[str, CardValue], card: str) -> float:
    """Return a real number from a header; NaN where there is none or a sentinel."""
    value = real_number(header.get(card))
    return value if value > MISSING_BELOW else math.nan
