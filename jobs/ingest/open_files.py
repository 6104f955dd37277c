"""The catalog files of a run: opened once, checked once, and watched for changes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from catalog.errors import BadInputError
from catalog.files.guard import guarded, read_each
from catalog.fits.duplicates import compare_files
from catalog.records import Block, FileIdentity
from catalog.surveys.formats import CatalogFile, Format
from jobs.ingest.watched_file import WatchedFile


class OpenFiles:
    """The files of a run, opened when first needed and kept open: checking one is slow."""

    def __init__(
        self, fmt: Format, release: str, paths: Sequence[str], digests: Sequence[str],
        *, as_release: bool = False,
    ) -> None:  # fmt: skip
        self._fmt, self._release, self._as_release = fmt, release, as_release
        self._paths, self._digests = [Path(p) for p in paths], digests
        self._asked = 0
        self._compared = False
        self._stack = ExitStack()
        self._open: dict[int, CatalogFile] = {}
        self._watched: dict[int, WatchedFile] = {}

    def identity(self, i: int) -> FileIdentity:
        """Return the identity that the i-th file has, or had when it was opened."""
        path = self._paths[i]
        watched = self._watched[i]
        return FileIdentity(path, watched.size, self._digests[i])

    def read(self, i: int, start: int, stop: int) -> Block:
        """Return some rows of the i-th file, each compared with those of the other files.

        Raises
        ------
        BadInputError
            CHANGED, if somebody has written into the file since it was checked.
        """
        self._compare()
        opened = self.get(i)
        self._asked = i
        try:
            block = read_each(opened, start, stop, str(self._paths[i]))
        except BadInputError:
            self._watched[i].check_unwritten()  # the reason of whatever else is wrong
            raise
        self._watched[i].check_unwritten()
        return block

    def get(self, i: int) -> CatalogFile:
        """Return the i-th file, opened and checked."""
        if i not in self._open:
            self._asked = i
            path = self._paths[i]
            watched = self._watched[i] = WatchedFile(path, self._digests[i])
            with watched.in_this_version(), guarded(f"the catalog {path}"):
                opened = self._stack.enter_context(self._fmt.open(path, self._release))
            if not self._as_release:
                opened.recognised.check(path, self._release)
            self._open[i] = opened
        return self._open[i]

    def _compare(self) -> None:
        """Open all files of a run that has several, and find rows that contradict each other."""
        n = len(self._paths)
        if n == 1 or self._compared:
            return
        names = [str(path) for path in self._paths]
        found = compare_files({name: self.get(i).duplicates for i, name in enumerate(names)})
        for i, name in enumerate(names):
            self._open[i] = self._open[i].beside(found[name])
        self._compared = True

    @property
    def asked_last(self) -> FileIdentity:
        """The file asked for last: the one that is refused when asking fails."""
        return self.identity(self._asked)

    def close(self) -> None:
        """Close all files."""
        self._stack.close()
