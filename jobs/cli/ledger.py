"""Commands on the ledger: status, resume, retry, abandon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from catalog.errors import ExitCode, ServerUnavailableError
from catalog.words import count
from jobs.cli.common import Json, Quiet, complain, database, run_and_report, say, say_json

if TYPE_CHECKING:
    from catalog.store.db import Database
    from jobs.engine.ledger import Run


def register(root: typer.Typer) -> None:
    """Add the commands."""
    root.command("status")(status)
    root.command("resume")(resume)
    root.command("retry")(retry)
    root.command("abandon")(abandon)


def status(
    last: Annotated[int, typer.Option(min=1, help="How many closed runs to show.")] = 10,
    as_json: Json = False,
) -> None:
    """Show the runs: what is alive, what was interrupted, what failed and why."""
    from jobs.engine.status import count_closed, runs_with_life

    with database() as db, db.reader() as conn:
        runs = runs_with_life(conn, last)
        closed = count_closed(conn)
    if as_json:
        for run in runs:
            say_json(**run)
        return
    if not runs:
        say("no runs yet")
    if closed > last:
        say(f"{count(closed - last, 'older run')} not shown: crosslabel status --last {closed}")
    for run in runs:
        done = f"{run['chunks_done']}/{run['chunks']}"
        failed = f", {run['chunks_failed']} failed" if run["chunks_failed"] else ""
        say(
            f"{run['run_id']:>5}  {run['started_at']:%Y-%m-%d %H:%M:%SZ}  {run['state']:11}  "
            f"{run['kind']} {run['target']}  {done} chunks{failed}"
        )
        for error in run["errors"]:
            say(f"       {error}")


def resume(quiet: Quiet = False, as_json: Json = False) -> None:
    """Go on with every run that was interrupted or stopped."""
    _again(retry_failed=False, quiet=quiet, as_json=as_json)


def retry(quiet: Quiet = False, as_json: Json = False) -> None:
    """Go on with every open run, trying its failed chunks again."""
    _again(retry_failed=True, quiet=quiet, as_json=as_json)


def abandon(
    run_id: Annotated[int, typer.Argument(help="Number of the run, as status shows it.")],
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Give up a run that was interrupted, stopped or failed: what it left unpublished goes."""
    from catalog.errors import UsageError
    from jobs.engine.ledger import open_runs
    from jobs.engine.runner import abandon_run
    from jobs.registry import job_of

    with database() as db:
        with db.reader() as conn:
            found = [run for run in open_runs(conn) if run.run_id == run_id]
        if not found:
            raise UsageError(f"there is no open run {run_id}", "crosslabel status shows the runs")
        (run,) = found
        job = job_of(run, db)
        try:
            abandon_run(job, db, run)
        finally:
            job.close()
    if as_json:
        say_json(run_id=run_id, kind=run.kind, target=run.target, state="abandoned")
    else:
        say(f"run {run_id}, {run.kind} {run.target}, is abandoned", quiet=quiet)


def _again(*, retry_failed: bool, quiet: bool, as_json: bool) -> None:
    """Run all open runs; one that cannot be done does not hold up the others."""
    from jobs.engine.defects import known_error, note_defect
    from jobs.engine.ledger import open_runs

    codes = []
    with database() as db:
        with db.reader() as conn:
            runs = open_runs(conn)
        for run in runs:
            name = f"run {run.run_id}, {run.kind} {run.target}"
            try:
                codes.append(_go_on(run, db, retry_failed, quiet, as_json))
            except Exception as exc:
                error = known_error(exc) or note_defect(exc, name)
                if isinstance(error, ServerUnavailableError):
                    raise  # nor can the others be done
                complain(error, f"{name}: ")
                codes.append(int(error.exit_code))
            if codes[-1] in (ExitCode.SIGINT, ExitCode.SIGTERM):
                break
        if not runs:
            what = "retry" if retry_failed else "resume"
            say(f"nothing to {what}", quiet=quiet or as_json)
    if any(codes):
        raise typer.Exit(next(code for code in reversed(codes) if code))


def _go_on(run: Run, db: Database, retry_failed: bool, quiet: bool, as_json: bool) -> int:
    """Go on with one run; its exit code."""
    from jobs.engine.job import Unresolved
    from jobs.registry import job_of

    job = Unresolved(run.kind, run.target, lambda: job_of(run, db))
    try:
        run_and_report(job, db, quiet=quiet, as_json=as_json, retry_failed=retry_failed)
    except typer.Exit as end:
        return end.exit_code
    return int(ExitCode.OK)
