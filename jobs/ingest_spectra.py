"""Ingest optical spectra from local files: SDSS/BOSS ``spec-*.fits`` and LAMOST's.

Files are known by content. A refused file goes to the quarantine and does not hold up the others;
a spectrum without usable pixels is recorded, with its state, but has no arrays.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from catalog.errors import BadInputError, SourceUnavailableError
from catalog.files.archive import list_spectra
from catalog.files.block import BadItem
from catalog.files.fits import FileIdentity, file_identity
from catalog.files.guard import guarded
from catalog.files.lamost import read_lamost, sniff
from catalog.files.specfile import read_spectrum
from catalog.files.spectrum import SpectrumFile, bad_fraction
from catalog.sky.healpix import healpix29
from catalog.store.bulk import stage, upsert
from catalog.store.db import Database
from catalog.store.inputs import known_files, quarantine_items, register_file
from catalog.store.schema import sdss_spectrum, source, spectrum_blob
from catalog.store.spectra import LOGLAM_STEP, checksum, encode
from jobs.engine.job import Job
from jobs.engine.ledger import Run
from jobs.engine.params import NOT_HASHED
from jobs.outcomes import spectra_outcome

FILES_PER_CHUNK = 50
KIND = "spectrum"
NO_CHECKSUM = "unreadable"  # in place of the checksum of a file that cannot be read


@dataclass(frozen=True)
class SpectraParams:
    """Parameters of an ingest of spectra.

    Attributes
    ----------
    paths : tuple of str
        Files and folders.
    max_bad : float
        Fraction of refused files above which the command fails; the good ones stay.
    files_per_chunk : int
        Files that commit together.
    """

    paths: tuple[str, ...]
    max_bad: float = 0.1
    files_per_chunk: int = field(default=FILES_PER_CHUNK, metadata=NOT_HASHED)


@dataclass(frozen=True)
class _Read:
    """One file: its spectrum, or why it was refused."""

    identity: FileIdentity
    spectrum: SpectrumFile | None
    bad: BadItem | None


def read_any(path: Path) -> SpectrumFile:
    """The spectrum in a file, whichever survey's layout it has.

    Raises
    ------
    BadInputError
        If it is damaged, or not what its name says.
    """
    return read_lamost(path) if sniff(path) == "lamost" else read_spectrum(path)


def ingest_spectra_job(
    params: SpectraParams,
    db: Database,
    identify: Callable[[Path], FileIdentity] = file_identity,
) -> Job:
    """The ingest of all spectra below some paths as a job (``db``: see `jobs.registry`).

    ``identify`` gives the digest of a file; one that remembers digests need not read it.
    """
    listed: list[str] = []  # in the order of the chunks' keys; looked up once per process

    def list_files() -> list[str]:
        if not listed:
            listed.extend(sorted(str(p.absolute()) for p in list_spectra(params.paths)))
        return listed

    def new_files(conn: sa.Connection, files: Sequence[str]) -> list[FileIdentity]:
        known = known_files(conn, KIND, files)
        identities = [_identify(path, identify) for path in map(Path, files) if path.exists()]
        return [i for i in identities if (str(i.path), i.sha256) not in known]

    def plan(conn: sa.Connection) -> list[str]:
        listed.clear()
        paths = [str(i.path) for i in new_files(conn, list_files())]
        n = params.files_per_chunk
        chunks = [paths[i : i + n] for i in range(0, len(paths), n)]
        return [json.dumps([chunk[0], chunk[-1]], ensure_ascii=False) for chunk in chunks]

    def compute(conn: sa.Connection, key: str) -> list[_Read]:
        first, last = json.loads(key)
        files = list_files()
        inside = files[bisect_left(files, first) : bisect_right(files, last)]
        return [_read(identity) for identity in new_files(conn, inside)]

    def finish(conn: sa.Connection, run: Run) -> int:
        files = list_spectra(params.paths)
        refused = refused_files(conn, params.paths)
        if len(refused) > params.max_bad * len(files):
            raise BadInputError(
                refused[0][1],
                f"{len(refused)} of {len(files)} files were refused; the first: {refused[0][2]}",
                "The good ones are in; see the table quarantine. --max-bad raises the limit",
            )
        return 0

    return Job(
        kind="ingest spectra", target="spectra", params=params, plan=plan, compute=compute,
        write=lambda conn, run, batch: _write(conn, batch), finish=finish,
        outcome=lambda conn, run_id: spectra_outcome(conn, KIND, list_files()),
    )  # fmt: skip


def refused_files(conn: sa.Connection, roots: Sequence[str]) -> list[tuple[str, str, str]]:
    """The (path, reason code, detail) of files below some paths that are refused as they are now.

    Of several versions of a file only the newest counts.
    """
    query = sa.text(
        "SELECT f.path, q.reason_code, q.detail FROM quarantine q JOIN input_file f "
        "USING (input_file_id) WHERE f.kind = :kind AND f.path = ANY(:paths) AND NOT EXISTS "
        "(SELECT 1 FROM input_file n WHERE n.kind = f.kind AND n.path = f.path "
        "AND n.input_file_id > f.input_file_id) ORDER BY f.path"
    )
    paths = [str(p.absolute()) for p in list_spectra(roots)]
    rows = conn.execute(query, {"kind": KIND, "paths": paths})
    return [(row.path, row.reason_code, row.detail) for row in rows]


def _identify(path: Path, identify: Callable[[Path], FileIdentity]) -> FileIdentity:
    """What a file is; one that cannot be opened is known by its path alone, and tried again."""
    try:
        return identify(path)
    except (SourceUnavailableError, OSError):
        return FileIdentity(path, 0, NO_CHECKSUM)


def _read(identity: FileIdentity) -> _Read:
    """Read one file; what is wrong with it becomes a reason."""
    if identity.sha256 == NO_CHECKSUM:
        detail = f"{identity.path} cannot be read: look at its permissions and its disk"
        return _Read(identity, None, BadItem("", None, "UNREADABLE", detail))
    try:
        with guarded(f"the spectrum in {identity.path}"):
            spectrum = read_any(identity.path)
    except BadInputError as exc:
        return _Read(identity, None, BadItem("", None, exc.reason_code, exc.reason))
    bad = None
    if spectrum.state != "ok":
        what = "flux" if spectrum.state == "ZERO_SPECTRUM" else "ivar"
        detail = f"{what} is zero in every pixel of {identity.path}; recorded without arrays"
        bad = BadItem("", None, spectrum.state, detail)
    return _Read(identity, spectrum, bad)


def _write(conn: sa.Connection, batch: list[_Read]) -> int:
    """Write the spectra and the refusals of one chunk; returns the rows that changed."""
    rows = 0
    spectra: dict[tuple[str, str], tuple[int, SpectrumFile]] = {}
    for read in batch:
        file_id = register_file(conn, read.identity, KIND)
        if read.bad is not None:
            rows += quarantine_items(conn, file_id, [read.bad])
        if read.spectrum is not None:
            spectra[read.spectrum.survey, read.spectrum.survey_key] = (file_id, read.spectrum)
    if not spectra:
        return rows
    file_ids, found = zip(*spectra.values(), strict=True)
    stage(conn, "stage_spectra", _columns(file_ids, found), spectrum_blob, source, sdss_spectrum)
    # A position that a catalog gave stays: the catalog, not the file, is what people cite.
    rows += conn.execute(
        sa.text(
            f'INSERT INTO "{source.name}" (survey, survey_key, ra, dec, healpix29, epoch) '
            "SELECT survey, survey_key, ra, dec, healpix29, epoch FROM stage_spectra "
            "ORDER BY survey, survey_key ON CONFLICT (survey, survey_key) DO NOTHING"
        )
    ).rowcount
    joined = "stage_spectra s JOIN source USING (survey, survey_key)"
    identity = {"source_id": "source.source_id"}
    identity |= {c: f"s.{c}" for c in ("specobjid", "plate", "mjd", "fiberid", "run2d")}
    rows += upsert(conn, sdss_spectrum, identity, f"{joined} WHERE s.survey = 'sdss'")
    blob = {c.name: f's."{c.name}"' for c in spectrum_blob.columns} | {
        "source_id": "source.source_id"
    }
    return rows + upsert(conn, spectrum_blob, blob, joined)


def _columns(file_ids: Sequence[int], spectra: Sequence[SpectrumFile]) -> dict[str, np.ndarray]:
    """Spectra as staging columns; what a survey does not have is None."""
    blobs = [_blobs(s) for s in spectra]
    ok = [s.state == "ok" for s in spectra]
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
        "class": _objects([s.class_ or None for s in spectra]),
        "subclass": _objects([s.subclass or None for s in spectra]),
        "z": np.array([s.z for s in spectra], np.float32),
        "z_err": np.array([s.z_err for s in spectra], np.float32),
        "sn_median": np.array([s.sn_median for s in spectra], np.float32),
        "bad_fraction": np.array([bad_fraction(s.ivar) for s in spectra], np.float32),
        "spectrum_state": _objects([s.state for s in spectra]),
        "loglam0": np.array([s.loglam0 for s in spectra]),
        "dloglam": np.full(len(spectra), LOGLAM_STEP),
        **{
            name: _objects([b[i] if good else None for b, good in zip(blobs, ok, strict=True)])
            for i, name in enumerate(("flux", "ivar", "and_mask", "or_mask", "sha256"))
        },
    }  # fmt: skip


def _objects(values: Sequence[Any]) -> np.ndarray:
    """Text or blobs, None where missing, as an array."""
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def _integers(values: Sequence[int | None]) -> np.ndarray:
    """Integers, masked where missing."""
    return np.ma.MaskedArray([v or 0 for v in values], [v is None for v in values], np.int64)


def _epoch(mjd: int | None) -> float:
    """Julian year of a Modified Julian Date; NaN where there is none."""
    return np.nan if mjd is None else 2000.0 + (mjd - 51_544.5) / 365.25


def _blobs(spectrum: SpectrumFile) -> tuple[bytes, bytes, bytes, bytes, str]:
    """The arrays of a spectrum as blobs, with their checksum."""
    flux, ivar = encode(spectrum.flux), encode(spectrum.ivar)
    and_mask, or_mask = encode(spectrum.and_mask), encode(spectrum.or_mask)
    return flux, ivar, and_mask, or_mask, checksum(flux, ivar, and_mask, or_mask)
