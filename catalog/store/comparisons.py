"""What is compared with what, and what must be known to read it.

The numbers come from the SQL functions ``comparison_rows`` and ``compare_label_sets``.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.store.labels import LabelSet, find_label_set, labels_of


def find_compared(conn: sa.Connection, ref: str, tests: Sequence[str]) -> list[LabelSet]:
    """Label sets of a comparison, the reference first.

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
    """What must be known to read a comparison, in sentences.

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
    return [*_training_notes(conn, sets, sample_id), *missing, *_simulation_notes(sets)]


def no_common_stars(
    conn: sa.Connection, sets: Sequence[LabelSet], sample: str | None, sample_id: int | None
) -> UsageError:
    """Make the error that says which set lacks what."""
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
        f"no star has a label in all of the sets: of {n_pairs} pairs ({where}), "
        + "; ".join(found),
        left_out or "Compare fewer sets, or match and select the pairs first",
    )


def _training_notes(
    conn: sa.Connection, sets: Sequence[LabelSet], sample_id: int | None
) -> list[str]:
    """How many stars are left out because a network was trained on them."""
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
                f"{n} stars are left out: the network of {s.full_name} was trained on them."
            )
    return notes


def label_notes(conn: sa.Connection, sets: Sequence[LabelSet], compared: set[str]) -> list[str]:
    """Labels of the reference that are not compared, in a sentence for each set that lacks them."""
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


def _simulation_notes(sets: Sequence[LabelSet]) -> list[str]:
    """What label sets say of themselves: that they are simulated, and their notes."""
    simulated = [s.full_name for s in sets if s.simulated]
    notes = [
        f"{s.full_name}: {s.params['note']}." for s in sets if s.params and s.params.get("note")
    ]
    if simulated:
        notes.append(f"Simulated data, no measurement of real stars: {', '.join(simulated)}.")
    return notes
