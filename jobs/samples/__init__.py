"""Samples: stars and spectra chosen by rules, with the reason of each rejection."""
