"""Turn the arguments of each method of the catalog into a query and a form of its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from catalog.export.query import Params, filled_in, query_selection
from catalog.export.selection import Selection
from catalog.reader import selections
from catalog.reader.cone import cone_selection, position_of, radius_of
from catalog.store.columns import LABELS
from catalog.store.people import TIMEOUT_S


@dataclass(frozen=True)
class Request:
    """Rows to read.

    Attributes
    ----------
    selection : Selection
    as_given : bool
        Whether the order is the query's own, not that of the selection.
    units : mapping
        Units of columns that the vocabulary cannot know.
    """

    selection: Selection
    as_given: bool = False
    units: Mapping[str, str] = field(default_factory=dict)


def _listed(what: str) -> Callable[..., Request]:
    """Return the request for a list of what there is."""

    def listed(conn: sa.Connection, *, all_editions: bool = False) -> Request:
        return Request(selections.list_selection(what, all_editions=all_editions))

    return listed


def _cone(
    conn: sa.Connection,
    ra: Any,
    dec: Any = None,
    *,
    radius: Any = None,
    radius_arcsec: float | None = None,
    survey: str | None = None,
) -> Request:
    """See `catalog.reader.catalog.Catalog.cone`; so for the others."""
    position = position_of(ra, dec)
    return Request(cone_selection(*position, radius_of(radius, radius_arcsec), survey))


def _stars(
    conn: sa.Connection,
    sample: str | None = None,
    *,
    where: str | None = None,
    params: Params = None,
) -> Request:
    selection = selections.star_selection(conn, sample)
    return Request(selections.narrowed(conn, selection, where, params))


def _labels(
    conn: sa.Connection,
    name: str,
    *,
    sample: str | None = None,
    where: str | None = None,
    params: Params = None,
    columns: Sequence[str] | None = None,
) -> Request:
    selection = selections.label_selection(conn, name, sample)
    return Request(selections.narrowed(conn, selection, where, params, columns))


def _matches(conn: sa.Connection, sample: str | None = None, *, rejected: bool = False) -> Request:
    return Request(selections.match_selection(conn, sample, rejected))


def _compare(
    conn: sa.Connection, ref: str, tests: str | Sequence[str], sample: str | None = None
) -> Request:
    return Request(selections.compared_selection(conn, ref, list_of(tests), sample), as_given=True)


def _differences(
    conn: sa.Connection,
    ref: str,
    tests: str | Sequence[str],
    sample: str | None = None,
    *,
    label: str | None = None,
) -> Request:
    selection = selections.difference_selection(conn, ref, list_of(tests), sample, label)
    unit = None if label is None else LABELS[label].unit
    values = ("ref_value", "test_value", "delta", "delta_err")
    return Request(selection, units=dict.fromkeys(values, unit) if unit else {})


def _sql(
    conn: sa.Connection, query: str, params: Params = None, *, timeout_s: float = TIMEOUT_S
) -> Request:
    text = filled_in(conn, query, params)
    return Request(query_selection(conn, text, timeout_s=timeout_s), as_given=True)


def list_of(names: str | Sequence[str]) -> list[str]:
    """One name or several, as a list."""
    return [names] if isinstance(names, str) else list(names)


REQUESTS: Mapping[str, Callable[..., Request]] = MappingProxyType(
    {
        "label_sets": _listed("label_sets"), "samples": _listed("samples"),
        "models": _listed("models"), "cone": _cone, "stars": _stars, "labels": _labels,
        "matches": _matches, "compare": _compare, "differences": _differences, "sql": _sql,
    }
)  # fmt: skip
