"""The result in words and numbers: the comparison of all label sets on the same spectra."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.words import count
from jobs.evaluation.compare import Comparison, ComparisonRow, compare
from jobs.evaluation.compare_text import legend
from jobs.report import style
from jobs.report.drawing import Cell, Subject, Table
from jobs.report.origin import out_of_fold_sets


@dataclass(frozen=True)
class Result:
    """The comparison that a report begins with.

    Parameters
    ----------
    words : str
        One paragraph.
    notes : tuple of str
        What must be known to read it.
    table : Table or None
        The comparison; None where nothing can be compared.
    """

    words: str
    notes: tuple[str, ...]
    table: Table | None


def read_result(conn: sa.Connection, subject: Subject) -> Result:
    """Compare the survey's labels and the models' out-of-fold labels with the reference.

    The numbers are those of ``crosslabel compare`` with the same label sets, sample and seed.
    """
    tests = [subject.compared] if subject.compared is not None else []
    tests += out_of_fold_sets(conn, subject).values()
    if not tests:
        return Result(
            "There is nothing to compare with the reference yet: no second survey, no model.",
            (),
            None,
        )
    try:
        found = compare(conn, subject.reference, tests, subject.sample, seed=subject.seed)
    except UsageError as exc:
        return Result(f"The label sets cannot be compared: {exc}", (), None)
    return Result(_words(found, subject), found.notes, _table(found))


def _words(found: Comparison, subject: Subject) -> str:
    """The paragraph: the survey, then the best model, and how they compare."""
    by_set = {name: [r for r in found.rows if r.test_set == name] for name in found.test_sets}
    first = found.rows[0]
    survey = subject.compared
    models = [name for name in found.test_sets if name != survey]
    text = (
        f"On {count(first.n, 'spectrum')} of {count(first.n_stars, 'star')} of sample "
        f"{subject.sample} that all label sets label, compared with {found.ref_set}: "
    )
    parts = [_scatters(survey, by_set[survey])] if survey is not None else []
    if models:
        best = min(models, key=lambda name: _mean_log(by_set[name]))
        called = f"the best model, {best}," if len(models) > 1 else best
        parts.append(_scatters(called, by_set[best]))
    text += "; ".join(parts) + "."
    if models and survey is not None:
        ratios = _ratios(by_set[survey], by_set[best])
        text += f" The scatter of {survey} is {ratios} times that of {best}."
    text += " Scatter is 1.4826 times the median absolute deviation; its error stands in brackets."
    if models:
        text += " The models' labels are out of fold: of each star by a fit that never saw it."
    return text


def _scatters(name: str, rows: Sequence[ComparisonRow]) -> str:
    """The scatter of each label of a set, with errors."""
    scatters = []
    for row in rows:
        error = f" ({style.number(row.sigma_mad_err, row.label)})" if row.sigma_mad_err else ""
        value = style.number(row.sigma_mad, row.label)
        scatters.append(f"{value}{error} {row.unit} in {style.plain(row.label)}")
    return f"{name} scatters by {_listed(scatters)}"


def _ratios(survey: Sequence[ComparisonRow], model: Sequence[ComparisonRow]) -> str:
    """By which factors the scatter of a model is smaller than the survey's."""
    ratios = [
        f"{a.sigma_mad / b.sigma_mad:.1f}" if b.sigma_mad else "many"
        for a, b in zip(survey, model, strict=True)
    ]
    return _listed(ratios)


def _listed(words: Sequence[str]) -> str:
    """Words with commas, and `and` before the last."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def _mean_log(rows: Sequence[ComparisonRow]) -> float:
    """Mean logarithm of the scatter: by ratios, so that units do not matter."""
    return sum(math.log(max(row.sigma_mad, 1e-9)) for row in rows) / len(rows)


def _table(found: Comparison) -> Table:
    """The comparison, one row per label and label set."""
    rows: list[tuple[Cell, ...]] = []
    for row in found.rows:
        name = row.label
        rows.append(
            (f"{style.plain(name)} [{row.unit}]", row.test_set, row.n, row.n_stars,
             _with_error(row.bias, row.bias_err, name),
             _with_error(row.sigma_mad, row.sigma_mad_err, name),
             style.number(row.seed_bias, name), style.number(row.seed_scatter, name),
             style.number(row.mae, name),
             "–" if row.pull_sigma is None else f"{row.pull_sigma:.2f}")
        )  # fmt: skip
    head = ("label", "compared set", "spectra", "stars", "bias", "sigma_mad", "seed_bias",
            "seed_scatter", "mae", "pull")  # fmt: skip
    title = f"Compared minus {found.ref_set}, where all sets have the label"
    return Table("comparison", title, head, tuple(rows), legend(found))


def _with_error(value: float, error: float | None, label: str) -> str:
    """A number with its error."""
    number = style.number(value, label)
    return number if error is None else f"{number} ± {style.number(error, label)}"
