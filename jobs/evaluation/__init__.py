"""Comparisons of label sets, and scores of models on the same stars."""
