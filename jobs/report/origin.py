"""Tell the origin of a report's label sets: the models that predicted them, simulations."""

from __future__ import annotations

import sqlalchemy as sa

from catalog.store.labels import LabelSet, find_label_set
from catalog.surveys.registry import SURVEYS
from jobs.report.drawing import Subject

_LONGEST = 40  # letters of a note that is repeated below every figure
_OUT_OF_FOLD = """
    SELECT m.name || '@' || m.edition AS model, l.name || '@' || l.edition AS label_set
    FROM model m JOIN label_set l USING (model_id)
    WHERE m.name || '@' || m.edition = ANY(:models)
      AND l.kind = 'out_of_fold' AND l.status = 'complete'
    ORDER BY l.edition"""


def out_of_fold_sets(conn: sa.Connection, subject: Subject) -> dict[str, str]:
    """The out-of-fold label set of each model that has one, both as ``name@edition``, in order."""
    rows = conn.execute(sa.text(_OUT_OF_FOLD), {"models": list(subject.models)})
    found = {row.model: row.label_set for row in rows}
    return {model: found[model] for model in subject.models if model in found}


def simulated_words(conn: sa.Connection, subject: Subject) -> str:
    """Return the simulated ones of the surveys' labels, such as ``simulated SSPP, LASP labels``.

    Returns
    -------
    str
        Empty where all of them were measured.
    """
    names = [name for name in (subject.compared, subject.reference) if name is not None]
    words = [_words(s) for s in (find_label_set(conn, name) for name in names) if s.simulated]
    return ", ".join(words)


def _words(label_set: LabelSet) -> str:
    """Return the words for a simulated label set: its own note in short, or its name."""
    note = str((label_set.params or {}).get("note") or "")
    substitute, stands_in, _ = note.partition(" stand in for ")
    short = substitute if stands_in else note.removesuffix(" labels")
    return short if 0 < len(short) <= _LONGEST else f"simulated {label_set.name}"


def citations(subject: Subject, version: str, *, simulated: str) -> list[str]:
    """Return how to cite a report, its data, and the papers of the surveys.

    Parameters
    ----------
    subject : Subject
        What the report is about.
    version : str
        Of crosslabel.
    simulated : str
        What is simulated; empty for real data.
    """
    sets = ", ".join(name for name in (subject.reference, subject.compared) if name)
    models = f"; models {', '.join(subject.models)}" if subject.models else ""
    lines = [
        f"Name crosslabel {version} with the label sets and models by their editions, as on this "
        f"page: {sets}{models}. The first digits of a model's sha256 tell it from others."
    ]
    if simulated:
        return [*lines, f"Do not cite its numbers as measurements: {simulated}."]
    return [
        *lines,
        *(line for survey in SURVEYS.values() for line in survey.citations),
    ]
