"""Words of messages: numbers with their nouns, and known names near one that is unknown."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_NEAR = 3  # names that are proposed
_MOST = 20  # names that are listed in full


def count(n: int, what: str) -> str:
    """Return a number with its noun, such as ``1 star``, ``2,000 stars`` and ``3 spectra``."""
    return f"{n:,} {what if n == 1 else plural(what)}"


def plural(what: str) -> str:
    """Return a noun in the plural: ``spectra``, ``entries``, ``searches`` or ``stars``."""
    if what.endswith("spectrum"):
        return f"{what[:-2]}a"
    if re.search("[^aeiou]y$", what):
        return f"{what[:-1]}ies"
    return f"{what}es" if what.endswith(("ch", "sh", "x", "ss")) else f"{what}s"


def part(n: int, total: int, what: str) -> str:
    """Return a number of a total with its noun, such as ``1 of 2 files`` and ``1 of 1 file``."""
    return f"{n:,} of {count(total, what)}"


def verb(n: int, one: str = "is", many: str = "are") -> str:
    """Return the form of a verb that goes with a number."""
    return one if n == 1 else many


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Return the known names that an unknown one may stand for, the most likely first.

    These are names that it is a part of (``ridge`` of ``ridge/oof``), then names that differ by
    a few letters, whatever their case; three at most.
    """
    folded = {k.casefold(): k for k in known}
    wanted = name.casefold().partition("@")[0]
    parts = [k for k in folded if wanted and wanted in k.replace("@", "/").split("/")]
    close = difflib.get_close_matches(wanted, folded, _NEAR, 0.65) if wanted else []
    return [folded[k] for k in dict.fromkeys([*parts, *close])][:_NEAR]


def names_near(name: str, known: Iterable[str], what: str, none: str = "none yet") -> str:
    """Return what to do about an unknown name: name the nearest ones, and list those there are.

    Parameters
    ----------
    name : str
        The name that is unknown.
    known : iterable of str
        The names that there are, in the order of the list.
    what : str
        What they are the names of, as the head of the list: ``Label sets``.
    none : str
        Words in place of an empty list.

    Returns
    -------
    str
        Such as ``Did you mean ridge/oof? Label sets: aspcap/dr14, ridge/oof``. A list of more
        than twenty names is cut, and left out where there is a name to propose.
    """
    names = list(dict.fromkeys(known))
    near = nearest(name, names)
    meant = f"Did you mean {' or '.join(near)}?" if near else ""
    if len(names) > _MOST and near:
        return meant
    shown = ", ".join(names[:_MOST]) or none
    more = f" and {len(names) - _MOST:,} more" if len(names) > _MOST else ""
    return f"{meant} {what}: {shown}{more}".strip()
