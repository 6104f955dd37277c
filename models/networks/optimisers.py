"""Optimisers: Keras's Adam with amsgrad, for the old networks, and AdamW with a cosine schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax


@dataclass(frozen=True)
class Optimiser:
    """A choice of optimiser that can be hashed.

    Parameters
    ----------
    kind : {"keras_amsgrad", "adamw_cosine"}
        Which algorithm.
    learning_rate : float
        Step size, or its start for the cosine.
    weight_decay : float
        Decay of `adamw_cosine`.
    steps : int
        Updates until the cosine reaches zero.
    """

    kind: Literal["keras_amsgrad", "adamw_cosine"]
    learning_rate: float
    weight_decay: float = 0.0
    steps: int = 1

    def build(self) -> optax.GradientTransformation:
        """Return the transformation."""
        if self.kind == "keras_amsgrad":
            return keras_amsgrad(self.learning_rate)
        schedule = optax.cosine_decay_schedule(self.learning_rate, self.steps)
        return optax.adamw(schedule, weight_decay=self.weight_decay)


class KerasAmsgradState(NamedTuple):
    """Number of updates, moments, and the largest second moment so far."""

    step: jax.Array
    first: Any
    second: Any
    largest: Any


def keras_amsgrad(
    learning_rate: float, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-7
) -> optax.GradientTransformation:
    """Return Adam with ``amsgrad=True`` as Keras computes it.

    With m and v the moments, v^ = max(v^, v) and t the number of the update,

        a = learning_rate sqrt(1 - b2^t) / (1 - b1^t),   p <- p - a m / (sqrt(v^) + eps).

    ``optax.amsgrad`` takes the maximum of the bias-corrected second moment and has another eps;
    parameters then differ by up to a third. Source: ``keras/src/optimizers/adam.py``.

    Parameters
    ----------
    learning_rate, b1, b2, eps : float
        As in Keras, with its defaults.
    """

    def init(params: Any) -> KerasAmsgradState:
        zeros = [jax.tree.map(jnp.zeros_like, params) for _ in range(3)]
        return KerasAmsgradState(jnp.zeros((), jnp.int32), *zeros)

    def update(
        gradients: Any, state: KerasAmsgradState, params: Any = None
    ) -> tuple[Any, KerasAmsgradState]:
        step = state.step + jnp.ones((), jnp.int32)
        t = step.astype(jnp.float32)
        alpha = learning_rate * jnp.sqrt(1.0 - b2**t) / (1.0 - b1**t)
        first = jax.tree.map(lambda m, g: m + (g - m) * (1.0 - b1), state.first, gradients)
        second = jax.tree.map(lambda v, g: v + (g * g - v) * (1.0 - b2), state.second, gradients)
        largest = jax.tree.map(jnp.maximum, state.largest, second)
        updates = jax.tree.map(lambda m, v: -alpha * m / (jnp.sqrt(v) + eps), first, largest)
        return updates, KerasAmsgradState(step, first, second, largest)

    return optax.GradientTransformation(init, update)
