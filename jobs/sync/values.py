"""Strict reading of TOML: every key is known, and every value what the key is for.

What is wrong is said in one line, for cron's mail: file, key, what, and what to do.
"""

from __future__ import annotations

import math
import re
import textwrap
import tomllib
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from catalog.config import hide_passwords
from catalog.errors import ConfigurationError, CrosslabelError
from catalog.files.opening import MAX_CONFIG_BYTES, read_bytes
from catalog.words import names_near

REQUIRED: Final = object()  # as the default of a key that must be given
_PLAIN = re.compile(r"([0-9]+(?:\.[0-9]*)?) ?([A-Za-z/]+)")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Key:
    """One key of a table.

    Attributes
    ----------
    name : str
    read : callable
        ``read(value)`` gives the value as the program takes it; raises ValueError with what to
        write instead.
    default : object
        What an absent key stands for.
    secret : bool
        The value may hold a password: it is never quoted.
    """

    name: str
    read: Callable[[Any], Any]
    default: Any = REQUIRED
    secret: bool = False


@dataclass(frozen=True)
class Place:
    """A place in a file, for messages."""

    file: Path
    table: str = ""

    def wrong(self, key: str, what: str, todo: str) -> ConfigurationError:
        """Return the error about a key, in one line."""
        todo = todo[:1].lower() + todo[1:]
        where = f"{self.table}: {key}" if self.table and key else self.table or key
        said = ": ".join(p for p in (str(self.file), where, what) if p) + f"; {todo}"
        return ConfigurationError("".join(c if c.isprintable() else repr(c)[1:-1] for c in said))

    def translate(self, key: str, exc: CrosslabelError) -> ConfigurationError:
        """Return another part's error about a value as an error about its key."""
        return self.wrong(key, exc.reason, exc.todo or "correct it")


def read_toml(file: Path) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises
    ------
    ConfigurationError
        If there is no such file, or it is not TOML.
    """
    place = Place(file)
    try:
        data = read_bytes(file, MAX_CONFIG_BYTES, "a configuration")
        return tomllib.loads(data.decode("utf-8-sig").replace("\r\n", "\n"))
    except CrosslabelError as exc:
        raise ConfigurationError(
            f"the configuration cannot be read: {exc.reason}; name it with --config, or make "
            "one: crosslabel sync --example > crosslabel.toml"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise place.wrong("", f"this is not TOML ({exc})", "correct that line") from None
    except RecursionError:
        raise place.wrong("", "its lists are nested too deeply", "correct them") from None


def read_table(table: Any, keys: Sequence[Key], place: Place) -> dict[str, Any]:
    """Return all keys of a table with their values, in the order of ``keys``.

    Raises
    ------
    ConfigurationError
        At an unknown key, a missing one, or a value that makes no sense.
    """
    if not isinstance(table, dict):
        raise place.wrong("", "this is not a table", f"begin it with {place.table or '[name]'}")
    known = [key.name for key in keys]
    for name in table:
        if name not in known:
            todo = names_near(name, known, "known keys")
            raise place.wrong(name, "there is no such key", todo)
    values = {}
    for key in keys:
        if key.name not in table:
            if key.default is REQUIRED:
                raise place.wrong(key.name, "this key is missing", "add it")
            values[key.name] = key.default
            continue
        try:
            values[key.name] = key.read(table[key.name])
        except ValueError as exc:
            shown = textwrap.shorten(hide_passwords(repr(table[key.name])), 60)
            what = "its value" if key.secret else shown
            raise place.wrong(key.name, f"{what} cannot be used", str(exc)) from None
    return values


def anything(value: Any) -> Any:
    """Return a value that is read later."""
    return value


def tables(value: Any) -> list[Any]:
    """Return a list of tables."""
    if not isinstance(value, list):
        raise ValueError("begin each of its tables with two brackets: [[name]]")
    return value


def text(value: Any) -> str:
    """Return a text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError('write a text: "..."')
    return value


def line(value: Any) -> str:
    """Return a text in one line, such as a name."""
    if any(unicodedata.category(c) == "Cc" for c in text(value)):
        raise ValueError("write a text without line breaks, tabs and other control characters")
    return str(value)


def path(value: Any) -> str:
    """Return a path, or a pattern of paths, with ``~`` and ``~user`` replaced by their folder."""
    try:
        return str(Path(line(value)).expanduser())
    except RuntimeError:
        raise ValueError("there is no user of that name: write the folder in full") from None


def several(read: Callable[[Any], str]) -> Callable[[Any], tuple[str, ...]]:
    """Make the reader of a list of texts, at least one."""

    def read_all(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not value:
            raise ValueError('write a list of texts: ["...", "..."]')
        return tuple(read(item) for item in value)

    return read_all


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError("write true or false")
    return value


def number(low: float = -math.inf, high: float = math.inf) -> Callable[[Any], float]:
    """Make the reader of a number without unit, from ``low`` to ``high``."""
    bounds = (
        "" if low == -math.inf else f" from {low:g}" + ("" if high == math.inf else f" to {high:g}")
    )

    def read(value: Any) -> float:
        good = isinstance(value, int | float) and not isinstance(value, bool)
        if not good or not low <= value <= high or not math.isfinite(value):
            raise ValueError(f"write a number{bounds}, without quotes")
        return float(value)

    return read


def whole(value: Any) -> int:
    """Return a whole number that is not negative."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("write a whole number from 0, without quotes")
    return value


def choice(*words: str) -> Callable[[Any], str]:
    """Make the reader of one of some words."""

    def read(value: Any) -> str:
        if value not in words or not isinstance(value, str):
            raise ValueError(names_near(str(value), words, "write one of"))
        return value

    return read


def quantity(unit: str, example: str) -> Callable[[Any], float]:
    """Make the reader of a positive number with a unit; it gives the value in ``unit``."""

    def read(value: Any) -> float:
        wrong = f'write a positive number with its unit: "{example}"'
        if not isinstance(value, str):
            raise ValueError(wrong)
        try:
            found = _in_unit(value, unit)
        except (ValueError, TypeError) as exc:
            raise ValueError(wrong) from exc
        if not 0 < found < math.inf:
            raise ValueError(wrong)
        return found

    return read


def _in_unit(quantity: str, unit: str) -> float:
    """Return the number of a quantity in a unit; ValueError or TypeError where it has none.

    Astropy, which is slow to load, is asked where the quantity is not in the plainest form.
    """
    if plain := _PLAIN.fullmatch(quantity):
        factor = 1.0 if plain[2] == unit else _SECONDS.get(plain[2]) if unit == "s" else None
        if factor is not None:
            return float(plain[1]) * factor
    from astropy import units

    return float(units.Quantity(quantity).to_value(unit))  # its UnitConversionError is both
