"""The numbers: NumPy and JAX only. No SQL, no paths, no clock."""
