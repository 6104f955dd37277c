"""The configuration that explains itself."""

from __future__ import annotations

from importlib.resources import files


def example_text() -> str:
    """A configuration with every key, commented."""
    return files("jobs.sync").joinpath("example.toml").read_text("utf-8")
