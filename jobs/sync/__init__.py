"""One command that brings a catalog up to date: order and reports, on the jobs' own mechanisms."""
