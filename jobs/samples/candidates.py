"""Candidate pairs of a crossmatch as arrays, and what their positions alone tell."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from catalog.sky.vectors import separation_arcsec

LABELS = ("teff", "logg", "fe_h")


@dataclass(frozen=True)
class Candidates:
    """Candidate pairs with what the rules need to know; unknown numbers are NaN.

    Attributes
    ----------
    left_id, right_id, star_id : ndarray of int64, shape (n,)
        The pair, and the physical star of its left source.
    sep_arcsec : ndarray, shape (n,)
        Separation [arcsec].
    right_ra, right_dec : ndarray, shape (n,)
        Position of the fibre [deg].
    is_main : ndarray of bool, shape (n,)
        Whether the left source is the one row that stands for its star.
    reference, compared : ndarray, shape (n, 3)
        Labels teff [K], logg [dex], fe_h [dex] of the left source, and of the right one in the
        label set that it is compared with.
    is_flagged : ndarray of bool, shape (n,)
        Whether the flags of the left source say that its labels are bad.
    radial_velocity : ndarray, shape (n,)
        Radial velocity of the left source [km/s].
    spectrum_state : ndarray of str, shape (n,)
        ``ok``, the reason why there are no usable pixels, or empty: no spectrum.
    instrument, object_class : ndarray of str, shape (n,)
        Instrument and class of the spectrum; empty where unknown.
    superseded : ndarray of bool, shape (n,)
        Whether the catalog has a newer reduction of the spectrum.
    z, sn_median, bad_fraction : ndarray, shape (n,)
        Redshift, signal-to-noise ratio per pixel, fraction of bad pixels of the spectrum.
    """

    left_id: NDArray[np.int64]
    right_id: NDArray[np.int64]
    star_id: NDArray[np.int64]
    sep_arcsec: NDArray[np.float64]
    right_ra: NDArray[np.float64]
    right_dec: NDArray[np.float64]
    is_main: NDArray[np.bool_]
    reference: NDArray[np.float64]
    compared: NDArray[np.float64]
    is_flagged: NDArray[np.bool_]
    radial_velocity: NDArray[np.float64]
    spectrum_state: NDArray[np.str_]
    instrument: NDArray[np.str_]
    object_class: NDArray[np.str_]
    superseded: NDArray[np.bool_]
    z: NDArray[np.float64]
    sn_median: NDArray[np.float64]
    bad_fraction: NDArray[np.float64]

    def __post_init__(self) -> None:
        lengths = {f.name: len(getattr(self, f.name)) for f in fields(self)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"Columns of candidates differ in length: {lengths}")

    def labelled(self, needs: tuple[str, ...] = LABELS) -> NDArray[np.bool_]:
        """Return True for pairs whose reference labels of these names are all known."""
        columns = [LABELS.index(name) for name in needs]
        return np.asarray(np.isfinite(self.reference[:, columns]).all(axis=1))


def nearest_of_left(pairs: Candidates) -> NDArray[np.bool_]:
    """Mark the nearest spectrum of each left source; of equally near ones the first listed.

    Reductions that a newer one has replaced come after all others.
    """
    # keeps the order of equal pairs
    by = np.lexsort((pairs.sep_arcsec, pairs.superseded, pairs.left_id))
    _, first = np.unique(pairs.left_id[by], return_index=True)
    nearest = np.zeros(by.size, dtype=bool)
    nearest[by[first]] = True
    return nearest


def ambiguous(pairs: Candidates, repeat_arcsec: float, tie_arcsec: float) -> NDArray[np.bool_]:
    """Mark all pairs of stars for which positions do not decide.

    That is so where a spectrum lies farther than ``repeat_arcsec`` from the nearest spectrum of its
    star, or where another star lies nearer to the spectrum, or farther by at most ``tie_arcsec``.
    Other rows of the same star are no rivals of it, and replaced reductions decide nothing.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    nearest = np.flatnonzero(nearest_of_left(pairs))
    nearest = nearest[np.argsort(pairs.left_id[nearest])]
    _, star = np.unique(pairs.left_id, return_inverse=True)
    own = nearest[star]
    apart = separation_arcsec(
        pairs.right_ra, pairs.right_dec, pairs.right_ra[own], pairs.right_dec[own]
    )
    doubtful = (apart > repeat_arcsec) | (_rival_sep(pairs) <= pairs.sep_arcsec + tie_arcsec)
    doubtful &= ~pairs.superseded
    return np.bincount(star, weights=doubtful, minlength=nearest.size)[star] > 0


def _rival_sep(pairs: Candidates) -> NDArray[np.float64]:
    """Smallest separation of each pair's spectrum from any other star; infinite if none."""
    rival = np.full(pairs.left_id.size, np.inf)
    main = np.flatnonzero(pairs.is_main)
    by = main[np.lexsort((pairs.left_id[main], pairs.sep_arcsec[main], pairs.right_id[main]))]
    spectrum, first, place = np.unique(pairs.right_id[by], return_index=True, return_inverse=True)
    best = by[first]
    other_star = pairs.star_id[by] != pairs.star_id[best[place]]
    second = np.full(spectrum.size, np.inf)
    np.minimum.at(second, place[other_star], pairs.sep_arcsec[by[other_star]])
    rival[by] = np.where(other_star, pairs.sep_arcsec[best[place]], second[place])
    return rival
