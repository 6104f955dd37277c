"""Calibrated errors, flags and the domain in which a model applies."""
