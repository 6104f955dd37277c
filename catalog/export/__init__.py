"""Selections of rows to export, and one writer per format."""
