"""All pairs of two lists of positions within a radius, by sort-merge on HEALPix cells.

The right list is sorted by its cell. For every cell that holds left rows, the rows in it and in
the cells that touch it are the candidates; their separations decide. The order of the cells
follows from the radius (`catalog.sky.healpix.order_for_radius`), so that no pair is lost at any
radius, at the poles or at right ascension 0/360.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from catalog.sky.healpix import check_positions, coarsen, healpix29, neighbours, order_for_radius
from catalog.sky.vectors import ARCSEC_PER_RADIAN, unit_vectors, vector_separation_arcsec

# Rows of the left list and candidate pairs held at once: about 50 MB each.
LEFT_BLOCK = 1 << 18
PAIR_BLOCK = 1 << 19

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Pairs(NamedTuple):
    """Pairs of rows, sorted by (left, sep_arcsec, right).

    Attributes
    ----------
    left, right : ndarray of int64, shape (n_pairs,)
        Row numbers in the two lists.
    sep_arcsec : ndarray, shape (n_pairs,)
        Great-circle separation [arcsec].
    """

    left: Integers
    right: Integers
    sep_arcsec: Floats


class _Side(NamedTuple):
    """One list sorted by cell: original row, cell and unit vector of each entry."""

    row: Integers
    cell: Integers
    vector: Floats


def crossmatch(
    left_ra: ArrayLike,
    left_dec: ArrayLike,
    right_ra: ArrayLike,
    right_dec: ArrayLike,
    radius_arcsec: float,
    *,
    left_index29: ArrayLike | None = None,
    right_index29: ArrayLike | None = None,
) -> Pairs:
    """Find every pair of positions not farther apart than the radius.

    Parameters
    ----------
    left_ra, left_dec : array_like, shape (n_left,)
        ICRS positions [deg].
    right_ra, right_dec : array_like, shape (n_right,)
        ICRS positions [deg].
    radius_arcsec : float
        Largest separation, inclusive [arcsec].
    left_index29, right_index29 : array_like of int64, shape (n_left,) and (n_right,), optional
        Nested HEALPix index at order 29 of these positions, where it is at hand; else computed.

    Returns
    -------
    Pairs
        All pairs, not only the nearest; empty where there are none.

    Raises
    ------
    ValueError
        If a position is not finite or off the sphere, if an index does not fit its positions in
        number, or if the radius is out of range.
    """
    order = order_for_radius(radius_arcsec)
    left = _sorted_side(left_ra, left_dec, left_index29, order)
    right = _sorted_side(right_ra, right_dec, right_index29, order)
    # Neighbours are looked up for the shorter list.
    swap = right.row.size < left.row.size
    few, many = (right, left) if swap else (left, right)
    found = list(_find_pairs(few, many, order, radius_arcsec))
    if not found:
        return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))
    rows_few, rows_many, sep = (np.concatenate(parts) for parts in zip(*found, strict=True))
    rows_left, rows_right = (rows_many, rows_few) if swap else (rows_few, rows_many)
    by = np.lexsort((rows_right, sep, rows_left))
    return Pairs(rows_left[by], rows_right[by], sep[by])


def _sorted_side(ra: ArrayLike, dec: ArrayLike, index29: ArrayLike | None, order: int) -> _Side:
    """Check one list and sort it by cell."""
    ra, dec = check_positions(ra, dec)
    index = healpix29(ra, dec) if index29 is None else np.asarray(index29, dtype=np.int64)
    if index.shape != ra.shape:
        raise ValueError(f"{ra.size} positions need as many HEALPix indices, not {index.shape}")
    row = np.argsort(index, kind="stable")
    return _Side(row, coarsen(index[row], order), unit_vectors(ra[row], dec[row]))


def _find_pairs(
    few: _Side, many: _Side, order: int, radius_arcsec: float
) -> Iterator[tuple[Integers, Integers, Floats]]:
    """Yield blocks of pairs: rows of ``few``, rows of ``many`` and their separation."""
    cells, first = np.unique(many.cell, return_index=True)
    size = np.diff(np.append(first, many.cell.size))
    if cells.size == 0:
        return
    # A generous cut on the squared chord spares most candidates the exact separation.
    chord2 = (2.0 * np.sin(0.5 * radius_arcsec / ARCSEC_PER_RADIAN)) ** 2 * (1 + 1e-9) + 1e-30
    for start in range(0, few.row.size, LEFT_BLOCK):
        block = slice(start, start + LEFT_BLOCK)
        entry, begin, count = _candidate_ranges(few.cell[block], cells, first, size, order)
        entry += start
        for i, j in _expand(entry, begin, count):
            apart = few.vector[i] - many.vector[j]
            near = np.einsum("ij,ij->i", apart, apart) <= chord2
            i, j = i[near], j[near]
            sep = vector_separation_arcsec(few.vector[i], many.vector[j])
            keep = sep <= radius_arcsec
            if keep.any():
                yield few.row[i[keep]], many.row[j[keep]], sep[keep]


def _candidate_ranges(
    own: Integers, cells: Integers, first: Integers, size: Integers, order: int
) -> tuple[Integers, Integers, Integers]:
    """For each entry of ``own``, the ranges of the other list in and around its cell."""
    unique, inverse = np.unique(own, return_inverse=True)
    around = neighbours(unique, order)
    place = np.minimum(np.searchsorted(cells, around), cells.size - 1)
    hit = cells[place] == around  # -1, no neighbour, is no cell
    # Entries of one cell follow each other, so its hits are repeated once for each of them.
    per_cell = hit.sum(axis=1)
    place = place[hit]
    per_entry = per_cell[inverse]
    cell_start = np.cumsum(per_cell) - per_cell
    which = _ranges(cell_start[inverse], per_entry)
    place = place[which]
    return np.repeat(np.arange(own.size), per_entry), first[place], size[place]


def _expand(
    entry: Integers, begin: Integers, count: Integers
) -> Iterator[tuple[Integers, Integers]]:
    """Write the ranges out as pairs, about `PAIR_BLOCK` at a time."""
    total = np.cumsum(count)
    start = 0
    while start < entry.size:
        done = total[start - 1] if start else 0
        stop = max(int(np.searchsorted(total, done + PAIR_BLOCK, side="right")), start + 1)
        part = slice(start, stop)
        yield np.repeat(entry[part], count[part]), _ranges(begin[part], count[part])
        start = stop


def _ranges(begin: Integers, count: Integers) -> Integers:
    """Concatenate ``arange(b, b + c)`` for all pairs of begin and count."""
    shift = np.cumsum(count) - count
    return np.asarray(np.arange(count.sum()) + np.repeat(begin - shift, count))
