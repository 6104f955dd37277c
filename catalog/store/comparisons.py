"""Find what is compared with what, who is left out by which reason, and what else to know of it.

The numbers come from the SQL functions ``comparison_rows``, ``compare_label_sets`` and
``comparison_counts``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.store.labels import LabelSet, find_label_set, labels_of
from catalog.words import count, verb


@dataclass(frozen=True)
class PairCount:
    """The number of pairs of one label that are compared, or left out for one reason.

    Attributes
    ----------
    label : str
        Name of the label.
    reason : str
        ``compared``, or why not: ``TRAINED_ON``, ``NO_LABEL`` or ``REPEATED``.
    label_set : str or None
        The label set that predicts with a network trained on the stars, or that has no value.
    n, n_stars, n_flagged : int
        Pairs, different stars among them, and pairs that one of the label sets flags.
    """

    label: str
    reason: str
    label_set: str | None
    n: int
    n_stars: int
    n_flagged: int


_LEFT_OUT = {
    "TRAINED_ON": "that the network of {label_set} was trained on",
    "NO_LABEL": "without a value in {label_set}",
    "REPEATED": "with the same rows of labels as another pair",
}


def count_pairs(
    conn: sa.Connection, sets: Sequence[LabelSet], sample: str | None
) -> tuple[PairCount, ...]:
    """Return how many pairs each label has, compared or left out; they sum to all pairs.

    Parameters
    ----------
    conn : Connection
        Open connection.
    sets : sequence of LabelSet
        The reference, then what is compared with it.
    sample : str or None
        Sample whose pairs are compared; None: all mutual nearest pairs.

    Returns
    -------
    tuple of PairCount
        Of the labels that all of the sets have, in the order of the vocabulary; first those that
        are compared.
    """
    names = [s.full_name for s in sets]
    query = sa.text("SELECT * FROM comparison_counts(:ref, :tests, :sample)")
    found = conn.execute(query, {"ref": names[0], "tests": names[1:], "sample": sample})
    return tuple(PairCount(*row) for row in found)


def count_notes(counts: Sequence[PairCount]) -> list[str]:
    """Return sentences on who is compared and who is left out, one for labels with equal counts."""
    labels: dict[tuple[PairCount, ...], list[str]] = {}
    for label in dict.fromkeys(c.label for c in counts):
        same = tuple(dataclasses.replace(c, label="") for c in counts if c.label == label)
        labels.setdefault(same, []).append(label)
    return [f"{', '.join(names)}: {_count_note(same)}." for same, names in labels.items()]


def _count_note(counts: Sequence[PairCount]) -> str:
    """Return the counts of one label in words."""
    total = sum(c.n for c in counts)
    used = [c for c in counts if c.reason == "compared"]
    text = f"none of {count(total, 'pair')} is compared"
    if used:
        (c,) = used
        text = f"{c.n:,} of {count(total, 'pair')} compared, of {count(c.n_stars, 'star')}"
        if c.n_flagged:
            text += f" ({c.n_flagged:,} flagged by a label set)"
    left = [
        f"{count(c.n, 'pair')} of {count(c.n_stars, 'star')} "
        + _LEFT_OUT[c.reason].format(label_set=c.label_set)
        for c in counts
        if c.reason != "compared"
    ]
    return f"{text}; left out: {'; '.join(left)}" if left else text


def find_compared(conn: sa.Connection, ref: str, tests: Sequence[str]) -> list[LabelSet]:
    """Return the label sets of a comparison, the reference first.

    Raises
    ------
    UsageError
        If a name is unknown or given twice, or there is nothing to compare the reference with.
    """
    sets = [find_label_set(conn, name) for name in (ref, *tests)]
    names = [s.full_name for s in sets]
    if len(sets) < 2:
        raise UsageError(f"nothing was named to compare {ref} with", "Name another label set")
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise UsageError(f"{twice} is named twice", "A label set always agrees with itself")
    return sets


# The pairs of a sample, or the mutual nearest pairs.
_LINKS = """
    SELECT left_id, right_id, star_id FROM star_link WHERE sample_id = :sample_id
    UNION
    SELECT left_id, right_id, star_id FROM best_match WHERE CAST(:sample_id AS bigint) IS NULL
"""


def comparison_notes(
    conn: sa.Connection, sets: Sequence[LabelSet], sample_id: int | None, missing: Sequence[str]
) -> list[str]:
    """Return what must be known to read differences or scores, in sentences.

    Parameters
    ----------
    conn : Connection
        Open connection.
    sets : sequence of LabelSet
        The reference, then what is compared with it: their notes, whether they are simulated, and
        how many stars are left out because a network was trained on them.
    sample_id : int or None
        Sample whose pairs are compared.
    missing : sequence of str
        Sentences about labels that are not compared.
    """
    return [*_training_notes(conn, sets, sample_id), *missing, *_origin_notes(sets)]


def summary_notes(
    conn: sa.Connection, sets: Sequence[LabelSet], counts: Sequence[PairCount], compared: set[str]
) -> list[str]:
    """Return what must be known to read the numbers of a comparison, in sentences.

    Parameters
    ----------
    conn : Connection
        Open connection.
    sets : sequence of LabelSet
        The reference, then what is compared with it.
    counts : sequence of PairCount
        As `count_pairs` returns them.
    compared : set of str
        The labels that have numbers.
    """
    return [*count_notes(counts), *_missing_notes(conn, sets, compared), *_origin_notes(sets)]


def no_common_stars(
    conn: sa.Connection, sets: Sequence[LabelSet], sample: str | None, sample_id: int | None
) -> UsageError:
    """Return the error that says which set lacks what."""
    query = sa.text(
        f"WITH link AS ({_LINKS}) SELECT count(*), count(*) FILTER (WHERE EXISTS (SELECT 1 "
        "FROM stellar_label s WHERE s.label_set_id = :id AND s.source_id IN (left_id, right_id))) "
        "FROM link"
    )
    found = []
    n_pairs = 0
    for s in sets:
        ids = {"id": s.label_set_id, "sample_id": sample_id}
        n_pairs, n = conn.execute(query, ids).one()
        labels = ", ".join(labels_of(conn, s.label_set_id)) or "no label"
        found.append(f"{s.full_name} has {n} of them ({labels})")
    where = f"sample {sample}" if sample else "mutual nearest pairs"
    left_out = " ".join(_training_notes(conn, sets, sample_id))
    if left_out:
        left_out += " Compare out-of-fold labels (NAME/oof), or other pairs"
    return UsageError(
        f"no star has a label in all of the sets: of {count(n_pairs, 'pair')} ({where}), "
        + "; ".join(found),
        left_out or "Compare fewer sets, or match and select the pairs first",
    )


def _training_notes(
    conn: sa.Connection, sets: Sequence[LabelSet], sample_id: int | None
) -> list[str]:
    """Return how many stars are left out because a network was trained on them."""
    query = sa.text(
        f"WITH link AS ({_LINKS}) SELECT count(DISTINCT coalesce(k.star_id, -k.left_id)) "
        "FROM link k WHERE EXISTS (SELECT 1 FROM training_member t WHERE t.model_id = :model_id "
        "AND (t.star_id = k.star_id OR t.source_id IN (k.left_id, k.right_id)))"
    )
    notes = []
    for s in sets:
        if s.kind == "prediction":
            n = conn.scalar(query, {"model_id": s.model_id, "sample_id": sample_id})
            notes.append(
                f"{count(n, 'star')} left out: the network of {s.full_name} was trained on "
                f"{verb(n, 'it', 'them')}."
            )
    return notes


def _missing_notes(conn: sa.Connection, sets: Sequence[LabelSet], compared: set[str]) -> list[str]:
    """Return the labels of the reference that a set lacks, in a sentence for each such set."""
    wanted = [label for label in labels_of(conn, sets[0].label_set_id) if label not in compared]
    notes = []
    for s in sets[1:]:
        has = labels_of(conn, s.label_set_id)
        missing = [label for label in wanted if label not in has]
        if missing:
            notes.append(
                f"Not compared, as {s.full_name} does not have them: {', '.join(missing)}."
            )
    return notes


def _origin_notes(sets: Sequence[LabelSet]) -> list[str]:
    """Return what label sets say of themselves: their notes, simulated or partial."""
    simulated = [s.full_name for s in sets if s.simulated]
    notes = [
        f"{s.full_name}: {s.params['note']}." for s in sets if s.params and s.params.get("note")
    ]
    if simulated:
        notes.append(f"Simulated data, no measurement of real stars: {', '.join(simulated)}.")
    if partial := [s.full_name for s in sets if s.partial]:
        notes.append(f"Part of a service's answer, which left rows out: {', '.join(partial)}.")
    return notes
