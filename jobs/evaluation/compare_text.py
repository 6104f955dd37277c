"""Comparisons for people and programs: an aligned table, CSV, JSON."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import textwrap

from jobs.evaluation.compare import Comparison, ComparisonRow

WIDTH = 100  # of the notes; the table is as wide as its names
FIELDS = tuple(f.name for f in dataclasses.fields(ComparisonRow))
_HEADINGS = (
    "label", "unit", "test - reference", "n", "stars", "bias", "+-", "sigma_mad", "+-",
    "seed_bias", "seed_scatter", "mae", "pull",
)  # fmt: skip
_LEGEND = (
    "bias: median of the difference; sigma_mad: 1.4826 median absolute deviation; +-: their errors "
    "from {draws} resamplings of the stars (seed {seed}); seed_bias, seed_scatter: the notebook's "
    "mean and mean absolute deviation about it; mae: mean absolute difference; pull: robust "
    "scatter of difference / combined error, 1 where the errors are right."
)


def as_table(comparison: Comparison) -> str:
    """Return text in aligned columns, with the units, the notes and what the columns mean."""
    cells = [list(_HEADINGS)]
    for row in comparison.rows:
        digits = 1 if row.unit == "K" else 4
        numbers = (
            row.bias, row.bias_err, row.sigma_mad, row.sigma_mad_err,
            row.seed_bias, row.seed_scatter, row.mae,
        )  # fmt: skip
        cells.append(
            [row.label, row.unit, row.test_set, str(row.n), str(row.n_stars)]
            + [_number(x, digits) for x in numbers]
            + [_number(row.pull_sigma, 2)]
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if i < 3 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    where = f"the pairs of sample {comparison.sample}" if comparison.sample else "nearest pairs"
    head = f"Reference {comparison.ref_set}, on {where}, where all sets have the label"
    notes = [
        line
        for text in (*comparison.notes, legend(comparison))
        for line in textwrap.wrap(text, WIDTH)
    ]
    return "\n".join([head, *lines, *notes])


def legend(comparison: Comparison) -> str:
    """Return what the columns mean, in one paragraph."""
    return _LEGEND.format(draws=comparison.bootstrap, seed=comparison.seed)


def _number(value: float | None, digits: int) -> str:
    """Return a number for people."""
    return "-" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"  # no -0


def as_csv(comparison: Comparison) -> str:
    """Return CSV with a header line, numbers in full, empty where unknown; without notes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    writer.writerows(dataclasses.astuple(row) for row in comparison.rows)
    return text.getvalue()


def as_json(comparison: Comparison) -> str:
    """Return one JSON object with the counts by reason; unknown numbers are null."""
    return json.dumps(dataclasses.asdict(comparison), allow_nan=False)
