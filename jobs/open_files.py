"""The catalog files of a run: opened once, checked once, and watched for changes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from catalog.errors import BadInputError
from catalog.files.block import Block
from catalog.files.fits import FileIdentity, file_identity
from jobs.catalog_formats import CatalogFile, Format


class OpenFiles:
    """The files of a run, opened when first needed and kept open: checking one is slow."""

    def __init__(
        self, fmt: Format, release: str, paths: Sequence[str], digests: Sequence[str]
    ) -> None:
        self._fmt, self._release = fmt, release
        self._paths, self._digests = [Path(p) for p in paths], digests
        self._asked = 0
        self._stack = ExitStack()
        self._open: dict[int, CatalogFile] = {}
        self._found: dict[int, os.stat_result] = {}  # as it was before it was checked

    def identity(self, i: int) -> FileIdentity:
        """What the i-th file is, or was when it was opened."""
        path = self._paths[i]
        return FileIdentity(path, self._found[i].st_size, self._digests[i])

    def read(self, i: int, start: int, stop: int) -> Block:
        """Some rows of the i-th file, unless somebody has written into it since it was checked."""
        block = self.get(i).read(start, stop)
        path, before = self._paths[i], self._found[i]
        with suppress(FileNotFoundError):  # what is open stays whole, also when it is removed
            now = path.stat()
            if now.st_ino == before.st_ino and now.st_mtime_ns != before.st_mtime_ns:
                raise BadInputError(
                    "CHANGED", f"{path} was written to while it was read", "Ingest it again"
                )
        return block

    def get(self, i: int) -> CatalogFile:
        """The i-th file, opened and checked."""
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
            self._open[i] = self._stack.enter_context(self._fmt.open(path, self._release))
        return self._open[i]

    @property
    def asked_last(self) -> FileIdentity:
        """The file asked for last: the one that is refused when asking fails."""
        return self.identity(self._asked)

    def close(self) -> None:
        """Close all files."""
        self._stack.close()
