"""The sections of the report, one figure or table per module."""
