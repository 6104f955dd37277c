"""One spectrum as a FITS file: as it was observed, and normalized, each a table with its mask.

The first table is laid out so that specutils finds wavelengths, flux, uncertainty and mask without
being told, and TOPCAT plots it. The second one is on the pixels of the recipe, mostly in the frame
of the star. Uncertainties are infinite where ivar is 0: such pixels have the mask set and keep the
flux of the archive. FITS standard 4.0 (Pence et al. 2010, A&A 524, A42).
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units
from astropy.io import fits

from catalog.export.fits import plain_ascii, seal, table_unit
from catalog.store.columns import Meaning
from catalog.store.spectra import FLUX_UNIT

_IVAR_UNIT = "1e34 s2 cm4 Angstrom2 / erg2"
_FLUX_UCD, _ERROR_UCD = "phot.flux.density;em.wl", "stat.error;phot.flux.density;em.wl"
_WEIGHT_UCD = "stat.weight;phot.flux.density"
_SIGMA = "Standard deviation of flux; infinite where ivar is 0"
_IVAR = "Inverse variance of flux; 0 is no information"
_MASK = Meaning("", "meta.code.qual", "Whether the pixel carries no information (ivar = 0)")
_LOGLAM = Meaning("", "em.wl", "log10 of the wavelength in Angstrom")
_CONTINUUM = "Pseudo-continuum by which flux is divided [10**-17 erg/(s cm2 Angstrom)]"
#: Column, its form, what it means.
_OBSERVED = (
    ("wavelength", "D", Meaning("Angstrom", "em.wl;meta.main", "Vacuum wavelength, heliocentric")),
    ("flux", "E", Meaning(FLUX_UNIT, _FLUX_UCD, "Flux density")),
    ("uncertainty", "E", Meaning(FLUX_UNIT, _ERROR_UCD, _SIGMA)),
    ("ivar", "E", Meaning(_IVAR_UNIT, _WEIGHT_UCD, _IVAR)),
    ("mask", "L", _MASK),
    ("and_mask", "J", Meaning("", "meta.code.qual", "Mask bits set in all exposures")),
    ("or_mask", "J", Meaning("", "meta.code.qual", "Mask bits set in any exposure")),
    ("loglam", "D", _LOGLAM),
)
# The continuum has no TUNIT: specutils would take a column with a unit of flux for the flux.
_NORMALIZED = (
    ("wavelength", "D", Meaning("Angstrom", "em.wl;meta.main", "Vacuum wavelength, see FRAME")),
    ("flux", "E", Meaning("", "phot.flux.density;arith.ratio", "Flux over continuum")),
    ("uncertainty", "E", Meaning("", _ERROR_UCD, _SIGMA)),
    ("ivar", "E", Meaning("", _WEIGHT_UCD, _IVAR)),
    ("mask", "L", _MASK),
    ("continuum", "E", Meaning("", "phot.flux.density;spect.continuum", _CONTINUUM)),
    ("loglam", "D", _LOGLAM),
)
ROOM = 65  # characters of a card for a text and its comment
_TYPES = {"D": ">f8", "E": ">f4", "J": ">i4", "L": "u1"}


@dataclass(frozen=True)
class SpectrumExport:
    """A spectrum ready to be written.

    Attributes
    ----------
    cards : mapping of str to tuple
        Keyword -> value and comment, for the primary header; None is left out.
    notes : tuple of str
        Such as what the mask bits mean.
    provenance : mapping
        JSON-able values that tell what it was made from.
    loglam : ndarray, shape (n,)
        log10 of the vacuum wavelengths [Angstrom].
    flux, ivar : ndarray of float32, shape (n,)
        1e-17 erg/s/cm2/A and its inverse variance.
    and_mask, or_mask : ndarray of int32, shape (n,)
    normalized_cards : mapping of str to tuple
        As ``cards``, for the header of the normalized spectrum.
    normalized_notes : tuple of str
    normalized_loglam, normalized_flux, normalized_ivar, continuum : ndarray, shape (m,)
        On the pixels of the recipe.
    """

    cards: Mapping[str, tuple[Any, str]]
    notes: tuple[str, ...]
    provenance: Mapping[str, Any]
    loglam: np.ndarray
    flux: np.ndarray
    ivar: np.ndarray
    and_mask: np.ndarray
    or_mask: np.ndarray
    normalized_cards: Mapping[str, tuple[Any, str]]
    normalized_notes: tuple[str, ...]
    normalized_loglam: np.ndarray
    normalized_flux: np.ndarray
    normalized_ivar: np.ndarray
    continuum: np.ndarray


def spectrum_file(spectrum: SpectrumExport) -> bytes:
    """Return the bytes of the FITS file of a spectrum; equal spectra give equal bytes."""
    primary = fits.PrimaryHDU()
    _add_cards(primary.header, spectrum.cards)
    primary.header["LONGSTRN"] = ("OGIP 1.0", "long texts go on in CONTINUE cards")
    primary.header["PROV"] = json.dumps(spectrum.provenance, sort_keys=True)
    observed = {
        "flux": spectrum.flux,
        "ivar": spectrum.ivar,
        "and_mask": spectrum.and_mask,
        "or_mask": spectrum.or_mask,
    } | _derived(spectrum.loglam, spectrum.ivar)
    normalized = {
        "flux": spectrum.normalized_flux,
        "ivar": spectrum.normalized_ivar,
        "continuum": spectrum.continuum,
    } | _derived(spectrum.normalized_loglam, spectrum.normalized_ivar)
    tables = [
        _table("SPECTRUM", _OBSERVED, observed, {}, spectrum.notes),
        _table(
            "NORMALIZED", _NORMALIZED, normalized, spectrum.normalized_cards,
            spectrum.normalized_notes,
        ),
    ]  # fmt: skip
    stream = io.BytesIO()
    seal([primary, *tables]).writeto(stream, output_verify="exception")
    return stream.getvalue()


def _derived(loglam: np.ndarray, ivar: np.ndarray) -> dict[str, np.ndarray]:
    """Return the values that follow from wavelengths and inverse variances."""
    with np.errstate(divide="ignore"):
        uncertainty = 1 / np.sqrt(ivar)
    mask = np.where(ivar == 0, ord("T"), ord("F"))
    return {
        "wavelength": 10.0**loglam, "loglam": loglam, "uncertainty": uncertainty, "mask": mask,
    }  # fmt: skip


def _table(
    name: str,
    columns: tuple[tuple[str, str, Meaning], ...],
    values: Mapping[str, np.ndarray],
    cards: Mapping[str, tuple[Any, str]],
    notes: tuple[str, ...],
) -> fits.BinTableHDU:
    """One table with its header."""
    n = len(values["loglam"])
    rows = np.zeros(n, [(column, _TYPES[form]) for column, form, _ in columns])
    described = fits.Header()
    for i, (column, form, meaning) in enumerate(columns, start=1):
        rows[column] = values[column]
        described[f"TTYPE{i}"] = column
        described[f"TFORM{i}"] = form
        if meaning.unit:
            described[f"TUNIT{i}"] = units.Unit(meaning.unit).to_string("fits")
        described[f"TUCD{i}"] = meaning.ucd
        described[f"TCOMM{i}"] = meaning.description
    described["LONGSTRN"] = ("OGIP 1.0", "long texts go on in CONTINUE cards")
    described["EXTNAME"] = name
    _add_cards(described, cards)
    for note in notes:
        described["COMMENT"] = plain_ascii(note)
    return table_unit(rows, described)


def _add_cards(header: fits.Header, cards: Mapping[str, tuple[Any, str]]) -> None:
    """Add cards that have a value; the comment of a long text has no room and is left out."""
    for keyword, (value, comment) in cards.items():
        if isinstance(value, str):
            text = plain_ascii(value)
            fits_in = len(text.replace("'", "''")) + len(comment) <= ROOM
            header[keyword] = (text, comment if fits_in else "")
        elif value is not None and value == value:  # NaN is no value
            header[keyword] = (value, comment)
