"""Exports of tables, spectra and training matrices to files."""
