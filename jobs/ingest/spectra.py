"""Ingest optical spectra from local files, of every survey whose record has a reader for them.

Files are known by content. A refused file goes to the quarantine and does not hold up the others;
a spectrum without usable pixels is recorded, with its state, but has no arrays.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from catalog.errors import BadInputError, SourceUnavailableError, UsageError
from catalog.files.guard import guarded
from catalog.files.identity import file_identity
from catalog.files.opening import require_file
from catalog.records import BadItem, FileIdentity
from catalog.store.db import Database
from catalog.store.inputs import known_files
from catalog.surveys.find import has_text_name, list_spectra, shown_name, what_else
from catalog.surveys.formats import read_spectrum_file
from catalog.words import count, part, verb
from jobs.engine.job import Job
from jobs.engine.ledger import Run
from jobs.engine.params import NOT_HASHED
from jobs.ingest.spectrum_rows import KIND, ReadFile, write_spectra
from jobs.ingest.watched_file import WatchedFile
from jobs.outcomes import spectra_outcome

FILES_PER_CHUNK = 50
EMPTY_SPECTRA = ("ZERO_SPECTRUM", "NO_GOOD_PIXELS")  # recorded, without pixels
TOLD = 20  # files of each reason that a command names
NO_CHECKSUM = "unreadable"  # in place of the checksum of a file that cannot be read
NO_NAME = "unnamed"  # in place of the checksum of a file whose name is no text


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


def ingest_spectra_job(
    params: SpectraParams,
    db: Database,
    identify: Callable[[Path], FileIdentity] = file_identity,
) -> Job:
    """The ingest of all spectra below some paths as a job (``db``: see `jobs.registry`).

    ``identify`` gives the digest of a file; one that remembers digests need not read it.
    """
    listed: list[str] = []  # in the order of the chunks' keys; looked up once per process
    unnamed: set[str] = set()  # those of them whose name is no text

    def list_files() -> list[str]:
        if not listed:
            found = [p.absolute() for p in list_spectra(params.paths)]
            listed.extend(sorted(map(shown_name, found)))
            unnamed.update(shown_name(path) for path in found if not has_text_name(path))
        return listed

    def new_files(conn: sa.Connection, files: Sequence[str]) -> list[FileIdentity]:
        known = known_files(conn, KIND, files)
        paths = [Path(name) for name in files if name not in unnamed]
        there = filter(os.path.lexists, paths)  # one that has gone meanwhile is nobody's fault
        identities = [_identify(path, identify) for path in there]
        identities += [FileIdentity(Path(name), 0, NO_NAME) for name in files if name in unnamed]
        identities.sort(key=lambda i: str(i.path))  # a chunk is a range of the list
        return [i for i in identities if (str(i.path), i.sha256) not in known]

    def plan(conn: sa.Connection) -> list[str]:
        listed.clear()
        if not list_files():
            there, todo = what_else(params.paths)
            where = ", ".join(params.paths[:3]) + (", ..." if len(params.paths) > 3 else "")
            raise BadInputError("NO_SPECTRA", f"no spectrum file in {where}: {there}", todo)
        paths = [str(i.path) for i in new_files(conn, list_files())]
        n = params.files_per_chunk
        chunks = [paths[i : i + n] for i in range(0, len(paths), n)]
        return [json.dumps([chunk[0], chunk[-1]], ensure_ascii=False) for chunk in chunks]

    def compute(conn: sa.Connection, key: str) -> list[ReadFile]:
        first, last = json.loads(key)
        files = list_files()
        inside = files[bisect_left(files, first) : bisect_right(files, last)]
        return [_read(identity) for identity in new_files(conn, inside)]

    def finish(conn: sa.Connection, run: Run) -> int:
        files = list_spectra(params.paths)
        refused = refused_files(conn, params.paths)
        if len(refused) > params.max_bad * len(files):
            raise _too_many(refused, len(files))
        return 0

    def n_files_of(key: str) -> int:
        first, last = json.loads(key)
        return bisect_right(list_files(), last) - bisect_left(list_files(), first)

    return Job(
        kind="ingest spectra", target="spectra", params=params, plan=plan, compute=compute,
        write=lambda conn, run, batch: write_spectra(conn, batch), finish=finish,
        outcome=lambda conn, run_id: spectra_outcome(conn, KIND, list_files()),
        unit="files", size=n_files_of,
    )  # fmt: skip


def _too_many(refused: Sequence[tuple[str, str, str]], n_files: int) -> BadInputError:
    """Return the error that says how many files were refused, and what became of the others."""
    n_empty = sum(code in EMPTY_SPECTRA for _, code, _ in refused)
    n_good = n_files - len(refused)
    kept = []
    if n_good:
        kept.append(f"{count(n_good, 'other file')} {verb(n_good)} in")
    if n_empty:
        kept.append(f"{count(n_empty, 'spectrum')} without usable pixels {verb(n_empty)} recorded")
    return BadInputError(
        refused[0][1],
        f"{part(len(refused), n_files, 'file')} refused, the first of them: {refused[0][2]}",
        f"{'; '.join(kept)}; --max-bad raises the limit" if kept else "Nothing was taken",
    )


def refused_files(conn: sa.Connection, roots: Sequence[str]) -> list[tuple[str, str, str]]:
    """The (path, reason code, detail) of files below some paths that are refused as they are now.

    Of several versions of a file only the newest counts.
    """
    query = sa.text(
        "SELECT f.path, q.reason_code, q.detail FROM quarantine q JOIN "
        "(SELECT DISTINCT ON (path) * FROM input_file WHERE kind = :kind AND path = ANY(:paths) "
        "ORDER BY path, ingested_at DESC, input_file_id DESC) f USING (input_file_id) ORDER BY path"
    )
    paths = [shown_name(p.absolute()) for p in list_spectra(roots)]
    rows = conn.execute(query, {"kind": KIND, "paths": paths})
    return [(row.path, row.reason_code, row.detail) for row in rows]


def spectra_said(conn: sa.Connection, roots: Sequence[str]) -> list[str]:
    """Return what people should know of the files below some paths, in lines.

    Those that are refused come first, with the remedy; then those that were taken with a note. Of
    each reason and note the first `TOLD` are told, the others counted.
    """
    lines = _first_of_each(
        (f"refused [{code}]", f"{path}: {detail}" if path not in detail else detail)
        for path, code, detail in refused_files(conn, roots)
    )
    query = sa.text(
        "SELECT DISTINCT ON (path) path, note FROM input_file WHERE kind = :kind "
        "AND path = ANY(:paths) ORDER BY path, ingested_at DESC, input_file_id DESC"
    )
    paths = [shown_name(p.absolute()) for p in list_spectra(roots)]
    found = [row for row in conn.execute(query, {"kind": KIND, "paths": paths}) if row.note]
    return lines + _first_of_each(("note:", f"{row.path}: {row.note}") for row in found)


def _first_of_each(said: Iterable[tuple[str, str]]) -> list[str]:
    """Return lines from heads and texts: of each head the first `TOLD`, and how many more."""
    by_head: dict[str, list[str]] = {}
    for head, words in said:
        by_head.setdefault(head, []).append(words)
    lines = []
    for head, texts in by_head.items():
        lines += [f"{head} {words}" for words in texts[:TOLD]]
        if len(texts) > TOLD:
            more = f"and {len(texts) - TOLD:,} more; see the tables quarantine and input_file"
            lines.append(f"{head} {more}")
    return lines


def _identify(path: Path, identify: Callable[[Path], FileIdentity]) -> FileIdentity:
    """Return the identity of a file; one that cannot be opened has a path only, and is retried."""
    try:
        return identify(path)
    except (SourceUnavailableError, UsageError, OSError):
        return FileIdentity(path, 0, NO_CHECKSUM)


def _why_not(path: Path) -> str:
    """Return why a file cannot be read, and what to do about it."""
    try:
        require_file(path)
    except UsageError as exc:  # a link to nothing, a pipe, a device
        return f"{exc.reason}. {exc.todo}"
    except SourceUnavailableError:
        pass
    return f"{path} cannot be read: look at its permissions and its disk"


def _read(identity: FileIdentity) -> ReadFile:
    """Read one file; what is wrong with it becomes a reason."""
    if identity.sha256 == NO_NAME:
        detail = f"the name of {identity.path} is not UTF-8: rename the file"
        return ReadFile(identity, None, BadItem("", None, "BAD_NAME", detail))
    if identity.sha256 == NO_CHECKSUM:
        return ReadFile(identity, None, BadItem("", None, "UNREADABLE", _why_not(identity.path)))
    try:
        watched = WatchedFile(identity.path, identity.sha256)
        with watched.in_this_version(), guarded(f"the spectrum in {identity.path}"):
            spectrum = read_spectrum_file(identity.path)
    except BadInputError as exc:
        why = f"{exc.reason}. {exc.todo}".rstrip(". ")
        return ReadFile(identity, None, BadItem("", None, exc.reason_code, why))
    except UsageError:
        detail = f"{identity.path} was removed while it was read"
        return ReadFile(identity, None, BadItem("", None, "CHANGED", detail))
    bad = None
    if spectrum.state != "ok":
        what = "flux" if spectrum.state == "ZERO_SPECTRUM" else "ivar"
        detail = f"{what} is zero in every pixel of {identity.path}"
        bad = BadItem("", None, spectrum.state, detail)
    return ReadFile(identity, spectrum, bad)
