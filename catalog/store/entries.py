"""Columns of the surveys' own tables, named by role instead of by the survey's names."""

from __future__ import annotations

from catalog.surveys.registry import all_details
from catalog.surveys.survey import Detail

#: Role -> type of its column; see `catalog.surveys.survey.Detail`.
_ROLES = {
    "is_main": "boolean",
    "release": "text",
    "snr": "real",
    "radial_velocity": "real",
    "flags": "bigint",
}


def entry_rows(details: list[Detail]) -> str:
    """Return a subquery with the columns source_id, is_main, release, snr, radial_velocity, flags.

    It has a row for each source of the surveys that have such columns; what one of them does not
    have is NULL. Where a source has no row, it is the main one of its star.

    Parameters
    ----------
    details : list of Detail
        The tables of the surveys' own columns.
    """
    return f"({' UNION ALL '.join(_select(d) for d in details if any(_columns(d)))})"


def _columns(detail: Detail) -> list[str]:
    """Return a table's columns by role, in the order of the roles, empty where it has none."""
    return [getattr(detail, role) for role in _ROLES]


def _select(detail: Detail) -> str:
    """Return the query of one table."""
    columns = (
        f"{name or f'NULL::{type_}'} AS {role}"
        for name, (role, type_) in zip(_columns(detail), _ROLES.items(), strict=True)
    )
    return f"SELECT source_id, {', '.join(columns)} FROM {detail.table}"


#: The roles of all surveys' sources, to be joined by source_id.
ENTRY = entry_rows([detail for _, detail in all_details()])


def _marks() -> str:
    """Return the condition that a catalog, or who else names sources, has a source ``o``."""
    parts = []
    for survey, detail in all_details():
        columns = [c.mark for c in survey.catalogs if c.mark] + [c for _, c in survey.named_by]
        if columns:
            marked = " OR ".join(f"d.{column}" for column in columns)
            parts.append(
                f"EXISTS (SELECT FROM {detail.table} d WHERE d.source_id = o.source_id "
                f"AND ({marked}))"
            )
    return " OR ".join(["o.star_id IS NOT NULL", *parts])


#: Condition on a source ``o`` that a catalog gave its position, which then stays: the catalog, not
#: a file of a spectrum, is what people cite.
IS_PLACED = f"({_marks()})"

#: Condition on a source ``r`` that a model was trained on: it is a spectrum, and not the entry of a
#: star that stands in for a spectrum which this catalog does not have.
IS_SPECTRUM = (
    "(r.star_id IS NULL OR EXISTS (SELECT FROM spectrum_blob b WHERE b.source_id = r.source_id))"
)
