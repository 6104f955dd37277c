"""Settings of the presets beyond those that all trainings share: names, ranges, meanings.

They are what `crosslabel train --set NAME=VALUE` takes and what a scan chooses among. A setting is
an option of its preset (here) or a field of `models.core.records.TrainSpec` that the preset uses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

Value = int | float | str
Pairs = tuple[tuple[str, Value], ...]


@dataclass(frozen=True)
class Option:
    """One setting.

    Parameters
    ----------
    kind : {"int", "float", "choice"}
        What values are.
    default : int, float, str or None
        Its value if none is given; None where the preset finds it from the data.
    meaning : str
        In plain words, with the unit or what None does.
    low, high : float
        Least and greatest value of a number.
    choices : tuple of str
        Values of a choice.
    """

    kind: Literal["int", "float", "choice"]
    default: Value | None
    meaning: str
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        if self.kind == "choice":
            return "one of " + ", ".join(self.choices)
        article = "a whole number" if self.kind == "int" else "a number"
        return f"{article} from {self.low:g} to {self.high:g}"

    def check(self, name: str, value: Any) -> Value:
        """Return the value in its own type.

        Raises
        ------
        ValueError
            If it is not allowed.
        """
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if self.kind == "choice":
            fine = value in self.choices
        else:
            fine = number and self.low <= value <= self.high
            fine = fine and (self.kind == "float" or value == int(value))
        if not fine:
            raise ValueError(f"{name} = {value!r} is not {self.allowed}")
        return {"int": int, "float": float, "choice": str}[self.kind](value)

    def read(self, name: str, text: str) -> Value:
        """Read a value that somebody typed.

        Raises
        ------
        ValueError
            If it is not allowed.
        """
        if self.kind == "choice":
            return self.check(name, text)
        try:
            return self.check(name, float(text))
        except (ValueError, OverflowError):
            raise ValueError(f"{name} = {text!r} is not {self.allowed}") from None


RATE = (1e-6, 1.0)
_EPOCHS = Option("int", None, "passes over the training rows; nominal if not given", 1, 10**6)
_COMPONENTS = Option("int", 64, "spectral components", 1, 1000)

OPTIONS: Mapping[str, Mapping[str, Option]] = MappingProxyType(
    {
        "seed-2018": {
            "hidden_layers": Option(
                "int", 1, "hidden layers behind the first, linear one", 1, 8
            ),
            "neurons": Option("int", 32, "width of every layer of the forward network", 1, 1024),
            "activation": Option(
                "choice", "relu", "of the hidden layers", choices=("relu", "elu", "gelu", "tanh")
            ),
            "batch": Option("int", 16, "training rows per step of the forward network", 1, 4096),
            "rate": Option("float", 1e-4, "learning rate of the forward network", *RATE),
            "loss": Option(
                "choice", "mae", "of the forward network: mean absolute or squared error",
                choices=("mae", "mse"),
            ),
            "reverse_neurons": Option("int", 36, "width of the reverse network", 1, 1024),
            "reverse_rate": Option("float", 3e-4, "learning rate of the reverse network", *RATE),
        },
        "default": {
            "width": Option("int", 64, "width of the hidden layers", 1, 1024),
            "layers": Option("int", 2, "hidden layers", 1, 4),
            "batch": Option("int", 128, "training rows per step", 1, 4096),
            "rate": Option("float", 3e-3, "learning rate at the start", *RATE),
            "weight_decay": Option(
                "float", None, "decay of the weights; 0.01, and 0.1 below 600 rows, if not given",
                0.0, 10.0,
            ),
            "error_floor": Option(
                "float", 1.0, "factor on the least label errors: 30 K, 0.05 (gravity), 0.02 dex",
                0.0, 100.0,
            ),
            "process": Option(
                "float", 0.5, "weight of the Gaussian process in the average with the networks",
                0.0, 1.0,
            ),
        },
        "ridge": {},
        "cannon": {},
    }
)  # fmt: skip
"""Preset -> name -> option."""

FIELDS: Mapping[str, Mapping[str, Option]] = MappingProxyType(
    {
        "seed-2018": {
            "epochs": _EPOCHS,
            "reverse_epochs": _EPOCHS,
            "rounds": Option("int", 2, "rounds of normalization", 1, 2),
        },
        "default": {
            "epochs": _EPOCHS,
            "members": Option("int", 5, "networks in the ensemble", 1, 100),
            "components": _COMPONENTS,
        },
        "ridge": {"components": _COMPONENTS},
        "cannon": {},
    }
)
"""Preset -> name -> field of `TrainSpec` that decides its result and can be set like an option."""


def settings_of(preset: str) -> dict[str, Option]:
    """Return all settings of a preset by name: its options and the fields it uses."""
    return {**FIELDS[preset], **OPTIONS[preset]}


def find_setting(preset: str, name: str) -> Option:
    """Return the setting of a name.

    Raises
    ------
    ValueError
        If the preset has none of that name; the message lists those it has.
    """
    known = settings_of(preset)
    if name not in known:
        raise ValueError(
            f"{preset} has no setting {name!r}; it has {', '.join(sorted(known)) or 'none'}"
        )
    return known[name]


def check_options(preset: str, options: Any) -> Pairs:
    """Return the options of a preset in their own types, sorted by name.

    Parameters
    ----------
    preset : str
        A key of `OPTIONS`.
    options : mapping or iterable of pairs
        Name and value.

    Raises
    ------
    ValueError
        If a name is unknown or a value not allowed.
    """
    found: dict[str, Value] = {}
    for name, value in dict(options).items():
        if name in FIELDS[preset]:
            raise ValueError(f"{name} is a field of its own, not an option")
        found[name] = find_setting(preset, name).check(name, value)
    return tuple(sorted(found.items()))
