"""Processes that are there at once: forked from one that has imported what commands import.

A new Python takes seconds to import JAX, astropy and SQLAlchemy, most of the time of a test that
starts a dozen of them. The processes here are as real as others: they can be killed, have an exit
code, share nothing with the test, and what they print goes to a file.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

#: What is imported once. None of it starts threads or opens anything.
PRELOADED = [
    "jobs.cli", "jobs.ingest.catalogs", "jobs.ingest.spectra", "jobs.crossmatch.crossmatch",
    "jobs.normalize", "jobs.training.train", "jobs.scan.scan", "jobs.training.predict",
    "jobs.sync.run", "jobs.report.build", "models.trainer", "astropy.table",
]  # fmt: skip

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(PRELOADED)


class Started:
    """A process that runs a function; its exit code is what that returns or exits with.

    Parameters
    ----------
    function : callable
        Importable by name.
    *arguments
        Of the function.
    """

    def __init__(self, function: Callable[..., int | None], *arguments: object) -> None:
        handle, name = tempfile.mkstemp(prefix="crosslabel-test-output-")
        os.close(handle)
        self._output = Path(name)
        self._process = _CONTEXT.Process(
            target=_enter, args=(name, dict(os.environ), function, arguments)
        )
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Return the exit code, minus the signal that ended it, or None while it runs."""
        return self._process.exitcode

    def kill(self) -> None:
        """End it by SIGKILL, if it still runs."""
        self._process.kill()
        self._process.join()

    def output(self) -> str:
        """Return what it has printed so far."""
        return self._output.read_text()

    def wait(self, timeout: float) -> str:
        """Wait for its end; what it printed.

        Raises
        ------
        AssertionError
            If it still runs after so many seconds.
        """
        self._process.join(timeout)
        assert self.returncode is not None, f"it still runs after {timeout} s:\n{self.output()}"
        return self.output()

    def close(self) -> None:
        """End it and forget what it printed."""
        self.kill()
        self._output.unlink(missing_ok=True)


def command(*words: object) -> Started:
    """Start the command line in a process."""
    return Started(_run_command, *map(str, words))


def _run_command(*words: str) -> None:
    from jobs.cli import main

    sys.argv = ["crosslabel", *words]
    main()


def _enter(
    output: str,
    environment: dict[str, str],
    function: Callable[..., int | None],
    arguments: tuple[object, ...],
) -> None:
    """Run the function in an environment (the server's is older), with its output in a file."""
    os.environ.clear()
    os.environ.update(environment)
    handle = os.open(output, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(handle, stream)
    os.close(handle)
    sys.exit(function(*arguments))
