"""A file that a run began with, watched while it is read: nothing comes from two versions of it.

Another program may rename a file to its name, write into it or cut it off. The digest says which
version is meant; inode and times tell, without reading it again, that nothing has happened.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from catalog.errors import BadInputError
from catalog.files.identity import file_identity
from catalog.files.opening import require_file
from catalog.store.file_fingerprints import is_settled


class WatchedFile:
    """A file of known content.

    Parameters
    ----------
    path : Path
        The file.
    sha256 : str
        Its digest when the run began.

    Attributes
    ----------
    size : int
        Bytes.

    Raises
    ------
    UsageError
        If there is no such file.
    SourceUnavailableError
        If the system does not say.
    """

    def __init__(self, path: Path, sha256: str) -> None:
        self._path, self._sha256 = path, sha256
        require_file(path)
        self._note(path.stat())
        self.size = self._seen.st_size

    @contextmanager
    def in_this_version(self) -> Iterator[None]:
        """Open the file, or read it, by its name inside the block: in the version of the digest.

        Raises
        ------
        BadInputError
            CHANGED, before the block or behind it, also in place of what was wrong inside: half a
            file has faults that the whole one has not.
        """
        if file_identity(self._path).sha256 != self._sha256:
            raise self._changed("is not the file that this run began with")
        try:
            yield
        except BadInputError:
            self._compare()
            raise
        self._compare()

    def check_unwritten(self) -> None:
        """Raise CHANGED if somebody has written into the file, which is open.

        What is open stays whole when its name is removed or given to another file.
        """
        with suppress(FileNotFoundError):
            if _inode(self._path.stat()) == _inode(self._seen):
                self._compare()

    def _compare(self) -> None:
        """Raise CHANGED if the name leads to another content now; it is read if it may do so.

        The time of the inode's last change tells, for a program can set the modification time
        back; it also changes with permissions and links, so the content decides. Within a tick of
        their clock times say nothing, so a file that was new when it was looked at is read, too.
        """
        try:
            now = self._path.stat()
        except FileNotFoundError:
            raise self._changed("was removed while it was read") from None
        same = _inode(now) == _inode(self._seen) and _times(now) == _times(self._seen)
        if same and self._settled:
            return
        self._note(now)
        if file_identity(self._path).sha256 != self._sha256:
            raise self._changed("was replaced or written to while it was read")

    def _note(self, seen: os.stat_result) -> None:
        """Note how the file looks."""
        self._seen, self._settled = seen, is_settled(seen)

    def _changed(self, what: str) -> BadInputError:
        """Return the error about a file that is another one by now."""
        return BadInputError(
            "CHANGED",
            f"{self._path} {what}",
            "Ingest it again; the unfinished run is then abandoned",
        )


def _inode(seen: os.stat_result) -> tuple[int, int]:
    """Return which file this is, whatever its name."""
    return seen.st_dev, seen.st_ino


def _times(seen: os.stat_result) -> tuple[int, int]:
    """Return when the content and the inode of a file last changed."""
    return seen.st_mtime_ns, seen.st_ctime_ns
