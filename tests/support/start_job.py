"""Start a job of the registry as a process of its own, in chunks smaller than the command's."""

from __future__ import annotations

import json
import sys

from catalog.config import parse_url
from catalog.store.db import open_database
from jobs.engine.ledger import Run
from jobs.engine.runner import run_job
from jobs.registry import job_of


def main(url: str, kind: str, params: str) -> int:
    """Run the job of a kind on a database, with parameters as JSON; its exit code."""
    db = open_database(parse_url(url))
    return run_job(job_of(Run(0, kind, "", json.loads(params), ""), db), db).exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
