"""Records and arithmetic that all models share."""
