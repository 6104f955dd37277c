"""Signals: the first one asks a run to pause after its open chunk, the second ends the process.

A chunk that does not end in time is dropped: its transaction is rolled back, by us or, where the
server or compiled code does not come back, by the server when the process has ended.

SIGALRM is the end of a time budget: it asks too, but does not use up the first one, and it waits
until something has been done, so that the shortest budget gets further every time.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from jobs.engine.watchdog import ENDING, Watchdog

HEARD = (*ENDING, signal.SIGALRM)


class ChunkDropped(SystemExit):
    """Raised in the main thread where the open chunk did not end in time after a signal.

    psycopg cancels a query when it sees a `SystemExit`; nobody catches it by mistake.
    """


class StopFlag:
    """Set by a signal; the open chunk is finished, then the run pauses."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._has_worked = self._time_is_up = self._drops = False
        self._before: dict[int, Any] = {}

    def note(self, number: int, frame: Any) -> None:
        """Take a signal; after one that ends a process the next one does so at once."""
        if self._drops:
            self._drops = False
            raise ChunkDropped(128 + (self.signal or number))
        if number in ENDING:
            self.signal = number
            self.give_back(ENDING)
        else:
            self._time_is_up = True
            self._end_of_time()

    def hear(self, number: int) -> None:
        """Take a signal that the main thread may only notice later; for the watchdog."""
        self.signal = number

    def drop(self) -> None:
        """Raise `ChunkDropped` in the main thread; for the watchdog."""
        self._drops = True
        main = threading.main_thread().ident
        if main is not None:
            signal.pthread_kill(main, signal.SIGALRM)  # also ends a sleep or a wait

    def worked(self) -> None:
        """Tell that something was done."""
        self._has_worked = True
        self._end_of_time()

    def _end_of_time(self) -> None:
        """Stop where the time is up, unless nothing was done yet."""
        if self._time_is_up and self._has_worked and self.signal is None:
            self.signal = signal.SIGALRM

    def take(self) -> None:
        """Let signals come here."""
        self._before = {s: signal.getsignal(s) for s in HEARD}
        for s in HEARD:
            signal.signal(s, self.note)

    def give_back(self, signals: Iterable[int]) -> None:
        """Let signals do what they did before."""
        for s in signals:
            signal.signal(s, self._before[s])


@contextmanager
def stop_on_signals() -> Iterator[StopFlag]:
    """Turn the first SIGTERM or SIGINT, and SIGALRM, into a flag.

    Inside another such block it is that block's flag: one signal stops all that is under way.

    Raises
    ------
    ChunkDropped
        In the main thread, some seconds after a signal; see `jobs.engine.watchdog`.
    """
    flag = _outer()
    if flag is not None or threading.current_thread() is not threading.main_thread():
        yield flag or StopFlag()
        return
    flag = StopFlag()
    with Watchdog(flag.hear, flag.drop):
        flag.take()
        try:
            yield flag
        finally:
            flag.give_back(HEARD)


def stopped_by() -> int | None:
    """Return the signal that asked the work under way to stop, for work without chunks."""
    flag = _outer()
    return None if flag is None else flag.signal


def _outer() -> StopFlag | None:
    """Return the flag that signals go to now."""
    owner = getattr(signal.getsignal(signal.SIGALRM), "__self__", None)
    return owner if isinstance(owner, StopFlag) else None
