"""Tables of the origin: label sets, files, crossmatch, sample, recipes, models, software."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np
import sqlalchemy as sa

from catalog.store.head import schema_revision
from catalog.store.inputs import IS_USED
from catalog.store.models import MODEL_LINES
from catalog.store.samples import find_sample
from catalog.version import code_version
from catalog.words import count
from jobs.report.drawing import Cell, Subject, Table
from jobs.training.model_card import train_command
from models.spectra.recipes import RECIPES

_LABEL_SETS = """
    SELECT l.name || '@' || l.edition AS full_name, l.kind, l.n_rows, l.description,
           coalesce(l.params ->> 'note', '') AS note, l.published_at
    FROM label_set l WHERE l.status = 'complete' ORDER BY l.name, l.edition"""
_FILES = f"""
    SELECT path, kind, coalesce(release, '') AS release, n_rows, size, sha256,
           (SELECT coalesce(string_agg(l.name || '@' || l.edition, ', '
                                       ORDER BY l.name, l.edition), '')
            FROM label_set_file u JOIN label_set l USING (label_set_id)
            WHERE u.input_file_id = f.input_file_id AND l.status = 'complete') AS made
    FROM input_file f WHERE kind <> 'spectrum' AND {IS_USED}
    ORDER BY kind, release, path, sha256"""
_SPECTRUM_FILES = f"""
    SELECT count(*) AS files, sum(size) AS size,
           encode(sha256(convert_to(string_agg(sha256, ' ' ORDER BY sha256), 'UTF8')), 'hex')
               AS digest
    FROM input_file f WHERE kind = 'spectrum' AND {IS_USED}"""
_CROSSMATCH = """
    SELECT c.left_spec, c.right_spec, c.radius_arcsec,
           (SELECT count(*) FROM match m WHERE m.crossmatch_id = c.crossmatch_id) AS pairs
    FROM sample s JOIN crossmatch c USING (crossmatch_id) WHERE s.name = :sample"""
_MODELS = f"""
    SELECT name || '@' || edition AS full_name, preset, seed, labels, recipe, recipe_version,
           params, versions, sha256, label_set
    FROM ({MODEL_LINES}) q WHERE name || '@' || edition = ANY(:models)"""


def source_tables(conn: sa.Connection, subject: Subject) -> list[Table]:
    """Say what the report rests on, with editions, checksums, seeds and versions.

    Parameters
    ----------
    conn : Connection
        A repeatable-read transaction.
    subject : Subject
        What the report is about.
    """
    return [
        _label_sets(conn, subject),
        _files(conn),
        _sample(conn, subject),
        _recipes(),
        *_models(conn, subject),
        _software(conn),
    ]


def _label_sets(conn: sa.Connection, subject: Subject) -> Table:
    """All complete label sets, with their editions."""
    role = {subject.reference: "the reference"}
    if subject.compared is not None:
        role[subject.compared] = "compared"
    rows = tuple(
        (r.full_name, role.get(r.full_name, r.kind.replace("_", " ")), r.n_rows,
         f"{r.description}. {r.note}".strip(" ."), f"{r.published_at:%Y-%m-%d}")
        for r in conn.execute(sa.text(_LABEL_SETS))
    )  # fmt: skip
    head = ("label set", "what it is here", "labelled", "description", "published")
    return Table("label-sets", "Label sets of the catalog", head, rows)


def _files(conn: sa.Connection) -> Table:
    """The catalog files with their checksums, and all spectra together."""
    rows: list[tuple[Cell, ...]] = [
        (Path(r.path).name, r.kind, r.release, r.made, r.n_rows, r.size, r.sha256)
        for r in conn.execute(sa.text(_FILES))
    ]
    spectra = conn.execute(sa.text(_SPECTRUM_FILES)).one()
    if spectra.files:
        name = count(spectra.files, "spectrum file")
        rows.append((name, "spectrum", "", "", spectra.files, int(spectra.size), spectra.digest))
    head = ("file", "kind", "release", "label sets made", "entries", "bytes", "sha256")
    note = (
        "The checksum of the spectra is that of their sorted checksums, separated by blanks; the "
        "table input_file has each."
    )
    return Table("input-files", "Files", head, tuple(rows), note if spectra.files else "")


def _sample(conn: sa.Connection, subject: Subject) -> Table:
    """The crossmatch and the rules of the sample."""
    sample = find_sample(conn, subject.sample)
    rows: list[tuple[Cell, ...]] = [("sample", sample.name), ("preset", sample.preset)]
    found = conn.execute(sa.text(_CROSSMATCH), {"sample": sample.name}).first()
    if found is not None:
        pairs = f"{found.left_spec} with {found.right_spec} within {found.radius_arcsec:g} arcsec"
        rows.append(("crossmatch", f"{pairs}: {count(found.pairs, 'candidate pair')}"))
    rows += _flat(sample.params, skip=("name", "preset", "left", "right", "radius_arcsec"))
    return Table(
        "sample-rules", "Crossmatch and rules of the sample", ("setting", "value"), tuple(rows)
    )


def _flat(values: Mapping[str, Any], skip: tuple[str, ...] = ()) -> Iterator[tuple[Cell, ...]]:
    """Settings that are set, those within others too."""
    for key, value in sorted(values.items()):
        if key in skip or value in (None, "", []):
            continue
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            yield key, text


def _recipes() -> Table:
    """The recipes of normalization."""
    rows = tuple(
        (r.name, r.version, "of the star" if r.rest_frame else "of the observer",
         f"{r.wavelength[0]:.0f} to {r.wavelength[-1]:.0f}", r.n_pixels, r.continuum, r.mask_set)
        for r in RECIPES.values()
    )  # fmt: skip
    head = ("recipe", "version", "frame", "vacuum wavelength [Angstrom]", "pixels", "continuum",
            "mask bits")  # fmt: skip
    return Table("recipes", "Recipes of normalization", head, rows)


def _models(conn: sa.Connection, subject: Subject) -> list[Table]:
    """The models, one table each: what they learned, and how to train them again."""
    found = conn.execute(sa.text(_MODELS), {"models": list(subject.models)}).all()
    by_name = {r.full_name: r for r in found}
    tables = []
    for i, name in enumerate(subject.models):
        r = by_name[name]
        params = r.params or {}
        rows: tuple[tuple[Cell, ...], ...] = (
            ("preset", r.preset),
            ("labels", ", ".join(r.labels)),
            ("learned from", r.label_set),
            ("recipe", f"{r.recipe}, version {r.recipe_version}"),
            ("seed", str(r.seed)),
            ("command", train_command(params) if "folds" in params else "imported from a file"),
            ("versions", ", ".join(f"{k} {v}" for k, v in sorted((r.versions or {}).items()))),
            ("sha256", r.sha256),
        )
        tables.append(Table(f"model-{i + 1}", f"Model {name}", ("what", "which"), rows))
    return tables


def _software(conn: sa.Connection) -> Table:
    """Return the table of the software that made the catalog and this page."""
    written = conn.scalars(sa.text("SELECT DISTINCT code_version FROM job_run ORDER BY 1")).all()
    rows: tuple[tuple[Cell, ...], ...] = (
        ("crosslabel, this report", code_version()),
        ("crosslabel, the runs that wrote the catalog", ", ".join(written)),
        ("schema of the database", schema_revision(conn)),
        ("Python", platform.python_version()),
        ("NumPy", np.__version__),
        ("Matplotlib", mpl.__version__),
        ("Jinja", jinja2.__version__),
    )
    return Table("software", "Software", ("what", "version"), rows)
