"""Folds and splits by star: all spectra of a star stay together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Split:
    """Rows to train on and rows left out.

    Parameters
    ----------
    fold : int
        Number of the fold, or -1 for the validation run and -2 for the final fit.
    train, test : ndarray of int64
        Row numbers, increasing.
    """

    fold: int
    train: NDArray[np.int64]
    test: NDArray[np.int64]


def assign_folds(group: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """Return, for each row, the number of the fold that leaves it out.

    Stars with the most rows go first, each to the fold with the fewest rows so far; among equals
    the order is random. The result depends on the stars and the seed, not on the order of rows.

    Parameters
    ----------
    group : ndarray of int64, shape (n,)
        Number of the star of each row.
    folds : int
        Number of folds.
    seed : int
        Seed of the random order.

    Returns
    -------
    ndarray of int64, shape (n,)
        Values 0 .. folds - 1.

    Raises
    ------
    ValueError
        If there are fewer stars than folds.
    """
    stars, of_row, sizes = np.unique(group, return_inverse=True, return_counts=True)
    if stars.size < folds:
        raise ValueError(
            f"{folds} folds need at least {folds} different stars, but the training rows hold "
            f"{stars.size}. Use fewer folds or a larger sample."
        )
    random = np.random.default_rng(seed).permutation(stars.size)
    order = random[np.argsort(-sizes[random], kind="stable")]
    load = np.zeros(folds, dtype=np.int64)
    fold_of_star = np.empty(stars.size, dtype=np.int64)
    for star in order:
        fold = int(np.argmin(load))
        fold_of_star[star] = fold
        load[fold] += sizes[star]
    return fold_of_star[of_row.reshape(-1)]


def fold_splits(fold_of_row: NDArray[np.int64]) -> tuple[Split, ...]:
    """Return one `Split` per fold from the result of `assign_folds`."""
    return tuple(
        Split(fold, np.flatnonzero(fold_of_row != fold), np.flatnonzero(fold_of_row == fold))
        for fold in range(int(fold_of_row.max()) + 1)
    )


def validation_split(group: NDArray[np.int64], fraction: float, seed: int, fold: int) -> Split:
    """Return a split that sets a random fraction of the stars aside.

    Parameters
    ----------
    group : ndarray of int64, shape (n,)
        Number of the star of each row.
    fraction : float
        Part of the stars that become test rows.
    seed : int
        Seed of the random order.
    fold : int
        Number that the split gets.

    Raises
    ------
    ValueError
        If that leaves no star on one of the two sides.
    """
    stars, of_row = np.unique(group, return_inverse=True)
    n_test = round(fraction * stars.size)
    if not 0 < n_test < stars.size:
        raise ValueError(
            f"Setting aside {fraction:g} of {stars.size} stars leaves none to train on or none "
            "to validate with. Choose another fraction."
        )
    held_out = np.zeros(stars.size, dtype=bool)
    # Another stream than the folds', so that the two are independent.
    held_out[np.random.default_rng([seed, 1]).permutation(stars.size)[:n_test]] = True
    test = held_out[of_row.reshape(-1)]
    return Split(fold, np.flatnonzero(~test), np.flatnonzero(test))


def subsample_training(
    split: Split, group: NDArray[np.int64], n_stars: int | None, seed: int
) -> Split:
    """Return a split with the training rows of a random subset of its stars.

    With one seed, a smaller subset is part of every larger one.

    Parameters
    ----------
    split : Split
        Its test rows stay as they are.
    group : ndarray of int64, shape (n,)
        Number of the star of each row.
    n_stars : int, optional
        Stars to keep; None, or as many as there are or more, keeps all.
    seed : int
        Seed of the random order.
    """
    if n_stars is None:
        return split
    of_row = group[split.train]
    # Another stream than those of the folds and of the validation run; fold numbers start at -2.
    order = np.random.default_rng([seed, 2, split.fold + 2]).permutation(np.unique(of_row))
    return Split(split.fold, split.train[np.isin(of_row, order[:n_stars])], split.test)
