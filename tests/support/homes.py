"""A folder for the homes of embedded servers."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from catalog.store import embedded, embedded_layout


@contextmanager
def folder_of_homes(prefix: str) -> Iterator[Path]:
    """Make a folder that every account may enter, and stop the servers of its homes at the end."""
    path = Path(tempfile.mkdtemp(prefix=prefix))
    path.chmod(0o755)
    yield path
    for home in path.iterdir():
        if (home / "pgdata").exists():
            embedded.stop(home)
            shutil.rmtree(embedded_layout.find_place(home).sockets, ignore_errors=True)
    shutil.rmtree(path)
