"""Export a table, view, label set or sample to a file; the type follows from the suffix."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.files.export import replace_files
from catalog.files.export_csv import SCHEMA_SUFFIX, write_csv
from catalog.files.export_fits import write_fits
from catalog.files.export_npz import write_npz
from catalog.store.samples import find_sample
from jobs.export_matrix import sample_matrix
from jobs.export_selections import select_for_export

SUFFIXES = (".csv", ".fits", ".npz")


@dataclass(frozen=True)
class ExportSummary:
    """What was written: the name of the content with its edition, files, number of rows."""

    what: str
    paths: tuple[Path, ...]
    n_rows: int


def export(
    conn: sa.Connection,
    what: str,
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
    what : str
        A label set (``name`` or ``name@edition``), a sample, or a table or view.
    path : Path
        ``.csv`` (with a sidecar ``.csv.schema.json``), ``.fits``, or, for the spectra and labels of
        a sample, ``.npz``. What is there is replaced when all is written.
    recipe : str, optional
        For ``.npz``: see `jobs.export_matrix.sample_matrix`.
    safe_cells : bool
        For ``.csv``: see `catalog.files.export_csv.write_csv`.

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
    selection = select_for_export(conn, what)
    if suffix == ".npz":
        return _export_matrix(conn, what, path, recipe, is_sample="preset" in selection.provenance)
    if suffix == ".fits":
        with replace_files(path) as (stream,):
            n_rows = write_fits(conn, selection, stream)
        return ExportSummary(selection.name, (path,), n_rows)
    sidecar_path = path.with_name(path.name + SCHEMA_SUFFIX)
    with replace_files(path, sidecar_path) as (stream, sidecar):
        n_rows = write_csv(
            conn, selection, stream, sidecar, file_name=path.name, safe_cells=safe_cells
        )
    return ExportSummary(selection.name, (path, sidecar_path), n_rows)


def _export_matrix(
    conn: sa.Connection, what: str, path: Path, recipe: str | None, *, is_sample: bool
) -> ExportSummary:
    """Write the matrix of a sample."""
    if not is_sample:
        raise UsageError(
            f"{what} is no sample, and only samples are written as .npz",
            "Take .csv or .fits, or name a sample",
        )
    arrays = sample_matrix(conn, find_sample(conn, what), recipe)
    with replace_files(path) as (stream,):
        write_npz(stream, arrays)
    return ExportSummary(what, (path,), len(arrays["flux"]))
