"""Export spectra as FITS files for people: one file each, and an index of them.

A file is written only where its content is new, so that exports that are made again, or were
broken off, cost little. The index comes last and names complete files only. Files of spectra that
were exported earlier and do not belong to the selection any more stay; the index does not name
them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from catalog.errors import UsageError
from catalog.export.label_sets import reference_of, sample_provenance
from catalog.export.query import filled_in
from catalog.export.selection import Selection
from catalog.store.normalized import normalize_command, stale_ids
from catalog.store.samples import find_sample
from catalog.store.spectra import USABLE
from catalog.version import code_version
from catalog.words import part, verb
from catalog.writing import replace_files
from jobs.engine.job import Progress, silent
from jobs.export.matrix import stored_recipe
from jobs.export.spectrum import Chosen, as_export, read_exported
from jobs.export.tables import SUFFIXES
from jobs.normalize import find_recipe

INDEX = "index.fits"
_INDEX = """SELECT f.file_name, f.sha256, s.survey, s.survey_key, d.specobjid, d.plate, d.mjd,
    d.fiberid, d.run2d, s.ra, s.dec, b.instrument, b.class, b.subclass, b.z, b.z_err, b.zwarning,
    b.sn_median, b.bad_fraction, {pair}n.recipe, n.recipe_version, n.normalize_flags,
    n.good_fraction
FROM jsonb_to_recordset(CAST(%(files)s AS jsonb))
    AS f (source_id bigint, file_name text, sha256 text)
JOIN source s USING (source_id)
JOIN spectrum_blob b USING (source_id)
JOIN normalized_spectrum n ON n.source_id = f.source_id AND n.recipe = %(recipe)s
LEFT JOIN sdss_spectrum d ON d.source_id = f.source_id
{join}"""


@dataclass(frozen=True)
class SpectraSummary:
    """The result of an export: spectra in the folder, and files that had to be written."""

    n_spectra: int
    n_written: int


def export_spectra(
    conn: sa.Connection,
    folder: Path,
    *,
    sample: str | None = None,
    recipe: str | None = None,
    progress: Progress = silent,
) -> SpectraSummary:
    """Write one FITS file per spectrum into a folder, and ``index.fits``.

    Parameters
    ----------
    conn : Connection
        A repeatable-read transaction (``Database.reader``).
    folder : Path
        Made if it is not there.
    sample : str, optional
        Only the spectra of the accepted pairs of this sample; all usable ones if not given.
    recipe : str, optional
        Normalization; the only one that the spectra have, or ``default``, if not given.

    Raises
    ------
    UsageError
        If there are no such spectra, some are not normalized, or the folder cannot be written to.
    ChunkFailed
        If a stored spectrum is damaged.
    """
    if folder.suffix.lower() in SUFFIXES and not folder.is_dir():
        raise UsageError(f"{folder} is the name of a file", "Spectra go into a folder: name one")
    chosen = _choose(conn, sample, recipe)
    ids = _spectra_to_export(conn, chosen)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as exc:
        raise UsageError(
            f"{folder} is no folder and cannot be made one: {exc.strerror}",
            "Name a folder; the one that it lies in must be there",
        ) from exc
    from catalog.export.fits import write_fits  # Astropy and Arrow
    from catalog.export.spectrum import spectrum_file

    files, n_written = [], 0
    for row in read_exported(conn, chosen, ids):
        name = f"{row.survey}-{quote(row.survey_key, safe='')}.fits"
        content = spectrum_file(as_export(row, chosen))
        n_written += _write_if_new(folder / name, content)
        digest = hashlib.sha256(content).hexdigest()
        files.append({"source_id": row.source_id, "file_name": name, "sha256": digest})
        progress("export spectra: files", len(files), len(ids))
    with replace_files(folder / INDEX) as (stream,):
        write_fits(conn, _index(conn, chosen, files), stream)
    return SpectraSummary(len(files), n_written)


def _choose(conn: sa.Connection, sample: str | None, recipe: str | None) -> Chosen:
    """Find sample and recipe, and what they were made from."""
    which = None if sample is None else find_sample(conn, sample)
    found = find_recipe(recipe or stored_recipe(conn, None if which is None else which.sample_id))
    provenance: dict[str, Any] = {"what": "spectra", "written_by": code_version()}
    simulated = False
    if which is not None:
        reference = reference_of(conn, which)
        provenance = sample_provenance(conn, which, reference)
        provenance["what"] = f"spectra of sample {which.name}"
        simulated = reference is not None and reference.simulated
    provenance |= {"recipe": found.name, "recipe_version": found.version}
    return Chosen(found, which, provenance, simulated)


def _spectra_to_export(conn: sa.Connection, chosen: Chosen) -> list[int]:
    """Return ids of the spectra, all of which are normalized, in the order of their keys."""
    query = f"""SELECT b.source_id FROM spectrum_blob b JOIN source s USING (source_id)
        WHERE {USABLE}
        ORDER BY s.survey, s.survey_key COLLATE "C" """
    ids = list(conn.scalars(sa.text(query), {"sample_id": chosen.sample_id}))
    name = None if chosen.sample is None else chosen.sample.name
    if not ids:
        raise UsageError(
            "there are no spectra to export" + (f" in sample {name}" if name else ""),
            "Run: crosslabel ingest spectra",
        )
    stale = len(stale_ids(conn, chosen.recipe, chosen.sample_id))
    if stale:
        raise UsageError(
            f"{part(stale, len(ids), 'spectrum')} {verb(stale)} not normalized by "
            f"{chosen.recipe.name}",
            normalize_command(chosen.recipe.name, name),
        )
    return ids


def _write_if_new(path: Path, content: bytes) -> bool:
    """Write a file unless it is there already; whether it was written."""
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return False
    with replace_files(path) as (stream,):
        stream.write(content)
    return True


def _index(conn: sa.Connection, chosen: Chosen, files: list[dict[str, Any]]) -> Selection:
    """Return the files as something to export."""
    pair, join = "", ""
    if chosen.sample is not None:
        pair = "t.star_key, l.survey_key AS left_key, k.sep_arcsec, "
        join = (
            "JOIN star_link k ON k.right_id = f.source_id "
            f"AND k.sample_id = {chosen.sample.sample_id} "
            "JOIN star t ON t.star_id = k.star_id JOIN source l ON l.source_id = k.left_id"
        )
    what = "all spectra" if chosen.sample is None else f"the spectra of sample {chosen.sample.name}"
    return Selection(
        name="index",
        description=f"Files of {what}, normalized by recipe {chosen.recipe.name}",
        query=filled_in(
            conn, _INDEX.format(pair=pair, join=join),
            {"files": json.dumps(files), "recipe": chosen.recipe.name},
        ),
        order=("survey", "survey_key"),
        provenance=chosen.provenance,
    )  # fmt: skip
