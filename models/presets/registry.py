"""The presets by name: what `models.trainer` trains and `models.predict` asks for answers.

Each is a module with the functions `stages`, `advance`, `fitted` and `answer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from models.presets import cannon, default, ridge, seed2018

PRESETS: Mapping[str, Any] = MappingProxyType(
    {"seed-2018": seed2018, "default": default, "ridge": ridge, "cannon": cannon}
)
"""Name of a preset -> its module."""
