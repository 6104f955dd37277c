"""Select what is exported, as a query in a stable order: tables, views, label sets, samples."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.export.label_sets import label_set_provenance, label_set_selection, sample_selection
from catalog.export.selection import Selection
from catalog.store.labels import find_label_set, list_label_sets
from catalog.store.samples import find_sample, list_samples
from catalog.store.schema import metadata
from catalog.store.views import VIEWS
from catalog.version import code_version
from catalog.words import names_near, nearest

#: Tables that make sense outside the database; rows are sorted by the primary key.
TABLES = (
    "source", "star", "apogee_star", "sdss_spectrum", "crossmatch", "match", "sample",
    "sample_member", "star_link", "label_set", "flag_bit", "model", "training_member",
    "training_history", "input_file", "label_set_file", "quarantine", "evaluation",
    "evaluation_score", "evaluation_repeat", "learning_curve", "scan", "scan_trial", "scan_fold",
)  # fmt: skip
#: View -> columns that make its rows unique.
VIEW_KEYS = {
    "pairs": ("sample", "left_survey", "left_key", "right_survey", "right_key"),
    "current_label_set": ("name",),
    "stellar_label_long": ("label_set", "source_id", "label"),
    "match_ranked": ("crossmatch_id", "left_id", "right_id"),
    "best_match": ("crossmatch_id", "left_id", "right_id"),
    "label_comparison": (
        "ref_set", "test_set", "label", "left_id", "right_id", "ref_value", "test_value",
    ),
    "job_progress": ("run_id",),
    "evaluation_summary": ("evaluation_id", "test_set", "label"),
}  # fmt: skip
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
    in_tables = what in TABLES or what in VIEW_KEYS
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
    tables = sorted((*TABLES, *VIEW_KEYS))
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
    if name in VIEW_KEYS:
        comment = next(v.comment for v in VIEWS if v.name == name)
        return Selection(name, comment, f"SELECT * FROM {name}", VIEW_KEYS[name], provenance, date)
    table = metadata.tables[name]
    query = f"SELECT * FROM {name}"
    if name in _UNFINISHED:
        query += " WHERE status = 'complete'"
    order = tuple(str(c.name) for c in table.primary_key.columns)  # no quoted_name
    return Selection(name, table.comment or "", query, order, provenance, date)
