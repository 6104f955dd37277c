"""Libraries that only some commands need: which extra brings each, said where one is absent.

The modules of these commands import them as any other, when the command runs; the error is made of
the failed import (`jobs.engine.defects.known_error`). A command that does other work first asks.
"""

from __future__ import annotations

from importlib.util import find_spec

from catalog.errors import ConfigurationError

#: Library -> the extra of crosslabel that brings it (a test compares this with pyproject.toml).
EXTRAS = {"jinja2": "report", "matplotlib": "report", "optuna": "scan"}


def require_extra(extra: str) -> None:
    """Raise unless the libraries of an extra are installed.

    Raises
    ------
    ConfigurationError
    """
    for library, brought_by in EXTRAS.items():
        if brought_by == extra and find_spec(library) is None:
            raise _not_installed(library)


def missing_extra(exc: ModuleNotFoundError) -> ConfigurationError | None:
    """Return the error that names the extra to install; None for any other module."""
    library = (exc.name or "").partition(".")[0]
    return _not_installed(library) if library in EXTRAS else None


def _not_installed(library: str) -> ConfigurationError:
    """Return the error of an absent library, with the command that installs it."""
    return ConfigurationError(
        f"{library} is not installed", f"Run: pip install 'crosslabel[{EXTRAS[library]}]'"
    )
