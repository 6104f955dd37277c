"""The notebook's forward network in plain JAX: one compiled step per batch, called in a loop."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp


def predict(params, x):
    """32 linear units, 32 ReLU units, linear output."""
    hidden = x @ params["first"]["kernel"] + params["first"]["bias"]
    (layer,) = params["hidden"].values()
    hidden = jax.nn.relu(hidden @ layer["kernel"] + layer["bias"])
    return hidden @ params["out"]["kernel"] + params["out"]["bias"]


@partial(jax.jit, donate_argnums=(0, 1))
def step(params, state, x, y, batch):
    """One update of Keras's amsgrad, learning rate 1e-4, on the mean absolute error."""
    loss, gradient = jax.value_and_grad(
        lambda p: jnp.mean(jnp.abs(predict(p, x[batch]) - y[batch]))
    )(params)
    t, first, second, largest = state
    t = t + 1
    first = jax.tree.map(lambda m, g: m + (g - m) * (1 - 0.9), first, gradient)
    second = jax.tree.map(lambda v, g: v + (g * g - v) * (1 - 0.999), second, gradient)
    largest = jax.tree.map(jnp.maximum, largest, second)
    rate = 1e-4 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    params = jax.tree.map(
        lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-7), params, first, largest
    )
    return params, (t, first, second, largest), loss


def train_folds(params_of_fold, x, y, batches_of_fold):
    """Train fold after fold; `batches_of_fold` holds the row numbers of each batch in order."""
    trained, losses = [], []
    for params, batches in zip(params_of_fold, batches_of_fold, strict=True):
        params = jax.tree.map(jnp.array, params)
        state = (jnp.zeros(()), *(jax.tree.map(jnp.zeros_like, params) for _ in range(3)))
        for batch in batches:
            params, state, loss = step(params, state, x, y, batch)
            losses.append(loss)
        trained.append(params)
    jax.block_until_ready(trained)
    return trained, losses
