"""Find what a report is about: sample, reference, compared survey, models."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.store.labels import find_label_set
from catalog.store.models import find_model, list_models
from catalog.store.samples import Sample, find_sample, list_samples
from catalog.words import names_near
from jobs.report.drawing import Subject


def find_subject(
    conn: sa.Connection,
    sample: str | None = None,
    reference: str | None = None,
    models: Sequence[str] = (),
    seed: int = 0,
) -> Subject:
    """Find what a report is about.

    Parameters
    ----------
    conn : Connection
        Open connection.
    sample : str, optional
        The newest sample on which a model was trained, or the newest of all, if not given.
    reference : str, optional
        Label set to compare with; that of the sample, if not given.
    models : sequence of str
        Models trained on the sample; all of them, in their newest editions, if not given.
    seed : int
        Of everything random.

    Raises
    ------
    UsageError
        If there is no such thing, or a model was trained on another sample.
    """
    chosen = _newest_sample(conn) if sample is None else find_sample(conn, sample)
    labels = (chosen.counts or {}).get("labels") or {}
    named = reference or labels.get("reference") or chosen.params["reference_labels"]
    compared = labels.get("compared")
    found = find_label_set(conn, named).full_name
    return Subject(
        sample=chosen.name,
        reference=found,
        compared=compared if compared and compared != found else None,
        models=_models(conn, chosen, models),
        seed=seed,
    )


def _newest_sample(conn: sa.Connection) -> Sample:
    """The newest sample on which a model was trained, or the newest of all."""
    samples = sorted(list_samples(conn), key=lambda s: (s.created_at, s.sample_id), reverse=True)
    if not samples:
        raise UsageError("there is no sample to report on", "Run: crosslabel sample create")
    used = {line.sample for line in list_models(conn)}
    return next((s for s in samples if s.name in used), samples[0])


def _models(conn: sa.Connection, sample: Sample, names: Sequence[str]) -> tuple[str, ...]:
    """The models of a sample with their editions: those named, or all."""
    lines = list_models(conn, all_editions=bool(names))
    mine = [line.full_name for line in lines if line.sample == sample.name]
    if not names:
        return tuple(mine)
    wanted = []
    for name in names:
        found = find_model(conn, name)
        full_name = f"{found.name}@{found.edition}"
        if full_name not in mine:
            raise UsageError(
                f"the model {full_name} was not trained on the sample {sample.name}",
                names_near(name, mine, "Models of this sample", "none yet; run: crosslabel train"),
            )
        wanted.append(full_name)
    return tuple(dict.fromkeys(wanted))
