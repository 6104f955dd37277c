"""The machine-readable log: a line of JSON for each step and one for the whole, appended."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from catalog.errors import (
    ConfigurationError,
    CrosslabelError,
    LockedError,
    SourceUnavailableError,
)
from jobs.engine.defects import LOG


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


def log_refusal(log: SyncLog, exc: CrosslabelError) -> None:
    """Log a sync that ended before its first step."""
    state = "locked" if isinstance(exc, LockedError) else "failed"
    with suppress(SourceUnavailableError):  # what is wrong is said anyway
        log.write(
            time=time_stamp(), sync=sync_name(), event="sync", state=state, rows_written=0,
            exit_code=int(exc.exit_code), error=exc.reason,
        )  # fmt: skip


class _Tracebacks(logging.Handler):
    """Writes the tracebacks of unforeseen exceptions into the log of a sync."""

    def __init__(self, log: SyncLog, sync: str) -> None:
        super().__init__(logging.ERROR)
        self.setFormatter(logging.Formatter("%(message)s"))
        self._log, self._sync = log, sync

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        with suppress(SourceUnavailableError):  # the next line of a step says so
            text = self.format(record)
            self._log.write(time=time_stamp(), sync=self._sync, event="traceback", text=text)


@contextmanager
def tracebacks_in(log: SyncLog, sync: str) -> Iterator[None]:
    """Let tracebacks go into the log of a sync, too."""
    handler = _Tracebacks(log, sync)
    LOG.addHandler(handler)
    try:
        yield
    finally:
        LOG.removeHandler(handler)


def sync_name() -> str:
    """Return the name of this sync in the log: its time and process."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}"


def time_stamp() -> str:
    """Return the time as the log writes it."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


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
