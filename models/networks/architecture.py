"""The networks, as Flax NNX modules, and the pure functions through which they are used.

A network is named by an `Architecture`, which can be hashed; its parameters are a plain nested
dictionary of arrays. So compiled functions take the first as a constant and the second as data.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

Params = dict[str, Any]
MLP_LAYERS = ("first", "second", "third", "fourth")
ACTIVATIONS = {"relu": nnx.relu, "elu": nnx.elu, "gelu": nnx.gelu, "tanh": nnx.tanh}


@dataclass(frozen=True)
class Architecture:
    """A network by its kind and sizes.

    Parameters
    ----------
    kind : {"seed-forward", "seed-reverse", "mlp"}
        Pixels to labels and labels to pixels, as in the notebook; scores to label distributions.
    n_in, n_out : int
        Length of the input; number of outputs (of labels, for ``mlp``).
    width : int
        Width of the layers between.
    layers : int
        Hidden layers; the first, linear one of the notebook's networks does not count.
    activation : str
        Of the hidden layers, a key of `ACTIVATIONS`.
    """

    kind: Literal["seed-forward", "seed-reverse", "mlp"]
    n_in: int
    n_out: int
    width: int
    layers: int
    activation: str


class SeedNetwork(nnx.Module):
    """The notebook's network: a linear layer, hidden layers of the same width, a linear output.

    All weights start uniform in [-0.05, 0.05] whatever the size of the layer, biases at zero:
    that was Keras's ``random_uniform``. Because the first layer is linear, the network with one
    hidden layer is a linear map of low rank followed by that layer.
    """

    def __init__(self, arch: Architecture, *, rngs: nnx.Rngs) -> None:
        linear = partial(nnx.Linear, kernel_init=partial(_uniform, limit=0.05), rngs=rngs)
        self.activation = ACTIVATIONS[arch.activation]
        self.first = linear(arch.n_in, arch.width)
        self.hidden = nnx.List([linear(arch.width, arch.width) for _ in range(arch.layers)])
        self.out = linear(arch.width, arch.n_out)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return outputs (n, n_out) of inputs (n, n_in)."""
        x = self.first(x)
        for layer in self.hidden:
            x = self.activation(layer(x))
        return self.out(x)


class Mlp(nnx.Module):
    """Hidden layers, then for each label a mean and the logarithm of a standard deviation.

    The outputs are the k means followed by the k log-sigmas, all in scaled labels.
    """

    def __init__(self, arch: Architecture, *, rngs: nnx.Rngs) -> None:
        self.activation = ACTIVATIONS[arch.activation]
        self.names = MLP_LAYERS[: arch.layers]
        for i, name in enumerate(self.names):
            n_in = arch.width if i else arch.n_in
            setattr(self, name, nnx.Linear(n_in, arch.width, rngs=rngs))
        self.out = nnx.Linear(arch.width, 2 * arch.n_out, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return outputs (n, 2 n_out) of scores (n, n_in)."""
        for name in self.names:
            x = self.activation(getattr(self, name)(x))
        return self.out(x)


def _uniform(key: jax.Array, shape: Any, dtype: Any = jnp.float32, *, limit: float) -> jax.Array:
    """Return weights by Keras's ``random_uniform`` initialiser."""
    return jax.random.uniform(key, shape, dtype, -limit, limit)


def _build(arch: Architecture, rngs: nnx.Rngs) -> nnx.Module:
    """Return the module that an architecture names."""
    return Mlp(arch, rngs=rngs) if arch.kind == "mlp" else SeedNetwork(arch, rngs=rngs)


def initialise(arch: Architecture, key: jax.Array) -> Params:
    """Return random starting parameters.

    Parameters
    ----------
    arch : Architecture
        Which network.
    key : jax.Array
        Random key; the same key gives the same parameters.
    """
    return nnx.to_pure_dict(nnx.split(_build(arch, nnx.Rngs(params=key)))[1])


@cache
def template(arch: Architecture) -> Params:
    """Return shapes and types of the parameters, without any numbers."""
    shapes: Params = jax.eval_shape(lambda: initialise(arch, jax.random.key(0)))
    return shapes


def apply(arch: Architecture, params: Params, x: jax.Array) -> jax.Array:
    """Return the outputs of the network.

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
    outputs: jax.Array = nnx.merge(graph, state)(x)
    return outputs


@partial(jax.jit, static_argnames="arch")
def apply_jit(arch: Architecture, params: Params, x: jax.Array) -> jax.Array:
    """Return the outputs of the network, as `apply`, by a compiled program."""
    return apply(arch, params, x)
