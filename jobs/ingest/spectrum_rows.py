"""The rows of spectra: which file a spectrum is taken from, and how a chunk of them is written.

One spectrum (a key of a survey) may lie in several files. The same content is no conflict. Else a
file replaces the one that the catalog has where a rule says that it is the newer: the same path
read again, a newer version of the pipeline, a higher release's folder of the archive (``dr17``),
or the other file is not there any more. Where no rule decides, what the catalog has stays, and the
file is refused with DUP_CONFLICT, which names both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import sqlalchemy as sa

from catalog.records import BadItem, FileIdentity
from catalog.sky.healpix import healpix29
from catalog.store.bulk import stage, upsert
from catalog.store.entries import IS_PLACED
from catalog.store.inputs import quarantine_items, register_file, release_files
from catalog.store.savepoints import refusal, write_each
from catalog.store.schema import metadata, source, spectrum_blob
from catalog.store.spectra import LOGLAM_STEP, checksum, encode
from catalog.surveys.registry import all_details
from catalog.surveys.spectrum import SpectrumFile, bad_fraction

KIND = "spectrum"
RELEASE_FOLDER = re.compile(r"dr(\d+)", re.I)
Content = tuple[Any, ...]
Choice = Literal["take", "keep", "conflict"]


@dataclass(frozen=True)
class ReadFile:
    """One file: its spectrum, or why it was refused."""

    identity: FileIdentity
    spectrum: SpectrumFile | None
    bad: BadItem | None


@dataclass(frozen=True)
class Held:
    """The entry of a spectrum that the catalog has, or is about to have.

    Attributes
    ----------
    path : str
        The file that it was taken from.
    pipeline : str
        Version of the reduction, where the file says one.
    content : tuple
        What makes two files of one spectrum the same: see `content_of`.
    """

    path: str
    pipeline: str
    content: Content


def write_spectra(conn: sa.Connection, batch: Sequence[ReadFile]) -> int:
    """Write the spectra and the refusals of one chunk.

    Returns
    -------
    int
        Rows that changed.
    """
    return write_each(
        conn, batch, lambda part: _write(conn, part), lambda *bad: _refuse(conn, *bad)
    )


def choose(new: Held, held: Held | None) -> Choice:
    """Return what becomes of a file, beside what the catalog has of its spectrum.

    Returns
    -------
    {'take', 'keep', 'conflict'}
        Take the new one; keep what is there, which is as good; or no rule decides.
    """
    if held is None or new.path == held.path:
        return "take"
    if new.content == held.content:
        return "keep"
    for rank in (_version, _release):
        ours, theirs = rank(new), rank(held)
        if ours and theirs and ours != theirs:
            return "take" if ours > theirs else "keep"
    return "conflict" if Path(held.path).exists() else "take"


def _version(file: Held) -> list[int]:
    """Return the numbers of a pipeline's version, such as ``v2.9.7``; none where it is unknown."""
    return [int(part) for part in re.findall(r"\d+", file.pipeline)]


def _release(file: Held) -> list[int]:
    """Return the release in whose folder of the archive a file lies, such as ``dr17``."""
    found = (RELEASE_FOLDER.fullmatch(part) for part in Path(file.path).parts[:-1])
    return [int(match[1]) for match in found if match][-1:]


def content_of(spectrum: SpectrumFile, sha256: str | None) -> Content:
    """Return what makes two files of one spectrum the same: pixels, grid, redshift, class."""
    z = np.float32(spectrum.z)
    return (
        spectrum.state, sha256, spectrum.first_index, None if np.isnan(z) else float(z),
        spectrum.class_ or None, spectrum.subclass or None,
    )  # fmt: skip


def _held(conn: sa.Connection, batch: Sequence[ReadFile]) -> dict[tuple[str, str], Held]:
    """Return what the catalog has of the spectra of a chunk, by survey and key."""
    keys = [(r.spectrum.survey, r.spectrum.survey_key) for r in batch if r.spectrum is not None]
    query = sa.text(
        "SELECT s.survey, s.survey_key, f.path, b.pipeline, b.spectrum_state, b.sha256, "
        "b.first_index, b.z, b.class, b.subclass FROM source s JOIN spectrum_blob b "
        "USING (source_id) JOIN input_file f USING (input_file_id) JOIN "
        "unnest(CAST(:surveys AS text[]), CAST(:keys AS text[])) AS k (survey, survey_key) "
        "ON k.survey = s.survey AND k.survey_key = s.survey_key"
    )
    given = {"surveys": [survey for survey, _ in keys], "keys": [key for _, key in keys]}
    return {
        (survey, key): Held(path, pipeline or "", _as_content(row))
        for survey, key, path, pipeline, *row in conn.execute(query, given)
    }


def _as_content(row: Sequence[Any]) -> Content:
    """Return stored values in the form of `content_of`."""
    state, sha256, first_index, z, class_, subclass = row
    z = None if z is None else float(np.float32(z))
    return (state, sha256, first_index, z, class_, subclass)


def _write(conn: sa.Connection, batch: Sequence[ReadFile]) -> int:
    """Write a chunk, or a part of one; fails where a value cannot be stored."""
    held = _held(conn, batch)
    taken: dict[tuple[str, str], tuple[int, SpectrumFile, Mapping[str, Any]]] = {}
    rows, good = 0, []
    for read in batch:
        file, bad, spectrum = read.identity, read.bad, read.spectrum
        note = "; ".join(spectrum.notes) if spectrum is not None else ""
        if spectrum is not None:
            key = (spectrum.survey, spectrum.survey_key)
            blobs = _blobs(spectrum)
            new = Held(str(file.path), spectrum.pipeline, content_of(spectrum, blobs["sha256"]))
            old, choice = held.get(key), choose(new, held.get(key))
            if choice == "conflict" and old is not None:
                bad = _conflict(spectrum, new, old)
            note = "; ".join(filter(None, [note, _said(choice, new, old)]))
        file_id = register_file(conn, file, KIND, note=note or None)
        if bad is not None:
            rows += quarantine_items(conn, file_id, [bad])
        else:
            good.append(file_id)
        if spectrum is not None and choice == "take":
            held[key] = new
            taken[key] = (file_id, spectrum, blobs)
    release_files(conn, good)
    return rows + _write_taken(conn, list(taken.values()))


def _said(choice: Choice, new: Held, old: Held | None) -> str:
    """Return the note of a file that replaces another one, or is left out for one."""
    if old is None or old.path == new.path or old.content == new.content:
        return ""
    if choice == "take":
        return f"its spectrum replaces that of {old.path}"
    return f"not used: {old.path} has a newer reduction" if choice == "keep" else ""


def _conflict(spectrum: SpectrumFile, new: Held, old: Held) -> BadItem:
    """Return the refusal of a file that contradicts what the catalog has."""
    state, pixels, *_ = new.content
    same = (state, pixels) == old.content[:2]
    what = "the same pixels but another redshift or class" if same else "other pixels"
    detail = (
        f"{new.path} and {old.path} are both {spectrum.survey} {spectrum.survey_key}, with {what}, "
        "and nothing says which is newer; the catalog keeps the second. Take one of them away, "
        "then ingest again"
    )
    return BadItem("", None, "DUP_CONFLICT", detail)


def _refuse(conn: sa.Connection, read: ReadFile, exc: Exception) -> int:
    """Record a file with a value that cannot be stored."""
    detail = refusal(f"the spectrum in {read.identity.path}", exc)
    file_id = register_file(conn, read.identity, KIND)
    return quarantine_items(conn, file_id, [BadItem("", None, "UNEXPECTED", detail)])


def _write_taken(
    conn: sa.Connection, taken: Sequence[tuple[int, SpectrumFile, Mapping[str, Any]]]
) -> int:
    """Write spectra with their sources; returns the rows that changed."""
    if not taken:
        return 0
    details = [(s, d, metadata.tables[d.table]) for s, d in all_details() if d.of_spectrum]
    tables = [table for _, _, table in details]
    stage(conn, "stage_spectra", _columns(taken), spectrum_blob, source, *tables)
    # A position that a catalog gave stays: the catalog, not the file, is what people cite. One that
    # an older file gave goes with it, and the crossmatch sees that.
    place = {c: f"s.{c}" for c in ("survey", "survey_key")}
    place |= {c: f"coalesce(o.{c}, s.{c})" for c in ("ra", "dec", "healpix29", "epoch")}
    from_files = (
        "stage_spectra s LEFT JOIN source o "
        f"ON (o.survey, o.survey_key) = (s.survey, s.survey_key) AND {IS_PLACED}"
    )
    rows = upsert(conn, source, place, from_files, key=["survey", "survey_key"])
    joined = "stage_spectra s JOIN source USING (survey, survey_key)"
    for survey, detail, table in details:
        identity = {"source_id": "source.source_id"} | {c: f"s.{c}" for c in detail.of_spectrum}
        rows += upsert(conn, table, identity, f"{joined} WHERE s.survey = '{survey.name}'")
    blob = {c.name: f's."{c.name}"' for c in spectrum_blob.columns} | {
        "source_id": "source.source_id"
    }
    return rows + upsert(conn, spectrum_blob, blob, joined)


def _columns(
    taken: Sequence[tuple[int, SpectrumFile, Mapping[str, Any]]],
) -> dict[str, np.ndarray]:
    """Return spectra as staging columns; what a survey does not have is None."""
    file_ids, spectra, blobs = zip(*taken, strict=True)
    ra, dec = np.array([s.ra for s in spectra]), np.array([s.dec for s in spectra])
    return {
        "plate": _integers([s.plate for s in spectra]),
        "mjd": _integers([s.mjd for s in spectra]),
        "fiberid": _integers([s.fiberid for s in spectra]),
        "zwarning": _integers([s.zwarning for s in spectra]),
        "first_index": _integers([s.first_index for s in spectra]),
        "n_pixels": _integers([len(s.flux) for s in spectra]),
        "input_file_id": _integers(file_ids),
        "survey": _objects([s.survey for s in spectra]),
        "survey_key": _objects([s.survey_key for s in spectra]),
        "ra": ra,
        "dec": dec,
        "healpix29": healpix29(ra, dec),
        "epoch": np.array([_epoch(s.mjd) for s in spectra]),
        "specobjid": _objects([s.specobjid for s in spectra]),
        "run2d": _objects([s.run2d for s in spectra]),
        "instrument": _objects([s.instrument for s in spectra]),
        "pipeline": _objects([s.pipeline or None for s in spectra]),
        "simulated": np.array([s.simulated for s in spectra]),
        "class": _objects([s.class_ or None for s in spectra]),
        "subclass": _objects([s.subclass or None for s in spectra]),
        "z": np.array([s.z for s in spectra], np.float32),
        "z_err": np.array([s.z_err for s in spectra], np.float32),
        "sn_median": np.array([s.sn_median for s in spectra], np.float32),
        "bad_fraction": np.array([bad_fraction(s.ivar) for s in spectra], np.float32),
        "spectrum_state": _objects([s.state for s in spectra]),
        "loglam0": np.array([s.loglam0 for s in spectra]),
        "dloglam": np.full(len(spectra), LOGLAM_STEP),
    } | {name: _objects([b[name] for b in blobs]) for name in blobs[0]}


def _objects(values: Sequence[Any]) -> np.ndarray:
    """Return text, numbers or blobs, None where missing, as an array."""
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def _integers(values: Sequence[int | None]) -> np.ndarray:
    """Return integers, masked where missing."""
    return np.ma.MaskedArray([v or 0 for v in values], [v is None for v in values], np.int64)


def _epoch(mjd: int | None) -> float:
    """Return the Julian year of a Modified Julian Date; NaN where there is none."""
    return np.nan if mjd is None else 2000.0 + (mjd - 51_544.5) / 365.25


def _blobs(spectrum: SpectrumFile) -> dict[str, Any]:
    """Return the arrays of a spectrum as blobs, with their checksum; None unless it is ``ok``."""
    names = ("flux", "ivar", "and_mask", "or_mask")
    if spectrum.state != "ok":
        return dict.fromkeys((*names, "sha256"))
    blobs = {name: encode(getattr(spectrum, name)) for name in names}
    return {**blobs, "sha256": checksum(*blobs.values())}
