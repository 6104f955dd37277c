"""Scans of settings, scored by cross-validation."""
