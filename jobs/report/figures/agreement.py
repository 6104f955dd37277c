"""The models beside the survey: residuals, label planes, calibration, S/N, repeats.

Everything is drawn of one evaluation: out-of-fold labels, on the spectra that all compared sets
label, so that the numbers are those of ``crosslabel compare`` and ``crosslabel evaluate``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.words import count
from jobs.evaluation.data import ComparedLabel
from jobs.evaluation.evaluate import Evaluation, evaluate, read_inputs
from jobs.evaluation.records import EDGES
from jobs.report.drawing import Drawing, Missing, Subject
from jobs.report.figures.calibration import draw_calibration, with_errors
from jobs.report.figures.planes import MOST_POINTS as MOST_IN_PLANE
from jobs.report.figures.planes import PLANES, common_rows, draw_plane
from jobs.report.figures.residuals import MOST_POINTS, draw_residuals, mean_errors, outside
from jobs.report.figures.signal_to_noise import draw_repeats, draw_signal_to_noise
from jobs.report.origin import out_of_fold_sets
from jobs.report.per_model import NO_MODEL, caution, stem
from jobs.report.style import drawn_of

RESIDUALS = "Residuals"


def draw(conn: sa.Connection, subject: Subject) -> list[Drawing | Missing]:
    """Draw how far the labels of models and survey are right, on the same spectra."""
    if not subject.models:
        return [Missing("residuals", RESIDUALS, NO_MODEL)]
    own = out_of_fold_sets(conn, subject)
    missing = [_missing(model) for model in subject.models if model not in own]
    if not own:
        return list(missing)
    compared = [subject.compared] if subject.compared else []
    try:
        inputs = read_inputs(
            conn, list(own), compared, reference=subject.reference, sample=subject.sample,
            edges={"snr": EDGES["snr"]}, seed=subject.seed,
        )  # fmt: skip
    except UsageError as exc:  # such as no common star
        return [*missing, Missing("residuals", RESIDUALS, str(exc))]
    found, labels = evaluate(inputs), inputs.labels
    order = (*compared, *(name for name in found.test_sets if name not in compared))
    words = caution(conn, subject)
    return [
        *(_residuals(subject, found, labels, *names, order, words) for names in own.items()),
        *missing,
        *_planes(subject, labels, order, words),
        _calibration(found, labels, order, words),
        _signal_to_noise(found, order, words),
        _repeats(found, order, words),
    ]


def _missing(model: str) -> Missing:
    """Return the note on why a model is not compared."""
    reason = (
        f"{model} has no out-of-fold labels here: it was imported, or they were removed. "
        "Run: crosslabel train"
    )
    return Missing(stem("residuals", model), f"{RESIDUALS}: {model}", reason)


def _residuals(
    subject: Subject,
    found: Evaluation,
    labels: tuple[ComparedLabel, ...],
    model: str,
    own: str,
    order: tuple[str, ...],
    words: str,
) -> Drawing:
    """Return the two-row figure of one model beside the survey."""
    shown = [*([subject.compared] if subject.compared else []), own]
    beyond = sum(outside(data, [n for n in shown if n in data.names]) for data in labels)
    most = max(labels, key=lambda data: data.reference.size)
    n, n_stars = most.reference.size, np.unique(most.star).size
    caption = (
        f"Above: labels of {' and '.join(shown)} against those of {found.ref_set}; the line is "
        "equality. Below: the differences; coloured lines are their medians. Shown: "
        f"{drawn_of(min(n, MOST_POINTS), n, 'spectrum')} of {count(n_stars, 'star')}, those that "
        f"all of {', '.join(order)} label; each model's label comes from a fit that never saw the "
        f"star (out of fold). Outside the frames: {count(beyond, 'point')}. "
        f"{_crosses_told(labels, shown)}"
        "bias: median difference, sigma_mad: 1.4826 times the median absolute deviation about it; "
        "seed_bias and seed_scatter: the notebook's mean difference and mean absolute deviation "
        "about it; the signs are those of the legend; "
        f"±: errors from {found.settings['bootstrap']} resamplings of the stars.{words}"
    )
    figure = draw_residuals(labels, found.scores, shown, order, subject.seed)
    return Drawing(stem("residuals", model), f"{RESIDUALS}: {model}", caption, figure)


def _crosses_told(labels: Sequence[ComparedLabel], shown: Sequence[str]) -> str:
    """Return the words of a caption on the crosses of mean errors; empty where none is drawn."""
    stated = [
        name
        for name in shown
        if any(name in d.names and np.isfinite(mean_errors(d, name)[1]) for d in labels)
    ]
    if not stated:
        return ""
    return (
        f"Crosses: mean stated errors of {' and '.join(stated)} (above of the labels, below of the "
        "differences). "
    )


def _listed(names: Sequence[str]) -> str:
    """Name label sets with the verb of what they state, or fail to."""
    return f"{' and '.join(names)} {'states' if len(names) == 1 else 'state'}"


def _planes(
    subject: Subject, labels: tuple[ComparedLabel, ...], order: tuple[str, ...], words: str
) -> list[Drawing | Missing]:
    """Each plane of two labels, where all sets have both."""
    by_name = {data.label: data for data in labels if set(data.names) == set(order)}
    drawings: list[Drawing | Missing] = []
    for x, y, called in PLANES:
        name, title = f"plane-{x}-{y}".replace("_", "-"), f"Label plane: {called}"
        if x not in by_name or y not in by_name:
            reason = f"Not all of {', '.join(order)} have both labels on common spectra"
            drawings.append(Missing(name, title, reason))
            continue
        both = (by_name[x], by_name[y])
        rows = common_rows(both)
        reference = np.column_stack([data.reference[r] for data, r in zip(both, rows, strict=True)])
        tests = {
            test: np.column_stack(
                [data.test[data.names.index(test)][r] for data, r in zip(both, rows, strict=True)]
            )
            for test in order
        }
        n = len(reference)
        caption = (
            f"Two labels and their densities (each integrates to 1) in {subject.reference} (grey: "
            "crosses, and filled densities) and in each other label set, for the same "
            f"{drawn_of(min(n, MOST_IN_PLANE), n, 'spectrum')}; densities are of all. "
            f"Models are out of fold.{words}"
        )
        figure = draw_plane(x, y, (subject.reference, reference), tests, subject.seed)
        drawings.append(Drawing(name, title, caption, figure))
    return drawings


def _calibration(
    found: Evaluation, labels: tuple[ComparedLabel, ...], order: tuple[str, ...], words: str
) -> Drawing | Missing:
    """Return the figure on the calibration of the stated errors."""
    name, title = "calibration", "Calibration of the errors"
    if not any(with_errors(data) for data in labels):
        reason = f"None of {', '.join(order)} states errors. Train a model with the preset default"
        return Missing(name, title, reason)
    caption = (
        "Above: how often the difference to the reference lies within an interval of some nominal "
        "coverage; on the diagonal errors are true, below it too small. Markers: the 68% and 95% "
        "intervals as stated. Below: differences in units of their error, beside the unit normal "
        "(grey); the outer bins hold all beyond. Thick: calibrated errors, thin: before "
        f"calibration; both combined with the errors of {found.ref_set}. Label sets that state no "
        f"error are left out.{words}"
    )
    return Drawing(name, title, caption, draw_calibration(labels, found.scores, order))


def _signal_to_noise(found: Evaluation, order: tuple[str, ...], words: str) -> Drawing | Missing:
    """Return the figure of scatter against S/N."""
    name, title = "signal-to-noise", "Scatter and coverage by S/N"
    if not any(row.bin_by == "snr" and row.n for row in found.scores):
        return Missing(name, title, "No S/N is known of the compared spectra")
    caption = (
        "By median S/N per pixel of the spectra. Above: sigma_mad of the difference to "
        f"{found.ref_set}, with errors from {found.settings['bootstrap']} resamplings of the "
        "stars. Below: fraction of the differences within their combined error, with binomial "
        f"errors; the line is 68.3%. Under the axis: number of spectra in the bin.{words}"
    )
    return Drawing(name, title, caption, draw_signal_to_noise(found.scores, order))


def _repeats(found: Evaluation, order: tuple[str, ...], words: str) -> Drawing | Missing:
    """Return the figure on the agreement of spectra of the same star."""
    name, title = "repeats", "Repeated spectra of a star"
    overall = [row for row in found.repeats if row.bin_by == "all" and row.n_pairs]
    if not overall:
        return Missing(name, title, "No star of the sample has two spectra with these labels")
    bars = any(row.repeat_sigma_err for row in found.repeats if row.bin_by == "snr")
    unstated = [
        name
        for name in order
        if not any(row.predicted_sigma for row in found.repeats if row.test_set == name)
    ]
    caption = (
        f"Internal precision: labels of {count(overall[0].n_pairs, 'pair')} of spectra of "
        f"{count(overall[0].n_stars, 'star')}, by the lower S/N of the two. Above: 1.4826 times "
        "the median absolute difference, over the square root of 2"
        f"{'; errors from resampled stars' if bars else ''}. "
        "Below: its ratio to the median error that the label set states; errors hold what repeats "
        "do not show, such as errors of the reference's labels, so ratios below 1 are expected."
        f"{f' {_listed(unstated)} no errors.' if unstated else ''}{words}"
    )
    return Drawing(name, title, caption, draw_repeats(found.repeats, order))
