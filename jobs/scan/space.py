"""The space of settings that a scan searches: read from TOML, checked, drawn from.

A space is a grid (all combinations, or a random part of them) or ranges (searched by Optuna's
tree-structured Parzen estimator). It travels through the ledger as plain JSON values.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from catalog.errors import CrosslabelError, UsageError
from catalog.files.opening import MAX_CONFIG_BYTES, read_bytes
from catalog.words import names_near
from models.core.options import Option, Value
from models.presets.registry import PRESETS

OBJECTIVES = ("mae", "mse")
_EXAMPLE = "docs/operations.md shows a space; crosslabel comes with: "

Settings = dict[str, Value]


@dataclass(frozen=True)
class Space:
    """The settings that a scan may choose from.

    Attributes
    ----------
    preset : str
        Whose settings these are.
    grid : mapping of str to list
        Setting -> its values; empty for ranges.
    range : mapping of str to (list or mapping)
        Setting -> its values, or ``low``, ``high`` and ``log``; empty for a grid.
    fixed : mapping of str to value
        Settings that all trials share.
    fraction : float
        Part of the grid that is tried, drawn at random without replacement.
    objective : {"mae", "mse"}
        Trials are judged by the mean absolute or squared error of scaled labels.
    validation : float
        Part of each fold's training stars that trials are judged on.
    """

    preset: str
    grid: Mapping[str, list[Value]] = field(default_factory=dict)
    range: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Value] = field(default_factory=dict)
    fraction: float = 1.0
    objective: str = "mae"
    validation: float = 0.25

    @property
    def adaptive(self) -> bool:
        """True where later trials depend on the losses of earlier ones."""
        return bool(self.range)

    def combinations(self, seed: int) -> list[Settings]:
        """Return the combinations of the grid that are tried, in their order."""
        everything = [
            dict(zip(self.grid, values, strict=True))
            for values in itertools.product(*self.grid.values())
        ]
        n = max(1, math.ceil(self.fraction * len(everything) - 1e-9))
        order = np.random.default_rng([seed, 3]).permutation(len(everything))[:n]
        return [everything[i] for i in order]

    def n_trials(self, asked: int | None) -> int:
        """Return the number of trials.

        Raises
        ------
        UsageError
            If the space has no end and no number was asked for.
        """
        if self.adaptive:
            if asked is None:
                raise UsageError("a space of ranges has no end", "Say how many: --trials N")
            return asked
        n = len(self.combinations(0))
        return n if asked is None else min(n, asked)


def named_spaces() -> dict[str, str]:
    """Return the spaces that come with crosslabel: name -> TOML."""
    folder = resources.files("jobs.scan") / "spaces"
    files = (f for f in folder.iterdir() if f.name.endswith(".toml"))
    return {f.name.removesuffix(".toml"): f.read_text("utf-8") for f in files}


def read_space(name: str, preset: str) -> Space:
    """Read a space from a file, or take one that comes with crosslabel.

    Raises
    ------
    UsageError
        If there is none, or it says what cannot be.
    """
    try:
        text = named_spaces().get(name)
        if text is None or Path(name).is_file():
            text = read_bytes(name, MAX_CONFIG_BYTES, "a space").decode()
        values = tomllib.loads(text)
    except CrosslabelError as exc:
        known = ", ".join(sorted(named_spaces()))
        raise UsageError(exc.reason, _EXAMPLE + known) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as exc:
        raise UsageError(f"the space {name} cannot be read: {exc}") from exc
    try:
        return make_space(values, preset)
    except (ValueError, TypeError) as exc:
        raise UsageError(f"the space {name} cannot be searched: {exc}") from exc


def make_space(values: Mapping[str, Any], preset: str) -> Space:
    """Check the values of a TOML file.

    Raises
    ------
    ValueError
        If a name is unknown or a value not allowed.
    """
    known = {f.name for f in dataclasses.fields(Space)}
    if unknown := set(values) - known:
        todo = names_near(min(unknown), sorted(known), "Known")
        raise ValueError(f"{_list(unknown)} means nothing there. {todo}")
    space = Space(**{"preset": preset, **values})
    if preset not in PRESETS:
        raise ValueError(f"there is no preset {preset}. {names_near(preset, PRESETS, 'Presets')}")
    if space.preset != preset:
        raise ValueError(f"it holds settings of the preset {space.preset!r}, not of {preset!r}")
    for table in ("grid", "range", "fixed"):
        if not isinstance(getattr(space, table), Mapping):
            raise ValueError(f"[{table}] must be a table of settings")
    if bool(space.grid) == bool(space.range):
        raise ValueError("it needs settings in [grid] or in [range], and not in both")
    if space.objective not in OBJECTIVES:
        raise ValueError(f"objective = {space.objective!r} is not {' or '.join(OBJECTIVES)}")
    for name, top in (("fraction", 1.0), ("validation", 0.9)):
        value = getattr(space, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= top:
            raise ValueError(f"{name} = {value!r} is not a number above 0, up to {top}")
    if twice := (set(space.grid) | set(space.range)) & set(space.fixed):
        raise ValueError(f"{_list(twice)} is fixed and varied")
    find = PRESETS[preset].find_setting
    return dataclasses.replace(
        space,
        fixed={n: find(n).check(n, v) for n, v in space.fixed.items()},
        grid={n: _values(find(n), n, v) for n, v in space.grid.items()},
        range={n: _range(find(n), n, v) for n, v in space.range.items()},
    )


def _values(option: Option, name: str, values: Any) -> list[Value]:
    """Return a list of different allowed values."""
    if not isinstance(values, list) or not values:
        raise ValueError(f"{name} needs a list of values, not {values!r}")
    checked = [option.check(name, value) for value in values]
    if len(set(checked)) < len(checked):
        raise ValueError(f"{name} has one value twice")
    return checked


def _range(option: Option, name: str, values: Any) -> Any:
    """Return a list of allowed values, or ``low``, ``high`` and ``log`` of a number."""
    if isinstance(values, list):
        return _values(option, name, values)
    if not isinstance(values, Mapping) or not {"low", "high"} <= set(values) <= {
        "low", "high", "log",
    }:  # fmt: skip
        raise ValueError(f"{name} needs a list of values, or low, high and perhaps log")
    if option.kind == "choice":
        raise ValueError(f"{name} has no range: it is {option.allowed}")
    low, high = (option.check(name, values[end]) for end in ("low", "high"))
    log = values.get("log", False)
    if not isinstance(log, bool):
        raise ValueError(f"{name}: log is true or false, not {log!r}")
    if not low < high:  # type: ignore[operator]
        raise ValueError(f"{name}: low = {low} is not below high = {high}")
    if log and not low > 0:  # type: ignore[operator]
        raise ValueError(f"{name}: a logarithmic range starts above 0")
    return {"low": low, "high": high, "log": log}


def _list(names: set[str]) -> str:
    """Return names in a stable order."""
    return ", ".join(sorted(names))
