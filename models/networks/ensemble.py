"""Ask an ensemble of networks: means, predicted variances, and the noise of the inputs in them."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from models.core import arrays as ar
from models.core.arrays import Arrays
from models.networks.architecture import Architecture, Params, apply, template
from models.networks.losses import LOG_SIGMA_RANGE

BLOCK = 512  # spectra per call: one compiled shape, bounded memory

FloatArray = NDArray[np.float64]


class Opinion(NamedTuple):
    """Outputs of the m members of an ensemble for n spectra, in scaled labels.

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


def ask(
    arch: Architecture, model: Arrays, members: int, inputs: FloatArray, input_noise: FloatArray
) -> Opinion:
    """Run all members on some inputs.

    Parameters
    ----------
    arch : Architecture
        The network of each member.
    model : dict of str to ndarray
        Arrays of a fitted model; those of member i are named ``member-i/...``.
    members : int
        How many there are.
    inputs, input_noise : ndarray, shape (n, n_in)
        Inputs and their independent errors; computed in float32.
    """
    trees = [ar.unflatten(f"member-{i}", model, template(arch)) for i in range(members)]
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
    n = inputs.shape[0]
    padded = [np.zeros((-(-max(n, 1) // BLOCK) * BLOCK, arch.n_in), np.float32) for _ in range(2)]
    padded[0][:n], padded[1][:n] = inputs, input_noise
    parts = [
        _ask_block(arch, params, padded[0][i : i + BLOCK], padded[1][i : i + BLOCK])
        for i in range(0, padded[0].shape[0], BLOCK)
    ]
    means, variance, noise = (
        np.concatenate([np.asarray(a) for a in column], axis=-2, dtype=np.float64)
        for column in zip(*parts, strict=True)
    )
    return Opinion(means[:, :n], variance[:n], noise[:n])


@partial(jax.jit, static_argnames="arch")
def _ask_block(
    arch: Architecture, params: Params, inputs: jax.Array, input_noise: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Compiled part of `ask`: the mean's Jacobian J by the inputs x gives sum (J sigma_x)^2."""
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
