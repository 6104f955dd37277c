"""Find spectrum files in folders of this machine."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from catalog.files.opening import require_file
from catalog.fits.foreign import SPECTRUM_NAME, what_is_there


@dataclass(frozen=True)
class LocalArchive:
    """Spectrum files in folders and by name.

    Parameters
    ----------
    paths : tuple of pathlib.Path
        Folders, searched with all folders below them, and single files.
    """

    paths: tuple[Path, ...]

    def list_spectra(self) -> list[Path]:
        """Find the spectrum files, in a stable order, each once.

        Returns
        -------
        list of pathlib.Path
            Files with the archives' names of spectra (``spec-*.fits``), packed or not, in
            folders, and every file that was named itself, sorted. A link to nothing, a pipe or a
            device of such a name is listed too, so that its reader can refuse it.

        Raises
        ------
        UsageError
            A path that does not exist.
        """
        return list_spectra(self.paths)


def list_spectra(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Find spectrum files as `LocalArchive.list_spectra` does.

    Parameters
    ----------
    paths : iterable of path-like
        Folders and files.

    Returns
    -------
    list of pathlib.Path

    Raises
    ------
    UsageError
        A path that does not exist.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        if path.is_dir():
            for file in _walk(path):
                found.setdefault(file.resolve() if file.exists() else file, file)
        elif path.is_file():
            found.setdefault(path.resolve(), path)
        else:
            require_file(path)
    return sorted(found.values())


def has_text_name(path: Path) -> bool:
    """Tell whether a path is UTF-8, as all text in the catalog is."""
    return str(path).encode(errors="ignore") == os.fsencode(path)


def shown_name(path: Path) -> str:
    """Return a path as text; bytes that are no UTF-8 are escaped, as in Python's strings."""
    return os.fsencode(path).decode(errors="backslashreplace")


def has_files(paths: Iterable[str | os.PathLike[str]], *, spectra: bool = False) -> bool:
    """Return whether some paths lead to any file; with ``spectra``, to any spectrum file."""
    return any(
        path.is_file() or any(True for _ in _walk(path, every=not spectra))
        for path in map(Path, paths)
    )


def what_else(paths: Iterable[str | os.PathLike[str]]) -> tuple[str, str]:
    """Return what is in folders in place of spectra, in words, and what to do with it."""
    return what_is_there(f.name for p in map(Path, paths) if p.is_dir() for f in _walk(p, True))


def _walk(root: Path, every: bool = False) -> Iterable[Path]:
    """Yield what has the name of a spectrum file below a folder, or every file.

    Links to folders are followed, each folder once.
    """
    seen: set[Path] = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        here = Path(folder).resolve()
        if here in seen:
            subfolders.clear()
            continue
        seen.add(here)
        for name in files:
            file = Path(folder, name)
            if file.is_file() if every else SPECTRUM_NAME.fullmatch(name):
                yield file
