"""The one reading of units that files declare: converted to the catalog's, or refused as BAD_UNIT.

Units come as FITS's TUNITn, VOTable's ``unit``, the metadata of Parquet and ECSV, in the spellings
of VizieR (``[cm/s2]``, ``10-20W/m2``), VOUnit, Astropy (``dex(cm/s2)``), SDSS (``1E-17
erg/cm^2/s/Ang``) and people. A reader asks once per column and applies what it gets to the values
and to their errors::

    scale = scale_to(column.unit, "1e-17 erg/s/cm2/Angstrom", f"flux of {path}")
    flux = scale.value(flux)            # factor and offset, unchanged where both say the same
    ivar = ivar / scale.factor**2       # errors: scale.error(sigma)

An empty unit is no unit: the values are taken as they are, and ``scale.assumed`` is True. Whoever
must not assume that (fluxes far from the usual) asks it.

Astropy loads with the first unit that has to be read: a command that finds the lock taken ends
without it.
"""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from catalog.errors import BadInputError

#: Words for no unit at all.
_NONE = ("", "-", "--", "---", "none", "unitless", "dimensionless", "1", "?", "n/a")
#: People's words, in lower case, for units that Astropy spells otherwise. No column here is in
#: ampere, so A is the angstrom.
_WORDS = {
    "a": "Angstrom", "ang": "Angstrom", "angs": "Angstrom", "angstrom": "Angstrom",
    "angstroms": "Angstrom", "erg": "erg", "ergs": "erg", "micron": "um", "microns": "um",
    "deg": "deg", "degree": "deg", "degrees": "deg", "rad": "rad", "radian": "rad",
    "radians": "rad", "arcsec": "arcsec", "arcsecs": "arcsec", "arcseconds": "arcsec",
    "mas": "mas", "hour": "h", "hours": "h", "hr": "h", "hrs": "h", "yr": "yr", "year": "yr",
    "years": "yr", "sec": "s", "second": "s", "seconds": "s", "km": "km", "kelvin": "K",
    "kelvins": "K", "mag": "mag", "mags": "mag", "magnitude": "mag", "magnitudes": "mag",
}  # fmt: skip
_KMS = re.compile(r"\bkms(?:-1|\^-1|\*\*-1|$)", re.I)
_LOGARITHM = re.compile(
    r"(?:\[(.*)\]|(?:dex|log10|log_10|log|lg) ?(?:\((.*)\)|\[(.*)\])(?:,.*)?)", re.I
)
_NUMBER = re.compile(
    r"(?:10(?:\^|\*\*)?\(?(?P<power>[+-][0-9]+)\)?"  # 10-17, 10^-17, 10**(-17)
    r"|10(?:\^|\*\*)\(?(?P<positive>[0-9]+)\)?"
    r"|(?P<number>[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?))\s*[*x.]?\s*(?=[A-Za-z(])"
)
_SUN = ("sun", "solar", "soloar")  # SDSS-V's data model has the last one
#: Legends that are no units: what a column of that unit is said to be in, where everybody means
#: its logarithm or its zero point. (Plain cm/s2 is a unit of gravity itself, and is refused.)
_LEGENDS = {
    "dex": (*_SUN, "log", "log10"),
    "dex(cm/s2)": ("cgs", "(cgs)", "log", "log10", "cm/s/s", "log g", "logg"),
    "mag": ("vega", "ab", "mag(vega)", "mag(ab)", "vega mag", "ab mag", "vegamag", "abmag"),
}


@dataclass(frozen=True)
class Scale:
    """Conversion of a file's numbers to the catalog's unit: value = factor * number + offset.

    Attributes
    ----------
    factor, offset : float
        The offset is that of logarithms.
    assumed : bool
        Whether the file names no unit.
    """

    factor: float = 1.0
    offset: float = 0.0
    assumed: bool = False

    def value(self, numbers: np.ndarray) -> np.ndarray:
        """Return numbers in the catalog's unit; the same array where nothing changes."""
        if (self.factor, self.offset) == (1.0, 0.0):
            return numbers
        return numbers * self.factor + self.offset

    def error(self, numbers: np.ndarray) -> np.ndarray:
        """Return errors of such numbers in the catalog's unit."""
        return numbers if self.factor == 1.0 else numbers * self.factor


def unit_in_name(text: str, wanted: str) -> str | None:
    """Return the unit that stands behind the name of a column: ``[K]``, ``(dex)``, ``[cm/s2]``.

    Parameters
    ----------
    text : str
        With its brackets. Square ones mean a logarithm (as VizieR has it) where one is wanted.
    wanted : str
        The catalog's unit: see `scale_to`.

    Returns
    -------
    str or None
        None where it is no unit.
    """
    inside = " ".join(text[1:-1].split())
    legends = (word for words in _LEGENDS.values() for word in words)
    if inside.lower() in legends:
        return inside
    unit = _parsed(inside) if any(map(str.isalpha, inside)) else None
    if unit is None:
        return None
    is_gravity = wanted.startswith("dex(") and not _is_logarithm(unit)
    return text if is_gravity and text.startswith("[") else inside


def scale_to(unit: Any, wanted: str, where: str, *, right_ascension: bool = False) -> Scale:
    """Return what converts a column of a file to the catalog's unit.

    Parameters
    ----------
    unit : Unit, str or None
        As the file names it.
    wanted : str
        The catalog's unit in Astropy's spelling: ``deg``, ``K``, ``dex(cm/s2)`` for log g, ``dex``
        for abundances, ``1e-17 erg/s/cm2/Angstrom``.
    where : str
        Column and file, for the message: ``column RA of allStar.fits``.
    right_ascension : bool
        Whether hours, minutes and seconds are angles here: 15 degrees an hour.

    Raises
    ------
    BadInputError
        BAD_UNIT, if the unit is unknown or is not one of this quantity.
    """
    text = "" if unit is None else " ".join(str(unit).split()).strip("'\" ")
    try:
        factor, offset = _scale(text, wanted, right_ascension)
    except (ValueError, TypeError) as exc:  # UnitConversionError is both
        kind = "unknown" if _parsed(text) is None else f"not convertible to {wanted}"
        raise BadInputError(
            "BAD_UNIT", f"{where} is in {text!r}, which is {kind}", _todo(text, wanted)
        ) from exc
    return Scale(factor, offset, assumed=text.lower() in _NONE)


def _todo(text: str, wanted: str) -> str:
    """Return what to do about a unit that cannot be used."""
    given, target = _parsed(text), _parsed(wanted)
    physical = getattr(target, "physical_unit", None)
    if physical is not None and given is not None and physical.is_equivalent(given):
        return f"If it holds logarithms, let its unit say so: [{wanted[4:-1]}] or {wanted}"
    return f"Correct its unit, or convert the column to {wanted}"


@lru_cache(maxsize=1024)
def _scale(text: str, wanted: str, right_ascension: bool) -> tuple[float, float]:
    """Return factor and offset; ValueError or TypeError where there are none."""
    from astropy import units

    folded = text.lower()
    if folded in _NONE or folded in _LEGENDS.get(wanted, ()):
        return 1.0, 0.0
    target = _parsed(wanted)
    if (inside := _inside_of_logarithm(text)) is not None and inside.lower() == "cgs":
        inside = str(getattr(target, "physical_unit", units.one).cgs)
        text = f"dex({inside})"
    last: Exception = ValueError(text)
    for spelling in (text, folded):  # KM/S is no siemens
        given = _parsed(spelling)
        if given is None:
            continue
        try:
            return _between(given, target, right_ascension)
        except (ValueError, TypeError) as exc:
            last = exc
    raise last


def _between(given: Any, target: Any, right_ascension: bool) -> tuple[float, float]:
    """Return factor and offset from one unit to another."""
    from astropy import units

    if _is_logarithm(given) != _is_logarithm(target):
        raise TypeError("one is a logarithm, the other is not")
    if _is_logarithm(target):
        if units.dex in (given, target):  # of whatever the column holds
            physical = getattr(given, "physical_unit", units.one)
            if target == units.dex and physical != units.one:
                raise TypeError("a logarithm of another quantity")
            return 1.0, 0.0
        return 1.0, _exact(math.log10(given.physical_unit.to(target.physical_unit)))
    if str(given).endswith("mag") != (target == units.mag):  # Astropy takes it for -0.4 dex
        raise TypeError("a magnitude")
    if right_ascension and given.physical_type == "time":
        return _exact(given.to(units.hour) * 15.0 * units.deg.to(target)), 0.0
    return _exact(given.to(target)), 0.0


def _is_logarithm(unit: Any) -> bool:
    """Return True if this is dex, or dex of something."""
    from astropy import units

    return bool(isinstance(unit, units.LogUnit) or unit == units.dex)


def _exact(number: float) -> float:
    """Return a number without the last digit's rounding: 1 for 0.9999999999999999."""
    short = float(f"{number:.12g}")
    return short if math.isclose(short, number, rel_tol=4e-16) else float(number)


def _inside_of_logarithm(text: str) -> str | None:
    """Return what a unit is the logarithm of; None if it is no logarithm."""
    found = _LOGARITHM.fullmatch(text)
    return None if found is None else next(g for g in found.groups() if g is not None).strip()


@lru_cache(maxsize=1024)
def _parsed(text: str) -> Any:
    """Return the unit of a text, a `units.DexUnit` for logarithms; None if it is none."""
    from astropy import units

    inside = _inside_of_logarithm(text)
    if text.lower() == "dex" or (inside is not None and inside.lower() in (*_NONE, *_SUN)):
        return units.dex
    if inside is not None:
        physical = _parsed(inside)
        return units.DexUnit(physical) if isinstance(physical, units.UnitBase) else None
    number, rest = 1.0, text
    if found := _NUMBER.match(text):
        power = found["power"] or found["positive"]
        number = 10.0 ** int(power) if power else float(found["number"])
        rest = text[found.end() :]
    rest = _KMS.sub("km/s", rest)
    rest = re.sub(r"[A-Za-z]+", lambda w: _WORDS.get(w[0].lower(), w[0]), rest)
    for form in (None, "fits", "vounit", "cds"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about units that are out of use
                unit = units.Unit(rest, format=form)
        except (ValueError, TypeError):
            continue
        if isinstance(unit, units.UnitBase):
            return unit if number == 1.0 else units.Unit(number * unit)
        return unit if number == 1.0 and isinstance(unit, units.LogUnit) else None
    return None
