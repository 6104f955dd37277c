"""The catalog files of a run: opened once, checked once, and watched for changes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from catalog.errors import BadInputError
from catalog.files.block import Block
from catalog.files.duplicates import compare_files
from catalog.files.fits import FileIdentity, file_identity
from catalog.files.guard import guarded, read_each
from jobs.catalog_formats import CatalogFile, Format


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
        self._found: dict[int, os.stat_result] = {}  # as it was before it was checked

    def identity(self, i: int) -> FileIdentity:
        """Return the identity that the i-th file has, or had when it was opened."""
        path = self._paths[i]
        return FileIdentity(path, self._found[i].st_size, self._digests[i])

    def read(self, i: int, start: int, stop: int) -> Block:
        """Return some rows of the i-th file, each compared with those of the other files.

        Raises
        ------
        BadInputError
            CHANGED, if somebody has written into the file since it was checked.
        """
        self._compare()
        block = read_each(self.get(i), start, stop, str(self._paths[i]))
        self._asked = i
        self._check_unchanged(i)
        return block

    def get(self, i: int) -> CatalogFile:
        """Return the i-th file, opened and checked."""
        if i not in self._open:
            self._asked = i
            path = self._paths[i]
            with suppress(OSError):  # the next line says what is wrong
                self._found[i] = path.stat()
            if file_identity(path).sha256 != self._digests[i]:
                raise BadInputError(
                    "CHANGED",
                    f"{path} is not the file that this run began with",
                    "Ingest it again; the unfinished run is then abandoned",
                )
            with guarded(f"the catalog {path}"):
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

    def _check_unchanged(self, i: int) -> None:
        """Raise CHANGED if the i-th file was written to since it was checked.

        The time of the inode's last change tells, for a program can set the modification time
        back; it also changes with permissions and links, so the content decides.
        """
        path, before = self._paths[i], self._found[i]
        try:
            now = path.stat()
        except FileNotFoundError:  # what is open stays whole, also when its name is removed
            return
        if now.st_ino != before.st_ino or _times(now) == _times(before):
            return
        if file_identity(path).sha256 != self._digests[i]:
            raise BadInputError(
                "CHANGED", f"{path} was written to while it was read", "Ingest it again"
            )
        self._found[i] = now

    @property
    def asked_last(self) -> FileIdentity:
        """The file asked for last: the one that is refused when asking fails."""
        return self.identity(self._asked)

    def close(self) -> None:
        """Close all files."""
        self._stack.close()


def _times(seen: os.stat_result) -> tuple[int, int]:
    """Return when the content and the inode of a file last changed."""
    return seen.st_mtime_ns, seen.st_ctime_ns
