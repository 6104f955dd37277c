"""Version of crosslabel, which stands in everything that is written."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def code_version() -> str:
    """Return the version of crosslabel that runs."""
    try:
        return version("crosslabel")
    except PackageNotFoundError:
        return "uninstalled"
