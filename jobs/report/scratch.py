"""A folder to write a report in, beside its place; what killed processes left of theirs goes."""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def scratch_folder(out: Path) -> Iterator[Path]:
    """Make a folder beside ``out`` that is gone at the end, and clear those without a process.

    Raises
    ------
    OSError
        If the system does not allow that.
    """
    prefix = f".{out.name}.part-"
    for left in out.parent.glob(f"{glob.escape(prefix)}*"):
        handle = _lock(left)
        if handle is not None:
            shutil.rmtree(left, ignore_errors=True)
            os.close(handle)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=prefix) as folder:
        handle = _lock(Path(folder))
        try:
            yield Path(folder)
        finally:
            if handle is not None:
                os.close(handle)


def _lock(folder: Path) -> int | None:
    """Lock a folder as long as this process lives; None where another holds it, or none can."""
    handle = None
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # some file systems have no locks
        if handle is not None:
            os.close(handle)
        return None
    return handle
