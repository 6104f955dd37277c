"""Signals: the first one asks a run to pause after its open chunk, the second ends the process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class StopFlag:
    """Set by SIGTERM or SIGINT; the open chunk is finished, then the run pauses."""

    signal: int | None = None


@contextmanager
def stop_on_signals() -> Iterator[StopFlag]:
    """Turn the first SIGTERM or SIGINT into a flag; a second one ends the process at once."""
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    old = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)}

    def note(number: int, frame: Any) -> None:
        flag.signal = number
        for s, handler in old.items():
            signal.signal(s, handler)

    for s in old:
        signal.signal(s, note)
    try:
        yield flag
    finally:
        for s, handler in old.items():
            signal.signal(s, handler)
