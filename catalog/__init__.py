"""The data: what comes in, where it is kept, what goes out. Knows no JAX and no Typer."""
