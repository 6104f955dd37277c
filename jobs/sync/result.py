"""Results of the steps and of the whole of a sync."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from catalog.errors import ExitCode

#: From bad to worse: the exit code of a sync is the worst of its steps'.
SEVERITY = (
    ExitCode.OK, ExitCode.LOCKED, ExitCode.FAILED, ExitCode.USAGE, ExitCode.BAD_INPUT,
    ExitCode.UNAVAILABLE, ExitCode.CONFIG, ExitCode.SIGINT, ExitCode.SIGTERM,
)  # fmt: skip


@dataclass(frozen=True)
class StepResult:
    """The result of a step.

    Attributes
    ----------
    step : str
    state : str
        done, idle, planned, paused, failed, skipped (it builds on a failed one) or left (time was
        up, or a signal came).
    kind, target : str
        Of the job; empty where it did not get so far.
    run_id : int or None
        Run of the ledger.
    rows_written : int
        Rows of the catalog that this sync changed.
    quarantined : int
        Rows and files that were newly refused.
    files : tuple of str
        Exported files that are new.
    elapsed_s : float
    exit_code : ExitCode
    error : str
        What went wrong, or why it was not done.
    todo : str
        What to do about it.
    note : str
        What else should be known.
    outcome : str
        What the job made, in what people count.
    """

    step: str
    state: str
    kind: str = ""
    target: str = ""
    run_id: int | None = None
    rows_written: int = 0
    quarantined: int = 0
    files: tuple[str, ...] = ()
    elapsed_s: float = 0.0
    exit_code: ExitCode = ExitCode.OK
    error: str = ""
    todo: str = ""
    note: str = ""
    outcome: str = ""


@dataclass(frozen=True)
class SyncResult:
    """The result of a sync, with those of its steps."""

    state: str  # idle, done, planned, paused (its time was up), stopped (by a signal) or failed
    steps: tuple[StepResult, ...]
    elapsed_s: float
    exit_code: ExitCode

    @property
    def rows_written(self) -> int:
        """Rows of the catalog that changed."""
        return sum(s.rows_written for s in self.steps)

    @property
    def files(self) -> list[str]:
        """Exported files that are new."""
        return [file for s in self.steps for file in s.files]


def as_json(result: StepResult) -> dict[str, Any]:
    """Return a result as JSON-able values, without what is empty."""
    values = {name: getattr(result, name) for name in StepResult.__dataclass_fields__}
    values["elapsed_s"] = round(result.elapsed_s, 3)
    values["exit_code"] = int(result.exit_code)
    kept = ("step", "state", "run_id", "rows_written", "elapsed_s", "exit_code")
    return {name: value for name, value in values.items() if value or name in kept}


def summary_json(result: SyncResult) -> dict[str, Any]:
    """The whole as JSON-able values: number of steps by state, runs, rows, files, time, code."""
    states = [s.state for s in result.steps]
    return {
        "state": result.state, "steps": dict(sorted(Counter(states).items())),
        "run_ids": [s.run_id for s in result.steps if s.run_id is not None],
        "rows_written": result.rows_written, "files": result.files,
        "elapsed_s": round(result.elapsed_s, 3), "exit_code": int(result.exit_code),
    }  # fmt: skip
