"""Downloads from the archive: catalogs, spectra, positions and labels."""
