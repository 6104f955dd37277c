"""npz exports: named arrays for people who train elsewhere, without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np


def write_npz(stream: BinaryIO, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Write arrays, sorted by name; equal arrays give equal bytes.

    Raises
    ------
    ValueError
        If an array holds Python objects.
    """
    # NumPy gives every member of the archive the date 1980-01-01
    np.savez(stream, allow_pickle=False, **{name: arrays[name] for name in sorted(arrays)})
