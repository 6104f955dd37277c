"""Read what an evaluation scores: the same spectra in all label sets, with errors and S/N.

Which spectra are compared is decided by the SQL function ``comparison_rows`` alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa

from catalog.store.columns import LABELS, error_of
from catalog.store.labels import LabelSet

#: What spectra can be binned by: S/N, and labels of the reference.
BINNED_BY = ("snr", "teff", "logg", "fe_h")

FloatArray = np.ndarray


@dataclass(frozen=True, eq=False)
class ComparedLabel:
    """One label on the n spectra for which the reference and all t compared sets have it.

    Attributes
    ----------
    label, unit : str
        Name and unit of the label.
    names : tuple of str
        The t compared sets.
    star : ndarray of int64, shape (n,)
        Number of the star of each spectrum, in the order of the names of the stars, as the rows.
    source_id : ndarray of int64, shape (t, n)
        The source whose row in the compared set was taken.
    reference, reference_err : ndarray, shape (n,) [unit]
        Of the reference; unknown errors are NaN.
    test, sigma, raw_sigma, half_width95 : ndarray, shape (t, n) [unit]
        Labels of the compared sets, their errors, these before calibration, and half of the
        intervals of 95%; unknown is NaN.
    by : dict of str to ndarray, shape (n,)
        For each of `BINNED_BY`: S/N per pixel of the spectrum, labels of the reference.
    """

    label: str
    unit: str
    names: tuple[str, ...]
    star: np.ndarray
    source_id: np.ndarray
    reference: FloatArray
    reference_err: FloatArray
    test: FloatArray
    sigma: FloatArray
    raw_sigma: FloatArray
    half_width95: FloatArray
    by: dict[str, FloatArray]

    @property
    def digest(self) -> str:
        """Digest of everything that is scored; of no surrogate key."""
        found = hashlib.sha256(self.label.encode())
        numbers = (
            self.star, self.reference, self.reference_err, self.test, self.sigma, self.raw_sigma,
            self.half_width95,
        )  # fmt: skip
        for values in (*numbers, *self.by.values()):
            found.update(np.ascontiguousarray(values).tobytes())
        return found.hexdigest()[:32]


_ROWS = """
    SELECT c.label, c.unit, coalesce(t.star_key, l.survey_key) AS star, c.left_id, c.right_id,
           c.ref_value, c.test_value, coalesce(br.sn_median, bl.sn_median) AS snr
    FROM comparison_rows(:ref, :tests, :sample) c
    JOIN source l ON l.source_id = c.left_id
    JOIN source r ON r.source_id = c.right_id
    LEFT JOIN star t ON t.star_id = c.star_id
    LEFT JOIN spectrum_blob br ON br.source_id = c.right_id
    LEFT JOIN spectrum_blob bl ON bl.source_id = c.left_id
    WHERE c.label = ANY(:labels)
    ORDER BY c.ordinal % 1000, c.ordinal, coalesce(t.star_key, l.survey_key) COLLATE "C",
             l.survey_key COLLATE "C", r.survey COLLATE "C", r.survey_key COLLATE "C"
"""

# As comparison_rows chooses: the spectrum's own row before that of the source on the left.
_OF_SET = """
    SELECT s.source_id, {columns}
    FROM unnest(CAST(:left AS bigint[]), CAST(:right AS bigint[])) WITH ORDINALITY
         AS p (left_id, right_id, place)
    JOIN LATERAL (
        SELECT * FROM stellar_label x
        WHERE x.label_set_id = :label_set_id AND x.source_id IN (p.right_id, p.left_id)
        ORDER BY x.source_id = p.right_id DESC LIMIT 1
    ) s ON true
    LEFT JOIN prediction_detail d
           ON d.label_set_id = s.label_set_id AND d.source_id = s.source_id
    ORDER BY p.place
"""


def read_compared(
    conn: sa.Connection,
    reference: LabelSet,
    tests: Mapping[str, Sequence[LabelSet]],
    sample: str | None,
) -> list[ComparedLabel]:
    """Read labels on the spectra for which all of their sets have them.

    Parameters
    ----------
    conn : Connection
        A repeatable-read transaction.
    reference : LabelSet
        What the others are scored against.
    tests : mapping of str to sequence of LabelSet
        For each label the sets to score.
    sample : str, optional
        Use the pairs of this sample; all mutual nearest pairs if not given.

    Returns
    -------
    list of ComparedLabel
        In the order of the vocabulary; without labels that no spectrum has in all of their sets.
    """
    found = []
    by_sets: dict[tuple[str, ...], list[str]] = {}
    for label, sets in tests.items():
        by_sets.setdefault(tuple(s.full_name for s in sets), []).append(label)
    for names, labels in by_sets.items():
        arguments = {"ref": reference.full_name, "tests": list(names), "sample": sample}
        rows = conn.execute(sa.text(_ROWS), arguments | {"labels": labels}).all()
        for label in dict.fromkeys(row.label for row in rows):
            chosen = [row for row in rows if row.label == label]
            found.append(_compared_label(conn, reference, tests[label], chosen))
    return sorted(found, key=lambda data: tuple(LABELS).index(data.label))


def _compared_label(
    conn: sa.Connection, reference: LabelSet, tests: Sequence[LabelSet], rows: Sequence[sa.Row]
) -> ComparedLabel:
    """Arrays of one label; ``rows`` are those of the first compared set, then of the second..."""
    label, t = rows[0].label, len(tests)
    n = len(rows) // t
    test = np.array([row.test_value for row in rows], float).reshape(t, n)
    left = [row.left_id for row in rows]
    right = [row.right_id for row in rows]
    binned = ", ".join(f"s.{name}" for name in BINNED_BY[1:])
    of_ref = _of_set(conn, reference, f"s.{error_of(label)}, {binned}", left[:n], right[:n])
    own = []
    for i, which in enumerate(tests):
        place = _place_of(conn, which, label)
        columns = f"s.{error_of(label)}, d.raw_sigma[{place}], d.half_width95[{place}]"
        part = slice(i * n, (i + 1) * n)
        own.append(_of_set(conn, which, columns, left[part], right[part]))
    return ComparedLabel(
        label=label,
        unit=rows[0].unit,
        names=tuple(which.full_name for which in tests),
        star=np.unique([row.star for row in rows[:n]], return_inverse=True)[1],
        source_id=np.array([ids for ids, _ in own]),
        reference=np.array([row.ref_value for row in rows[:n]], float),
        reference_err=of_ref[1][:, 0],
        test=test,
        sigma=np.array([numbers[:, 0] for _, numbers in own]),
        raw_sigma=np.array([numbers[:, 1] for _, numbers in own]),
        half_width95=np.array([numbers[:, 2] for _, numbers in own]),
        by={"snr": np.array([row.snr for row in rows[:n]], float)}
        | dict(zip(BINNED_BY[1:], of_ref[1][:, 1:].T, strict=True)),
    )


def _of_set(
    conn: sa.Connection, which: LabelSet, columns: str, left: list[int], right: list[int]
) -> tuple[np.ndarray, FloatArray]:
    """Source ids and columns of a label set for some pairs, in their order; NULL is NaN."""
    found = conn.execute(
        sa.text(_OF_SET.format(columns=columns)),
        {"left": left, "right": right, "label_set_id": which.label_set_id},
    ).all()
    ids = np.array([row[0] for row in found], np.int64)
    return ids, np.array([row[1:] for row in found], float).reshape(len(found), -1)


def _place_of(conn: sa.Connection, which: LabelSet, label: str) -> int:
    """Return the place of a label among those of the model that made a set, from 1; 0: none."""
    query = sa.text("SELECT array_position(labels, :label) FROM model WHERE model_id = :id")
    return conn.scalar(query, {"label": label, "id": which.model_id}) or 0
