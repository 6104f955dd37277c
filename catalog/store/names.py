"""Names that users give: what can be one, and which are taken."""

from __future__ import annotations

import re

import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.store.schema import label_set, sample
from catalog.store.views import VIEWS
from catalog.surveys.registry import all_details, label_catalogs

MAX_LENGTH = 100
_NAME = re.compile(r"[A-Za-z0-9][\w.+/-]*", re.ASCII)
#: Tables that make sense outside the database; rows are sorted by the primary key.
TABLES = (
    "source", "star", *(detail.table for _, detail in all_details()), "crossmatch", "match",
    "sample", "sample_member", "star_link", "label_set", "flag_bit", "model", "training_member",
    "training_history", "input_file", "label_set_file", "quarantine", "evaluation",
    "evaluation_score", "evaluation_repeat", "learning_curve", "scan", "scan_trial", "scan_fold",
)  # fmt: skip


def check_name(name: str, what: str) -> None:
    """Refuse a name that could not be used in commands and queries.

    Raises
    ------
    UsageError
    """
    if not _NAME.fullmatch(name) or len(name) > MAX_LENGTH:
        shown = name if len(name) <= MAX_LENGTH else name[:MAX_LENGTH] + "..."
        raise UsageError(
            f"{shown!r} cannot be the name of a {what}",
            f"Use at most {MAX_LENGTH} letters, digits and the signs . _ + - /",
        )


def check_release(release: str) -> None:
    """Refuse a release that could not be the last part of a label set's name.

    Raises
    ------
    UsageError
    """
    check_name(release, "release")
    if "/" in release or release[0].isdigit():  # 14 is dr14 misspelt: its labels would stay
        raise UsageError(f"{release!r} cannot be the name of a release", "Such as: dr14")


def check_label_set_name(conn: sa.Connection, name: str, kind: str) -> None:
    """Refuse to add an edition of one kind to a name that belongs to something else.

    Raises
    ------
    UsageError
    """
    taken = conn.scalar(
        sa.select(label_set.c.kind).where(label_set.c.name == name, label_set.c.kind != kind)
    )
    if taken is not None:
        raise UsageError(
            f"the label set {name} exists and is of the kind {taken}, not {kind}",
            "Choose another name",
        )
    if kind != "survey" and is_of_a_survey(name):
        raise UsageError(
            f"the name {name} belongs to the labels of a survey", "Choose another name"
        )
    if conn.scalar(sa.select(sample.c.name).where(sample.c.name == name)) is not None:
        raise UsageError(f"{name} is the name of a sample", "Choose another name")
    if _is_exported(name):
        raise UsageError(f"{name} is the name of a table", "Choose another name")


def is_of_a_survey(name: str) -> bool:
    """Return whether a label set has a name under which only a survey's own catalog publishes."""
    return name.partition("/")[0] in label_catalogs()


def check_sample_name(conn: sa.Connection, name: str) -> None:
    """Refuse a name under which a sample could not be told from other things.

    Raises
    ------
    UsageError
    """
    check_name(name, "sample")
    taken = sa.select(label_set.c.name).where(label_set.c.name == name)
    if _is_exported(name) or conn.scalar(taken) is not None:
        raise UsageError(
            f"{name} is the name of a table or label set already", "Choose another name"
        )


def _is_exported(name: str) -> bool:
    """Return True where ``crosslabel export`` knows a table, a view or the spectra by this name."""
    return name in (*TABLES, *(v.name for v in VIEWS), "spectra")
