"""What the sections on models share: names of figures, scores by name, words of caution."""

from __future__ import annotations

import re
from collections.abc import Sequence

import sqlalchemy as sa
from matplotlib.lines import Line2D

from jobs.evaluate_records import Score
from jobs.report.drawing import Subject
from jobs.report.origin import simulated_words
from jobs.report.style import key_of

PER_ROW = 3  # panels side by side

#: Why there is no figure where there is no model.
NO_MODEL = "No model was trained on this sample. Run: crosslabel train"


def stem(kind: str, name: str) -> str:
    """File stem of a figure of one model, such as ``loss-seed-2018-1`` of ``seed-2018@1``."""
    return f"{kind}-{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}"


def caution(conn: sa.Connection, subject: Subject) -> str:
    """What ends a caption of simulated data, with a space before it; empty for real data."""
    words = simulated_words(conn, subject)
    return f" Simulated data: {words}." if words else ""


def score_of(
    scores: Sequence[Score], label: str, test_set: str, bin_by: str = "all", bin: int = 0
) -> Score:
    """The score of a label set in a bin, all stars together."""
    return next(
        s
        for s in scores
        if (s.label, s.test_set, s.bin_by, s.bin) == (label, test_set, bin_by, bin)
        and s.population == "all"
    )


def legend_key(name: str, order: Sequence[str]) -> Line2D:
    """What stands for a label set in a legend: its line and marker, in no panel."""
    return Line2D([], [], label=name, **key_of(order.index(name)))
