"""Export a table, view, label set, sample, comparison or query; the suffix says to what kind."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.export.choose import select_for_export
from catalog.export.npz import write_npz
from catalog.export.query import query_errors
from catalog.export.selection import Selection
from catalog.export.writers import WRITERS, write_selection
from catalog.store.samples import find_sample
from catalog.writing import replace_files
from jobs.export.matrix import sample_matrix

SUFFIXES = (*WRITERS, ".npz")  # npz: the spectra and labels of a sample


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
        Its suffix is one of `catalog.export.writers.WRITERS`, which also says what is written
        beside it; or, for the spectra and labels of a sample, ``.npz``. What is there is replaced
        when all is written.
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
    if suffix == ".npz":
        return _export_matrix(conn, selection, path, recipe)
    with query_errors() if selection.is_query else nullcontext():
        paths, n_rows = write_selection(conn, selection, path, safe_cells=safe_cells)
    return ExportSummary(selection.name, paths, n_rows)


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
