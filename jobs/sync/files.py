"""The files that a sync looks at: which there are, and what is known of them from before."""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from catalog.errors import SourceUnavailableError
from catalog.files.identity import file_identity
from catalog.records import FileIdentity
from catalog.store.db import Database
from catalog.store.file_fingerprints import (
    Stamp,
    forget_stamps,
    is_settled,
    read_stamps,
    stamp_of,
    write_stamps,
)

_Test = Callable[[Path], bool]


class SeenFiles:
    """The stamps of files; those that look as they did are not read again.

    Parameters
    ----------
    db : Database
        Where it is kept.
    trust : bool
        False: every file is read, whatever is known of it.
    """

    def __init__(self, db: Database, *, trust: bool = True) -> None:
        self._db = db
        self._trust = trust
        self._new: dict[Path, Stamp] = {}
        self._has_forgotten = False

    @cached_property
    def _known(self) -> dict[Path, Stamp]:
        """Return what was noted of files; looked up by whoever is the only sync."""
        with self._db.reader() as conn:
            return read_stamps(conn)

    def identify(self, path: Path) -> FileIdentity:
        """Return the identity of a file; its bytes are read only where they must be."""
        known = self._known.get(path)
        if self._trust and known is not None and known.fits(path):
            return FileIdentity(path, known.size, known.content_digest)
        try:
            before = path.stat()
        except OSError:
            return file_identity(path)  # says what is wrong
        found = file_identity(path)
        self._note(path, stamp_of(before, found.sha256))
        return found

    def note_written(self, paths: Sequence[Path], digest: str) -> None:
        """Note files that were just written, by the digest of what they were made from."""
        for path in paths:
            self._new[path] = stamp_of(path.stat(), digest)

    def are_current(self, path: Path, digest: str) -> bool:
        """Return True where a file with its sidecars is there and was made from ``digest``."""
        made = [p for p, stamp in self._known.items() if stamp.content_digest == digest]
        return self._trust and path in made and all(self._known[p].fits(p) for p in made)

    def save(self) -> None:
        """Write down what was noted."""
        new, self._new = self._new, {}
        gone: set[Path] = set()
        if not self._has_forgotten:
            self._has_forgotten = True
            gone = {path for path in self._known if path not in new and _has_gone(path)}
        if new or gone:
            self._known.update(new)
            with self._db.begin() as conn:
                forget_stamps(conn, gone)
                write_stamps(conn, new)

    def _note(self, path: Path, stamp: Stamp) -> None:
        """Note a file that was read, if a change after that would show."""
        try:
            now = path.stat()
        except OSError:  # it went while it was read
            return
        if is_settled(now) and stamp == stamp_of(now, stamp.content_digest):
            self._new[path] = stamp


def _has_gone(path: Path) -> bool:
    """Tell whether a file was removed; where its folder is not there, a disk may be missing."""
    try:
        return not path.exists() and path.parent.is_dir()
    except OSError:
        return False


def find_files(patterns: Sequence[str]) -> list[Path]:
    """Return the files that some patterns name now, in order; none where a pattern fits none.

    What a pattern fits and is no folder is among them, also a link to nothing, a pipe or a device:
    whoever reads it refuses it.

    Raises
    ------
    SourceUnavailableError
        If a file or folder that is named in full, or the folder of a pattern, is not there.
    """
    return _find(patterns, Path.is_file, lambda path: not path.is_dir())


def find_roots(patterns: Sequence[str]) -> list[Path]:
    """Return the files and folders that some patterns name, as `find_files` does."""
    return _find(patterns, Path.exists, Path.exists)


def _find(patterns: Sequence[str], is_right: _Test, fits: _Test) -> list[Path]:
    """Return what some patterns name, in order, each once."""
    found: set[Path] = set()
    for pattern in patterns:
        try:
            found.update(_matches(pattern, is_right, fits))
        except OSError as exc:
            raise SourceUnavailableError(
                f"{pattern} cannot be read: {exc.strerror}", "Look at its permissions and its disk"
            ) from exc
    return sorted(found)


def _matches(pattern: str, is_right: _Test, fits: _Test) -> list[Path]:
    """Return the path that is named in full, if it is right, or those that fit a pattern."""
    if not glob.has_magic(pattern) or Path(pattern).exists():
        if is_right(Path(pattern)):
            return [Path(pattern)]
        raise _not_there(pattern)
    fixed = Path(pattern)
    while glob.has_magic(str(fixed)):
        fixed = fixed.parent
    if not fixed.is_dir():
        raise _not_there(str(fixed))
    return [path for path in fixed.glob(str(Path(pattern).relative_to(fixed))) if fits(path)]


def _not_there(what: str) -> SourceUnavailableError:
    """The error where a source is missing: a typing error, or a disk that is not mounted."""
    return SourceUnavailableError(f"there is no {what}", "Is its disk there? Else correct the path")
