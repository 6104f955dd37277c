"""The machine-readable log: a line of JSON for each step and one for the whole, appended."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from catalog.errors import ConfigurationError, SourceUnavailableError


class SyncLog:
    """Appends lines to a file; it is opened for each, so that logrotate may move it away.

    Parameters
    ----------
    path : Path or None
        The file; None keeps no log.

    Raises
    ------
    ConfigurationError
        If the file cannot be written at all; nothing has been done then.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        if path is not None:
            try:
                _append(path, b"")
            except OSError as exc:
                raise ConfigurationError(
                    f"the log {path} cannot be written: {exc.strerror}; correct log in the "
                    "configuration, or make its folder"
                ) from exc

    def write(self, **values: Any) -> None:
        """Append one object.

        Raises
        ------
        SourceUnavailableError
            If that fails, such as on a full disk; a line is there whole or not at all.
        """
        if self._path is None:
            return
        try:
            _append(self._path, json.dumps(values, default=str).encode() + b"\n")
        except OSError as exc:
            raise SourceUnavailableError(
                f"the log {self._path} cannot be written: {exc.strerror}",
                "Make space; what was done is in the catalog: crosslabel status",
            ) from exc


def _append(path: Path, line: bytes) -> None:
    """Write at the end, and take back what does not fit."""
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        end = os.fstat(handle).st_size
        if end and line and os.pread(handle, 1, end - 1) != b"\n":  # left by a power cut
            line = b"\n" + line
        try:
            while line:
                line = line[os.write(handle, line) :]
        except OSError:
            with suppress(OSError):  # a pipe or a device has no end to go back to
                os.ftruncate(handle, end)
            raise
    finally:
        os.close(handle)
