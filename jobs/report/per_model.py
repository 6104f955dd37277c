"""What the sections on models share: names of figures, scores by name, words of caution."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from matplotlib.lines import Line2D

from catalog.errors import UsageError
from catalog.store.labels import find_label_set
from jobs.compare_labels import comparison_notes
from jobs.evaluate_models import find_evaluated
from jobs.evaluate_records import Score
from jobs.report.drawing import Missing, Subject
from jobs.report.style import key_of

PER_ROW = 3  # panels side by side

#: Why there is no figure where there is no model.
NO_MODEL = "No model was trained on this sample. Run: crosslabel train"


def stem(kind: str, name: str) -> str:
    """File stem of a figure of one model, such as ``loss-seed-2018-1`` of ``seed-2018@1``."""
    return f"{kind}-{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}"


def caution(conn: sa.Connection, names: Iterable[str]) -> str:
    """What must be known of some label sets: that they are simulated, and their notes.

    Parameters
    ----------
    conn : Connection
        Open connection.
    names : iterable of str
        Label sets, ``name@edition``.

    Returns
    -------
    str
        Sentences with a space before them, to end a caption; empty where there is nothing to say.
    """
    sets = [find_label_set(conn, name) for name in dict.fromkeys(names)]
    surveys = [s for s in sets if s.kind != "prediction"]  # the notes of those count left-out stars
    return "".join(f" {note}" for note in comparison_notes(conn, surveys, None, ()))


def honest_models(
    conn: sa.Connection, subject: Subject, name: str, title: str
) -> tuple[list[str], list[Missing]]:
    """Find the models whose labels can be judged: those with out-of-fold labels.

    Parameters
    ----------
    conn : Connection
        Open connection.
    subject : Subject
        What the report is about.
    name, title : str
        Of the figure that lacks the others.

    Returns
    -------
    models : list of str
        Those that have them.
    missing : list of Missing
        One for each that has not.
    """
    models, missing = [], []
    for model in subject.models:
        try:
            find_evaluated(conn, model)
        except UsageError as exc:
            missing.append(Missing(stem(name, model), f"{title}: {model}", str(exc)))
        else:
            models.append(model)
    return models, missing


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
