"""Select what is exported, as a query in a stable order: tables, views, label sets, samples."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.export.label_sets import label_set_provenance, label_set_selection, sample_selection
from catalog.export.selection import Selection
from catalog.store.labels import find_label_set, list_label_sets
from catalog.store.names import TABLES
from catalog.store.samples import find_sample, list_samples
from catalog.store.schema import metadata
from catalog.store.views import VIEWS
from catalog.version import code_version
from catalog.words import names_near, nearest

_VIEWS = {view.name: view for view in VIEWS}
_WITH_EDITIONS = ("stellar_label_long", "label_comparison", "current_label_set")
_UNFINISHED = ("label_set", "model")  # rows that are being built are not for readers


def select_for_export(conn: sa.Connection, what: str) -> Selection:
    """Return the table, view, label set or sample that ``what`` names.

    Raises
    ------
    UsageError
        If nothing has that name, or several things; the message lists what there is.
    """
    base = what.partition("@")[0]
    in_sets = any(s.name == base for s in list_label_sets(conn))
    in_samples = any(s.name == what for s in list_samples(conn))
    in_tables = what in TABLES or what in _VIEWS
    if in_sets + in_samples + in_tables > 1:
        raise UsageError(
            f"{what} is the name of several things",
            "A label set is also known as name@edition; give a sample a name of its own",
        )
    if in_sets:
        return label_set_selection(conn, find_label_set(conn, what))
    if in_samples:
        return sample_selection(conn, find_sample(conn, what))
    if in_tables:
        return table_selection(conn, what)
    raise UsageError(f"there is nothing called {what} to export", _what_there_is(conn, what))


def _what_there_is(conn: sa.Connection, what: str) -> str:
    """Return the names near one that cannot be exported; where there is none, what there is."""
    sets = [s.name for s in list_label_sets(conn)]
    samples = [s.name for s in list_samples(conn)]
    tables = sorted((*TABLES, *_VIEWS))
    if near := nearest(what, [*sets, *samples, *tables]):
        return (
            f"Did you mean {' or '.join(near)}? crosslabel label list and sample list show more, "
            "docs/schema.md the tables and views"
        )
    parts = (("Label sets", sets), ("Samples", samples), ("Tables and views", tables))
    return ". ".join(names_near(what, names, head) for head, names in parts)


def table_selection(conn: sa.Connection, name: str) -> Selection:
    """Return all rows of a table or view."""
    provenance: dict[str, Any] = {"what": f"table or view {name}", "written_by": code_version()}
    date = None
    if name in _WITH_EDITIONS:
        editions = [label_set_provenance(conn, s) for s in list_label_sets(conn)]
        provenance["label_sets"] = editions
        date = max((e["published_at"] for e in editions), default=None)
    if name in _VIEWS:
        view = _VIEWS[name]
        return Selection(name, view.comment, f"SELECT * FROM {name}", view.key, provenance, date)
    table = metadata.tables[name]
    query = f"SELECT * FROM {name}"
    if name in _UNFINISHED:
        query += " WHERE status = 'complete'"
    order = tuple(str(c.name) for c in table.primary_key.columns)  # no quoted_name
    return Selection(name, table.comment or "", query, order, provenance, date)
