"""Compare label sets with a reference, on the stars that all of them label.

The numbers come from the SQL function ``compare_label_sets``, so that SQL users see the same ones;
errors come from resampled stars (`models.resampling`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.store.columns import LABELS
from catalog.store.labels import LabelSet, find_label_set
from catalog.store.samples import sample_id_of
from jobs.evaluate_scores import error_over_stars
from models import resampling


@dataclass(frozen=True)
class ComparisonRow:
    """One label of one label set against the reference, in the unit of the label.

    Attributes
    ----------
    label, unit : str
    ref_set, test_set : str
        Names with editions; differences are test minus reference.
    n, n_stars : int
        Spectra compared, and different stars among them.
    bias, bias_err : float
        Median difference and its error; errors are None without bootstrap samples, or where fewer
        than five stars cannot tell them.
    sigma_mad, sigma_mad_err : float
        1.4826 times the median absolute deviation, and its error.
    seed_bias, seed_scatter : float
        Mean, and mean absolute deviation about it, as in the notebook.
    mae : float
        Mean absolute difference.
    pull_sigma : float or None
        Robust scatter of difference over combined error; None where errors are unknown.
    """

    label: str
    unit: str
    ref_set: str
    test_set: str
    n: int
    n_stars: int
    bias: float
    bias_err: float | None
    sigma_mad: float
    sigma_mad_err: float | None
    seed_bias: float
    seed_scatter: float
    mae: float
    pull_sigma: float | None


@dataclass(frozen=True)
class Comparison:
    """A comparison with what must be known to read it.

    Attributes
    ----------
    ref_set : str
    test_sets : tuple of str
        Names with editions.
    sample : str or None
        None: all mutual nearest pairs.
    rows : tuple of ComparisonRow
        By label, then by test set in the order given.
    notes : tuple of str
        Sentences about stars left out, labels left out, simulated data.
    bootstrap, seed : int
        Number and seed of the bootstrap samples.
    """

    ref_set: str
    test_sets: tuple[str, ...]
    sample: str | None
    rows: tuple[ComparisonRow, ...]
    notes: tuple[str, ...]
    bootstrap: int
    seed: int


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


def compare(
    conn: sa.Connection,
    ref: str,
    tests: Sequence[str],
    sample: str | None = None,
    *,
    bootstrap: int = 200,
    seed: int = 0,
) -> Comparison:
    """Compare label sets with a reference; a network's own training stars never take part.

    Parameters
    ----------
    conn : Connection
        A repeatable-read transaction (``Database.reader``), so that all numbers fit together.
    ref : str
        Reference label set, ``name`` or ``name@edition``.
    tests : sequence of str
        Label sets to compare with it.
    sample : str, optional
        Use the pairs of this sample; all mutual nearest pairs if not given.
    bootstrap, seed : int
        Number and seed of the bootstrap samples of stars; 0 gives no errors.

    Raises
    ------
    UsageError
        If a name is unknown or given twice, or if no star has a label in all sets.
    """
    sets = find_compared(conn, ref, tests)
    names = [s.full_name for s in sets]
    if bootstrap < 0 or bootstrap == 1:
        raise UsageError(f"{bootstrap} bootstrap samples give no error", "Take 2 or more, or 0")
    sample_id = sample_id_of(conn, sample)
    arguments = {"ref": names[0], "tests": names[1:], "sample": sample}
    numbers = conn.execute(
        sa.text("SELECT * FROM compare_label_sets(:ref, :tests, :sample)"), arguments
    ).all()
    if not numbers:
        raise no_common_stars(conn, sets, sample, sample_id)
    errors = _errors(conn, arguments, bootstrap, seed)
    rows = tuple(
        ComparisonRow(
            r.label, r.unit, r.ref_set, r.test_set, r.n, r.n_stars,
            r.bias, errors[r.label, r.test_set][0], r.sigma_mad, errors[r.label, r.test_set][1],
            r.seed_bias, r.seed_scatter, r.mae, r.pull_sigma,
        )
        for r in numbers
    )  # fmt: skip
    missing = _label_notes(conn, sets, {r.label for r in rows})
    notes = comparison_notes(conn, sets, sample_id, missing)
    return Comparison(names[0], tuple(names[1:]), sample, rows, tuple(notes), bootstrap, seed)


def _errors(
    conn: sa.Connection, arguments: dict[str, Any], draws: int, seed: int
) -> dict[tuple[str, str], tuple[float | None, float | None]]:
    """Bootstrap errors of bias and sigma_mad by label and test set."""
    rows = conn.execute(
        sa.text(
            "SELECT label, test_set, array_agg(ref_value ORDER BY star, left_id, right_id), "
            "array_agg(test_value ORDER BY star, left_id, right_id), "
            "array_agg(star ORDER BY star, left_id, right_id) FROM (SELECT c.*, "
            "coalesce(star_id, -left_id) AS star FROM comparison_rows(:ref, :tests, :sample) c) r "
            "GROUP BY label, test_set"
        ),
        arguments,
    )
    errors: dict[tuple[str, str], tuple[float | None, float | None]] = {}
    for label, test_set, reference, test, star in rows:
        drawn = resampling.scores(reference, test, resampling.draw_stars(star, draws, seed))
        n_stars = len(set(star))
        errors[label, test_set] = (
            error_over_stars(drawn["bias"], n_stars),
            error_over_stars(drawn["sigma_mad"], n_stars),
        )
    return errors


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
        labels = ", ".join(labels_of(conn, s)) or "no label"
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


def labels_of(conn: sa.Connection, which: LabelSet) -> list[str]:
    """The labels that a set has at all, in the order of the vocabulary."""
    known = ", ".join(f"bool_or({label} IS NOT NULL)" for label in LABELS)
    query = sa.text(f"SELECT {known} FROM stellar_label WHERE label_set_id = :id")
    found = conn.execute(query, {"id": which.label_set_id}).one()
    return [label for label, is_known in zip(LABELS, found, strict=True) if is_known]


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


def _label_notes(conn: sa.Connection, sets: Sequence[LabelSet], compared: set[str]) -> list[str]:
    """Labels of the reference that are not compared, for each set that lacks them."""
    wanted = [label for label in labels_of(conn, sets[0]) if label not in compared]
    notes = []
    for s in sets[1:]:
        has = labels_of(conn, s)
        missing = [label for label in wanted if label not in has]
        if missing:
            notes.append(
                f"Not compared, as {s.full_name} does not have them: {', '.join(missing)}."
            )
    return notes


def _simulation_notes(sets: Sequence[LabelSet]) -> list[str]:
    """What label sets say of themselves: that they are simulated, and their notes."""
    simulated = [s.full_name for s in sets if (s.params or {}).get("simulated")]
    notes = [
        f"{s.full_name}: {s.params['note']}." for s in sets if s.params and s.params.get("note")
    ]
    if simulated:
        notes.append(f"Simulated data, no measurement of real stars: {', '.join(simulated)}.")
    return notes
