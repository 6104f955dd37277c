"""Settings of the presets beyond those that all trainings share: names, ranges, meanings.

They are what `crosslabel train --set NAME=VALUE` takes and what a scan chooses among. A setting is
an option of its preset or a field of `models.core.records.TrainSpec` that the preset uses; both are
listed in the module of the preset.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

Value = int | float | str
Pairs = tuple[tuple[str, Value], ...]


@dataclass(frozen=True)
class Option:
    """One setting.

    Parameters
    ----------
    kind : {"int", "float", "choice"}
        Type of its values.
    default : int, float, str or None
        Its value if none is given; None where the preset finds it from the data.
    meaning : str
        Meaning in plain words, with the unit, or the value that None stands for.
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

        Parameters
        ----------
        name : str
            Name of the setting, for the message.
        value : object
            A number or a text.

        Raises
        ------
        ValueError
            If it is not allowed.
        """
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if self.kind == "choice":
            valid = value in self.choices
        else:
            valid = number and self.low <= value <= self.high
            valid = valid and (self.kind == "float" or value == int(value))
        if not valid:
            raise ValueError(f"{name} = {value!r} is not {self.allowed}")
        if self.kind == "choice":
            return str(value)
        return int(value) if self.kind == "int" else float(value)

    def read(self, name: str, text: str) -> Value:
        """Return the value of a text that a user typed.

        Parameters
        ----------
        name, text : str
            Name of the setting, for the message, and the text.

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


RATE = (1e-6, 1.0)  # range of learning rates
EPOCHS = Option("int", None, "passes over the training rows; nominal if not given", 1, 10**6)
COMPONENTS = Option("int", 64, "spectral components", 1, 1000)
