"""Commands on the ledger: status, resume, retry."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.cli.common import Json, Quiet, database, run_and_report, say, say_json


def register(root: typer.Typer) -> None:
    """Add the commands."""
    root.command("status")(status)
    root.command("resume")(resume)
    root.command("retry")(retry)


def status(
    last: Annotated[int, typer.Option(min=1, help="How many closed runs to show.")] = 10,
    as_json: Json = False,
) -> None:
    """Show the runs: what is alive, what was interrupted, what failed and why."""
    from jobs.engine.status import runs_with_life

    with database() as db, db.reader() as conn:
        runs = runs_with_life(conn, last)
    if as_json:
        for run in runs:
            say_json(**run)
        return
    if not runs:
        say("no runs yet")
    for run in runs:
        done = f"{run['chunks_done']}/{run['chunks']}"
        failed = f", {run['chunks_failed']} failed" if run["chunks_failed"] else ""
        say(
            f"{run['run_id']:>5}  {run['started_at']:%Y-%m-%d %H:%M:%SZ}  {run['state']:11}  "
            f"{run['kind']} {run['target']}  {done} chunks{failed}, {run['rows_written']:,} rows"
        )
        for error in run["errors"]:
            say(f"       {error}")


def resume(quiet: Quiet = False, as_json: Json = False) -> None:
    """Go on with every run that was interrupted or stopped."""
    _again(retry_failed=False, quiet=quiet, as_json=as_json)


def retry(quiet: Quiet = False, as_json: Json = False) -> None:
    """Go on with every open run, trying its failed chunks again."""
    _again(retry_failed=True, quiet=quiet, as_json=as_json)


def _again(*, retry_failed: bool, quiet: bool, as_json: bool) -> None:
    """Run all open runs of the ledger; the first that does not succeed ends the command."""
    from jobs.engine.ledger import open_runs
    from jobs.registry import job_of

    with database() as db:
        with db.reader() as conn:
            runs = open_runs(conn)
        for run in runs:
            run_and_report(
                job_of(run, db), db, quiet=quiet, as_json=as_json, retry_failed=retry_failed
            )
        if not runs:
            say("nothing to resume, 0 rows written", quiet=quiet or as_json)
