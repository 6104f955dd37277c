"""The report: one page with the figures, for people."""
