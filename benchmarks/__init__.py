"""Benchmarks: each checks its answer first, then prints a table of ratios from one run."""
