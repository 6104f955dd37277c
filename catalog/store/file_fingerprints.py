"""Tell without reading them whether files changed since they were last read or written.

A file counts as unchanged while its size, its modification time and the time of its inode's last
change are those noted. A program can set the modification time back, but not the other one, so
only a wrong clock or a broken disk can hide a change.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa

from catalog.store.bulk import stage, upsert
from catalog.store.schema import file_stamp

#: A file changed less than this before it was read may change again within one tick of its clock.
SETTLED_NS = 2_000_000_000


class Stamp(NamedTuple):
    """A file as it was seen.

    Attributes
    ----------
    size : int
        Bytes.
    mtime_ns, ctime_ns : int
        Times of the last change of content and of inode, since 1970 [ns].
    content_digest : str
        SHA-256 of what was read; for a written file, digest of what it was made from.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    content_digest: str

    def fits(self, path: Path) -> bool:
        """Return True where the file is there and looks as it did."""
        try:
            now = path.stat()
        except OSError:
            return False
        return stamp_of(now, self.content_digest) == self


def stamp_of(seen: os.stat_result, content_digest: str) -> Stamp:
    """Return a stamp from what the system says of a file."""
    return Stamp(seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, content_digest)


def is_settled(seen: os.stat_result) -> bool:
    """Return True where a file's last change is old enough for its times to show the next one."""
    return time.time_ns() - max(seen.st_mtime_ns, seen.st_ctime_ns) > SETTLED_NS


def read_stamps(conn: sa.Connection) -> dict[Path, Stamp]:
    """Return all that was noted, by path."""
    t = file_stamp.c
    query = sa.select(t.path, t.size, t.mtime_ns, t.ctime_ns, t.content_digest)
    return {Path(path): Stamp(*values) for path, *values in conn.execute(query)}


def forget_stamps(conn: sa.Connection, paths: Collection[Path]) -> None:
    """Take away what was noted of files that have gone."""
    names = [str(path) for path in paths]
    conn.execute(sa.text("DELETE FROM file_stamp WHERE path = ANY(:names)"), {"names": names})


def write_stamps(conn: sa.Connection, stamps: Mapping[Path, Stamp]) -> None:
    """Note what files look like; what was noted of them before is replaced."""
    if not stamps:
        return
    sizes, mtimes, ctimes, digests = zip(*stamps.values(), strict=True)
    columns = {
        "path": np.array([str(path) for path in stamps], dtype=object),
        "size": np.array(sizes, np.int64),
        "mtime_ns": np.array(mtimes, np.int64),
        "ctime_ns": np.array(ctimes, np.int64),
        "content_digest": np.array(digests, dtype=object),
    }
    stage(conn, "stage_stamps", columns, file_stamp)
    values = {name: f"s.{name}" for name in columns} | {"stamped_at": "now()"}
    upsert(conn, file_stamp, values, "stage_stamps s")
