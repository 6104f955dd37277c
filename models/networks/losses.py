"""Losses: weighted mean absolute or squared error, and a robust likelihood of errors too."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from models.networks.architecture import Architecture, Params, apply

BETA = 0.5  # exponent of the variance that weights the likelihood (Seitzer et al. 2022, beta-NLL)
HUBER = 4.0  # residuals beyond this many sigma count linearly: a wrong label pulls no harder
MAX_AUGMENTATION = 1.7  # largest amplitude of added noise, in units of the spectrum's own
LOG_SIGMA_RANGE = (-6.0, 3.0)  # of a scaled label

LossName = Literal["mae", "mse", "robust_nll"]


class Tables(NamedTuple):
    """Training rows, one table for each fold or one that all networks share.

    Shapes are (t, n, a) for `inputs` and `noise`, (t, n, b) for the others, with t = 1 for a shared
    one; float32. `weights` is 0 where a target is missing. `errors` are target errors and `noise`
    the noise of the inputs, both used by ``robust_nll`` only and None otherwise.
    """

    inputs: Any
    targets: Any
    weights: Any
    errors: Any = None
    noise: Any = None


def batch_loss(
    arch: Architecture,
    loss: LossName,
    params: Params,
    tables: Tables,
    table: jax.Array,
    index: jax.Array,
    present: jax.Array | None = None,
    key: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Return the weighted mean loss of some rows, and the sum of their weights.

    Parameters
    ----------
    arch : Architecture
        The network.
    loss : {"mae", "mse", "robust_nll"}
        Which loss.
    params : dict
        Parameters of the network.
    tables : Tables
        Inputs and targets.
    table : jax.Array of int32, shape ()
        Which table.
    index : jax.Array of int32, shape (b,)
        Rows of the batch.
    present : jax.Array of bool, shape (b,), optional
        False for padding.
    key : jax.Array, optional
        Random key; with one, noise of the spectrum's own kind is added where `tables` has it.

    Returns
    -------
    loss, total : jax.Array, shape ()
        The mean and the sum of the weights.
    """
    inputs = _take(tables.inputs, table, index)
    weights = _take(tables.weights, table, index)
    if present is not None:
        weights = weights * present.astype(weights.dtype)[:, None]
    if tables.noise is not None and key is not None:
        key_size, key_noise = jax.random.split(key)
        size = MAX_AUGMENTATION * jax.random.uniform(key_size, (inputs.shape[0], 1))
        noise = jax.random.normal(key_noise, inputs.shape) * _take(tables.noise, table, index)
        inputs = inputs + size * noise
    predicted = apply(arch, params, inputs)
    targets = _take(tables.targets, table, index)
    if loss == "robust_nll":
        terms = _robust_nll(predicted, targets, _take(tables.errors, table, index))
    else:
        terms = jnp.abs(predicted - targets) if loss == "mae" else (predicted - targets) ** 2
    total = jnp.sum(weights)
    return jnp.sum(terms * weights) / jnp.maximum(total, 1e-30), total


def _take(field: jax.Array, table: jax.Array, index: jax.Array) -> jax.Array:
    """Return rows of a network's own table, or of the one that all share."""
    return field[table, index] if field.shape[0] > 1 else field[0, index]


def _robust_nll(predicted: jax.Array, target: jax.Array, error: jax.Array) -> jax.Array:
    """Return the negative log-likelihood per label, beta-weighted, with Huber tails.

    The variance is the predicted one plus the squared label error.
    """
    mean, log_sigma = jnp.split(predicted, 2, axis=-1)
    variance = jnp.exp(2.0 * jnp.clip(log_sigma, *LOG_SIGMA_RANGE)) + error**2
    pull = (target - mean) / jnp.sqrt(variance)
    terms = 0.5 * jnp.log(variance) + optax.losses.huber_loss(pull, delta=HUBER)
    weighted: jax.Array = lax.stop_gradient(variance) ** BETA * terms
    return weighted
