"""One compiled program for many epochs of many networks.

A chunk of training is one call of `run_epochs`: a loop over epochs around a scan over batches,
for all folds and ensemble members together. On a CPU each core takes its share of the networks,
and on it they take turns (``lax.map``), which keeps one network's optimiser state in the cache; on
an accelerator all run side by side (``vmap``). Random numbers come from the network's key and the
number of the epoch alone, so a run that is cut between two calls and resumed gives the same bits
as one that was not.
"""

from __future__ import annotations

import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from models.core.arrays import Float32Array
from models.core.crossval import Split
from models.networks.architecture import Architecture, initialise, template
from models.networks.losses import LossName, Tables, batch_loss
from models.networks.optimisers import Optimiser


@dataclass(frozen=True)
class Task:
    """Constants of a compiled training; one program is compiled per task and array shape.

    Parameters
    ----------
    arch : Architecture
        The network.
    loss : {"mae", "mse", "robust_nll"}
        Mean absolute or squared error, or the robust likelihood of a predicted mean and sigma.
    optimiser : Optimiser
        Update rule of the parameters.
    batch : int
        Rows per step; the last batch of an epoch is smaller where they do not divide.
    capacity : int
        Largest number of epochs per call.
    """

    arch: Architecture
    loss: LossName
    optimiser: Optimiser
    batch: int
    capacity: int


class Rows(NamedTuple):
    """Table, training rows (padded) and test rows of each of s networks.

    Shapes: `table` (s,), `train` and `valid` (s, m), `test` (s, v), with v = 0 for no test loss.
    """

    table: Any
    train: Any
    valid: Any
    test: Any


class Carry(NamedTuple):
    """Parameters and optimiser state of s networks, stacked along the first axis."""

    params: Any
    optimiser: Any


def make_rows(splits: tuple[Split, ...], *, members: int = 1, with_test: bool = False) -> Rows:
    """Return the rows of splits in the form that `run_epochs` needs.

    Parameters
    ----------
    splits : tuple of Split
        One per fold.
    members : int
        Networks per split; the members of a split follow each other.
    with_test : bool
        Compute a test loss; the test parts must then have one length.
    """
    longest = max(split.train.size for split in splits)
    train = np.zeros((len(splits), longest), dtype=np.int32)
    valid = np.zeros((len(splits), longest), dtype=bool)
    for i, split in enumerate(splits):
        train[i, : split.train.size] = split.train
        valid[i, : split.train.size] = True
    test = np.stack([split.test if with_test else split.test[:0] for split in splits])
    table = np.arange(len(splits), dtype=np.int32)
    whole = Rows(table, train, valid, test.astype(np.int32))
    return Rows(*(np.repeat(part, members, axis=0) for part in whole))


def network_keys(seed: int, stage: str, splits: tuple[Split, ...], members: int = 1) -> jax.Array:
    """Return random keys of the networks, shape (s,), by seed, stage, fold and member.

    Parameters
    ----------
    seed : int
        Root of all random numbers.
    stage : str
        Phase and stage, such as ``folds/forward``.
    splits : tuple of Split
        The splits of the phase.
    members : int
        Networks per split; the members of a split follow each other.
    """
    root = jax.random.fold_in(jax.random.key(seed), zlib.crc32(stage.encode()))
    # Folds count from 0; the validation run (-1) and the final fit (-2) become 1 and 0.
    folds = jnp.array([split.fold + 2 for split in splits for _ in range(members)], jnp.uint32)
    member = jnp.array([i for _ in splits for i in range(members)], jnp.uint32)
    keys: jax.Array = _network_keys(root, folds, member)
    return keys


@jax.jit
def _network_keys(root: jax.Array, folds: jax.Array, members: jax.Array) -> jax.Array:
    """Compiled part of `network_keys`."""
    fold_in = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
    return jax.vmap(jax.random.fold_in)(fold_in(root, folds), members)


@partial(jax.jit, static_argnames="task")
def start(task: Task, keys: jax.Array) -> Carry:
    """Return random starting parameters, with a fresh optimiser for each network."""
    params = jax.vmap(lambda key: initialise(task.arch, key))(keys)
    return Carry(params, jax.vmap(task.optimiser.build().init)(params))


def carry_like(task: Task, n_networks: int) -> Carry:
    """Return shapes and types of a `Carry`, to read a saved one.

    Parameters
    ----------
    task : Task
        Constants of the training.
    n_networks : int
        Number of networks s.
    """
    params = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(  # type: ignore[no-untyped-call]
            (n_networks, *leaf.shape), leaf.dtype
        ),
        template(task.arch),
    )
    return Carry(params, jax.eval_shape(jax.vmap(task.optimiser.build().init), params))


def train(
    task: Task, carry: Carry, tables: Tables, rows: Rows, keys: jax.Array, first: int, last: int
) -> tuple[Carry, Float32Array, Float32Array]:
    """Train epochs ``first .. last - 1`` of all networks.

    Parameters
    ----------
    task : Task
        Constants of the training.
    carry : Carry
        Networks after epoch ``first - 1``.
    tables : Tables
        Inputs and targets.
    rows : Rows
        Rows of each network.
    keys : jax.Array, shape (s,)
        Random key of each network.
    first, last : int
        First epoch, and that after the last one.

    Returns
    -------
    carry : Carry
        After the last epoch.
    losses, test_losses : ndarray, shape (s, last - first)
        Mean training loss of each epoch and test loss after it; NaN without test rows.
    """
    mode: Literal["map", "vmap"] = "map" if jax.default_backend() == "cpu" else "vmap"
    steps = np.ceil(rows.valid.sum(axis=1) / task.batch)
    ragged = bool(steps.min() < steps.max())
    n = last - first

    def run(part: slice) -> tuple[Carry, jax.Array, jax.Array]:
        """Train some of the networks."""
        own, own_rows = jax.tree.map(lambda leaf: leaf[part], (carry, rows))
        trained: tuple[Carry, jax.Array, jax.Array] = run_epochs(
            task, mode, ragged, own, tables, own_rows, keys[part], first, n
        )
        return trained

    parts = _parts(len(steps), (os.cpu_count() or 1) if mode == "map" else 1)
    with ThreadPoolExecutor(len(parts)) as pool:
        done = list(pool.map(run, parts))
    carry, losses, test_losses = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *done)
    return carry, np.asarray(losses)[:, :n], np.asarray(test_losses)[:, :n]


def _parts(n_networks: int, n_cores: int) -> list[slice]:
    """Return the networks of each core, in parts as even as possible: one or two array shapes.

    A single small network keeps one core busy, and networks do not touch each other, so what a
    network becomes does not depend on the number of cores.
    """
    n_parts = min(n_networks, n_cores)
    ends = [n_networks * i // n_parts for i in range(n_parts + 1)]
    return [slice(a, b) for a, b in pairwise(ends)]


@partial(jax.jit, static_argnames=("task", "mode", "ragged"))
def run_epochs(
    task: Task,
    mode: Literal["map", "vmap"],
    ragged: bool,
    carry: Carry,
    tables: Tables,
    rows: Rows,
    keys: jax.Array,
    first: int,
    n_epochs: int,
) -> tuple[Carry, jax.Array, jax.Array]:
    """Run the compiled loop for some networks on one device; see `train`.

    Parameters
    ----------
    task : Task
        Constants of the training.
    mode : {"map", "vmap"}
        Networks run one after another or side by side.
    ragged : bool
        Some networks have fewer batches than others; their surplus steps are skipped.
    carry, tables, rows, keys
        Networks, their data and their keys.
    first, n_epochs : int
        First epoch and number of epochs, at most ``task.capacity``.

    Returns
    -------
    carry : Carry
        After the last epoch.
    losses, test_losses : jax.Array, shape (s, task.capacity)
        NaN beyond `n_epochs`.
    """

    def one(arguments: tuple[Carry, Rows, jax.Array]) -> tuple[Carry, jax.Array, jax.Array]:
        # All epochs of one network; the losses of later epochs stay NaN.
        own, own_rows, key = arguments
        blank = jnp.full(task.capacity, jnp.nan, jnp.float32)

        def epoch(i: jax.Array, loop: Any) -> Any:
            own, losses, test_losses = loop
            epoch_key = jax.random.fold_in(key, first + i)
            own, loss = _run_epoch(task, ragged, own, tables, own_rows, epoch_key)
            losses = losses.at[i].set(loss)
            if own_rows.test.shape[0]:
                loss, _ = batch_loss(
                    task.arch, task.loss, own.params, tables, own_rows.table, own_rows.test
                )
                test_losses = test_losses.at[i].set(loss)
            return own, losses, test_losses

        trained: tuple[Carry, jax.Array, jax.Array]
        trained = lax.fori_loop(0, n_epochs, epoch, (own, blank, blank))
        return trained

    trained: tuple[Carry, jax.Array, jax.Array]
    if mode == "map":
        trained = lax.map(one, (carry, rows, keys))
    else:
        trained = jax.vmap(lambda *arguments: one(arguments))(carry, rows, keys)
    return trained


def _run_epoch(
    task: Task, ragged: bool, carry: Carry, tables: Tables, rows: Rows, key: jax.Array
) -> tuple[Carry, jax.Array]:
    """Train one pass over the training rows in a new order; return the mean loss."""
    n_rows = rows.train.shape[0]
    n_steps = -(-n_rows // task.batch)
    # Padding sorts behind all real rows.
    rank = jnp.where(rows.valid, jax.random.uniform(key, (n_rows,)), 2.0)
    order = jnp.pad(jnp.argsort(rank), (0, n_steps * task.batch - n_rows))
    real = jnp.arange(order.shape[0]) < jnp.sum(rows.valid)
    batches = (
        rows.train[order].reshape(n_steps, task.batch),
        real.reshape(n_steps, task.batch),
        jnp.arange(n_steps),
    )
    optimiser = task.optimiser.build()

    def update(own: Carry, batch: Any) -> tuple[Carry, tuple[jax.Array, jax.Array]]:
        index, present, step = batch
        step_key = jax.random.fold_in(key, step + 1)
        (loss, total), gradients = jax.value_and_grad(
            lambda params: batch_loss(
                task.arch, task.loss, params, tables, rows.table, index, present, step_key
            ),
            has_aux=True,
        )(own.params)
        updates, state = optimiser.update(gradients, own.optimiser, own.params)
        return Carry(optax.apply_updates(own.params, updates), state), (loss, total)

    # A network with fewer rows has batches of padding only at the end, which change nothing.
    def step(own: Carry, batch: Any) -> tuple[Carry, tuple[jax.Array, jax.Array]]:
        if not ragged:
            return update(own, batch)
        nothing = (jnp.zeros(()), jnp.zeros(()))
        stepped: tuple[Carry, tuple[jax.Array, jax.Array]] = lax.cond(
            batch[1][0], update, lambda own, _: (own, nothing), own, batch
        )
        return stepped

    carry, (losses, totals) = lax.scan(step, carry, batches)
    return carry, jnp.sum(losses * totals) / jnp.maximum(jnp.sum(totals), 1e-30)
