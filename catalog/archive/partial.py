"""The unfinished file of a download, and the note beside it: of what it is, and how it goes.

``NAME.part`` holds the bytes, ``NAME.part.json`` what the server called their version and the
progress so far. The note outlives restarts and processes, so that a server that sends the same
bytes again and again, or a few in an hour, is given up however the time is sliced.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from catalog.archive.session import Manners, UnreachableError
from catalog.files.opening import MAX_CONFIG_BYTES, read_bytes


@dataclass
class Note:
    """The note that lies beside an unfinished file.

    Attributes
    ----------
    url, version : str
        Where it comes from; what the server calls this version of it, empty if it does not say.
    most : int
        Bytes that were here at best: progress is more than that.
    idle : int
        Attempts that broke off without progress, since the last progress.
    restarts : int
        How often what was here had to be dropped.
    window_s, window_bytes : float, int
        Time [s] since the rate was last looked at, and the bytes that came in it.
    """

    url: str
    version: str = ""
    most: int = 0
    idle: int = 0
    restarts: int = 0
    window_s: float = 0.0
    window_bytes: int = 0


class Part:
    """An unfinished download, as the last process left it.

    Parameters
    ----------
    path : Path
        Where the complete file is to be.
    url : str
        Where it comes from; what was begun from elsewhere cannot be continued.
    """

    def __init__(self, path: Path, url: str) -> None:
        self.path = path
        self.file, self._note_file, self._new_note = _names(path)
        self.note = _read_note(self._note_file, url)

    @property
    def version(self) -> str:
        """The version that the unfinished file is of; empty where it cannot be continued."""
        return self.note.version if self.file.exists() else ""

    @property
    def size(self) -> int:
        """Bytes from which to go on."""
        return self.file.stat().st_size if self.version else 0

    def begin(self, version: str) -> None:
        """Note what is about to be written, after dropping what there is."""
        self.restart()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.note.version = version
        self.save()

    def restart(self) -> None:
        """Drop the bytes; the note keeps count."""
        self.note.most = max(self.note.most, self.size)
        if self.file.exists():
            self.note.restarts += 1
            self.file.unlink()
        self.note.version = ""

    def broke_off(self) -> None:
        """Count an attempt that ended before its time."""
        if self.size > self.note.most:
            self.note.most, self.note.idle = self.size, 0
        else:
            self.note.idle += 1

    def save(self) -> None:
        """Write the note, if its folder is there; a process killed here leaves the old one."""
        if self.path.parent.is_dir():
            self._new_note.write_text(json.dumps(asdict(self.note)), encoding="utf-8")
            self._new_note.replace(self._note_file)

    def give_up_if_hopeless(self, manners: Manners) -> None:
        """Raise UnreachableError if the server brings nothing new; the next try counts anew."""
        tries = max(self.note.idle, self.note.restarts)
        if tries >= manners.attempts:
            self.note.most, self.note.idle, self.note.restarts = self.size, 0, 0
            raise UnreachableError(
                f"{self.note.url} breaks off again and again: nothing new in {tries} attempts, "
                f"{self.size:,} bytes are here",
                "Try again later: it goes on from there",
            )

    def came(self, n_bytes: int, seconds: float, manners: Manners) -> None:
        """Count bytes and time; raise UnreachableError where they come too slowly."""
        note = self.note
        note.window_bytes += n_bytes
        note.window_s += seconds
        if note.window_s < manners.rate_window_s:
            return
        rate, note.window_s, note.window_bytes = note.window_bytes / note.window_s, 0.0, 0
        if rate < manners.min_rate:
            raise UnreachableError(
                f"{note.url} comes too slowly: {rate:,.0f} bytes a second over "
                f"{manners.rate_window_s:.0f} s, where {manners.min_rate:,.0f} are expected",
                "Try again later, or be content with less: --min-rate",
            )

    def drop(self) -> None:
        """Remove the bytes and the note."""
        for file in _names(self.path):
            file.unlink(missing_ok=True)
        self.note = Note(self.note.url)


def tidy(path: Path) -> None:
    """Remove the note of a download that is complete, which a killed process may have left."""
    part, *notes = _names(path)
    if not part.exists():
        for note in notes:
            with suppress(OSError):  # whoever downloads next says what is wrong with the folder
                note.unlink(missing_ok=True)


def _names(path: Path) -> tuple[Path, Path, Path]:
    """Return the names of the unfinished file, of its note, and of the note being written."""
    part = path.with_name(path.name + ".part")
    return part, part.with_name(part.name + ".json"), part.with_name(part.name + ".json.new")


def _read_note(file: Path, url: str) -> Note:
    """Return the note in a file; an empty one where it is of another URL, or damaged."""
    try:
        said = json.loads(read_bytes(file, MAX_CONFIG_BYTES, "a note")) if file.is_file() else {}
        kinds = {f.name: type(getattr(Note(""), f.name)) for f in fields(Note)}
        values = {name: kind(said[name]) for name, kind in kinds.items()}
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return Note(url)
    return Note(**values) if values["url"] == url else Note(url)
