"""Write the result of a scan for people and as CSV."""

from __future__ import annotations

import csv
import io
from typing import Any

import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.store.labels import SIMULATED, find_label_set
from catalog.words import count, names_near
from jobs.scan.trials import Ranked, find_scan, rank, read_choices, read_trials
from models.core.records import FINAL_FOLD

SHOWN = 10  # trials in the table for people
_SCORES = ("bias", "sigma_mad", "mae", "seed_bias", "seed_scatter")


def scan_report(conn: sa.Connection, name: str) -> str:
    """Return the best trials, what is recommended, and how honest choosing turned out."""
    scan = _found(conn, name)
    space = scan.params["space"]
    trials = read_trials(conn, scan.scan_id)
    ranked = rank(trials)
    failed = sum(r.inner_loss is None for r in ranked)
    settings = list(ranked[0].settings) if ranked else []
    rows = [["trial", "inner_loss", *settings]]  # a setting may be called loss
    rows += [
        [str(r.number), f"{r.inner_loss:.5f}", *(_shown(r.settings[s]) for s in settings)]
        for r in ranked[:SHOWN]
        if r.inner_loss is not None
    ]
    n_folds = scan.params["folds"]
    error = {"mae": "absolute", "mse": "squared"}[space["objective"]]
    judges = "" if any(t.fold == FINAL_FOLD for t in trials) else " of each fold"
    lines = [
        f"{count(len(ranked), 'trial')} of {scan.preset}, {failed} failed; inner_loss: mean "
        f"{error} error in scaled labels of {space['validation']:.0%} of the training stars{judges}"
        "",
        *_aligned(rows),
    ]
    lines += [f"  trial {r.number} failed: {r.failure}" for r in ranked if r.failure][:3]
    if scan.best_settings is not None:
        best = {**space["fixed"], **scan.best_settings}
        words = " ".join(f"--set {k}={v}" for k, v in sorted(best.items()))
        command = f"crosslabel train --preset {scan.preset} {words}"
        command += f" --sample {scan.params['sample']} --labels {','.join(scan.params['labels'])}"
        lines.append(f"Recommended: {command} --name NAME")
    choices = read_choices(conn, scan.scan_id)
    chosen = ", ".join(f"{c.number}" for c in choices)
    lines += [
        f"Stars held out by {n_folds} folds, each labelled by the trial that its fold chose "
        f"({chosen or 'none'}):",
        *_aligned([["label", "n", *_SCORES], *_scores(scan)]),
    ]
    target = find_label_set(conn, scan.params["target"])
    note = SIMULATED.strip(" ;,") if target.simulated else ""
    return "\n".join([*lines, *([f"{target.full_name}: {note}"] if note else [])])


def scan_csv(conn: sa.Connection, name: str) -> str:
    """All trials by validation loss, the failed last; folds with settings of their own apart."""
    scan = _found(conn, name)
    ranked = rank(read_trials(conn, scan.scan_id), everything=True)
    settings = sorted({s for r in ranked for s in r.settings})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "folds", "inner_loss", "failure", *settings])
    for r in ranked:
        values = [r.settings.get(s) for s in settings]
        writer.writerow([r.number, _folds(r), r.inner_loss, r.failure, *values])
    return text.getvalue()


def _found(conn: sa.Connection, name: str) -> sa.Row[Any]:
    """Return the row of a scan that must be there."""
    scan = find_scan(conn, name)
    if scan is None:
        known = conn.scalars(sa.text("SELECT name FROM scan ORDER BY name"))
        todo = names_near(name, known, "Scans", "none yet; run: crosslabel scan")
        raise UsageError(f"there is no scan {name}", todo)
    return scan


def _folds(ranked: Ranked) -> str:
    """The folds that judged settings, such as ``0 1 2``; ``all`` for the split of all stars."""
    return " ".join("all" if f == FINAL_FOLD else str(f) for f in ranked.folds)


def _scores(scan: sa.Row[Any]) -> list[list[str]]:
    """Return scores of the held-out stars, label by label."""
    found = scan.metrics or {}
    rows = []
    for label in scan.params["labels"]:
        digits = 1 if label == "teff" else 4
        values = [found.get(f"{label}.{s}") for s in _SCORES]
        cells = ["-" if v is None else f"{v:.{digits}f}" for v in values]
        rows.append([label, str(found.get(f"{label}.n", 0)), *cells])
    return rows


def _shown(value: Any) -> str:
    """Return a setting in as many digits as matter to a reader."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _aligned(rows: list[list[str]]) -> list[str]:
    """Columns of one width each."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
