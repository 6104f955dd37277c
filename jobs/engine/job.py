"""Jobs as records of functions, and the summary of a run."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from catalog.errors import BadInputError, ExitCode
from jobs.engine.ledger import Run


def _nothing() -> None:
    """A job that holds nothing open."""


def _no_record(conn: sa.Connection, exc: BadInputError) -> None:
    """A job whose bad input needs no record beside the ledger's."""


def _no_rows(conn: sa.Connection, run: Run) -> int:
    """Return a phase of a job that has nothing to write."""
    return 0


def _one(key: str) -> int:
    """Return 1: the chunks themselves are counted."""
    return 1


@dataclass(frozen=True)
class Outcome:
    """The result of a run in what people count.

    Attributes
    ----------
    text : str
        Such as ``353 pairs of 302 stars``.
    counts : mapping of str to int
        The same numbers by name.
    """

    text: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)


def _nothing_counted(conn: sa.Connection, run_id: int) -> Outcome:
    """Return nothing, for a job whose result is shown in another way."""
    return Outcome()


@dataclass(frozen=True)
class Job:
    """A job as callables, which share what they need through closures.

    Attributes
    ----------
    kind, target : str
        Name of the job, and what it writes: the lock is on the target.
    params : dataclass
        Frozen; stored with the run and hashed (see `jobs.engine.params`).
    plan : callable
        ``plan(conn) -> chunk keys``, on a read-only connection. Empty: nothing to do.
    compute : callable
        ``compute(conn, key) -> batch``: slow, reads only; no write transaction is open.
    write : callable
        ``write(conn, run, batch) -> rows written``: fast, in the transaction of the mark.
    begin, finish : callable
        ``begin(conn, run)`` in the transaction that opens the run, ``finish(conn, run)`` in the
        one that closes it as succeeded (publish here); both return rows written. ``finish`` may
        raise `BadInputError`: the run then ends as failed and nothing is published.
    abandon : callable
        ``abandon(conn, run)``: take away what an abandoned run left unpublished.
    refuse : callable
        ``refuse(conn, exc)``: record input that ``plan`` or ``compute`` could not use.
    outcome : callable
        ``outcome(conn, run_id) -> Outcome``: what the catalog holds now that the run has succeeded.
    close : callable
        ``close()``: give back what the job holds open, such as files; called once, at the end.
    unit : str
        Plural noun of what a progress bar counts, such as ``rows``.
    size : callable
        ``size(key) -> int``: how many of these a chunk has.
    ordered : bool
        Whether later chunks build on earlier ones: a failed chunk then ends the run.
    """

    kind: str
    target: str
    params: Any
    plan: Callable[[sa.Connection], Sequence[str]]
    compute: Callable[[sa.Connection, str], Any]
    write: Callable[[sa.Connection, Run, Any], int]
    begin: Callable[[sa.Connection, Run], int] = _no_rows
    finish: Callable[[sa.Connection, Run], int] = _no_rows
    abandon: Callable[[sa.Connection, Run], int] = _no_rows
    refuse: Callable[[sa.Connection, BadInputError], None] = _no_record
    outcome: Callable[[sa.Connection, int], Outcome] = _nothing_counted
    close: Callable[[], None] = _nothing
    unit: str = "chunks"
    size: Callable[[str], int] = _one
    ordered: bool = False


@dataclass(frozen=True)
class Unresolved:
    """A job of which only the lock is known; the rest is found out by whoever holds it.

    Inputs are opened and hashed in ``resolve``, so that of several starts at once only the one
    that gets the lock reads anything.

    Attributes
    ----------
    kind, target : str
        As in the `Job` that it resolves to.
    resolve : callable
        ``resolve() -> Job``: opens inputs and looks up what the job is made from; writes nothing.
    """

    kind: str
    target: str
    resolve: Callable[[], Job]


@dataclass(frozen=True)
class RunSummary:
    """The end of a run: state, counts, errors."""

    kind: str
    target: str
    run_id: int | None  # None: nothing to do, or a dry run
    state: str  # succeeded, failed, paused, idle (nothing to do) or planned (dry run)
    rows_written: int = 0
    chunks_done: int = 0
    chunks_failed: int = 0
    chunks_left: int = 0
    elapsed_s: float = 0.0
    stopped_by: int | None = None  # the signal that paused it
    errors: tuple[str, ...] = ()
    failed_with: ExitCode = ExitCode.FAILED  # of the chunks that failed now, where all agree
    notes: dict[str, Any] = field(default_factory=dict)
    outcome: Outcome = field(default_factory=Outcome)

    @property
    def exit_code(self) -> int:
        """Return the exit code of the command that ran it."""
        if self.state == "paused":
            return 128 + (self.stopped_by or signal.SIGTERM)
        return self.failed_with if self.state == "failed" else ExitCode.OK


Progress = Callable[[str, int, int], None]  # (job and what is counted, done, in all)


def silent(job: str, done: int, total: int) -> None:
    """No progress bar."""
