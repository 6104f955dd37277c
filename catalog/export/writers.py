"""The formats of exports: which function writes each, and what is written beside the file.

A format is its module and one line of `WRITERS`; commands, their help, the configuration of sync
and error messages take the suffixes from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlalchemy as sa

    from catalog.export.selection import Selection

DIGEST_SUFFIX = ".sha256"
SCHEMA_SUFFIX = ".schema.json"


@dataclass(frozen=True)
class Writer:
    """Names the function of a format: its libraries load when such a file is written.

    Attributes
    ----------
    module, function : str
        ``function(conn, selection, stream)`` writes a selection to a binary stream, and returns
        the number of rows. That of CSV also writes its sidecar, see `catalog.export.csv`.
    sidecar : str or None
        Suffix of the file beside it: the SHA-256 for formats without checksums of their own.
    """

    module: str
    function: str
    sidecar: str | None = DIGEST_SUFFIX


WRITERS: Mapping[str, Writer] = MappingProxyType(
    {
        ".csv": Writer("catalog.export.csv", "write_csv", SCHEMA_SUFFIX),
        ".fits": Writer("catalog.export.fits", "write_fits", sidecar=None),
        ".ecsv": Writer("catalog.export.ecsv", "write_ecsv"),
        ".vot": Writer("catalog.export.votable", "write_votable"),
        ".parquet": Writer("catalog.export.parquet", "write_parquet"),
    }
)
"""Suffix of a file -> its writer."""


def write_selection(
    conn: sa.Connection, selection: Selection, path: Path, *, safe_cells: bool = False
) -> tuple[tuple[Path, ...], int]:
    """Write a selection to a file of the format that its suffix names, with its sidecar.

    Parameters
    ----------
    safe_cells : bool
        For ``.csv``: see `catalog.export.csv.write_csv`.

    Returns
    -------
    paths : tuple of Path
        The file, then its sidecar.
    n_rows : int
    """
    from catalog.writing import replace_files, write_digest

    writer = WRITERS[path.suffix.lower()]
    write = getattr(import_module(writer.module), writer.function)
    paths = (path, *([path.with_name(path.name + writer.sidecar)] if writer.sidecar else []))
    with replace_files(*paths) as (stream, *beside):
        if writer.sidecar == SCHEMA_SUFFIX:
            n_rows = write(
                conn, selection, stream, *beside, file_name=path.name, safe_cells=safe_cells
            )
        else:
            n_rows = write(conn, selection, stream)
            for sidecar in beside:
                write_digest(stream, sidecar, path.name)
    return paths, n_rows
