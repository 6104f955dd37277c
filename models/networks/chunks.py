"""Train the networks of a stage chunk by chunk, from one saved state to the next."""

from __future__ import annotations

from models.core.arrays import Arrays, Float32Array
from models.core.crossval import Split
from models.core.schedule import Chunk
from models.networks import loop
from models.networks.losses import Tables
from models.networks.parameters import flatten, unflatten

CARRY = "carry"  # prefix of the parameters and optimiser state between the chunks of a stage


def train_chunk(
    task: loop.Task,
    chunk: Chunk,
    splits: tuple[Split, ...],
    tables: Tables,
    state: Arrays,
    seed: int,
    members: int = 1,
) -> tuple[Arrays, Float32Array, Float32Array]:
    """Return the state after the epochs of one chunk, and their losses.

    Parameters
    ----------
    task : Task
        The compiled training of the stage.
    chunk : Chunk
        Which epochs of which stage.
    splits : tuple of Split
        The splits of the phase.
    tables : Tables
        Inputs and targets.
    state : dict of str to ndarray
        What the chunk before returned; only the arrays of the training itself are replaced.
    seed : int
        Root of all random numbers.
    members : int
        Networks per split.

    Returns
    -------
    state : dict of str to ndarray
        After the last chunk of the stage the parameters alone, under the name of the stage.
    losses, test_losses : ndarray, shape (n_splits, epochs of the chunk)
        Mean over the members; test losses are NaN but in the phase ``validation``.
    """
    stage = chunk.stage
    keys = loop.network_keys(seed, f"{chunk.phase}/{stage.name}", splits, members)
    if chunk.start == 0:
        carry = loop.start(task, keys)
    else:
        carry = unflatten(CARRY, state, loop.carry_like(task, keys.shape[0]))
    rows = loop.make_rows(splits, members=members, with_test=chunk.phase == "validation")
    carry, *losses = loop.train(task, carry, tables, rows, keys, chunk.start, chunk.stop)
    ended = chunk.stop == stage.total
    trained = flatten(stage.name, carry.params) if ended else flatten(CARRY, carry)
    kept = {name: a for name, a in state.items() if not name.startswith(f"{CARRY}/")}
    train, test = (a.reshape(len(splits), members, -1).mean(axis=1) for a in losses)
    return {**kept, **trained}, train, test
