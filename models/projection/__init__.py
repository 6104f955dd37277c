"""Projection of spectra with masked pixels on few components."""
