"""Label sets: build an edition, publish it, find it. Complete editions never change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from catalog.errors import CrosslabelError, UsageError
from catalog.store.columns import LABELS
from catalog.store.schema import flag_bit, label_set, stellar_label
from catalog.words import names_near

#: What the description of a label set ends with where nobody measured what it rests on.
SIMULATED = "; SIMULATED, not measured"
#: What it ends with where a service has cut its answer off.
PARTIAL = "; PARTIAL, its service left rows out (OVERFLOW)"


@dataclass(frozen=True)
class LabelSet:
    """One edition of a label set."""

    label_set_id: int
    name: str
    edition: int
    status: str
    kind: str
    n_rows: int | None
    inputs_hash: str | None = None
    model_id: int | None = None
    description: str = ""
    params: Mapping[str, Any] | None = None

    @property
    def full_name(self) -> str:
        """``name@edition``."""
        return f"{self.name}@{self.edition}"

    @property
    def simulated(self) -> bool:
        """True where it is marked as simulated: it rests on no measurement."""
        return bool((self.params or {}).get("simulated"))

    @property
    def partial(self) -> bool:
        """True where the table of labels was a part of a service's answer."""
        return bool((self.params or {}).get("partial"))


_FIELDS = [label_set.c[f] for f in LabelSet.__dataclass_fields__]


def begin_edition(
    conn: sa.Connection,
    name: str,
    kind: str,
    *,
    run_id: int,
    inputs_hash: str | None = None,
    model_id: int | None = None,
    description: str = "",
    params: Mapping[str, Any] | None = None,
) -> int:
    """Enter the next edition of ``name`` as building, owned by a run; its id."""
    last = conn.scalar(sa.select(sa.func.max(label_set.c.edition)).where(label_set.c.name == name))
    label_set_id = conn.execute(
        label_set.insert()
        .values(
            name=name, edition=(last or 0) + 1, status="building", kind=kind, run_id=run_id,
            inputs_hash=inputs_hash, model_id=model_id, description=description,
            params=json.loads(json.dumps(params or {}, default=str)),
        )
        .returning(label_set.c.label_set_id)
    ).scalar_one()  # fmt: skip
    return int(label_set_id)


def building_edition(conn: sa.Connection, run_id: int, name: str | None = None) -> int:
    """The id of the edition that a run is building."""
    query = sa.select(label_set.c.label_set_id).where(
        label_set.c.run_id == run_id, label_set.c.status == "building"
    )
    if name is not None:
        query = query.where(label_set.c.name == name)
    return int(conn.execute(query).scalar_one())


#: Whether an edition labels a source that nobody observed: its spectrum says so, or a survey's
#: own simulated labels of it do.
_OF_SIMULATED = sa.text("""
    SELECT EXISTS (
        SELECT FROM stellar_label l JOIN spectrum_blob b USING (source_id)
        WHERE l.label_set_id = :id AND b.simulated)
    OR EXISTS (
        SELECT FROM label_set s JOIN stellar_label o USING (label_set_id)
        JOIN stellar_label l ON l.label_set_id = :id AND l.source_id = o.source_id
        WHERE s.kind = 'survey' AND s.status = 'complete' AND s.label_set_id <> :id
          AND s.params -> 'release' IS NOT NULL AND (s.params ->> 'simulated')::boolean)""")


def publish(conn: sa.Connection, label_set_id: int) -> int:
    """Turn a building edition into a complete one; returns its number of label rows.

    An edition that labels sources which nobody observed is marked as simulated, whoever made it.

    Raises
    ------
    CrosslabelError
        If there is no such edition, or it is complete already.
    """
    n = conn.scalar(
        sa.select(sa.func.count()).select_from(stellar_label).where(
            stellar_label.c.label_set_id == label_set_id
        )
    )  # fmt: skip
    if not is_simulated(conn, label_set_id) and conn.scalar(_OF_SIMULATED, {"id": label_set_id}):
        conn.execute(
            sa.text(
                "UPDATE label_set SET description = description || :words, "
                "params = params || '{\"simulated\": true}' WHERE label_set_id = :id"
            ),
            {"words": SIMULATED, "id": label_set_id},
        )
    done = conn.execute(
        label_set.update()
        .where(label_set.c.label_set_id == label_set_id, label_set.c.status == "building")
        .values(status="complete", published_at=sa.func.now(), n_rows=n)
    )
    if done.rowcount != 1:
        raise CrosslabelError(
            f"label set {label_set_id} is not being built: it cannot be published"
        )
    return n or 0


def discard_building(conn: sa.Connection, run_id: int) -> int:
    """Delete the unpublished editions of a run, with their rows."""
    return conn.execute(
        label_set.delete().where(label_set.c.run_id == run_id, label_set.c.status == "building")
    ).rowcount


def list_label_sets(conn: sa.Connection, *, all_editions: bool = False) -> list[LabelSet]:
    """Complete label sets by name: the newest edition of each, or all of them."""
    query = (
        sa.select(*_FIELDS)
        .where(label_set.c.status == "complete")
        .order_by(label_set.c.name, label_set.c.edition.desc())
    )
    found = [LabelSet(*row) for row in conn.execute(query)]
    if all_editions:
        return found
    newest: dict[str, LabelSet] = {}
    for edition in found:
        newest.setdefault(edition.name, edition)
    return list(newest.values())


def find_label_set(conn: sa.Connection, name: str) -> LabelSet:
    """The complete edition that ``name`` or ``name@edition`` means.

    Raises
    ------
    UsageError
        If there is none; the message lists what there is.
    """
    base, _, edition = name.partition("@")
    query = sa.select(*_FIELDS).where(label_set.c.status == "complete", label_set.c.name == base)
    if edition:
        query = query.where(sa.cast(label_set.c.edition, sa.Text) == edition)
    row = conn.execute(query.order_by(label_set.c.edition.desc()).limit(1)).first()
    if row is None:
        editions = [s.full_name for s in list_label_sets(conn, all_editions=True) if s.name == base]
        known = editions or [s.name for s in list_label_sets(conn)]
        raise UsageError(f"there is no label set {name}", names_near(name, known, "Label sets"))
    return LabelSet(*row)


def published_inputs(conn: sa.Connection, name: str) -> str | None:
    """Digest of what the newest complete edition of ``name`` was made from; None: there is none."""
    query = sa.select(label_set.c.inputs_hash).where(
        label_set.c.name == name, label_set.c.status == "complete"
    )
    return conn.scalar(query.order_by(label_set.c.edition.desc()).limit(1))


def labels_of(conn: sa.Connection, label_set_id: int) -> list[str]:
    """The labels that an edition has at all, in the order of the vocabulary."""
    known = ", ".join(f"bool_or({label} IS NOT NULL)" for label in LABELS)
    query = sa.text(f"SELECT {known} FROM stellar_label WHERE label_set_id = :id")
    found = conn.execute(query, {"id": label_set_id}).one()
    return [label for label, is_known in zip(LABELS, found, strict=True) if is_known]


def is_simulated(conn: sa.Connection, label_set_id: int | None) -> bool:
    """Return True where a label set is marked as simulated: it rests on no measurement."""
    query = sa.select(label_set.c.params).where(label_set.c.label_set_id == label_set_id)
    return bool((conn.scalar(query) or {}).get("simulated"))


def register_flags(conn: sa.Connection, producer: str, bits: Mapping[int, tuple[str, str]]) -> None:
    """Record what the flag bits of a producer mean."""
    for bit, (name, meaning) in bits.items():
        conn.execute(
            sa.text(
                "INSERT INTO flag_bit (producer, bit, name, meaning) VALUES (:p, :b, :n, :m) "
                "ON CONFLICT (producer, bit) DO UPDATE SET name = excluded.name, "
                "meaning = excluded.meaning WHERE (flag_bit.name, flag_bit.meaning) "
                "IS DISTINCT FROM (excluded.name, excluded.meaning)"
            ),
            {"p": producer, "b": bit, "n": name, "m": meaning},
        )


def flag_meanings(conn: sa.Connection, producer: str) -> dict[int, tuple[str, str]]:
    """Return the names and meanings of the flag bits of a producer."""
    query = sa.select(flag_bit.c.bit, flag_bit.c.name, flag_bit.c.meaning).where(
        flag_bit.c.producer == producer
    )
    return {bit: (name, meaning) for bit, name, meaning in conn.execute(query)}
