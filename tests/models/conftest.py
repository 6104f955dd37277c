"""Fixtures of the model tests: simulated data, and JAX at its strictest."""

from __future__ import annotations

import jax
import pytest
from simulated import simulate


@pytest.fixture(scope="session")
def data():
    return simulate()


@pytest.fixture(autouse=True)
def _strict_arrays():
    """Refuse silent broadcasting and silent promotion of types in all JAX code."""
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield
