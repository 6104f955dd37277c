"""Read the input of the selection from the database, as arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from catalog.sky.vectors import offset_position
from catalog.sky.xmatch import crossmatch
from catalog.store.bulk import fetch_arrays
from catalog.store.entries import ENTRY
from jobs.crossmatch.crossmatch import CrossmatchParams
from jobs.crossmatch.pixels import load_catalog, split_spec
from jobs.samples.candidates import LABELS, Candidates

SHIFT = 60.0  # arcsec
_LEFT = np.dtype([("left_id", "i8"), ("is_main", "?"), ("labelled", "?")])

# A label set of the reference survey labels the left sources, another one the spectra matched to
# them. Of the rows of one star one stands for it: a main one, of the newest release, of the highest
# signal-to-noise ratio.
_LEFT_ROWS = f"""
SELECT s.source_id,
       e.is_main IS NOT FALSE AND s.source_id = first_value(s.source_id) OVER (
           PARTITION BY s.star_id
           ORDER BY e.is_main DESC, e.release DESC, e.snr DESC NULLS LAST, s.survey_key),
       num_nulls({{needs}}) = 0 OR EXISTS (
           SELECT FROM match m JOIN stellar_label l ON l.source_id = m.right_id
           WHERE m.crossmatch_id = :crossmatch_id AND m.left_id = s.source_id
             AND l.label_set_id = :reference AND num_nulls({{needs}}) = 0)
FROM source s
LEFT JOIN {ENTRY} e USING (source_id)
LEFT JOIN stellar_label l ON l.label_set_id = :reference AND l.source_id = s.source_id
WHERE s.survey = :survey AND starts_with(s.survey_key, :prefix) AND s.star_id IS NOT NULL
"""

_NUMBERS = (
    "r.ra", "r.dec", "m.sep_arcsec", "e.radial_velocity", "b.z", "b.sn_median", "b.bad_fraction",
    *(f"coalesce(ref.{label}, own.{label})" for label in LABELS),
    *(f"cmp.{label}" for label in LABELS),
)  # fmt: skip
_PAIRS = f"""
SELECT m.left_id, m.right_id, l.star_id, (coalesce(e.flags, 0) & CAST(:bad_bits AS bigint)) <> 0,
       coalesce(b.spectrum_state, ''), coalesce(b.instrument, ''), coalesce(b.class, ''),
       m.right_id IN (SELECT source_id FROM superseded_spectrum),
       {", ".join(f"coalesce({n}::float8, 'NaN')" for n in _NUMBERS)}
FROM match m
JOIN source l ON l.source_id = m.left_id
JOIN source r ON r.source_id = m.right_id
LEFT JOIN {ENTRY} e ON e.source_id = m.left_id
LEFT JOIN spectrum_blob b ON b.source_id = m.right_id
LEFT JOIN stellar_label ref ON ref.label_set_id = :reference AND ref.source_id = m.left_id
LEFT JOIN stellar_label own ON own.label_set_id = :reference AND own.source_id = m.right_id
LEFT JOIN stellar_label cmp ON cmp.label_set_id = :compared AND cmp.source_id = m.right_id
WHERE m.crossmatch_id = :crossmatch_id AND l.star_id IS NOT NULL
ORDER BY l.survey_key, m.sep_arcsec, r.survey_key
"""


class LeftRows(NamedTuple):
    """All sources of the left catalog.

    Attributes
    ----------
    left_id : ndarray of int64, shape (n,)
        Sorted.
    is_main, labelled : ndarray of bool, shape (n,)
        Whether the row stands for its star, and whether it has the labels that are needed.
    """

    left_id: NDArray[np.int64]
    is_main: NDArray[np.bool_]
    labelled: NDArray[np.bool_]


def read_left_rows(
    conn: sa.Connection,
    left: str,
    reference: int,
    needs: tuple[str, ...] = LABELS,
    crossmatch_id: int = 0,
) -> LeftRows:
    """Read what the funnel begins with.

    Parameters
    ----------
    left : str
        ``survey`` or ``survey/release``.
    reference : int
        Id of the edition of the reference label set.
    needs : tuple of str
        Labels that are needed.
    crossmatch_id : int
        The crossmatch by which labels of spectra are those of stars; 0: they are not.
    """
    survey, prefix = split_spec(left)
    params = {
        "survey": survey, "prefix": prefix, "reference": reference, "crossmatch_id": crossmatch_id,
    }  # fmt: skip
    query = _LEFT_ROWS.format(needs=", ".join(f"l.{name}" for name in needs))
    rows = fetch_arrays(conn, query, _LEFT, params)
    by = np.argsort(rows["left_id"])
    return LeftRows(*(rows[name][by] for name in LeftRows._fields))


def read_candidates(
    conn: sa.Connection, crossmatch_id: int, reference: int, compared: int | None, left: LeftRows,
    bad_bits: int = 0,
) -> Candidates:  # fmt: skip
    """Read all pairs of a crossmatch, by star and separation.

    Parameters
    ----------
    crossmatch_id : int
        The crossmatch.
    reference, compared : int, int or None
        Editions of the label set of the stars, on either side, and of the one that the right side
        is compared by; None: no labels.
    left : LeftRows
        The left catalog.
    bad_bits : int
        Bits of the flags of the left survey that say that its labels are bad.
    """
    rows = conn.execute(
        sa.text(_PAIRS),
        {
            "crossmatch_id": crossmatch_id,
            "reference": reference,
            "compared": compared,
            "bad_bits": bad_bits,
        },
    ).all()
    ids = np.array([row[:4] for row in rows], dtype=np.int64).reshape(-1, 4).T
    texts = np.array([row[4:7] for row in rows], dtype=np.str_).reshape(-1, 3).T
    numbers = np.array([row[8:] for row in rows], dtype=np.float64).reshape(-1, len(_NUMBERS)).T
    return Candidates(
        left_id=ids[0],
        right_id=ids[1],
        star_id=ids[2],
        sep_arcsec=numbers[2],
        right_ra=numbers[0],
        right_dec=numbers[1],
        is_main=left.is_main[np.searchsorted(left.left_id, ids[0])],
        reference=numbers[7:10].T,
        compared=numbers[10:13].T,
        is_flagged=ids[3] != 0,
        radial_velocity=numbers[3],
        spectrum_state=texts[0],
        instrument=texts[1],
        object_class=texts[2],
        superseded=np.array([row[7] for row in rows], dtype=np.bool_),
        z=numbers[4],
        sn_median=numbers[5],
        bad_fraction=numbers[6],
    )


def count_refused_rows(conn: sa.Connection, reference: int) -> int:
    """Count the quarantined rows of the files that a label set was made from."""
    query = """
        SELECT count(*) FROM label_set_file u JOIN quarantine q USING (input_file_id)
        WHERE u.label_set_id = :reference AND q.item_key <> ''"""
    return int(conn.scalar(sa.text(query), {"reference": reference}) or 0)


def expected_chance_pairs(
    conn: sa.Connection, params: CrossmatchParams, chosen: NDArray[np.int64]
) -> float:
    """Estimate how many pairs are chance neighbours, by moving the left catalog away.

    Moved by more than any star moves or any fibre is misplaced, what still falls within the
    radius is chance; the density of the sky stays what it is.

    Parameters
    ----------
    params : CrossmatchParams
        The crossmatch.
    chosen : ndarray of int64, shape (n,)
        Left sources that count.

    Returns
    -------
    float
        Mean number of pairs over four directions.
    """
    left, right = load_catalog(conn, params.left), load_catalog(conn, params.right)
    mine = np.isin(left.source_id, chosen)
    found = 0
    for east, north in ((SHIFT, 0.0), (-SHIFT, 0.0), (0.0, SHIFT), (0.0, -SHIFT)):
        moved = offset_position(left.ra[mine], left.dec[mine], east, north)
        pairs = crossmatch(
            *moved, right.ra, right.dec, params.radius_arcsec, right_index29=right.healpix29
        )
        found += pairs.left.size
    return found / 4
