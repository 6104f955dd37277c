"""Spectra as arrays: grids, masks, continuum normalization, lines."""
