"""Evaluate models: their out-of-fold labels against what they learned, beside other label sets.

All sets are scored on the same stars and spectra. Out-of-fold labels are honest by construction:
each was given by a network that never saw the star. Stars that a network was trained on take no
part where its own predictions are scored; if none is left, the evaluation is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.store.comparisons import comparison_notes, no_common_stars
from catalog.store.labels import LabelSet, find_label_set, labels_of, list_label_sets
from catalog.store.models import complete_models, find_model, model_names
from catalog.store.samples import find_sample, sample_id_of
from catalog.words import names_near
from jobs.engine.params import digest
from jobs.evaluation.data import BINNED_BY, ComparedLabel, read_compared
from jobs.evaluation.records import EDGES, Repeat, Score
from jobs.evaluation.repeats import score_repeats
from jobs.evaluation.scores import GIANT_LOGG, score_label

METHOD = 1  # grows when the same inputs would be scored otherwise


@dataclass(frozen=True)
class Evaluation:
    """The scores of an evaluation, with its settings and notes.

    Attributes
    ----------
    ref_set : str
    test_sets : tuple of str
        Names with editions; differences are taken to the first.
    sample : str or None
        Sample whose pairs are compared; None: all mutual nearest pairs.
    settings : dict
        Edges of the bins, number and seed of the bootstrap samples.
    notes : tuple of str
        Sentences about stars left out, labels left out, simulated data.
    inputs_hash : str
        Digest of everything that the numbers depend on.
    scores : tuple of Score
        By label, bin and compared set.
    repeats : tuple of Repeat
        By label, bin and compared set; empty where no star has two spectra.
    """

    ref_set: str
    test_sets: tuple[str, ...]
    sample: str | None
    settings: Mapping[str, Any]
    notes: tuple[str, ...]
    inputs_hash: str
    scores: tuple[Score, ...] = ()
    repeats: tuple[Repeat, ...] = ()


@dataclass(frozen=True)
class Inputs:
    """Input of an evaluation: its settings without scores, and the labels to score."""

    evaluation: Evaluation
    labels: tuple[ComparedLabel, ...]


def read_inputs(
    conn: sa.Connection,
    models: Sequence[str],
    against: Sequence[str] | None = None,
    *,
    reference: str | None = None,
    sample: str | None = None,
    edges: Mapping[str, Sequence[float]] = EDGES,
    bootstrap: int = 200,
    seed: int = 0,
) -> Inputs:
    """Find and read what is to be evaluated.

    Parameters
    ----------
    conn : Connection
        A repeatable-read transaction (``Database.reader``), so that all numbers fit together.
    models : sequence of str
        Models, of which the out-of-fold labels are scored, or label sets.
    against : sequence of str, optional
        Label sets to score beside them; if not given, the one that the sample was compared with.
    reference : str, optional
        Label set to score against; what the models learned if not given.
    sample : str, optional
        Sample whose pairs are compared; that of the first model if not given.
    edges : mapping of str to sequence of float
        Edges between the bins of S/N and of the reference's labels.
    bootstrap, seed : int
        Number of bootstrap samples of stars, and the seed of their random numbers.

    Raises
    ------
    UsageError
        If a name is unknown or given twice, the models learned different label sets, edges make no
        sense, or no star has a label in all sets, such as where a network saw all of them.
    """
    _check(edges, bootstrap)
    named = [find_evaluated(conn, name) for name in models]
    if not named:
        raise UsageError("nothing was named to evaluate", "Name a model")
    if sample is None:
        sample = _sample_of(conn, named)
    sample_id = sample_id_of(conn, sample)
    if against is None:
        against = _compared_in(conn, sample)
    ref = find_label_set(conn, reference or _learned_by(conn, named))
    tests = [*named, *(find_label_set(conn, name) for name in against)]
    names = [s.full_name for s in (ref, *tests)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UsageError(f"{twice} is named twice", "A label set always agrees with itself")
    has = {s.full_name: labels_of(conn, s.label_set_id) for s in (ref, *tests)}
    wanted = [label for label in has[names[0]] if any(label in has[s.full_name] for s in named)]
    scored = {label: [s for s in tests if label in has[s.full_name]] for label in wanted}
    labels = read_compared(conn, ref, scored, sample)
    if not labels:
        raise no_common_stars(conn, [ref, *tests], sample, sample_id)
    settings = {
        "edges": {name: list(map(float, edges[name])) for name in BINNED_BY if name in edges},
        "giant_logg": GIANT_LOGG, "bootstrap": bootstrap, "seed": seed, "method": METHOD,
    }  # fmt: skip
    missing = {name: [k for k in wanted if k not in has[name]] for name in names[1:]}
    notes = comparison_notes(
        conn, [ref, *tests], sample_id,
        [f"{name} does not have {', '.join(lacks)}." for name, lacks in missing.items() if lacks],
    )  # fmt: skip
    whole = [names, sample, settings, notes, [data.digest for data in labels]]
    evaluation = Evaluation(
        names[0], tuple(names[1:]), sample, settings, tuple(notes), digest(whole)
    )
    return Inputs(evaluation, tuple(labels))


def evaluate(inputs: Inputs) -> Evaluation:
    """Score what was read; pure arithmetic."""
    asked, scores, repeats = inputs.evaluation, [], []
    edges = asked.settings["edges"]
    how = {"bootstrap": asked.settings["bootstrap"], "seed": asked.settings["seed"]}
    for data in inputs.labels:
        scores += score_label(data, edges, **how)
        repeats += score_repeats(data, edges.get("snr", ()), **how)
    return dataclasses.replace(asked, scores=tuple(scores), repeats=tuple(repeats))


def find_evaluated(conn: sa.Connection, name: str) -> LabelSet:
    """The label set that is scored for a name: a model's out-of-fold labels, or the set itself.

    Raises
    ------
    UsageError
        If it is neither; the message lists what there is.
    """
    if not complete_models(conn, name.partition("@")[0]):
        if any(s.name == name.partition("@")[0] for s in list_label_sets(conn)):
            return find_label_set(conn, name)
        known = [*model_names(conn), *(s.name for s in list_label_sets(conn))]
        raise UsageError(
            f"there is no model {name}, nor a label set of that name",
            names_near(name, known, "Models and label sets"),
        )
    query = sa.text(
        "SELECT name || '@' || edition FROM label_set WHERE status = 'complete' "
        "AND kind = 'out_of_fold' AND model_id = :id"
    )
    found = conn.scalar(query, {"id": find_model(conn, name).model_id})
    if found is None:
        raise UsageError(
            f"model {name} has no out-of-fold labels here: it was imported, or they were removed",
            "Train it here, or name a label set that it predicted",
        )
    return find_label_set(conn, found)


def read_edges(texts: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Return edges of the bins, with those that are given as ``name=edge,edge`` put in place.

    Raises
    ------
    UsageError
        If a text does not say that.
    """
    edges = dict(EDGES)
    for text in texts:
        name, _, numbers = text.partition("=")
        try:
            edges[name.strip()] = tuple(float(number) for number in numbers.split(","))
        except ValueError:
            raise UsageError(
                f"{text} does not say where bins end", "Write such as snr=20,40,80"
            ) from None
    return edges


def _learned_by(conn: sa.Connection, sets: Sequence[LabelSet]) -> str:
    """Return the one label set that the models behind these sets learned."""
    query = sa.text(
        "SELECT DISTINCT l.name || '@' || l.edition FROM model m "
        "JOIN label_set l ON l.label_set_id = m.label_set_id "
        "WHERE m.model_id = ANY(:ids) ORDER BY 1"
    )
    found = conn.scalars(query, {"ids": [s.model_id for s in sets if s.model_id]}).all()
    if len(found) != 1:
        names = ", ".join(s.full_name for s in sets)
        raise UsageError(
            f"{names}: not clear what to score against, as the models behind them learned "
            f"{', '.join(found)}"
            if found
            else f"{names}: not clear what to score against, as they come from no model",
            "Say what to score against: --reference",
        )
    return found[0]


def _sample_of(conn: sa.Connection, sets: Sequence[LabelSet]) -> str | None:
    """Return the sample that the first of the models behind these sets was trained on."""
    query = sa.text(
        "SELECT s.name FROM unnest(CAST(:ids AS bigint[])) WITH ORDINALITY AS i (id, place) "
        "JOIN model m ON m.model_id = i.id JOIN sample s USING (sample_id) ORDER BY place LIMIT 1"
    )
    return conn.scalar(query, {"ids": [s.model_id for s in sets if s.model_id]})


def _compared_in(conn: sa.Connection, sample: str | None) -> list[str]:
    """Return the survey's label set that a sample was compared with, if it is there."""
    if sample is None:
        return []
    wanted = find_sample(conn, sample).params.get("compared_labels")
    return [s.name for s in list_label_sets(conn) if s.name == wanted]


def _check(edges: Mapping[str, Sequence[float]], bootstrap: int) -> None:
    """Refuse bins and draws that give no numbers."""
    for name, between in edges.items():
        if name not in BINNED_BY:
            raise UsageError(f"there are no bins of {name}", names_near(name, BINNED_BY, "Bins"))
        if not np.isfinite(between).all() or any(a >= b for a, b in pairwise(between)):
            raise UsageError(
                f"the edges {', '.join(f'{edge:g}' for edge in between)} of {name} do not grow",
                "Write them in increasing order",
            )
    if bootstrap < 0 or bootstrap == 1:
        raise UsageError(f"{bootstrap} bootstrap samples give no error", "Take 2 or more, or 0")
