"""The data: what comes in, where it is kept, what goes out. Knows no JAX and no Typer.

For notebooks and scripts: ``from catalog import open_catalog`` (docs/worked.ipynb).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from catalog.notebook.blocks import SpectrumBlock
    from catalog.notebook.methods import Catalog
    from catalog.notebook.opened import open_catalog
    from catalog.notebook.tables import LimitWarning

__all__ = ["Catalog", "LimitWarning", "SpectrumBlock", "open_catalog"]

#: Loaded when asked for, so that commands do not wait for tables and units.
_FROM = {
    "Catalog": "catalog.notebook.methods",
    "LimitWarning": "catalog.notebook.tables",
    "SpectrumBlock": "catalog.notebook.blocks",
    "open_catalog": "catalog.notebook.opened",
}


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_FROM[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
