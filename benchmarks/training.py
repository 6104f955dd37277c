"""Train the notebook's forward network in ten folds: ours and others.

One compiled step per batch, in plain JAX, gets the same starting weights and the same batches and
must end with the same weights. Keras (on JAX and on TensorFlow) and PyTorch, where installed, draw
their own and must end with the same loss to a few per cent. Each is timed as the best of several
runs in turn, after a first one that does not count.

Usage: python -m benchmarks.training [N_EPOCHS]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.baselines import step_per_batch
from models.core.crossval import Split, assign_folds, fold_splits
from models.networks import loop
from models.networks.architecture import Architecture
from models.networks.losses import Tables
from models.networks.optimisers import Optimiser

N_SPECTRA, N_PIXELS, N_FOLDS, BATCH = 393, 3577, 10, 16
RUNS = 3
OURS = "crosslabel, one program"
BASELINES = Path(__file__).parent / "baselines"
RIVALS = (  # name, script, backend
    ("Keras on JAX", "keras_fit.py", "jax"),
    ("Keras on TensorFlow", "keras_fit.py", "tensorflow"),
    ("PyTorch, folds by bmm", "torch_bmm.py", "none"),
)
LOSS_TOLERANCE = 0.08


class Times(NamedTuple):
    """Seconds that passed, and seconds of processor time of all threads."""

    wall: float
    cpu: float


def random_rows() -> Tables:
    """Spectra that depend on three labels, as in the notebook in number and size."""
    rng = np.random.default_rng(42)
    labels = rng.standard_normal((N_SPECTRA, 3))
    flux = 1.0 + 0.05 * labels @ rng.standard_normal((3, N_PIXELS))
    flux += 0.02 * rng.standard_normal(flux.shape)
    return Tables(
        jnp.asarray(flux[None], jnp.float32),
        jnp.asarray(labels[None], jnp.float32),
        jnp.ones((1, N_SPECTRA, 3), jnp.float32),
    )


def same_batches(rows: loop.Rows, keys: jax.Array, n_epochs: int) -> list[list[jax.Array]]:
    """Row numbers of all batches of all folds, in the order that our training draws."""
    folds = []
    for fold in range(N_FOLDS):
        train_rows = rows.train[fold][rows.valid[fold]]
        batches = []
        for epoch in range(n_epochs):
            key = jax.random.fold_in(keys[fold], epoch)
            draw = np.asarray(jax.random.uniform(key, (rows.train.shape[1],)))
            order = np.argsort(np.where(rows.valid[fold], draw, 2.0), kind="stable")
            shuffled = train_rows[order[: train_rows.size]]
            batches += [
                jnp.asarray(shuffled[i : i + BATCH]) for i in range(0, train_rows.size, BATCH)
            ]
        folds.append(batches)
    return folds


def best_times(ways: dict[str, Callable[[], Times]]) -> dict[str, Times]:
    """Least of several runs of each; the runs alternate, so all meet the same other load."""
    runs = [{name: work() for name, work in ways.items()} for _ in range(RUNS)]
    return {
        name: Times(min(run[name].wall for run in runs), min(run[name].cpu for run in runs))
        for name in ways
    }


def timed(work: Callable[[], object]) -> Times:
    """Run something in this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Times(time.perf_counter() - wall, time.process_time() - cpu)


def print_times(times: dict[str, Times]) -> None:
    """A table of times and of their ratios to ours."""
    print(f"{'':25}{'seconds':>8}{'ratio':>7}{'of processor':>14}{'ratio':>7}")
    base = times[OURS]
    for name, own in times.items():
        print(
            f"{name:25}{own.wall:8.2f}{own.wall / base.wall:7.2f}"
            f"{own.cpu:14.2f}{own.cpu / base.cpu:7.2f}"
        )


def main() -> None:
    n_epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    tables = random_rows()
    splits = fold_splits(assign_folds(np.arange(N_SPECTRA), N_FOLDS, 0))
    rows = loop.make_rows(splits)
    arch = Architecture("seed-forward", N_PIXELS, 3, 32, 1, "relu")
    task = loop.Task(arch, "mae", Optimiser("keras_amsgrad", 1e-4), BATCH, n_epochs)
    keys = loop.network_keys(0, "benchmark", splits)
    start = loop.start(task, keys)
    batches = same_batches(rows, keys, n_epochs)
    each = [jax.tree.map(lambda a, i=i: a[i], start.params) for i in range(N_FOLDS)]

    def ours() -> loop.Carry:
        return loop.train(task, start, tables, rows, keys, 0, n_epochs)[0]

    def losses() -> np.ndarray:
        return loop.train(task, start, tables, rows, keys, 0, n_epochs)[1]

    def plain() -> list:
        return step_per_batch.train_folds(each, tables.inputs[0], tables.targets[0], batches)[0]

    trained = jax.tree.map(lambda *leaves: np.stack(leaves), *plain())
    worst = max(
        float(np.abs(a - b).max())
        for a, b in zip(jax.tree.leaves(ours().params), jax.tree.leaves(trained), strict=True)
    )
    moved = max(
        float(np.abs(a - b).max())
        for a, b in zip(jax.tree.leaves(start.params), jax.tree.leaves(trained), strict=True)
    )
    if not worst < 0.05 * moved:
        sys.exit(f"the weights differ by up to {worst:.1e} after moving by {moved:.1e}")
    steps = sum(len(fold) for fold in batches)
    print(
        f"{N_FOLDS} folds, {n_epochs} epochs, {steps:,} steps of {BATCH}: weights moved by up to "
        f"{moved:.1e} and differ by up to {worst:.1e}"
    )
    ways = {OURS: partial(timed, ours), "JAX, one step per batch": partial(timed, plain)}
    with ExitStack() as stack:
        ways |= rivals(stack, tables, splits, n_epochs, float(losses()[:, -1].mean()))
        print_times(best_times(ways))


def rivals(
    stack: ExitStack, tables: Tables, splits: tuple[Split, ...], n_epochs: int, loss: float
) -> dict[str, Callable[[], Times]]:
    """Start and warm up those that are installed, each in a process of its own."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    rows = {f"rows-{i}": split.train for i, split in enumerate(splits)}
    x, y = (np.asarray(a[0]) for a in (tables.inputs, tables.targets))
    np.savez(folder / "folds.npz", x=x, y=y, folds=len(splits), **rows)
    ways: dict[str, Callable[[], Times]] = {}
    for name, script, backend in RIVALS:
        command = [sys.executable, str(BASELINES / script), str(folder / "folds.npz")]
        complaints = stack.enter_context((folder / f"{backend}.txt").open("w+"))
        process = stack.enter_context(
            subprocess.Popen(
                [*command, str(n_epochs)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True,
                env={**os.environ, "KERAS_BACKEND": backend},
            )
        )  # fmt: skip
        stack.callback(process.terminate)
        if process.stdout is None or process.stdin is None:
            continue
        if process.stdout.readline().strip() != "ready":
            complaints.seek(0)
            reason = complaints.read().strip().splitlines()[-1:]
            print(f"skipped: {name} ({' '.join(reason)})")
            continue
        ways[name] = partial(ask, name, process.stdin, process.stdout, loss)
    return ways


def ask(name: str, question: IO[str], answer: IO[str], loss: float) -> Times:
    """Let a rival run once and say how long it took; stop if it ends with another loss."""
    question.write("run\n")
    question.flush()
    wall, cpu, found = json.loads(answer.readline())
    if not abs(found / loss - 1.0) < LOSS_TOLERANCE:
        sys.exit(f"{name} ends with the loss {found:.4f}, not {loss:.4f}")
    return Times(wall, cpu)


if __name__ == "__main__":
    main()
