"""Steps of a sync, and the objects that they work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from catalog.config import Settings
from catalog.store.db import Database
from jobs.engine.job import Job, Progress, RunSummary, silent
from jobs.engine.runner import run_job
from jobs.sync.files import SeenFiles


@dataclass(frozen=True)
class Work:
    """The objects that steps work with: database, settings, files, progress.

    Attributes
    ----------
    db : Database
    settings : Settings
        Where the archive is.
    seen : SeenFiles
        What is known of files.
    dry_run : bool
        Whether to plan only.
    progress : callable
        See `jobs.engine.job.Progress`.
    """

    db: Database
    settings: Settings
    seen: SeenFiles
    dry_run: bool = False
    progress: Progress = silent

    def do(self, job: Job) -> RunSummary:
        """Run a job; failed chunks are tried again, as another day may have mended them."""
        return run_job(
            job, self.db, retry_failed=True, dry_run=self.dry_run, progress=self.progress
        )


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes
    ----------
    name : str
        How the log calls it.
    run : callable
        ``run(work)`` does it; it raises what the job raises.
    makes, uses : frozenset of str
        Things such as ``labels sspp/dr12``. A step builds on all earlier ones that make something
        which it uses.
    """

    name: str
    run: Callable[[Work], RunSummary]
    makes: frozenset[str] = field(default=frozenset())
    uses: frozenset[str] = field(default=frozenset())


def things(*names: str) -> frozenset[str]:
    """Things that a step makes or uses; empty names are none."""
    return frozenset(name for name in names if name)
