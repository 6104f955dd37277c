"""The data: what comes in, where it is kept, what goes out. Knows no JAX and no Typer.

For notebooks and scripts: ``from catalog import open_catalog`` (docs/worked.ipynb).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from catalog.reader.blocks import SpectrumBlock
    from catalog.reader.catalog import Catalog
    from catalog.reader.open_catalog import open_catalog
    from catalog.reader.tables import LimitWarning

__all__ = ["Catalog", "LimitWarning", "SpectrumBlock", "open_catalog"]

#: Loaded when asked for, so that commands do not wait for tables and units.
_FROM = {
    "Catalog": "catalog.reader.catalog",
    "LimitWarning": "catalog.reader.tables",
    "SpectrumBlock": "catalog.reader.blocks",
    "open_catalog": "catalog.reader.open_catalog",
}


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_FROM[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
