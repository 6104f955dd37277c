"""Describe a label set: how many values, their range, the flags, where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from catalog.store.columns import LABELS, error_of
from catalog.store.labels import LabelSet, find_label_set, flag_meanings
from jobs.outcomes import labelled_words


@dataclass(frozen=True)
class Description:
    """A label set in numbers.

    Attributes
    ----------
    labelled : str
        Number of stars or spectra that it labels, in words.
    labels : dict
        Label -> (number of values, number of errors, smallest, median, largest).
    flags : dict
        Name of a flag bit -> (number of rows that have it, meaning).
    """

    label_set: LabelSet
    labelled: str
    labels: dict[str, tuple[int, int, float, float, float]]
    flags: dict[str, tuple[int, str]]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as values that JSON can hold."""
        s = self.label_set
        names = ("n", "n_err", "min", "median", "max")
        return {
            "name": s.name, "edition": s.edition, "kind": s.kind, "n_rows": s.n_rows,
            "description": s.description, "params": s.params,
            "labels": {k: dict(zip(names, v, strict=True)) for k, v in self.labels.items()},
            "flags": {k: {"n": n, "meaning": m} for k, (n, m) in self.flags.items()},
        }  # fmt: skip

    def as_text(self) -> str:
        """Return a text for people."""
        s = self.label_set
        lines = [f"{s.full_name}: {self.labelled}, {s.kind}. {s.description}", ""]
        head = ("values", "errors", "min", "median", "max")
        lines.append(f"{'label':9} {'unit':5} " + " ".join(f"{h:>9}" for h in head))
        for label, (n, n_err, low, middle, high) in self.labels.items():
            unit = LABELS[label].unit
            numbers = " ".join(f"{x:9.{0 if unit == 'K' else 2}f}" for x in (low, middle, high))
            lines.append(f"{label:9} {unit:5} {n:9,} {n_err:9,} {numbers}")
        if self.flags:
            lines += ["", "flags"]
            lines += [f"  {n:>9,}  {name}: {meaning}" for name, (n, meaning) in self.flags.items()]
        lines += ["", *(f"{key}: {_words(v)}" for key, v in (s.params or {}).items() if _told(v))]
        return "\n".join(lines)


def _told(value: Any) -> bool:
    """Return True where a parameter was given."""
    return value is not None and value != ""


def _words(value: Any) -> str:
    """Return a parameter as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def describe_label_set(conn: sa.Connection, name: str) -> Description:
    """Count and summarise what a label set holds.

    Raises
    ------
    UsageError
        If there is no such label set.
    """
    found = find_label_set(conn, name)
    parts = []
    for label in LABELS:
        parts.append(
            f"count({label}), count({error_of(label)}), min({label})::float8, "
            f"percentile_cont(0.5) WITHIN GROUP (ORDER BY {label})::float8, max({label})::float8"
        )
    where = "FROM stellar_label WHERE label_set_id = :id"
    given = {"id": found.label_set_id}
    row = conn.execute(sa.text(f"SELECT {', '.join(parts)} {where}"), given).one()
    labels = {}
    for i, label in enumerate(LABELS):
        values = tuple(row[5 * i : 5 * i + 5])
        if values[0]:
            labels[label] = values
    flags = {}
    for bit, (flag, meaning) in sorted(flag_meanings(conn, found.name).items()):
        count = sa.text(f"SELECT count(*) {where} AND flags & (1::bigint << :bit) <> 0")
        n = conn.scalar(count, given | {"bit": bit}) or 0
        if n:
            flags[flag] = (n, meaning)
    return Description(found, labelled_words(conn, found), labels, flags)
