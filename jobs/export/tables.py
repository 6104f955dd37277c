"""Export a table, view, label set, sample, comparison or query; the suffix says to what kind."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.export.choose import select_for_export
from catalog.export.csv import SCHEMA_SUFFIX, write_csv
from catalog.export.npz import write_npz
from catalog.export.query import query_errors
from catalog.export.selection import Selection
from catalog.store.samples import find_sample
from catalog.writing import replace_files, write_digest
from jobs.export.matrix import sample_matrix

#: Suffix -> module and function that writes a selection to a stream, and gives the number of rows.
#: By name: the libraries of the formats load when such a file is written.
_WRITERS = {
    ".fits": ("catalog.export.fits", "write_fits"),
    ".ecsv": ("catalog.export.ecsv", "write_ecsv"),
    ".vot": ("catalog.export.votable", "write_votable"),
    ".parquet": ("catalog.export.parquet", "write_parquet"),
}
SUFFIXES = (".csv", *_WRITERS, ".npz")
DIGEST_SUFFIX = ".sha256"


@dataclass(frozen=True)
class ExportSummary:
    """The result of an export: name of the content with its edition, files, number of rows."""

    what: str
    paths: tuple[Path, ...]
    n_rows: int


def export(
    conn: sa.Connection,
    what: str | Selection,
    path: Path,
    *,
    recipe: str | None = None,
    safe_cells: bool = False,
) -> ExportSummary:
    """Write a file; the same content always gives the same bytes.

    Parameters
    ----------
    conn : Connection
        A repeatable-read transaction (``Database.reader``): a job that runs meanwhile changes
        nothing in the file.
    what : str or Selection
        A label set (``name`` or ``name@edition``), a sample, a table or view; or a selection
        (`catalog.export.comparison`, `catalog.export.query`).
    path : Path
        ``.csv`` (with a sidecar ``.csv.schema.json``), ``.fits``, ``.ecsv``, ``.vot``, ``.parquet``
        (with a sidecar ``.sha256``; FITS has its checksums inside), or, for the spectra and labels
        of a sample, ``.npz``. What is there is replaced when all is written.
    recipe : str, optional
        For ``.npz``: see `jobs.export.matrix.sample_matrix`.
    safe_cells : bool
        For ``.csv``: see `catalog.export.csv.write_csv`.

    Raises
    ------
    UsageError
        If the name or the suffix is unknown, or the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(
            f"{path} does not say what kind of file to write",
            f"Its name must end with {', '.join(SUFFIXES)}",
        )
    try:
        if not path.parent.is_dir():
            raise UsageError(f"there is no folder {path.parent}", "Make it first")
        if path.is_dir():
            raise UsageError(f"{path} is a folder", "Name a file")
    except OSError as exc:  # such as a name that is too long
        raise UsageError(f"{path} cannot be written: {exc.strerror}", "Name another file") from exc
    selection = select_for_export(conn, what) if isinstance(what, str) else what
    with query_errors() if selection.is_query else nullcontext():
        return _write(conn, selection, path, recipe=recipe, safe_cells=safe_cells)


def _write(
    conn: sa.Connection, selection: Selection, path: Path, *, recipe: str | None, safe_cells: bool
) -> ExportSummary:
    """Write a selection to a file of the kind that its suffix says."""
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return _export_matrix(conn, selection, path, recipe)
    if suffix in _WRITERS:
        module, name = _WRITERS[suffix]
        write: Callable[[sa.Connection, Selection, BinaryIO], int]
        write = getattr(import_module(module), name)
        if suffix == ".fits":  # has its checksums inside
            with replace_files(path) as (stream,):
                n_rows = write(conn, selection, stream)
            return ExportSummary(selection.name, (path,), n_rows)
        digest_path = path.with_name(path.name + DIGEST_SUFFIX)
        with replace_files(path, digest_path) as (stream, digest):
            n_rows = write(conn, selection, stream)
            write_digest(stream, digest, path.name)
        return ExportSummary(selection.name, (path, digest_path), n_rows)
    sidecar_path = path.with_name(path.name + SCHEMA_SUFFIX)
    with replace_files(path, sidecar_path) as (stream, sidecar):
        n_rows = write_csv(
            conn, selection, stream, sidecar, file_name=path.name, safe_cells=safe_cells
        )
    return ExportSummary(selection.name, (path, sidecar_path), n_rows)


def _export_matrix(
    conn: sa.Connection, selection: Selection, path: Path, recipe: str | None
) -> ExportSummary:
    """Write the matrix of a sample."""
    if "preset" not in selection.provenance:
        raise UsageError(
            f"{selection.name} is no sample, and only samples are written as .npz",
            "Take another suffix, or name a sample",
        )
    arrays = sample_matrix(conn, find_sample(conn, selection.name), recipe)
    with replace_files(path) as (stream,):
        write_npz(stream, arrays)
    return ExportSummary(selection.name, (path,), len(arrays["flux"]))
