"""Decide which candidate pairs of a crossmatch a sample takes, with a reason for each other.

Two presets. ``seed-2018`` repeats the selection of the notebook that this project grew from,
with the label distance as its last step. ``clean`` never looks at the labels of the compared
survey, so that the comparison made on the sample is not decided by the selection.

A rule set is applied in the order of its ``reasons``: a pair carries the first one that holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jobs.samples.candidates import LABELS, Candidates, ambiguous, nearest_of_left
from models.spectra.lines import LIGHT_SPEED

#: Reasons in words, for people: of pairs, and the first two of rows that have none.
REASONS = {
    "QUARANTINED": "the entry was refused when its file was read",
    "NO_CANDIDATE": "no optical source lies within the radius",
    "DUPLICATE": "the entry of the reference is not the main one of its star",
    "NO_LABELS": "the reference lacks a label that is needed (teff, logg, fe_h if nothing else)",
    "ASPCAP_FLAG": "ASPCAPFLAG says that the labels are bad",
    "OLD_REDUCTION": "the catalog has a newer reduction of the same spectrum",
    "NOT_NEAREST": "another spectrum lies nearer to the star",
    "NO_SPECTRUM": "no spectrum has been ingested for the optical source",
    "ZERO_SPECTRUM": "the flux is zero in every pixel",
    "NO_GOOD_PIXELS": "no pixel of the spectrum carries information",
    "OTHER_INSTRUMENT": "the spectrum is of an instrument that was not asked for",
    "TEFF_RANGE": "the effective temperature of the star is not in the range asked for",
    "NOT_A_STAR": "the pipeline takes the spectrum for a galaxy or quasar",
    "AMBIGUOUS": "positions cannot tell which spectrum and which star belong together",
    "RV_MISMATCH": "the radial velocities of the two surveys differ",
    "LOW_SNR": "the spectrum is too noisy",
    "BAD_PIXELS": "too many pixels of the spectrum are bad",
    "LABEL_DISTANCE": "labels and position of the two surveys are too far apart",
}


class Verdict(NamedTuple):
    """The decision of a rule set on each pair.

    Attributes
    ----------
    reason : ndarray of str, shape (n,)
        First reason that rejects the pair; empty if it is accepted.
    label_distance : ndarray, shape (n,)
        The distance of ``seed-2018``; NaN where it was not needed.
    """

    reason: NDArray[np.str_]
    label_distance: NDArray[np.float64]


@dataclass(frozen=True)
class SeedRules:
    """The notebook's selection: nearest spectrum, then a cut on the distance in labels.

    distance = w_teff |dteff| / s_teff + w_logg |dlogg| / s_logg + w_fe_h |dfe_h| / s_fe_h
    + w_sep sep["], with d = compared minus reference and s the standard deviation of d over the
    candidate set (the pairs that no earlier reason rejects, where the label is known on both
    sides). Unlike the notebook's, the separation is the great circle.

    Attributes
    ----------
    max_distance : float
        Pairs are accepted below this distance.
    weight_teff, weight_logg, weight_fe_h : float
        Weights of the normalised label differences.
    weight_sep : float
        Weight of the separation [1/arcsec].
    missing_difference : float
        What stands for the normalised difference of a label that the compared set lacks. With 1
        a pair without any compared label has the distance 4 + 2 sep["].
    instruments : tuple of str
        Only spectra of these; empty takes all, as the notebook did.
    """

    reasons: ClassVar[tuple[str, ...]] = (
        "DUPLICATE",
        "NO_LABELS",
        "OLD_REDUCTION",
        "NOT_NEAREST",
        "AMBIGUOUS",
        "NO_SPECTRUM",
        "ZERO_SPECTRUM",
        "NO_GOOD_PIXELS",
        "OTHER_INSTRUMENT",
        "LABEL_DISTANCE",
    )
    needs: ClassVar[tuple[str, ...]] = LABELS

    max_distance: float = 4.5
    weight_teff: float = 1.0
    weight_logg: float = 1.0
    weight_fe_h: float = 2.0
    weight_sep: float = 2.0
    missing_difference: float = 1.0
    instruments: tuple[str, ...] = ()

    def judge(self, pairs: Candidates) -> Verdict:
        """Give every pair its reason, empty for the accepted ones."""
        tests = {
            "DUPLICATE": ~pairs.is_main,
            "NO_LABELS": ~pairs.labelled(self.needs),
            "OLD_REDUCTION": pairs.superseded,
            "NOT_NEAREST": ~nearest_of_left(pairs),
        }
        reason = first_reason(tests, len(pairs.left_id))
        # One spectrum, nearest to two stars: it can be one of them at most.
        _, place, times = np.unique(
            pairs.right_id[reason == ""], return_inverse=True, return_counts=True
        )
        shared = np.zeros(reason.size, dtype=bool)
        shared[reason == ""] = times[place] > 1
        tests = {
            "AMBIGUOUS": shared,
            **spectrum_tests(pairs),
            "OTHER_INSTRUMENT": other_instrument(pairs, self.instruments),
        }
        reason = first_reason(tests, reason)
        distance = np.full(reason.size, np.nan)
        rest = reason == ""
        distance[rest] = self.distance(pairs, rest)
        far = ~(distance < self.max_distance)
        return Verdict(first_reason({"LABEL_DISTANCE": far}, reason), distance)

    def distance(self, pairs: Candidates, rest: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Measure the distance of the candidate set, see the class.

        Parameters
        ----------
        pairs : Candidates
            All pairs.
        rest : ndarray of bool, shape (n,)
            Which of them are the candidate set.

        Returns
        -------
        ndarray, shape (n_candidates,)
        """
        delta = np.abs(pairs.compared[rest] - pairs.reference[rest])
        known = np.isfinite(delta)
        signed = (pairs.compared[rest] - pairs.reference[rest]).T
        scale = [np.std(d[k]) if k.any() else 1.0 for d, k in zip(signed, known.T, strict=True)]
        # A scale of 0 (a single pair, or identical labels) would divide nothing by nothing.
        ratio = delta / np.where(np.asarray(scale) > 0, scale, 1.0)
        ratio = np.where(known, ratio, self.missing_difference)
        weights = np.array([self.weight_teff, self.weight_logg, self.weight_fe_h])
        return ratio @ weights + self.weight_sep * pairs.sep_arcsec[rest]


@dataclass(frozen=True)
class CleanRules:
    """Selection by position, flags, velocity and quality of the spectrum; never by its labels.

    Repeat spectra at one fibre position are all accepted: one star, several spectra. Where the
    candidates of a star lie at different positions, or another star lies as near to the
    spectrum, nothing says which is the star's: all its pairs are AMBIGUOUS.

    Attributes
    ----------
    aspcap_bad : tuple of str
        Names of the bits that reject a star, of ASPCAPFLAG or of what the reference survey has
        in its place; names that it does not have reject nothing.
    repeat_arcsec : float
        Fibres not farther than this from the star's nearest one are repeats of it [arcsec].
    tie_arcsec : float
        Another star must be farther from the spectrum by at least this [arcsec].
    max_rv_difference : float
        Largest difference of the radial velocities where both are known [km/s].
    min_sn : float
        Smallest median signal-to-noise ratio per pixel.
    max_bad_fraction : float
        Largest fraction of bad pixels.
    min_teff, max_teff : float, optional
        Range of the effective temperature in the reference label set, inclusive [K].
    needs : tuple of str
        Which of teff, logg, fe_h a star must have in the reference label set; a star that has
        the others only can still teach those.
    instruments : tuple of str
        Only spectra of these (SDSS, BOSS, LAMOST); empty takes all.
    """

    reasons: ClassVar[tuple[str, ...]] = (
        "DUPLICATE",
        "NO_LABELS",
        "ASPCAP_FLAG",
        "TEFF_RANGE",
        "OLD_REDUCTION",
        "NO_SPECTRUM",
        "ZERO_SPECTRUM",
        "NO_GOOD_PIXELS",
        "OTHER_INSTRUMENT",
        "NOT_A_STAR",
        "AMBIGUOUS",
        "RV_MISMATCH",
        "LOW_SNR",
        "BAD_PIXELS",
    )

    aspcap_bad: tuple[str, ...] = ("TEFF_BAD", "LOGG_BAD", "M_H_BAD", "STAR_BAD")
    repeat_arcsec: float = 0.5
    tie_arcsec: float = 0.5
    max_rv_difference: float = 60.0
    min_sn: float = 10.0
    max_bad_fraction: float = 0.2
    min_teff: float | None = None
    max_teff: float | None = None
    needs: tuple[str, ...] = LABELS
    instruments: tuple[str, ...] = ()

    def judge(self, pairs: Candidates) -> Verdict:
        """Give every pair its reason, empty for the accepted ones."""
        rv_difference = np.abs(pairs.radial_velocity - LIGHT_SPEED * pairs.z)
        tests = {
            "DUPLICATE": ~pairs.is_main,
            "NO_LABELS": ~pairs.labelled(self.needs),
            "ASPCAP_FLAG": pairs.is_flagged,
            "TEFF_RANGE": outside(pairs.reference[:, 0], self.min_teff, self.max_teff),
            "OLD_REDUCTION": pairs.superseded,
            **spectrum_tests(pairs),
            "OTHER_INSTRUMENT": other_instrument(pairs, self.instruments),
            "NOT_A_STAR": ~np.isin(pairs.object_class, ["", "STAR"]),
            "AMBIGUOUS": ambiguous(pairs, self.repeat_arcsec, self.tie_arcsec),
            # Comparisons with NaN are false: what is not known does not reject.
            "RV_MISMATCH": rv_difference > self.max_rv_difference,
            "LOW_SNR": pairs.sn_median < self.min_sn,
            "BAD_PIXELS": pairs.bad_fraction > self.max_bad_fraction,
        }
        reason = first_reason(tests, len(pairs.left_id))
        return Verdict(reason, np.full(reason.size, np.nan))


Rules = SeedRules | CleanRules
PRESETS: dict[str, Rules] = {"seed-2018": SeedRules(), "clean": CleanRules()}


def first_reason(
    tests: dict[str, NDArray[np.bool_]], start: int | NDArray[np.str_]
) -> NDArray[np.str_]:
    """Give each pair the first reason that holds, after those it has already."""
    reason = np.full(start, "", dtype="U16") if isinstance(start, int) else start.copy()
    for code, holds in tests.items():
        reason[(reason == "") & holds] = code
    return reason


def spectrum_tests(pairs: Candidates) -> dict[str, NDArray[np.bool_]]:
    """Find pairs without a spectrum, or without pixels to work with."""
    state = pairs.spectrum_state
    zero = state == "ZERO_SPECTRUM"
    return {
        "NO_SPECTRUM": state == "",
        "ZERO_SPECTRUM": zero,
        "NO_GOOD_PIXELS": ~np.isin(state, ["", "ok"]) & ~zero,
    }


def other_instrument(pairs: Candidates, instruments: tuple[str, ...]) -> NDArray[np.bool_]:
    """Find spectra of instruments that are not listed; none if the list is empty."""
    return np.asarray(~np.isin(pairs.instrument, instruments) & bool(instruments))


def outside(
    values: NDArray[np.float64], low: float | None, high: float | None
) -> NDArray[np.bool_]:
    """Find numbers below or above what is allowed, where there is such a limit."""
    below = values < (-np.inf if low is None else low)
    return np.asarray(below | (values > (np.inf if high is None else high)))
