"""Select a sample from a crossmatch: every candidate pair is accepted or has a reason.

Nothing is deleted by a selection. Made again, a sample follows its crossmatch, spectra and label
sets; where none of them changed, nothing is to be done.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.store import schema
from catalog.store.bulk import upsert, upsert_arrays
from catalog.store.db import Database
from catalog.store.labels import LabelSet, find_label_set
from catalog.store.names import check_sample_name
from catalog.store.samples import find_sample
from catalog.surveys.registry import SURVEYS
from catalog.surveys.survey import Survey
from jobs.crossmatch.crossmatch import CrossmatchParams, find_crossmatch
from jobs.crossmatch.pixels import split_spec
from jobs.engine.job import Job
from jobs.engine.ledger import Run
from jobs.engine.params import from_dict, to_dict
from jobs.outcomes import sample_outcome
from jobs.samples.candidates import Candidates
from jobs.samples.counts import counts_as_text, summarise
from jobs.samples.current import sample_is_current
from jobs.samples.options import bad_bits, make_rules, rules_in_words
from jobs.samples.query import (
    count_refused_rows,
    expected_chance_pairs,
    read_candidates,
    read_left_rows,
)
from jobs.samples.rules import Rules, SeedRules, Verdict

KIND = "sample"
WHOLE = "all pairs"  # the only chunk: scales and ties are properties of the whole


@dataclass(frozen=True)
class SampleParams:
    """Parameters of a selection.

    Attributes
    ----------
    name : str
        Name of the sample.
    preset : str
        ``clean`` or ``seed-2018``.
    left, right : str
        Catalogs of the crossmatch; the left one is of a survey whose rows name their star.
    radius_arcsec : float
        Radius of the crossmatch [arcsec].
    reference_labels : str
        Label set of the stars: of the left catalog, or of the spectra; the left survey's own of
        that release if empty, such as ``aspcap/RELEASE``.
    compared_labels : str
        Label set of the right catalog; ``clean`` uses it for statistics only, and does without.
    rules : SeedRules or CleanRules, optional
        All numbers of the selection; the preset's if not given.
    """

    name: str
    preset: str = "clean"
    left: str = "apogee/dr14"
    right: str = "sdss"
    radius_arcsec: float = 2.0
    reference_labels: str = ""
    compared_labels: str = "sspp/dr12"
    rules: Rules | None = None

    def __post_init__(self) -> None:
        usual = make_rules(self.preset, {})
        kind: Any = type(usual)
        rules: Any = usual if self.rules is None else self.rules
        if isinstance(rules, dict):  # as the ledger stores them
            rules = kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in rules.items()})
        if not isinstance(rules, kind):
            raise UsageError(f"the rules of {self.preset} are {kind.__name__}")
        name, prefix = split_spec(self.left)
        survey = SURVEYS.get(name)
        if survey is None or not survey.names_stars or not (prefix or self.reference_labels):
            known = [f"{s.title}'s: {s.name}/RELEASE" for s in SURVEYS.values() if s.names_stars]
            raise UsageError(
                f"{self.left} is no left catalog of a sample", f"Name {' or '.join(known)}"
            )
        object.__setattr__(self, "rules", rules)
        if not self.reference_labels:
            object.__setattr__(self, "reference_labels", f"{survey.label_set}/{prefix.rstrip('/')}")

    @property
    def reference_survey(self) -> Survey:
        """The survey of the left catalog."""
        return SURVEYS[split_spec(self.left)[0]]

    @property
    def crossmatch(self) -> CrossmatchParams:
        """The crossmatch that is selected from."""
        return CrossmatchParams(self.left, self.right, self.radius_arcsec)


class Selection(NamedTuple):
    """A judged crossmatch, ready to be written."""

    crossmatch_id: int
    pairs: Candidates
    verdict: Verdict
    counts: dict[str, Any]


def sample_job(params: SampleParams, db: Database) -> Job:
    """Make the job that selects a sample; it needs no ``db`` of its own."""

    def plan(conn: sa.Connection) -> Sequence[str]:
        check_sample_name(conn, params.name)
        _check_name(conn, params)
        find_crossmatch(conn, params.crossmatch)
        editions = _editions(*_label_sets(conn, params))
        return [] if sample_is_current(conn, params, editions) else [WHOLE]

    def compute(conn: sa.Connection, key: str) -> Selection:
        return select_pairs(conn, params)

    def write(conn: sa.Connection, run: Run, batch: Selection) -> int:
        return _write_selection(conn, params, batch)

    return Job(
        KIND, params.name, params, plan, compute, write,
        outcome=lambda conn, run_id: sample_outcome(conn, params.name),
    )  # fmt: skip


def select_pairs(conn: sa.Connection, params: SampleParams) -> Selection:
    """Judge all pairs of the crossmatch; reads only.

    Raises
    ------
    UsageError
        If the crossmatch has not been run, or a label set does not exist.
    """
    assert params.rules is not None
    crossmatch_id = find_crossmatch(conn, params.crossmatch)
    reference, compared = _label_sets(conn, params)
    left = read_left_rows(
        conn, params.left, reference.label_set_id, params.rules.needs, crossmatch_id
    )
    pairs = read_candidates(
        conn,
        crossmatch_id,
        reference.label_set_id,
        None if compared is None else compared.label_set_id,
        left,
        bad_bits(params.reference_survey, getattr(params.rules, "aspcap_bad", ())),
    )
    chance = expected_chance_pairs(conn, params.crossmatch, left.left_id[left.is_main])
    verdict = params.rules.judge(pairs)
    counts = summarise(
        left,
        count_refused_rows(conn, reference.label_set_id),
        pairs,
        verdict.reason,
        params.rules.reasons,
    )
    counts["expected_chance_pairs"] = chance
    counts["labels"] = _editions(reference, compared)
    return Selection(crossmatch_id, pairs, verdict, counts)


def sample_report(conn: sa.Connection, name: str) -> tuple[dict[str, Any], str]:
    """Look up what a sample stored about itself.

    Returns
    -------
    counts : dict
        See `jobs.samples.counts.summarise`.
    text : str
        The same as tables for people.

    Raises
    ------
    UsageError
        If there is no such sample.
    """
    row = find_sample(conn, name)
    params = from_dict(SampleParams, dict(row.params))
    assert params.rules is not None
    title = (
        f"sample {name} (preset {row.preset}): {params.left} x {params.right} "
        f"within {params.radius_arcsec:g} arcsec"
    )
    if special := rules_in_words(params.rules, row.preset):
        title += f"\nother than preset {row.preset}: {special}"
    counts = dict(row.counts or {})
    return counts, f"{title}\n\n{counts_as_text(counts, params.rules.reasons)}"


def _label_sets(conn: sa.Connection, params: SampleParams) -> tuple[LabelSet, LabelSet | None]:
    """Find the editions to select by; `clean` does without the compared one."""
    reference = _needed(conn, params.reference_labels, "")
    try:
        return reference, find_label_set(conn, params.compared_labels)
    except UsageError:
        if not isinstance(params.rules, SeedRules):
            return reference, None
    why = ", by which the preset seed-2018 selects"
    return reference, _needed(conn, params.compared_labels, why)


def _needed(conn: sa.Connection, name: str, why: str) -> LabelSet:
    """Return the label set of a name; the error says how a survey's own is ingested."""
    try:
        return find_label_set(conn, name)
    except UsageError as exc:
        base, _, release = name.partition("@")[0].partition("/")
        command = {"aspcap": "apogee", "sspp": "sspp"}.get(base)
        file = {"apogee": "allStar-....fits", "sspp": f"ssppOut-{release}.fits"}.get(command or "")
        run = f"Run: crosslabel ingest {command} {file} --release {release}. " if command else ""
        raise UsageError(f"{exc.reason}{why}", f"{run}{exc.todo}") from exc


def _editions(reference: LabelSet, compared: LabelSet | None) -> dict[str, str | None]:
    """Return the names of the editions that a sample is selected by, as it stores them."""
    return {
        "reference": reference.full_name,
        "compared": None if compared is None else compared.full_name,
    }


def _check_name(conn: sa.Connection, params: SampleParams) -> None:
    """Refuse to turn a sample into another one under the same name."""
    t = schema.sample.c
    found = conn.scalar(sa.select(t.params).where(t.name == params.name))
    if found is None:
        return
    stored = from_dict(SampleParams, found)
    other = [f.name for f in fields(params) if getattr(stored, f.name) != getattr(params, f.name)]
    if other:
        raise UsageError(
            f"the sample {params.name} exists, of preset {stored.preset} with other "
            + ", ".join(name.replace("_", " ") for name in other),
            "Choose another name, or say the same as when it was created",
        )


def _write_selection(conn: sa.Connection, params: SampleParams, batch: Selection) -> int:
    """Make the stored sample the one just judged; count the changed rows."""
    values = {
        "name": params.name,
        "crossmatch_id": batch.crossmatch_id,
        "preset": params.preset,
        "params": json.dumps(to_dict(params)),
        "counts": json.dumps(batch.counts),
    }
    columns = {name: f":{name}" for name in values}
    rows = upsert(conn, schema.sample, columns, "(SELECT) AS one_row", key=["name"], params=values)
    sample_id = conn.execute(
        sa.select(schema.sample.c.sample_id).where(schema.sample.c.name == params.name)
    ).scalar_one()
    pairs, reason = batch.pairs, batch.verdict.reason
    rows += upsert_arrays(
        conn,
        schema.sample_member,
        {
            "sample_id": np.full(reason.size, sample_id),
            "left_id": pairs.left_id,
            "right_id": pairs.right_id,
            "accepted": reason == "",
            "reason": reason.astype("S"),
            "label_distance": batch.verdict.label_distance,
        },
    )
    rows += upsert(
        conn,
        schema.star_link,
        {
            "sample_id": "m.sample_id",
            "right_id": "m.right_id",
            "left_id": "m.left_id",
            "star_id": "s.star_id",
            "sep_arcsec": "p.sep_arcsec",
        },
        "sample_member m JOIN source s ON s.source_id = m.left_id "
        "JOIN match p ON (p.crossmatch_id, p.left_id, p.right_id) "
        "= (:crossmatch_id, m.left_id, m.right_id) "
        "WHERE m.sample_id = :sample_id AND m.accepted",
        params={"sample_id": sample_id, "crossmatch_id": batch.crossmatch_id},
    )
    return rows + _delete_gone(conn, sample_id, batch.crossmatch_id)


def _delete_gone(conn: sa.Connection, sample_id: int, crossmatch_id: int) -> int:
    """Delete members that are no candidates any more, and links that are not accepted."""
    gone = (
        "DELETE FROM sample_member m WHERE sample_id = :sample_id AND NOT EXISTS ("
        "SELECT FROM match p WHERE p.crossmatch_id = :crossmatch_id "
        "AND p.left_id = m.left_id AND p.right_id = m.right_id)",
        "DELETE FROM star_link k WHERE sample_id = :sample_id AND NOT EXISTS ("
        "SELECT FROM sample_member m WHERE m.sample_id = k.sample_id AND m.accepted "
        "AND m.left_id = k.left_id AND m.right_id = k.right_id)",
    )
    params = {"sample_id": sample_id, "crossmatch_id": crossmatch_id}
    return sum(conn.execute(sa.text(statement), params).rowcount for statement in gone)
