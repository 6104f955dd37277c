"""What every job runs on: parameters, ledger, runner."""
