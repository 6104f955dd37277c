"""Refuse outputs that would replace inputs, each other, or what the next sync would read again."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from jobs.sync.values import Place


class Output(NamedTuple):
    """A path that a sync writes: its place in the configuration, the path, its kind."""

    place: Place
    key: str
    path: Path
    is_report: bool = False
    is_spectra: bool = False


class Input(NamedTuple):
    """A pattern that a sync reads: its owner, and whether folders are read as a whole."""

    who: str
    pattern: str
    as_folder: bool = False


def check_overlaps(outputs: Sequence[Output], inputs: Sequence[Input]) -> None:
    """Refuse an output that is an input, another output, or lies in a report's folder.

    Raises
    ------
    ConfigurationError
    """
    reports = {_real(out.path): out.place.table for out in outputs if out.is_report}
    seen: dict[Path, str] = {}
    for out in outputs:
        path = _real(out.path)
        names = [f"{out.path} is what {i.who} reads" for i in inputs if _is_read(out, path, i)]
        if path in seen:
            names.append(f"{out.path} is written by {seen[path]} already")
        names += [
            f"{out.path} lies in the folder of {table}, which is replaced as a whole"
            for folder, table in reports.items()
            if folder in path.parents
        ]
        if names:
            raise out.place.wrong(out.key, names[0], "write it elsewhere")
        seen[path] = out.place.table or out.key


def _is_read(out: Output, path: Path, read: Input) -> bool:
    """Return True where an input would read an output."""
    fixed = Path(read.pattern)
    while glob.has_magic(str(fixed)):
        fixed = fixed.parent
    rest = Path(read.pattern).relative_to(fixed)
    root = _real(fixed)
    if read.as_folder and out.is_spectra and _matches([path, *path.parents], root, rest):
        return True
    return _matches([path], root, rest)


def _matches(paths: Iterable[Path], root: Path, rest: Path) -> bool:
    """Return True where a pattern below a folder fits one of some paths."""
    for path in paths:
        if not path.is_relative_to(root):
            continue
        parts = path.relative_to(root).parts
        if "**" in rest.parts:
            if fnmatchcase("/".join(parts), str(rest).replace("**/", "*")):
                return True
        elif len(parts) == len(rest.parts) and all(map(fnmatchcase, parts, rest.parts)):
            return True
    return False


def _real(path: Path) -> Path:
    """Return a path without links and dots, whether anything is there or not."""
    return Path(os.path.realpath(path))
