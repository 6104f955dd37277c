"""The program ``crosslabel``: it can be stopped from its first moment, before anything is loaded.

Loading the libraries takes most of a short command's time. A signal that comes then ends the
process at once: an exception in the middle of an import would end in a traceback, or be swallowed.
Nothing has been begun by then, and what a server holds open it takes back itself. Where a run is
under way, `jobs.engine.signals` takes the signals over.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

_IMPORTING = "<frozen importlib._bootstrap>"  # the file name of Python's own code for imports


def main() -> None:
    """Run the command line; SIGINT and SIGTERM end it with a line and 130 or 143."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _stop)
        from jobs.cli import main as run_command

        run_command()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, _leave)  # what Python does at its end would be interrupted


def _stop(number: int, frame: FrameType | None) -> None:
    """End the process; Ctrl-C, outside imports, by the exception that lets files be tidied up."""
    if number == signal.SIGTERM or _imports(frame):
        _leave(number, frame)
    _say_stopped()
    raise KeyboardInterrupt


def _leave(number: int, frame: FrameType | None) -> None:
    """End the process at once."""
    _say_stopped()
    os._exit(128 + number)


def _say_stopped() -> None:
    """Write a line to standard error, whatever streams are in use."""
    try:
        os.write(2, b"\rstopped\n" if os.isatty(2) else b"stopped\n")
    except OSError:  # nobody listens
        return


def _imports(frame: FrameType | None) -> bool:
    """Return True if a module is being loaded."""
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            return True
        frame = frame.f_back
    return False
