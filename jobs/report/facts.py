"""Counts through the pipeline: from the files to the labels, with the reason of every rejection."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from catalog.store.entries import IS_SPECTRUM
from catalog.store.labels import find_label_set, flag_meanings
from catalog.store.normalized import FROM_SPECTRA, recipe_values
from catalog.store.samples import find_sample
from jobs.report.drawing import Cell, Subject, Table
from jobs.report.origin import out_of_fold_sets
from jobs.samples.rules import REASONS
from models.spectra.recipes import RECIPES

_FILES = """
    SELECT f.kind, coalesce(f.release, '') AS release, count(*) AS files, sum(f.n_rows) AS n_rows,
           sum((SELECT count(*) FROM quarantine q WHERE q.input_file_id = f.input_file_id))
               AS refused
    FROM input_file f GROUP BY 1, 2 ORDER BY 1, 2"""
_REFUSED = """
    SELECT f.kind, q.reason_code, count(*) AS n,
           (array_agg(ARRAY[q.detail, f.path] ORDER BY f.path, q.item_key))[1:1] AS example
    FROM quarantine q JOIN input_file f USING (input_file_id)
    GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2"""
_SAMPLE = """
    SELECT count(*) AS spectra, count(DISTINCT k.star_id) AS stars,
           count(*) FILTER (WHERE b.spectrum_state = 'ok') AS usable
    FROM star_link k LEFT JOIN spectrum_blob b ON b.source_id = k.right_id
    WHERE k.sample_id = :sample_id"""
_LABELLED = """
    SELECT l.name || '@' || l.edition AS full_name, l.kind, l.n_rows,
           (SELECT count(*) FROM stellar_label s
            WHERE s.label_set_id = l.label_set_id AND s.flags <> 0) AS flagged
    FROM label_set l JOIN model m USING (model_id)
    WHERE l.status = 'complete' AND m.name || '@' || m.edition = :model
    ORDER BY l.kind, l.name, l.edition"""
_TRAINED = f"""
    SELECT count(*) FILTER (WHERE {IS_SPECTRUM}) AS spectra,
           count(DISTINCT t.star_id) AS stars
    FROM training_member t JOIN source r USING (source_id) JOIN model m USING (model_id)
    WHERE m.name || '@' || m.edition = :model"""


def count_tables(conn: sa.Connection, subject: Subject) -> list[Table]:
    """Count what was read, refused, matched, selected, normalized, learned and flagged.

    Parameters
    ----------
    conn : Connection
        A repeatable-read transaction, so that the numbers add up.
    subject : Subject
        What the report is about.
    """
    tables = [_files(conn), _refused(conn), _funnel(conn, subject), _spectra(conn, subject)]
    return [*tables, _models(conn, subject), _flags(conn, subject)]


def _files(conn: sa.Connection) -> Table:
    """Return the table of the files that were read."""
    rows = tuple(
        (r.kind, r.release, r.files, None if r.n_rows is None else int(r.n_rows), int(r.refused))
        for r in conn.execute(sa.text(_FILES))
    )
    head = ("kind of file", "release", "files", "entries", "entries or files refused")
    return Table("files", "What was read", head, rows)


def _refused(conn: sa.Connection) -> Table:
    """Return the table of what was refused, by reason."""
    rows = []
    for r in conn.execute(sa.text(_REFUSED)):
        detail, path = r.example[0]
        # the folders of this machine are nobody's business
        rows.append((r.kind, r.reason_code, r.n, (detail or "").replace(path, Path(path).name)))
    head = ("kind of file", "reason", "items", "for example")
    note = "" if rows else "Nothing was refused."
    return Table("refused", "What was refused when it was read, and why", head, tuple(rows), note)


def _funnel(conn: sa.Connection, subject: Subject) -> Table:
    """Count the entries of the reference and the candidate pairs by what rejects them."""
    sample = find_sample(conn, subject.sample)
    counts: Mapping[str, Any] = sample.counts or {}
    by_row, by_pair = counts.get("rows", {}), counts.get("pairs", {})
    known = [*REASONS, *sorted(set(by_row) | set(by_pair))]
    codes = [c for c in dict.fromkeys(known) if c not in ("total", "accepted")]
    rows: list[tuple[Cell, ...]] = [
        ("total", "all", by_row.get("total"), by_pair.get("total")),
        *(
            (code, REASONS.get(code, ""), by_row.get(code), by_pair.get(code))
            for code in codes
            if by_row.get(code) or by_pair.get(code)
        ),
        ("accepted", "in the sample", by_row.get("accepted"), by_pair.get("accepted")),
    ]
    head = ("reason", "in words", f"entries of {sample.params['left']}", "candidate pairs")
    note = (
        "Each entry and each pair is counted once, at the first reason that rejects it; an entry "
        "with several pairs at that of the pair that came farthest."
    )
    title = f"How the sample {subject.sample} was selected"
    return Table("selection", title, head, tuple(rows), note)


def _spectra(conn: sa.Connection, subject: Subject) -> Table:
    """From the accepted pairs to normalized spectra."""
    sample_id = find_sample(conn, subject.sample).sample_id
    found = conn.execute(sa.text(_SAMPLE), {"sample_id": sample_id}).one()
    rows: list[tuple[Cell, ...]] = [
        ("accepted spectra", found.spectra),
        ("their stars", found.stars),
        ("spectra with usable pixels", found.usable),
    ]
    query = sa.text(f"SELECT count(*) {FROM_SPECTRA} AND n.source_id IS NOT NULL")
    for recipe in RECIPES.values():
        n = conn.scalar(query, recipe_values(recipe, sample_id)) or 0
        rows += [(f"normalized by the recipe {recipe.name}", n)] if n else []
    title = f"Spectra of the sample {subject.sample}"
    return Table("spectra", title, ("what", "number"), tuple(rows))


def _models(conn: sa.Connection, subject: Subject) -> Table:
    """Return the table of the training sets and label sets of the models."""
    rows: list[tuple[Cell, ...]] = []
    for model in subject.models:
        trained = conn.execute(sa.text(_TRAINED), {"model": model}).one()
        for made in conn.execute(sa.text(_LABELLED), {"model": model}):
            kind = made.kind.replace("_", " ")
            rows.append(
                (model, trained.spectra, trained.stars, made.full_name, kind, made.n_rows,
                 made.flagged)
            )  # fmt: skip
    head = ("model", "trained on spectra", "of stars", "label set", "kind", "labelled", "flagged")
    note = "Out-of-fold labels are those of the training stars, each by a fit that never saw it. "
    note += "Flagged are those with any flag; in predictions TRAINED_ON is one."
    if not rows:
        note = "No model was trained on this sample: crosslabel train."
    return Table("models", "What the models learned from and labelled", head, tuple(rows), note)


def _flags(conn: sa.Connection, subject: Subject) -> Table:
    """Return the table of the numbers of flags, by label set of the models."""
    sets = list(out_of_fold_sets(conn, subject).values())
    for model in subject.models:
        found = conn.execute(sa.text(_LABELLED), {"model": model})
        sets += [row.full_name for row in found if row.kind == "prediction"]
    count = sa.text(
        "SELECT b.bit, count(*) FROM stellar_label s "
        "JOIN generate_series(0, 62) AS b (bit) ON s.flags & (1::bigint << b.bit) <> 0 "
        "WHERE s.label_set_id = :id AND s.flags <> 0 GROUP BY 1"
    )
    meanings: dict[str, str] = {}
    numbers: dict[tuple[str, str], int] = {}
    for name in sets:
        label_set = find_label_set(conn, name)
        flags_of_bits = flag_meanings(conn, label_set.name)
        for bit, n in conn.execute(count, {"id": label_set.label_set_id}):
            flag, meaning = flags_of_bits.get(bit, (f"bit {bit}", ""))
            meanings.setdefault(flag, meaning)
            numbers[flag, name] = n
        meanings |= {
            flag: meaning for flag, meaning in flags_of_bits.values() if flag not in meanings
        }
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (flag, meaning, *(numbers.get((flag, name), 0) for name in sets))
        for flag, meaning in sorted(meanings.items())
    )
    head = ("flag", "means", *sets)
    note = "Where a flag is set, do not use the labels without a look at the spectrum."
    return Table("flags", "Where not to believe the models", head, rows, note if rows else "")
