"""Units of other people's labels, and what makes them the catalog's."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy import units

from catalog.errors import BadInputError
from catalog.store.columns import LABELS

#: How logarithms are written where a format has no dex: all mean log10 of cgs, or of a ratio.
_DEX = ("dex", "[-]", "log(cm/s2)", "log(cm/s**2)", "log(cm.s**-2)", "[cm/s2]", "[cm/s**2]")
_CGS = units.cm / units.s**2


def factor_and_offset(unit: Any, label: str, where: str) -> tuple[float, float]:
    """What a value is multiplied by, and what is then added, to be in the catalog's unit.

    Parameters
    ----------
    unit : Unit, str or None
        As the file names it; None or dimensionless is taken for the catalog's.
    label : str
        Which label the column holds.
    where : str
        Column and file, for the message.

    Raises
    ------
    BadInputError
        If the unit is unknown, or not one of that label.
    """
    wanted = LABELS[label].unit
    text = "" if unit is None else str(unit).strip()
    if not text or (wanted == "dex" and text.replace("log10", "log").replace(" ", "") in _DEX):
        return 1.0, 0.0
    try:
        given = units.Unit(text)
        if wanted != "dex":
            return float(given.to(units.Unit(wanted))), 0.0
        if given == units.dex or given == units.dimensionless_unscaled:
            return 1.0, 0.0
        if label == "logg" and isinstance(given, units.LogUnit):
            return 1.0, float(np.log10(given.physical_unit.to(_CGS)))
    except (ValueError, TypeError) as exc:
        raise _wrong(text, label, where) from exc
    raise _wrong(text, label, where)


def _wrong(text: str, label: str, where: str) -> BadInputError:
    """What is said of a unit that is not the label's."""
    return BadInputError(
        "BAD_UNIT",
        f"{where} is in {text!r}, which is no unit of {label}",
        f"Write it in {LABELS[label].unit}",
    )
