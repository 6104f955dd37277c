"""The networks, as Flax NNX modules, and the pure functions through which they are used.

A network is named by an `Architecture`, which can be hashed; its parameters are a plain nested
dictionary of arrays. So compiled functions take the first as a constant and the second as data.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

Params = dict[str, Any]
SEED_FORWARD_WIDTH = 32
SEED_REVERSE_WIDTH = 36
MLP_WIDTH = 64


@dataclass(frozen=True)
class Architecture:
    """Which network, and its sizes.

    Parameters
    ----------
    kind : {"seed-forward", "seed-reverse", "mlp"}
        Pixels to labels and labels to pixels, as in the notebook; scores to label distributions.
    n_in, n_out : int
        Length of the input; number of outputs (of labels, for ``mlp``).
    """

    kind: Literal["seed-forward", "seed-reverse", "mlp"]
    n_in: int
    n_out: int


class SeedNetwork(nnx.Module):
    """The notebook's network: a linear layer, a ReLU layer of the same width, a linear output.

    All weights start uniform in [-0.05, 0.05] whatever the size of the layer, biases at zero:
    that was Keras's ``random_uniform``. Because the first layer is linear, the network is a linear
    map of low rank followed by one hidden layer.
    """

    def __init__(self, n_in: int, width: int, n_out: int, *, rngs: nnx.Rngs) -> None:
        uniform = partial(_uniform, limit=0.05)
        self.first = nnx.Linear(n_in, width, kernel_init=uniform, rngs=rngs)
        self.hidden = nnx.Linear(width, width, kernel_init=uniform, rngs=rngs)
        self.out = nnx.Linear(width, n_out, kernel_init=uniform, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map inputs (n, n_in) to outputs (n, n_out)."""
        return self.out(nnx.relu(self.hidden(self.first(x))))


class Mlp(nnx.Module):
    """Two GELU layers of 64, then for each label a mean and the logarithm of a standard deviation.

    The outputs are the k means followed by the k log-sigmas, all in scaled labels.
    """

    def __init__(self, n_in: int, n_out: int, *, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(n_in, MLP_WIDTH, rngs=rngs)
        self.second = nnx.Linear(MLP_WIDTH, MLP_WIDTH, rngs=rngs)
        self.out = nnx.Linear(MLP_WIDTH, 2 * n_out, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map scores (n, n_in) to (n, 2 n_out)."""
        return self.out(nnx.gelu(self.second(nnx.gelu(self.first(x)))))


def _uniform(key: jax.Array, shape: Any, dtype: Any = jnp.float32, *, limit: float) -> jax.Array:
    """Keras's ``random_uniform`` initialiser."""
    return jax.random.uniform(key, shape, dtype, -limit, limit)


def _build(arch: Architecture, rngs: nnx.Rngs) -> nnx.Module:
    """Make the module that an architecture names."""
    if arch.kind == "seed-forward":
        return SeedNetwork(arch.n_in, SEED_FORWARD_WIDTH, arch.n_out, rngs=rngs)
    if arch.kind == "seed-reverse":
        return SeedNetwork(arch.n_in, SEED_REVERSE_WIDTH, arch.n_out, rngs=rngs)
    return Mlp(arch.n_in, arch.n_out, rngs=rngs)


def initialise(arch: Architecture, key: jax.Array) -> Params:
    """Draw the starting parameters.

    Parameters
    ----------
    arch : Architecture
        Which network.
    key : jax.Array
        Random key; the same key gives the same parameters.
    """
    return nnx.to_pure_dict(nnx.split(_build(arch, nnx.Rngs(params=key)))[1])


def template(arch: Architecture) -> Params:
    """Shapes and types of the parameters, without any numbers."""
    return jax.eval_shape(lambda: initialise(arch, jax.random.key(0)))


def apply(arch: Architecture, params: Params, x: jax.Array) -> jax.Array:
    """Run the network.

    Parameters
    ----------
    arch : Architecture
        Which network.
    params : dict
        From `initialise` or from training.
    x : jax.Array of float32, shape (n, n_in)
        Inputs.

    Returns
    -------
    jax.Array of float32, shape (n, n_out), or (n, 2 n_out) for ``mlp``
    """
    graph, state = nnx.split(nnx.eval_shape(lambda: _build(arch, nnx.Rngs(0))))
    nnx.replace_by_pure_dict(state, params)
    return nnx.merge(graph, state)(x)


@partial(jax.jit, static_argnames="arch")
def apply_jit(arch: Architecture, params: Params, x: jax.Array) -> jax.Array:
    """Compiled `apply`."""
    return apply(arch, params, x)
