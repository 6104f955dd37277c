"""Spectrum files of SDSS DR8 and later, full and lite, SDSS and BOSS spectrographs.

The layout is https://data.sdss.org/datamodel/files/BOSS_SPECTRO_REDUX/RUN2D/spectra/PLATE4/spec.html:
HDU1 COADD with one row per pixel, HDU2 (SPECOBJ or SPALL) with one row about the object.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from catalog.errors import BadInputError
from catalog.files.units import scale_to
from catalog.fits.checksum import verify_checksums
from catalog.fits.file import FitsFile, open_fits
from catalog.fits.table import Column, Kind, Table, native, open_table, table_of
from catalog.surveys.specobjid import pack_specobjid, parse_ids
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

FILE_NAME = re.compile(r"spec-(\d+)-(\d+)-(\d+)\.fits(\.gz)?")
PIXELS: dict[str, Kind] = {"loglam": "float", "flux": "float", "ivar": "float"}
MASKS = ("and_mask", "or_mask")
# Used columns of the object's row, and the primary header's card that may stand in.
OBJECT_CARDS: dict[str, str] = {
    "plate": "PLATEID",
    "mjd": "MJD",
    "fiberid": "FIBERID",
    "run2d": "RUN2D",
    "specobjid": "SPEC_ID",
    "plug_ra": "PLUG_RA",
    "plug_dec": "PLUG_DEC",
    "class": "CLASS",
    "subclass": "SUBCLASS",
    "z": "Z",
    "z_err": "Z_ERR",
    "zwarning": "ZWARNING",
    "instrument": "INSTRUME",
}
KEY = ("plate", "mjd", "fiberid")


def read_spectrum(path: str | os.PathLike[str]) -> SpectrumFile:
    """Read an SDSS spectrum and check that it is whole and the one it claims to be.

    Parameters
    ----------
    path : path-like
        ``spec-PLATE-MJD-FIBER.fits``, gzip-compressed or not. Another name is accepted; a name of
        this form must agree with the content.

    Returns
    -------
    SpectrumFile
        Its ``state`` is not ``ok`` where the pixels are empty.

    Raises
    ------
    BadInputError
        The codes of `open_fits`, and NO_TABLE_HDU, MISSING_COLUMN, BAD_DTYPE, CHECKSUM,
        WRONG_CONTENT, BAD_ID, BAD_COORD, BAD_GRID, BAD_IVAR, BAD_FLUX.
    """
    path = Path(path)
    with open_fits(path) as file:
        coadd = open_table(file, "COADD")
        verify_checksums(file, coadd.hdu)
        check_vacuum(path, file.hdus[0].header)
        arrays = _read_pixels(coadd, str(file.hdus[0].header.get("BUNIT", "")))
        header, row = _header_values(file), _object_row(file, coadd)
        simulated, notes = file.simulated, file.notes
    plate, mjd, fiberid = _identity(path, header, row)
    about = header | row
    run2d = str(about.get("run2d", ""))
    if not run2d:
        raise BadInputError("BAD_ID", f"{path} says RUN2D neither in its header nor in HDU2", "")
    ra, dec = check_position(path, _number(about, "plug_ra"), _number(about, "plug_dec"))
    pixels = check_pixels(path, **arrays)
    fbadpix = _number(header, "fbadpix")
    return SpectrumFile(
        **vars(pixels),
        path=path,
        survey="sdss",
        survey_key=check_key(path, f"{plate}-{mjd}-{fiberid}-{run2d}"),
        ra=ra,
        dec=dec,
        plate=plate,
        mjd=mjd,
        fiberid=fiberid,
        run2d=run2d,
        specobjid=_specobjid(path, about, pack_specobjid(plate, mjd, fiberid, run2d)),
        class_=str(about.get("class", "")),
        subclass=str(about.get("subclass", "")),
        z=_number(about, "z"),
        z_err=_number(about, "z_err"),
        zwarning=_bits(about.get("zwarning")),
        instrument=str(about.get("instrument") or ("BOSS" if run2d[0] == "v" else "SDSS")),
        fbadpix=fbadpix if np.isfinite(fbadpix) else bad_fraction(pixels.ivar),
        simulated=simulated,
        notes=notes,
    )


def _read_pixels(coadd: Table, bunit: str) -> dict[str, np.ndarray]:
    """Return the arrays that `check_pixels` takes, converted to the catalog's units.

    A mask that the file lacks is empty. ``bunit`` is the unit of flux that the primary header
    names; a column that names its own wins.
    """
    columns: dict[str, Column | None] = {
        name: coadd.require(name, kind) for name, kind in PIXELS.items()
    }
    columns |= {name: coadd.find(name, "int") for name in MASKS}
    rows = coadd.read(0, coadd.n_rows, [c for c in columns.values() if c is not None])
    arrays = {
        name: np.zeros(len(rows), "i4") if column is None else np.asarray(native(rows, column))
        for name, column in columns.items()
    }
    path = coadd.file.path
    said = {name: column.unit for name, column in columns.items() if column is not None}
    scale = scale_to(said["loglam"], "dex(Angstrom)", f"loglam of {path}")
    arrays["loglam"] = scale.value(arrays["loglam"])
    units = {"flux": said["flux"] or bunit, "ivar": said["ivar"]}
    arrays["flux"], arrays["ivar"] = convert_fluxes(
        path, arrays["flux"], arrays["ivar"], units, relative=False
    )
    return arrays


def _header_values(file: FitsFile) -> dict[str, Any]:
    """Collect what the primary header says, under the names of the object's row."""
    header = file.hdus[0].header
    cards = OBJECT_CARDS | {"fbadpix": "FBADPIX"}
    values = {name: header[card] for name, card in cards.items() if card in header}
    return _stated(values)


def _object_row(file: FitsFile, coadd: Table) -> dict[str, Any]:
    """Collect what the first row behind the spectrum says; empty where there is no such table."""
    behind = [hdu for hdu in file.hdus if hdu.is_table and hdu is not coadd.hdu]
    # Files cut down to the spectrum have none; SPZLINE, with a row per line, is not about the key.
    if not behind or behind[0].name == "SPZLINE":
        return {}
    table = table_of(file, behind[0])
    columns = {
        name: column
        for name in OBJECT_CARDS
        if (column := table.columns.get(name)) is not None
        and (column.repeat == 1 or column.code == "A")
    }
    rows = table.read(0, 1, columns.values())
    if not len(rows):
        return {}
    return _stated({name: native(rows, column)[0] for name, column in columns.items()})


def _stated(values: dict[str, Any]) -> dict[str, Any]:
    """Return plain Python values without those that say nothing: blank, masked, undefined."""
    plain: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, np.generic) and not isinstance(value, bytes):
            value = value.item()
        if isinstance(value, str | bytes):
            value = plain_text(value)
        if isinstance(value, str | int | float) and value != "":
            plain[name] = value
    return plain


def _identity(path: Path, header: dict[str, Any], row: dict[str, Any]) -> tuple[int, int, int]:
    """Plate, MJD and fibre on which file name, header and object row agree."""
    said: dict[str, tuple[int, ...]] = {}
    if found := FILE_NAME.fullmatch(path.name):
        said["its name"] = tuple(int(part) for part in found.groups()[:3])
    for place, values in (("its primary header", header), ("HDU2", row)):
        if all(name in values for name in KEY):
            said[place] = tuple(_integer(path, values, name) for name in KEY)
    if not said.keys() - {"its name"}:
        raise BadInputError(
            "WRONG_CONTENT",
            f"{path} does not say its plate, MJD and fibre",
            "Check that this is an SDSS spectrum of DR8 or later.",
        )
    if len(set(said.values())) > 1:
        words = ", ".join(f"{'-'.join(map(str, key))} ({place})" for place, key in said.items())
        raise BadInputError(
            "WRONG_CONTENT", f"{path} is said to be {words}", "Download the right file."
        )
    plate, mjd, fiberid = next(iter(said.values()))
    return plate, mjd, fiberid


def _integer(path: Path, values: dict[str, Any], name: str) -> int:
    """One part of the key as an integer."""
    text = str(values[name])
    if not text.isdecimal():
        raise BadInputError("BAD_ID", f"{name} of {path} is {text!r}, not a number", "")
    return whole_number(path, name, int(text))


def _number(values: dict[str, Any], name: str) -> float:
    """Return a real number; NaN where there is none."""
    return real_number(values.get(name))


def _bits(value: object) -> int | None:
    """Return warning bits; None where there are none, or more than an integer holds."""
    return value if isinstance(value, int) and abs(value) < 1 << 63 else None


def _specobjid(path: Path, about: dict[str, Any], expected: int | None) -> int | None:
    """Give the id that the file states, checked against the one made from its key."""
    stated = about.get("specobjid")
    if stated is None:
        return expected
    # Some versions store the unsigned number in a signed column.
    text = str(stated % (1 << 64)) if isinstance(stated, int) else str(stated)
    ids, good = parse_ids(np.array([text.encode("ascii", "replace")]))
    if not good[0]:
        raise BadInputError(
            "BAD_ID", f"the specObjID of {path} is {text!r}, no unsigned 64-bit number", ""
        )
    value = int(ids[0])
    if expected is not None and value != expected:
        raise BadInputError(
            "WRONG_CONTENT",
            f"the specObjID of {path} is {value} where its plate, MJD, fibre and run2d give "
            f"{expected}",
            "Download the right file.",
        )
    return value
