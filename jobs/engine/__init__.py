"""Parameters, ledger and runner of all jobs."""
