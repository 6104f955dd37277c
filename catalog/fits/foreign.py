"""FITS files that are no spectra of a kind that is read: what they are, what to do with them.

Known by their headers or, in a folder, by their names. (`catalog.files.magic` knows what is no FITS
file at all.)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from catalog.errors import BadInputError
from catalog.files.magic import NOT_YET, Foreign
from catalog.fits.file import FitsFile
from catalog.words import count

#: Names that the archives give to spectra that can be read, packed or not.
SPECTRUM_NAME = re.compile(r"spec-.*\.fits?(\.fz)?(\.(gz|bz2|xz|zip|Z))?", re.DOTALL)
SDSSV_NAME = re.compile(r"spec-\d+p?-\d{5}-\d{8,}\.fits.*")
GET_DR8 = "Take the star's spec-PLATE-MJD-FIBER.fits of DR8 or later: crosslabel fetch spectra"


SPSPEC = Foreign("an image (spSpec) of SDSS DR7 or earlier", GET_DR8)
SPPLATE = Foreign("an spPlate file, with all fibres of a plate", GET_DR8)
SDSSV = Foreign("a BOSS spectrum of SDSS-V, by field and catalogid", NOT_YET)
MWM = Foreign("a star's coadded spectra of SDSS-V (mwmStar, mwmVisit)", NOT_YET)
APOGEE = Foreign("an infrared spectrum of APOGEE", "Only optical spectra are read: take it away")
MEDIUM = Foreign("a medium-resolution spectrum of LAMOST", NOT_YET)
DESI = Foreign("a file of DESI with many spectra", NOT_YET)
FPACK = Foreign("a FITS file compressed by fpack", "Unpack it: funpack FILE")
_INGEST = "Ingest it with: crosslabel ingest {} FILE --release RELEASE"
ALLSTAR = Foreign("APOGEE's catalog allStar", _INGEST.format("apogee"))
SSPP = Foreign("SEGUE's catalog ssppOut", _INGEST.format("sspp"))
SPECOBJ = Foreign("a catalog of spectra (specObj)", _INGEST.format("specobj"))


@dataclass(frozen=True)
class _About:
    """Facts of the headers of a FITS file that `_KINDS` tests."""

    cards: frozenset[str]  # of the primary header
    telescope: str
    is_image: bool
    names: frozenset[str]  # of the other units
    columns: frozenset[str]  # of all tables, in upper case
    packed: bool
    fibre: bool  # whether the primary header names one fibre
    file_name: str


_KINDS: tuple[tuple[Foreign, Callable[[_About], bool]], ...] = (
    (FPACK, lambda f: f.packed),
    (MWM, lambda f: any(n.startswith(("BOSS/", "APOGEE/")) for n in f.names)),
    (DESI, lambda f: bool({"B_WAVELENGTH", "BRZ_WAVELENGTH"} & f.names)),
    (MEDIUM, lambda f: f.telescope == "LAMOST" and bool({"COADD_B", "COADD_R"} & f.names)),
    (SPPLATE, lambda f: f.is_image and "PLATEID" in f.cards and not f.fibre),
    (SPSPEC, lambda f: f.is_image and {"PLATEID", "COEFF0"} <= f.cards and f.fibre),
    (ALLSTAR, lambda f: {"APOGEE_ID", "APSTAR_ID"} <= f.columns),
    (SSPP, lambda f: "PLUG_RA" in f.columns and bool({"TEFF_ADOP", "TEFFADOP"} & f.columns)),
    (APOGEE, lambda f: bool({"APRED", "V_APRED"} & f.cards) and "LOGLAM" not in f.columns),
    (SDSSV, lambda f: "LOGLAM" in f.columns and "CATALOGID" in f.columns),
    (SDSSV, lambda f: "LOGLAM" in f.columns and bool(SDSSV_NAME.fullmatch(f.file_name))),
    (SPECOBJ, lambda f: {"SPECOBJID", "PLUG_RA"} <= f.columns and "LOGLAM" not in f.columns
        and "FLUX" not in f.columns),
)  # fmt: skip


def refuse_foreign(file: FitsFile) -> None:
    """Raise OTHER_PRODUCT if a FITS file is known not to be a spectrum that can be read.

    Raises
    ------
    BadInputError
        With what it is and what to do.
    """
    kind = foreign_kind(file)
    if kind is not None:
        todo = kind.todo.replace("FILE", file.path.name)
        raise BadInputError("OTHER_PRODUCT", f"{file.path} is {kind.what}", todo)


def column_names(file: FitsFile) -> frozenset[str]:
    """Return the names of the columns of all tables of a file, in upper case."""
    return frozenset(
        str(value).strip().upper()
        for hdu in file.hdus
        if hdu.is_table
        for card, value in hdu.header.items()
        if card.startswith("TTYPE")
    )


def telescope(file: FitsFile) -> str:
    """Return the telescope of the primary header, in upper case; empty where there is none."""
    return str(file.hdus[0].header.get("TELESCOP", "")).strip().upper()


def foreign_kind(file: FitsFile) -> Foreign | None:
    """Return which of the known products that are no readable spectra a FITS file is, if any."""
    primary = file.hdus[0].header
    about = _About(
        frozenset(primary),
        telescope(file),
        primary.get("NAXIS") == 2 and primary.get("NAXIS1") != 0,
        frozenset(hdu.name for hdu in file.hdus[1:]),
        column_names(file),
        any(hdu.header.get(card) is True for hdu in file.hdus for card in ("ZTABLE", "ZIMAGE")),
        "FIBERID" in primary,
        file.path.name,
    )
    if about.telescope == "LAMOST" and about.is_image:
        return None
    return next((kind for kind, matches in _KINDS if matches(about)), None)


#: In a folder: what names stand for, where they are not those of spectra that can be read.
_NAMES: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (re.compile(r"spSpec-.*"), "spSpec images of SDSS DR7 or earlier", GET_DR8),
    (re.compile(r"spPlate-.*"), "spPlate files", GET_DR8),
    (re.compile(r"med-.*\.fits.*"), "medium-resolution spectra of LAMOST", NOT_YET),
    (re.compile(r"mwm(Star|Visit)-.*"), MWM.what.partition(" ")[2], NOT_YET),
    (re.compile(r"(ap|as|aspcap)Star.*"), "infrared spectra of APOGEE", APOGEE.todo),
    (re.compile(r"allStar.*"), ALLSTAR.what, ALLSTAR.todo),
    (re.compile(r"ssppOut.*"), SSPP.what, SSPP.todo),
    (re.compile(r"specObj.*"), SPECOBJ.what, SPECOBJ.todo),
    (re.compile(r".*\.(zip|tar|tar\.gz|tgz|7z)"), "archives", "Unpack them first"),
    (re.compile(r".*\.fits?(\..*)?"), "other FITS files",
     "If they are spectra under other names, name them one by one: FOLDER/*.fits"),
)  # fmt: skip


def what_is_there(names: Iterable[str]) -> tuple[str, str]:
    """Return what files of a folder are, counted by kind, and what to do with the most frequent."""
    counts: Counter[tuple[str, str]] = Counter()
    for name in names:
        kind = next((k[1:] for k in _NAMES if k[0].fullmatch(name)), None)
        counts[kind or ((Path(name).suffix or "nameless") + " files", "Check the path")] += 1
    if not counts:
        return "it is empty", "Check the path"
    told = [f"{n:,} {what}" for (what, _), n in counts.most_common(4)]
    rest = sum(n for _, n in counts.most_common()[4:])
    words = ", ".join(told) + (f" and {count(rest, 'other')}" if rest else "")
    return f"there are {words}", counts.most_common(1)[0][0][1]
