"""Calibrated errors, flags and the applicability domain of a model."""
