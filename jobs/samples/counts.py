"""From the rows of the file to the sample, in numbers that add up."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.samples.candidates import LABELS, Candidates, nearest_of_left
from jobs.samples.rules import REASONS
from models.core.metrics import MAD_TO_SIGMA

STATISTICS = ("median", "sigma_mad", "mean", "mean_abs_dev")


def count_pairs(reason: NDArray[np.str_], order: tuple[str, ...]) -> dict[str, int]:
    """Count pairs by reason, in the order of the rules, and the accepted ones.

    Parameters
    ----------
    reason : ndarray of str, shape (n_pairs,)
        Reason of each pair, empty where accepted.
    order : tuple of str
        All reasons that the rules may give.
    """
    return {**{code: int((reason == code).sum()) for code in order}, "accepted": _n(reason == "")}


def count_rows(
    left_id: NDArray[np.int64],
    is_main: NDArray[np.bool_],
    labelled: NDArray[np.bool_],
    pairs: Candidates,
    reason: NDArray[np.str_],
    order: tuple[str, ...],
) -> dict[str, int]:
    """Count the rows of the left catalog by where they end; each row ends once.

    Parameters
    ----------
    left_id, is_main, labelled : ndarray, shape (n_left,)
        All sources of the left catalog: whether they stand for their star, and whether they have
        the labels that are needed.
    pairs, reason : Candidates and ndarray of str, shape (n_pairs,)
        The judged pairs. A row with several, all rejected, ends at the reason of the one that
        came farthest.
    order : tuple of str
        All reasons that the rules may give.

    Returns
    -------
    dict of int
        DUPLICATE, NO_LABELS, NO_CANDIDATE (nothing within the radius), the other reasons in the
        order of the rules, and accepted.
    """
    codes = _row_codes(order)
    rank = {code: i for i, code in enumerate(codes)} | {"": len(codes) - 1}
    reached = np.full(left_id.size, rank["NO_CANDIDATE"])
    sorter = np.argsort(left_id)
    row = sorter[np.searchsorted(left_id, pairs.left_id, sorter=sorter)]
    np.maximum.at(reached, row, np.array([rank[r] for r in reason.tolist()], dtype=np.int64))
    reached[~labelled] = rank["NO_LABELS"]
    reached[~is_main] = rank["DUPLICATE"]
    return dict(zip(codes, np.bincount(reached, minlength=len(codes)).tolist(), strict=True))


def label_differences(pairs: Candidates, chosen: NDArray[np.bool_]) -> dict[str, Any]:
    """Return statistics of compared minus reference labels over the chosen pairs.

    Parameters
    ----------
    pairs : Candidates
        All pairs.
    chosen : ndarray of bool, shape (n_pairs,)
        Which of them count.

    Returns
    -------
    dict
        Per label the number of pairs with both values, median and 1.4826 times the median
        absolute deviation, and the notebook's mean and mean absolute deviation about the mean;
        None where there is no pair.
    """
    delta = pairs.compared[chosen] - pairs.reference[chosen]
    return {name: _statistics(d[np.isfinite(d)]) for name, d in zip(LABELS, delta.T, strict=True)}


def summarise(
    left: tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]],
    n_quarantined: int,
    pairs: Candidates,
    reason: NDArray[np.str_],
    order: tuple[str, ...],
) -> dict[str, Any]:
    """Put together what a sample stores about itself.

    Parameters
    ----------
    left : tuple of ndarray
        As the first three parameters of `count_rows`.
    n_quarantined : int
        Rows of the left catalog's files that were refused.
    pairs, reason, order
        As in `count_rows`.

    Returns
    -------
    dict
        ``rows`` and ``pairs`` sum exactly to their ``total``. ``instruments`` counts the spectra of
        the accepted pairs by instrument. ``differences`` holds compared
        minus reference labels: ``before`` over each main, labelled row with its nearest spectrum
        where that is usable, whatever the rules say, and ``after`` over the accepted pairs.
    """
    rows = {"QUARANTINED": n_quarantined, **count_rows(*left, pairs, reason, order)}
    by_reason = count_pairs(reason, order)
    usable = pairs.spectrum_state == "ok"
    before = pairs.is_main & pairs.labelled() & nearest_of_left(pairs) & usable
    return {
        "rows": {"total": sum(rows.values()), **rows},
        "pairs": {"total": reason.size, **by_reason},
        "instruments": dict(Counter(pairs.instrument[reason == ""].tolist())),
        "differences": {
            "before": {"pairs": _n(before), **label_differences(pairs, before)},
            "after": {"pairs": _n(reason == ""), **label_differences(pairs, reason == "")},
        },
    }


def counts_as_text(counts: dict[str, Any], order: tuple[str, ...]) -> str:
    """Lay out the counts of a sample as tables for people.

    Parameters
    ----------
    counts : dict
        As `summarise` makes it, with the names of the label sets.
    order : tuple of str
        The reasons in the order of the rules: the database keeps no order.
    """
    codes = ("QUARANTINED", *_row_codes(order))
    lines = []
    for part, title in (("rows", "entries of left catalog"), ("pairs", "candidate pairs")):
        lines.append(f"{title:26}{counts[part]['total']:>10,}")
        for code in codes:
            if counts[part].get(code) or code == "accepted":
                line = f"  {code:24}{counts[part].get(code, 0):>10,}  {REASONS.get(code, '')}"
                lines.append(line.rstrip())
        lines.append("")
    lines.insert(-1, f"  {counts['expected_chance_pairs']:g} pairs expected by chance alone")
    by_instrument = counts.get("instruments", {})  # samples of before do not have it
    if by_instrument:
        most_first = sorted(by_instrument, key=lambda name: (-by_instrument[name], name))
        words = ", ".join(f"{by_instrument[name]:,} {name}" for name in most_first)
        lines.insert(-1, f"  accepted spectra by instrument: {words}")
    names, sets = counts["labels"], counts["differences"]
    if names["compared"] is None:
        return "\n".join(lines[:-1])
    lines.append(
        f"{names['compared']} minus {names['reference']}, before: the nearest usable spectrum of "
        f"each labelled star ({sets['before']['pairs']:,}), after: accepted pairs "
        f"({sets['after']['pairs']:,})"
    )
    lines.append(f"{'':16}{'n':>8}" + "".join(f"{key:>14}" for key in STATISTICS))
    for stage in ("before", "after"):
        for label in LABELS:
            row = sets[stage][label]
            cells = ["-" if row[k] is None else f"{row[k]:.4g}" for k in STATISTICS]
            lines.append(f"  {stage:7}{label:7}{row['n']:>8,}" + "".join(f"{c:>14}" for c in cells))
    return "\n".join(lines)


def _row_codes(order: tuple[str, ...]) -> list[str]:
    """List where a row may end, in the order of the funnel."""
    return list(dict.fromkeys(("DUPLICATE", "NO_LABELS", "NO_CANDIDATE", *order, "accepted")))


def _n(mask: NDArray[np.bool_]) -> int:
    """Count what is true."""
    return int(mask.sum())


def _statistics(delta: NDArray[np.float64]) -> dict[str, float | int | None]:
    """Robust and plain location and scatter of differences."""
    if delta.size == 0:
        return {"n": 0, **dict.fromkeys(STATISTICS)}
    median, mean = np.median(delta), np.mean(delta)
    values = (
        median,
        MAD_TO_SIGMA * np.median(np.abs(delta - median)),
        mean,
        np.mean(np.abs(delta - mean)),
    )
    # Rounded as far as float32 labels carry: the stored text must not change with the last bit.
    return {
        "n": delta.size,
        **{k: float(f"{v:.6g}") for k, v in zip(STATISTICS, values, strict=True)},
    }
