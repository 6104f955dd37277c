"""The models that can be trained, one module per preset.

This list can be read without JAX, as help and other commands that do not train need it;
`models.presets.registry` loads the presets themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Listed(NamedTuple):
    """An entry of the list of presets.

    Parameters
    ----------
    module : str
        Name of its module in this package; its constant `PRESET` is the preset.
    summary : str
        A few words for help.
    """

    module: str
    summary: str


LISTED: Mapping[str, Listed] = MappingProxyType(
    {
        "default": Listed("default", "networks and a Gaussian process"),
        "ridge": Listed("ridge", "linear baseline"),
        "cannon": Listed("cannon", "quadratic baseline"),
        "seed-2018": Listed("seed2018", "the notebook's networks"),
    }
)
"""Name of a preset -> where it is and what it is, in the order in which help shows them."""
