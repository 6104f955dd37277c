"""Scans in the database: their trials, what each fold chose, and where an unfinished one stands."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from catalog.store.schema import scan, scan_fold, scan_trial
from jobs.engine.params import digest, to_dict
from jobs.scan.params import ScanParams
from jobs.scan.space import Settings
from models.core.records import FINAL_FOLD


@dataclass(frozen=True)
class Trial:
    """Settings tried in one fold; state is open, done or failed.

    ``judged_loss`` is the loss on the stars that judge the trial: those of the validation part
    (``inner_loss`` in the database), or, for the choice of a fold, those that the fold held out
    (``outer_loss``).
    """

    number: int
    fold: int
    settings: Settings
    state: str = "open"
    judged_loss: float | None = None
    failure: str | None = None

    def after(self, loss: float) -> Trial:
        """Return the trial with its loss; one that is not finite is a failure."""
        if math.isfinite(loss):
            return Trial(self.number, self.fold, self.settings, "done", loss)
        return self.failed(f"the validation loss is {loss}")

    def failed(self, why: str) -> Trial:
        """Return the trial with the reason of its failure."""
        return Trial(self.number, self.fold, self.settings, "failed", None, why)


@dataclass(frozen=True)
class Ranked:
    """Settings of a trial, with the mean inner loss over the folds that judge them."""

    number: int
    settings: Settings
    folds: tuple[int, ...]
    inner_loss: float | None
    failure: str | None


def find_scan(conn: sa.Connection, name: str) -> sa.Row[Any] | None:
    """Return the row of a scan, without its state."""
    columns = [c for c in scan.c if c.name != "state_bytes"]
    return conn.execute(sa.select(*columns).where(scan.c.name == name)).first()


def scan_id_of(conn: sa.Connection, name: str) -> int:
    """Return the id of a scan that has begun."""
    return conn.execute(sa.select(scan.c.scan_id).where(scan.c.name == name)).scalar_one()


def begin_scan(conn: sa.Connection, params: ScanParams) -> int:
    """Enter a scan unless it is there; returns the rows written."""
    values = {
        "name": params.name, "preset": params.preset, "params": to_dict(params),
        "params_hash": params.identity,
    }  # fmt: skip
    new = insert(scan).values(**values).on_conflict_do_nothing().returning(scan.c.scan_id)
    return len(conn.execute(new).all())


def read_trials(conn: sa.Connection, scan_id: int) -> list[Trial]:
    """Return all trials of a scan, by number and fold."""
    c = scan_trial.c
    query = (
        sa.select(c.trial, c.fold, c.trial_settings, c.trial_state, c.inner_loss, c.failure)
        .where(c.scan_id == scan_id)
        .order_by(c.trial, c.fold)
    )
    return [Trial(*row) for row in conn.execute(query)]


def write_trials(conn: sa.Connection, scan_id: int, trials: Iterable[Trial]) -> int:
    """Write trials in place of what was known of them; returns the rows written."""
    rows = [
        {
            "scan_id": scan_id, "trial": t.number, "fold": t.fold, "trial_settings": t.settings,
            "trial_state": t.state, "inner_loss": t.judged_loss, "failure": t.failure,
        }
        for t in trials
    ]  # fmt: skip
    if not rows:
        return 0
    statement = insert(scan_trial).values(rows)
    new = {n: statement.excluded[n] for n in rows[0]}
    conn.execute(
        statement.on_conflict_do_update(index_elements=scan_trial.primary_key.columns, set_=new)
    )
    return len(rows)


def read_choices(conn: sa.Connection, scan_id: int) -> list[Trial]:
    """Return the choice of each fold, by fold; ``done`` where its held-out stars are scored."""
    c = scan_fold.c
    state = sa.case(
        (c.failure.is_not(None), "failed"), (c.outer_loss.is_(None), "open"), else_="done"
    )
    query = (
        sa.select(c.trial, c.fold, c.trial_settings, state, c.inner_loss, c.failure)
        .where(c.scan_id == scan_id)
        .order_by(c.fold)
    )
    return [Trial(*row) for row in conn.execute(query)]


def write_choices(conn: sa.Connection, scan_id: int, choices: Iterable[Trial]) -> int:
    """Replace what the folds chose; returns the rows written."""
    conn.execute(scan_fold.delete().where(scan_fold.c.scan_id == scan_id))
    rows = [
        {
            "scan_id": scan_id, "fold": t.fold, "trial": t.number, "trial_settings": t.settings,
            "inner_loss": t.judged_loss,
        }
        for t in choices
    ]  # fmt: skip
    if rows:
        conn.execute(scan_fold.insert().values(rows))
    return len(rows)


def write_outer(conn: sa.Connection, scan_id: int, judged: Iterable[Trial]) -> int:
    """Write how choices did on the stars that their folds held out; returns the rows written."""
    written = 0
    for t in judged:
        written += conn.execute(
            scan_fold.update()
            .where(scan_fold.c.scan_id == scan_id, scan_fold.c.fold == t.fold)
            .values(outer_loss=t.judged_loss, failure=t.failure)
        ).rowcount
    return written


def read_state(conn: sa.Connection, scan_id: int) -> tuple[str | None, bytes]:
    """Return the chunk after which an unfinished fit stands, and its state."""
    row = conn.execute(
        sa.select(scan.c.chunk_key, scan.c.state_bytes).where(scan.c.scan_id == scan_id)
    ).one()
    return row.chunk_key, bytes(row.state_bytes or b"")


def write_scan(conn: sa.Connection, scan_id: int, **values: Any) -> None:
    """Change columns of a scan's row."""
    conn.execute(scan.update().where(scan.c.scan_id == scan_id).values(**values))


def rank(trials: Sequence[Trial], *, everything: bool = False) -> list[Ranked]:
    """Trials by mean loss, the failed last; equal settings of a trial count together.

    Parameters
    ----------
    trials : sequence of Trial
        Finished ones.
    everything : bool
        Whether folds are listed that have settings of their own. Where folds go different ways,
        only the split of all stars says what is best for a training on all stars.
    """
    of_all = [t for t in trials if t.fold == FINAL_FOLD]
    groups: dict[tuple[int, str], list[Trial]] = {}
    for t in trials if everything or not of_all else of_all:
        groups.setdefault((t.number, digest(t.settings)), []).append(t)
    ranked = [_ranked(group) for group in groups.values()]
    return sorted(
        ranked, key=lambda r: (math.inf if r.inner_loss is None else r.inner_loss, r.number)
    )


def _ranked(group: Sequence[Trial]) -> Ranked:
    """Trials of one number and settings as one; it failed if it failed in any fold."""
    failure = next((t.failure for t in group if t.state != "done"), None)
    losses = [t.judged_loss for t in group if t.judged_loss is not None]
    whole = len(losses) == len(group)
    mean = math.fsum(losses) / len(losses) if whole else None
    return Ranked(group[0].number, group[0].settings, tuple(t.fold for t in group), mean, failure)


def best_of_fold(trials: Iterable[Trial], fold: int) -> Trial | None:
    """Return the trial with the least loss in a fold, the earliest among equals."""
    done = [t for t in trials if t.fold == fold and t.judged_loss is not None]
    return min(done, key=lambda t: (t.judged_loss, t.number), default=None)
