"""A SQL function as the code defines it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Function:
    """A SQL function: its name, argument types (for COMMENT and DROP), text and comment."""

    name: str
    signature: str
    create: str
    comment: str
