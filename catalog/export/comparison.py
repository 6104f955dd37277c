"""Comparisons that can be exported: label sets side by side, one row per spectrum and label."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from catalog.export.label_sets import label_set_provenance
from catalog.export.query import filled_in
from catalog.export.selection import Selection
from catalog.store.comparisons import comparison_notes, find_compared, no_common_stars
from catalog.store.samples import sample_id_of
from catalog.version import code_version


def comparison_selection(
    conn: sa.Connection, ref: str, tests: Sequence[str], sample: str | None = None
) -> Selection:
    """Return the rows behind ``crosslabel compare``: the label sets' values, difference, error.

    Parameters
    ----------
    ref, tests : str, sequence of str
        Reference and compared label sets, ``name`` or ``name@edition``.
    sample : str, optional
        Only the pairs of this sample; all mutual nearest pairs if not given.

    Raises
    ------
    UsageError
        If a name is unknown or given twice, or if no star has a label in all sets.
    """
    sets = find_compared(conn, ref, tests)
    names = [s.full_name for s in sets]
    sample_id = sample_id_of(conn, sample)
    any_rows = sa.text("SELECT EXISTS (SELECT FROM comparison_rows(:ref, :tests, :sample))")
    if not conn.scalar(any_rows, {"ref": names[0], "tests": names[1:], "sample": sample}):
        raise no_common_stars(conn, sets, sample, sample_id)
    origins = [label_set_provenance(conn, s) for s in sets]
    rows = filled_in(conn, "comparison_rows(%s, %s, %s)", (names[0], names[1:], sample))
    return Selection(
        name=f"{names[0]} and {', '.join(names[1:])}",
        description=f"Labels of {', '.join(names[1:])} beside those of {names[0]} on "
        + ("mutual nearest pairs" if sample is None else f"the pairs of sample {sample}")
        + ", where all sets have the label",
        query=f"""SELECT c.label, c.unit, c.ref_set, c.test_set, t.star_key,
    l.survey_key AS left_key, r.survey_key AS right_key,
    c.ref_value, c.test_value, c.delta, c.delta_err, c.sep_arcsec
FROM {rows} c
JOIN source l ON l.source_id = c.left_id
JOIN source r ON r.source_id = c.right_id
LEFT JOIN star t ON t.star_id = c.star_id""",
        order=("label", "test_set", "left_key", "right_key"),
        provenance={
            "what": f"comparison with {names[0]}",
            "written_by": code_version(),
            "sample": sample,
            "label_sets": origins,
        },
        date=max(origin["published_at"] for origin in origins),
        notes=tuple(comparison_notes(conn, sets, sample_id, [])),
    )
