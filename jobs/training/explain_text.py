"""Write the explanation of a model as a page, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from catalog.words import count
from jobs.training.explain import Explanation
from models.sensitivity import Share
from models.spectra.lines import LINES, REGIONS, find_pixels

STRETCHES = 5  # without a name that are shown for each label


def as_text(found: Explanation) -> str:
    """Return the explanation as a text for people."""
    labels = found.model.labels
    lines = [
        f"{found.model.full_name}: what its labels hang on, mean of "
        f"{count(found.n_spectra, 'spectrum')}",
        "share: of the feature in the variance that the noise of all pixels gives the label, in "
        "percent;",
        "lift: the share over the feature's part of the pixels (1: like any other pixel)",
        "",
        *_table("line", found.lines, labels),
        "",
        *_table("not of the star", found.regions, labels),
        "",
        "strongest stretches without a name [Angstrom]",
    ]
    for j, label in enumerate(labels):
        best = sorted(found.stretches, key=lambda s: -s.share[j])[:STRETCHES]
        words = ", ".join(f"{s.name} ({100 * s.share[j]:.1f}%)" for s in best)
        lines.append(f"  {label:8} {words}")
    lines += [
        "",
        f"what absorption does to the labels of {count(found.n_contaminated, 'spectrum')}",
    ]
    for shift in found.shifts:
        for j, label in enumerate(labels):
            unit = found.units[label]
            sigma = "" if math.isnan(shift.in_sigma[j]) else f" = {shift.in_sigma[j]:.2f} sigma"
            lines.append(
                f"  {shift.name if j == 0 else '':32} {label:8} median "
                f"{_number(shift.median[j], unit)}, 68% within {_number(shift.typical[j], unit)} "
                f"{unit}{sigma}"
            )
    return "\n".join(lines + _reverse_text(found))


def _number(value: float, unit: str) -> str:
    """Return a number in the digits of its unit."""
    digits = 1 if unit == "K" else 3
    return f"{round(value, digits) + 0.0:.{digits}f}"  # no -0


def _table(head: str, shares: Sequence[Share], labels: Sequence[str]) -> list[str]:
    """Shares and lifts of some windows, a column pair for each label."""
    lines = [
        f"{head:28} {'':>11} " + " ".join(f"{label:>13}" for label in labels),
        f"{'':28} {'Angstrom':>11} " + " ".join(f"{'share   lift':>13}" for _ in labels),
    ]
    for s in shares:
        ends = f"{s.low:.0f}-{s.high:.0f}"
        numbers = " ".join(
            f"{100 * share:6.1f} {lift:6.2f}" for share, lift in zip(s.share, s.lift, strict=True)
        )
        lines.append(f"{s.name:28} {ends:>11} {numbers}")
    return lines


def _reverse_text(found: Explanation) -> list[str]:
    """Lines on the reverse network."""
    if found.reverse is None:
        return []
    chosen, wave = found.reverse.pixels, found.wavelength
    foreign = [w for region in REGIONS.values() for w in region]
    lines = [
        "",
        f"reverse network: {count(int(chosen.sum()), 'continuum pixel')}, "
        f"{int(chosen[find_pixels(LINES, wave)].sum())} of them in the lines above, "
        f"{int(chosen[find_pixels(foreign, wave)].sum())} where it is not the star; [Angstrom]",
    ]
    places = [f"{w:.0f}" for w in wave[chosen]]
    lines += ["  " + " ".join(places[i : i + 16]) for i in range(0, len(places), 16)]
    lines.append("mean dependence on the labels, in percent of the continuum")
    for name in dict.fromkeys(line.name for line in LINES):
        inside = find_pixels([line for line in LINES if line.name == name], wave)
        if inside.any():
            lines.append(f"  {name:28} {100 * found.reverse.sensitivity[inside].mean():6.2f}")
    lines.append(f"  {'all pixels':28} {100 * found.reverse.sensitivity.mean():6.2f}")
    return lines


def as_dict(found: Explanation) -> dict[str, Any]:
    """Return the explanation as values that JSON can hold; unknown numbers are None."""
    labels = found.model.labels

    def by_label(values: np.ndarray) -> dict[str, float | None]:
        return {
            name: float(v) if math.isfinite(v) else None
            for name, v in zip(labels, values, strict=True)
        }

    def windows(shares: Sequence[Share]) -> list[dict[str, Any]]:
        return [
            {"name": s.name, "low": s.low, "high": s.high, "share": by_label(s.share),
             "lift": by_label(s.lift)}
            for s in shares
        ]  # fmt: skip

    result: dict[str, Any] = {
        "model": found.model.full_name,
        "labels": list(labels),
        "n_spectra": found.n_spectra,
        "lines": windows(found.lines),
        "regions": windows(found.regions),
        "stretches": windows(found.stretches),
        "n_contaminated": found.n_contaminated,
        "shifts": [
            {"name": s.name, "median": by_label(s.median), "typical": by_label(s.typical),
             "in_sigma": by_label(s.in_sigma)}
            for s in found.shifts
        ],
    }  # fmt: skip
    if found.reverse is not None:
        result["continuum_pixels"] = found.wavelength[found.reverse.pixels].tolist()
    return result


def as_csv(found: Explanation) -> str:
    """One line per pixel: wavelength [Angstrom, vacuum], share of each label, and features."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["wavelength", *(f"share_{label}" for label in found.model.labels), "line", "region"]
    reverse = found.reverse
    writer.writerow(head + (["label_dependence", "is_continuum"] if reverse else []))
    line, region = np.full((2, found.wavelength.size), "", dtype=object)
    for window in LINES:
        line[find_pixels([window], found.wavelength)] = window.name
    for name, windows in REGIONS.items():
        region[find_pixels(windows, found.wavelength)] = name
    for i, wave in enumerate(found.wavelength):
        row = [f"{wave:.3f}", *(f"{x:.6g}" for x in found.pixels[:, i]), line[i], region[i]]
        if reverse is not None:
            row += [f"{reverse.sensitivity[i]:.6g}", int(reverse.pixels[i])]
        writer.writerow(row)
    return text.getvalue()
