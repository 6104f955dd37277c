"""Run trained networks on many spectra, in blocks of one compiled shape."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.core.arrays import Arrays, Float32Array, FloatArray
from models.networks.architecture import Architecture, Params, apply, apply_jit, template
from models.networks.losses import LOG_SIGMA_RANGE
from models.networks.parameters import unflatten

BLOCK = 512  # spectra per call: one compiled shape, bounded memory


class EnsembleOutput(NamedTuple):
    """Predictions of the m members of an ensemble for n spectra, in scaled labels.

    Parameters
    ----------
    means : ndarray, shape (m, n, k)
        Of each member.
    variance : ndarray, shape (n, k)
        Mean of the variances that they predict.
    noise : ndarray, shape (n, k)
        Variance that the noise of the inputs brings into the mean of all members.
    """

    means: FloatArray
    variance: FloatArray
    noise: FloatArray


def predict_network(
    arch: Architecture, model: Arrays, prefix: str, inputs: ArrayLike
) -> FloatArray:
    """Return the outputs of a network, shape (n, n_out).

    Parameters
    ----------
    arch : Architecture
        The network.
    model : dict of str to ndarray
        Arrays of a fitted model.
    prefix : str
        Name of the network's arrays.
    inputs : array_like, shape (n, n_in)
        Any float type; computed in float32.
    """
    params = jax.device_put(unflatten(prefix, model, template(arch)))
    blocks = _blocks(np.asarray(inputs))
    outputs = np.concatenate([np.asarray(apply_jit(arch, params, block)) for block in blocks])
    return outputs[: np.shape(inputs)[0]].astype(np.float64)


def predict_ensemble(
    arch: Architecture, model: Arrays, members: int, inputs: FloatArray, input_noise: FloatArray
) -> EnsembleOutput:
    """Return the predictions of all members for some inputs.

    Parameters
    ----------
    arch : Architecture
        The network of each member.
    model : dict of str to ndarray
        Arrays of a fitted model; those of member i are named ``member-i/...``.
    members : int
        Number of members.
    inputs, input_noise : ndarray, shape (n, n_in)
        Inputs and their independent errors; computed in float32.
    """
    trees = [unflatten(f"member-{i}", model, template(arch)) for i in range(members)]
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
    parts = [
        _predict_block(arch, params, block, noise)
        for block, noise in zip(_blocks(inputs), _blocks(input_noise), strict=True)
    ]
    means, variance, noise = (
        np.concatenate([np.asarray(a) for a in column], axis=-2, dtype=np.float64)
        for column in zip(*parts, strict=True)
    )
    n = inputs.shape[0]
    return EnsembleOutput(means[:, :n], variance[:n], noise[:n])


def _blocks(rows: NDArray[np.floating]) -> list[Float32Array]:
    """Rows in blocks of `BLOCK`, at least one, the last filled up with zeros."""
    n = rows.shape[0]
    padded = np.zeros((-(-max(n, 1) // BLOCK) * BLOCK, rows.shape[1]), np.float32)
    padded[:n] = rows
    return [padded[i : i + BLOCK] for i in range(0, padded.shape[0], BLOCK)]


@partial(jax.jit, static_argnames="arch")
def _predict_block(
    arch: Architecture, params: Params, inputs: jax.Array, input_noise: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Compiled part of `predict_ensemble`, for one block.

    The Jacobian J of the members' mean by the inputs x gives their noise, sum (J sigma_x)^2.
    """
    k = arch.n_out

    def run(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        outputs = jax.vmap(lambda member: apply(arch, member, x))(params)
        return outputs[..., :k].mean(axis=0), outputs

    # Rows do not touch each other: one backward pass per label serves all rows.
    mean, pull_back, outputs = jax.vjp(run, inputs, has_aux=True)
    noise = []
    for j in range(k):
        (slope,) = pull_back(jnp.zeros_like(mean).at[:, j].set(1.0))
        noise.append(jnp.sum((slope * input_noise) ** 2, axis=1))
    log_sigmas = jnp.clip(outputs[..., k:], *LOG_SIGMA_RANGE)
    variance = jnp.exp(2.0 * log_sigmas).mean(axis=0)
    return outputs[..., :k], variance, jnp.stack(noise, axis=1)
