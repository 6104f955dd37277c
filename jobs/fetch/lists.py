"""Lists for wget and rsync instead of downloads: what `fetch` would ask for first."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from catalog.archive.places import catalog_places, check_archive_release, spectrum_places
from catalog.errors import CrosslabelError
from jobs.fetch.spectra import wanted_spectra


def listed_places(conn: sa.Connection, sample: str, release: str) -> list[str]:
    """Return the best place of every spectrum that a sample lacks, relative to the archive's root.

    Raises
    ------
    UsageError
        If there is no such sample, or the release is not known.
    """
    release = check_archive_release(release)
    wanted = wanted_spectra(conn, sample, release)
    return [spectrum_places(w.key, release)[0] for w in wanted]


def catalog_place(kind: str, release: str) -> list[str]:
    """Return the best place of a catalog file, relative to the archive's root."""
    return [catalog_places(kind, release)[0]]


def write_list(out: Path, places: list[str], archive_url: str, *, rsync: bool) -> str:
    """Write a list of files and give the command that takes it.

    Parameters
    ----------
    out : Path
        The list; what was there before stays if it cannot be written.
    places : list of str
        Relative to the archive's root.
    archive_url : str
        The archive or a mirror of it.
    rsync : bool
        Relative paths for ``rsync --files-from`` instead of addresses for ``wget --input-file``.

    Returns
    -------
    str
        The command for people to run.

    Raises
    ------
    CrosslabelError
        If the list cannot be written.
    """
    lines = places if rsync else [f"{archive_url}/{place}" for place in places]
    part = out.with_name(out.name + ".part")
    try:
        part.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
        part.replace(out)
    except OSError as exc:
        raise CrosslabelError(
            f"{out} cannot be written: {exc.strerror}", "Name another file"
        ) from exc
    if rsync:
        return f"rsync -av --files-from={out} rsync://dtn.sdss.org/ FOLDER/"
    depth = archive_url.split("://", 1)[1].count("/")
    return f"wget -nv -c -x -nH --cut-dirs={depth} -P FOLDER -i {out}"
