"""Fixtures of the model tests: simulated data, and JAX made strict."""

from __future__ import annotations

import jax
import pytest

from models.presets import default, seed2018
from tests.support.lamost import train_on_lamost
from tests.support.simulated import DEFAULT, SEED, run_all, simulate


@pytest.fixture(scope="session")
def data():
    return simulate()


@pytest.fixture(scope="session", autouse=True)
def _short_chunks():
    """Cut the small trainings into several chunks, as large ones are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seed2018, "STEPS_PER_CHUNK", 120)
        patch.setattr(default, "UPDATES_PER_CHUNK", 400)
        yield


@pytest.fixture(scope="session")
def seed_steps(data, _short_chunks):
    return run_all(SEED, data)


@pytest.fixture(scope="session")
def default_steps(data, _short_chunks):
    return run_all(DEFAULT, data)


@pytest.fixture(scope="session")
def lamost_default(kit, _short_chunks):
    """A small model of real spectra (`lamost.LamostDefault`)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(default, "UPDATES_PER_CHUNK", 10_000)
        return train_on_lamost()


@pytest.fixture(autouse=True)
def _strict_shapes():
    """Refuse silent broadcasting in all JAX code."""
    with jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture
def _strict_types():
    """Refuse silent promotion of types; optax's AdamW is not written for it."""
    with jax.numpy_dtype_promotion("strict"):
        yield
