"""Training, prediction, and what is kept of a model."""
