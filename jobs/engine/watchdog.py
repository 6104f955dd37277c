"""A thread that answers signals at once and sees to it that the process ends in time.

Python runs a signal's handler in the main thread only, and only between its own instructions: not
while JAX trains or PostgreSQL is silent. The interpreter's wake-up descriptor tells another thread
of a signal as soon as it comes.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

ENDING = (signal.SIGTERM, signal.SIGINT)
GRACE_S = 8.0  # so long an open chunk may take to end after a signal
LAST_S = 1.5  # so long the process may take to give up what it holds open after that
_STOP = 0  # no signal has this number


class Watchdog:
    """Watches for signals while the block is entered; in the main thread.

    Parameters
    ----------
    hear : callable
        ``hear(number)`` is called with the first SIGTERM or SIGINT.
    drop : callable
        ``drop()`` is called where the block is still entered `GRACE_S` later. If it is so another
        `LAST_S` later, or so long after a second signal, the process ends with 128 + the number.
    """

    def __init__(self, hear: Callable[[int], None], drop: Callable[[], None]) -> None:
        self._hear, self._drop = hear, drop
        self._thread = threading.Thread(target=self._watch, name="signals", daemon=True)

    def __enter__(self) -> Watchdog:
        self._inlet, outlet = os.pipe()
        os.set_blocking(outlet, False)
        self._outlet = outlet
        self._before = signal.set_wakeup_fd(outlet, warn_on_full_buffer=False)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._before)
        os.write(self._outlet, bytes([_STOP]))
        self._thread.join()
        os.close(self._inlet)
        os.close(self._outlet)

    def _watch(self) -> None:
        """Wait for signals, then for the end of the time that each leaves."""
        first: int | None = None
        until: float | None = None
        is_last = False
        while True:
            left = None if until is None else max(0.0, until - time.monotonic())
            if select.select([self._inlet], [], [], left)[0]:
                number = os.read(self._inlet, 1)[0]
                if number == _STOP:
                    return
                if number not in ENDING:
                    continue
                if first is None:
                    first, until = number, time.monotonic() + GRACE_S
                    self._hear(number)
                    _say(_answer(number))
                elif not is_last:
                    is_last, until = True, time.monotonic() + LAST_S
            elif is_last:
                _leave(128 + (first or 0))
            else:
                is_last, until = True, time.monotonic() + LAST_S
                _say(f"the open chunk did not end in {GRACE_S:g} s and is dropped")
                self._drop()


def _answer(number: int) -> str:
    """Return what is said when a signal comes."""
    again = "press Ctrl-C again" if number == signal.SIGINT else "send the signal again"
    return f"stopping: finishing the open chunk ({GRACE_S:g} s at most); {again} to drop it"


def _say(words: str) -> None:
    """Write a line to standard error, whatever the main thread does with it."""
    start = "\r" if sys.__stderr__ is not None and sys.__stderr__.isatty() else ""
    try:
        os.write(2, f"{start}{words}\n".encode())
    except OSError:  # nobody listens
        return


def _leave(code: int) -> None:
    """End the process without waiting for anything; the server takes back what is not committed."""
    if sys.__stderr__ is not None and sys.__stderr__.isatty():
        os.write(2, b"\x1b[?25h")  # a progress bar has hidden the cursor
    os._exit(code)
