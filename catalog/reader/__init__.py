"""The catalog for people: what `catalog.open_catalog` gives, as Astropy tables and spectra."""
