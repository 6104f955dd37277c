"""Evaluations for people and programs: a page in 100 columns, CSV, JSON."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from catalog.words import count
from jobs.evaluation.evaluate import Evaluation
from jobs.evaluation.records import POPULATIONS, CurvePoint, Repeat, Score

WIDTH = 100
SETS_PER_LINE = 3
_LEGEND = """
bias: median of test - reference; sigma_mad: 1.4826 median absolute deviation; vs first: its
difference to that of the first set, negative is better; mae: mean absolute difference; out: beyond
3 sigma_mad; slope: of test on reference, outliers clipped; notebook: mean, and mean absolute
deviation about it. +-: errors from {bootstrap} resamplings of the stars (seed {seed}), the same
for all sets. Bins: by S/N, and by the reference's labels; giants: its log g below {giant_logg}.
Coverage: differences within the error, and within the interval of 95% (1.96 errors of a set that
states none), combined with the reference's error; raw: before calibration; *: off by more than 2
binomial errors. Repeats: the scatter of one star's spectra, and the error that is stated."""


def as_table(found: Evaluation, curves: Sequence[CurvePoint] = ()) -> str:
    """Return all of an evaluation as text: by label the sets, the bins, coverage and repeats."""
    where = f"the pairs of sample {found.sample}" if found.sample else "nearest pairs"
    lines = [
        f"Reference {found.ref_set}, on {where}",
        "Each label is scored on the spectra for which all sets that know it have it.",
        *(line for note in found.notes for line in textwrap.wrap(note, WIDTH)),
    ]
    for label in dict.fromkeys(row.label for row in found.scores):
        scores = [row for row in found.scores if row.label == label]
        overall = [row for row in scores if row.bin_by == "all" and row.population == "all"]
        first = overall[0]
        lines += [
            "",
            f"{label} [{first.unit}]: {count(first.n, 'spectrum')} of "
            f"{count(first.n_stars, 'star')}",
            *_overall(overall),
            *_bins(scores),
            *_coverage(scores),
            *_repeats([row for row in found.repeats if row.label == label]),
        ]
    for name in dict.fromkeys(point.model for point in curves):
        lines += ["", *_curve(name, [point for point in curves if point.model == name])]
    return "\n".join([*lines, _LEGEND.format(**found.settings)])


def _overall(rows: Sequence[Score]) -> list[str]:
    """One line per set, on all spectra."""
    width = max(len(row.test_set) for row in rows)
    heads = ("bias", "sigma_mad", "vs first", "mae", "out", "slope")
    lines = [
        f"  {'':{width}}" + "".join(f"{h:>{w}}" for h, w in zip(heads, _WIDTHS, strict=True))
        + "   notebook"
    ]  # fmt: skip
    for row in rows:
        cells = (
            _with_error(row.bias, row.bias_err, row.unit),
            _with_error(row.sigma_mad, row.sigma_mad_err, row.unit),
            _with_error(row.sigma_mad_diff, row.sigma_mad_diff_err, row.unit, sign="+"),
            _number(row.mae, row.unit),
            _percent(row.outlier_fraction) + "%",
            _with_error(row.slope, row.slope_err, "", digits=2),
        )
        lines.append(
            f"  {row.test_set:{width}}"
            + "".join(f"{c:>{w}}" for c, w in zip(cells, _WIDTHS, strict=True))
            + f"  {_number(row.seed_bias, row.unit):>7}{_number(row.seed_scatter, row.unit):>7}"
        )
    return lines


_WIDTHS = (15, 13, 14, 7, 6, 11)


def _bins(rows: Sequence[Score]) -> list[str]:
    """Return bias and scatter in the bins, some sets side by side."""
    binned = [row for row in rows if row.population == "all" and row.bin_by != "all"]

    def cell(row: Score) -> str:
        scatter = _with_error(row.sigma_mad, row.sigma_mad_err, row.unit)
        return f"{_number(row.bias, row.unit):>8}{scatter:>14}"

    return _side_by_side("in bins: bias, sigma_mad", "n", binned, cell, lambda row: row.n)


def _repeats(rows: Sequence[Repeat]) -> list[str]:
    """Return the scatter between spectra of one star beside the error that the set states."""
    seen = [row for row in rows if any(r.n_pairs for r in rows if r.bin == row.bin)]

    def cell(row: Repeat) -> str:
        scatter = _with_error(row.repeat_sigma, row.repeat_sigma_err, row.unit)
        return f"{scatter:>13}{_number(row.predicted_sigma, row.unit):>9}"

    title = "repeats: scatter, stated"
    return _side_by_side(title, "pairs", seen, cell, lambda row: row.n_pairs)


def _side_by_side(
    title: str,
    count: str,
    rows: Sequence[Any],
    cell: Callable[[Any], str],
    number: Callable[[Any], int],
) -> list[str]:
    """Bins down, sets across."""
    lines: list[str] = []
    bins = dict.fromkeys((row.bin_by, row.bin) for row in rows)
    names = list(dict.fromkeys(row.test_set for row in rows))
    for start in range(0, len(names) if bins else 0, SETS_PER_LINE):
        some = names[start : start + SETS_PER_LINE]
        lines.append(f"  {title:25}{count:>6}" + "".join(f"{name:>22.21}" for name in some))
        for key in bins:
            line = {r.test_set: r for r in rows if (r.bin_by, r.bin) == key}
            n = max(number(row) for row in line.values())
            cells = "".join(f"{cell(line[name]):>22}" for name in some)
            lines.append(f"    {_bin_name(line[some[0]]):23}{n:6d}{cells}")
    return lines


def _coverage(rows: Sequence[Score]) -> list[str]:
    """Return lines on the coverage of the stated errors, for giants and dwarfs, by S/N."""
    lines: list[str] = []
    for name in dict.fromkeys(row.test_set for row in rows):
        of_set = [r for r in rows if r.test_set == name and r.bin_by in ("all", "snr")]
        if not any(row.n_sigma for row in of_set):
            continue
        if not lines:
            bins = [_bin_name(row) for row in of_set if row.population == POPULATIONS[0]]
            lines.append("  coverage: % of 68, of 95   " + "".join(f"{b:>14}" for b in bins))
        for population in POPULATIONS:
            cells = [_cover(row) for row in of_set if row.population == population]
            line = f"    {name:16.16} {population:7}" + "".join(f"{c:>14}" for c in cells)
            lines.append(line.rstrip())
            raw = [_cover(row, "raw_") for row in of_set if row.population == population]
            if any(c != "-" for c in raw):
                line = f"    {'':16} {'- raw':7}" + "".join(f"{c:>14}" for c in raw)
                lines.append(line.rstrip())
    return lines


def _cover(row: Score, kind: str = "") -> str:
    """Both coverages in percent; a star marks one that is off by two binomial errors."""
    cells = []
    for level, nominal in (("68", 0.6827), ("95", 0.95)):
        share = getattr(row, f"{kind}coverage{level}")
        if share is None:
            return "-"
        off = abs(share - nominal) > 2.0 * (nominal * (1.0 - nominal) / row.n_sigma) ** 0.5
        cells.append(f"{100 * share:.0f}{'*' if off and not kind else ' '}")
    return "".join(f"{c:>4}" for c in cells)


def _curve(name: str, points: Sequence[CurvePoint]) -> list[str]:
    """Return the learning curve of a model: sizes down, labels across."""
    labels = list(dict.fromkeys((p.label, p.unit) for p in points))
    lines = [f"learning curve of {name}: folds trained on fewer stars, the same stars left out"]
    for start in range(0, len(labels), SETS_PER_LINE):
        some = labels[start : start + SETS_PER_LINE]
        heads = "".join(f"{f'{label} [{unit}]: sigma, mae':>30}" for label, unit in some)
        lines.append(f"  {'stars':>6}{heads}")
        for size in dict.fromkeys(p.training_stars for p in points):
            line = f"  {size:6d}"
            for label, unit in some:
                p = next(p for p in points if (p.label, p.training_stars) == (label, size))
                scatter = _with_error(p.sigma_mad, p.sigma_mad_err, unit)
                line += f"{scatter:>16}{_with_error(p.mae, p.mae_err, unit):>14}"
            lines.append(line)
    return lines


def _bin_name(row: Score | Repeat) -> str:
    """Return the name of a bin, such as ``snr 20 to 40``."""
    if row.bin_by == "all":
        return "all"
    if row.bin_low is None or row.bin_high is None:
        edge = f"< {row.bin_high:g}" if row.bin_low is None else f">= {row.bin_low:g}"
        return f"{row.bin_by} {edge}" if row.bin_high != row.bin_low else row.bin_by
    return f"{row.bin_by} {row.bin_low:g} to {row.bin_high:g}"


def _number(value: float | None, unit: str, sign: str = "", digits: int | None = None) -> str:
    """Return a number for people."""
    if value is None:
        return "-"
    places = digits if digits is not None else 1 if unit == "K" else 3
    return f"{round(value, places) + 0.0:{sign}.{places}f}"  # no -0


def _with_error(
    value: float | None, error: float | None, unit: str, sign: str = "", digits: int | None = None
) -> str:
    """Return a number with its error."""
    own = _number(value, unit, sign, digits)
    return own if error is None else f"{own}+-{_number(error, unit, '', digits)}"


def _percent(value: float | None) -> str:
    """Return a fraction in percent."""
    return "-" if value is None else f"{100 * value:.1f}"


def as_csv(found: Evaluation) -> str:
    """CSV of the scores in all bins, numbers in full, empty where unknown; notes are left out."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(f.name for f in dataclasses.fields(Score))
    writer.writerows(dataclasses.astuple(row) for row in found.scores)
    return text.getvalue()


def as_json(found: Evaluation, curves: Iterable[CurvePoint] = ()) -> str:
    """One JSON object; unknown numbers are null."""
    whole = dataclasses.asdict(found) | {"learning_curve": [dataclasses.asdict(p) for p in curves]}
    return json.dumps(whole, allow_nan=False)
