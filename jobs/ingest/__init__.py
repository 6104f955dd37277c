"""Ingestion of catalogs, spectra and label tables."""
