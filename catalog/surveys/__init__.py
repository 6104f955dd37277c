"""Catalogs and spectra of the surveys: one module per format."""
