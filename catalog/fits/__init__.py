"""FITS files: headers, tables, checksums and cells, checked before any value is used."""
