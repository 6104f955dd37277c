"""Remove models, samples and label sets; nothing that others rest on, unless told to."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.store.db import Database, advisory_lock
from catalog.store.labels import LabelSet, find_label_set
from catalog.store.models import complete_models, find_model
from catalog.store.removal import Removed, count_evaluations, remove_edition, rests_on
from catalog.store.samples import find_sample
from catalog.store.schema import label_set, model, sample
from catalog.surveys.registry import label_catalogs
from jobs.engine.runner import lock_name


def remove_model(db: Database, name: str, *, with_labels: bool = False) -> tuple[list[str], int]:
    """Remove a model: one edition if the name says which, else all.

    Parameters
    ----------
    db : Database
        The catalog.
    name : str
        ``name`` or ``name@edition``.
    with_labels : bool
        Remove the label sets that it made too.

    Returns
    -------
    models : list of str
        The editions that are gone.
    n_label_sets : int
        Editions of label sets that went with them.

    Raises
    ------
    UsageError
        If there is no such model, or label sets depend on it and are not to go.
    """
    base = name.partition("@")[0]
    with advisory_lock(db, lock_name("train", f"model {base}")), db.begin() as conn:
        found = find_model(conn, name)
        gone = [found] if "@" in name else complete_models(conn, base)
        ids = [m.model_id for m in gone]
        made = conn.execute(
            sa.select(label_set.c.label_set_id, label_set.c.name, label_set.c.edition)
            .where(label_set.c.model_id.in_(ids))
            .order_by(label_set.c.name, label_set.c.edition)
        ).all()
        building = sa.select(label_set.c.name).where(
            label_set.c.model_id.in_(ids), label_set.c.status == "building"
        )
        if (unfinished := conn.scalars(building).first()) is not None:
            raise UsageError(
                f"the label set {unfinished} is being made by {name}",
                "Finish that run: crosslabel resume; or let another model predict under that name",
            )
        if made and not with_labels:
            names = ", ".join(f"{row.name}@{row.edition}" for row in made)
            raise UsageError(
                f"label sets were made by {name}: {names}", "Remove them too: --with-labels"
            )
        conn.execute(
            label_set.delete().where(
                label_set.c.label_set_id.in_([row.label_set_id for row in made])
            )
        )
        conn.execute(model.delete().where(model.c.model_id.in_(ids)))
    return [m.full_name for m in gone], len(made)


def remove_sample(db: Database, name: str) -> None:
    """Remove a sample with its pairs, unless a model was trained on it.

    Raises
    ------
    UsageError
        If there is no such sample, or models depend on it.
    """
    with advisory_lock(db, lock_name("sample", name)), db.begin() as conn:
        sample_id = find_sample(conn, name).sample_id
        query = sa.select(model.c.name).where(model.c.sample_id == sample_id).distinct()
        models: Sequence[str] = conn.scalars(query.order_by(model.c.name)).all()
        if models:
            raise UsageError(
                f"models were trained on the sample {name}: {', '.join(models)}",
                "Remove them first: crosslabel model remove",
            )
        conn.execute(sample.delete().where(sample.c.sample_id == sample_id))


def remove_label_set(db: Database, name: str, *, with_evaluations: bool = False) -> Removed:
    """Remove one edition of a label set: of a model's predictions, a survey, or anyone.

    Parameters
    ----------
    db : Database
        The catalog.
    name : str
        ``name`` (its newest edition) or ``name@edition``.
    with_evaluations : bool
        Remove the stored evaluations in which it took part too.

    Raises
    ------
    UsageError
        If there is no such label set, it goes with its model, or something rests on it.
    """
    with db.reader() as conn:
        found = find_label_set(conn, name)
    with advisory_lock(db, _lock_of(found)), db.begin() as conn:
        found = find_label_set(conn, name)
        if found.kind == "out_of_fold":
            raise UsageError(
                f"{found.full_name} is of the kind {found.kind}",
                "Out-of-fold labels go with their model: crosslabel model remove",
            )
        if words := rests_on(conn, found):
            more = f" and {len(words) - 5} more" if len(words) > 5 else ""
            raise UsageError(
                f"{found.full_name} cannot go: on it rests {', '.join(words[:5])}{more}",
                "Remove those first: crosslabel model remove, crosslabel sample remove",
            )
        n = count_evaluations(conn, found)
        if n and not with_evaluations:
            raise UsageError(
                f"{found.full_name} took part in {n} stored evaluation{'s' if n > 1 else ''}",
                "Remove them too: --with-evaluations",
            )
        return remove_edition(conn, found)


def _lock_of(found: LabelSet) -> str:
    """Return the lock that the job holds which makes editions of a label set."""
    prefix = found.name.partition("/")[0]
    if found.kind == "prediction":
        return lock_name("predict", f"label set {found.name}")
    kinds = {label_set: f"ingest {c.kind}" for label_set, (_, c) in label_catalogs().items()}
    return lock_name(kinds.get(prefix, "ingest labels"), found.name)
