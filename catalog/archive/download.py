"""Downloads that can be cut off anywhere: to ``NAME.part``, checked, then renamed.

Beside the ``.part`` file lies what the server called its version (ETag or Last-Modified), so that
what is continued (RFC 9110, 14: Range with If-Range) is the same file. What was there before stays
until the new one has been found good.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests
from urllib3.exceptions import HTTPError

from catalog.archive.session import PoliteSession, UnreachableError
from catalog.errors import NO_ROOM, BadInputError, CrosslabelError

BLOCK_BYTES = 1 << 18
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


class DiskFullError(CrosslabelError):
    """There is no room for a download."""


@dataclass(frozen=True)
class Download:
    """A file that came whole and was found good.

    Attributes
    ----------
    url : str
        Where it came from.
    path : Path
        Where it is.
    size : int
        Bytes.
    version : str
        What the server calls this version of it (ETag or Last-Modified); may be empty.
    """

    url: str
    path: Path
    size: int
    version: str


@dataclass(frozen=True)
class Unfinished:
    """A download whose time was up; the same call goes on with it."""

    size: int
    total: int | None


def download(
    session: PoliteSession,
    url: str,
    path: Path,
    check: Callable[[Path], None],
    *,
    max_bytes: int,
    budget_s: float | None = None,
) -> Download | Unfinished | None:
    """Fetch a file, or go on with fetching it.

    Parameters
    ----------
    session : PoliteSession
        Makes the requests.
    url : str
        The file.
    path : Path
        Where it is to be; folders are made.
    check : callable
        Given the complete ``.part`` file; raises BadInputError where it must not be used.
    max_bytes : int
        More than this no such file has [bytes].
    budget_s : float, optional
        After this time [s] the download stops where it is, if the server can go on from there.

    Returns
    -------
    Download, Unfinished or None
        None: the archive has no such file.

    Raises
    ------
    BadInputError
        HTML_BODY, WRONG_CONTENT, TOO_LARGE or what ``check`` says; the ``.part`` file is gone then.
    UnreachableError, RefusedError
        See `PoliteSession.request`; also when the connection breaks again and again.
    DiskFullError
        The ``.part`` file stays, to go on from there.
    """
    part = _Part(path)
    until = None if budget_s is None else time.monotonic() + budget_s
    idle = 0  # attempts in a row that brought no byte
    while idle < session.manners.attempts:
        before = part.size(url)
        try:
            done = _fetch_some(session, url, part, max_bytes, until)
        except OSError as exc:
            if isinstance(exc, requests.RequestException):  # broke off: go on from there
                idle = 0 if part.size(url) > before else idle + 1
                time.sleep(min(session.manners.backoff_s, 1.0) * (1 + idle))
                continue
            if exc.errno in NO_ROOM:
                raise _disk_full(path, str(exc.strerror)) from exc
            raise CrosslabelError(
                f"{path} cannot be written: {exc.strerror}", "Check the folder's permissions"
            ) from exc
        if isinstance(done, Download):
            _accept(part, done, check)
        return done
    raise UnreachableError(f"{url} breaks off again and again", "Try again later")


class _Part:
    """The unfinished file, and the note about which version of what it is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path.with_name(path.name + ".part")
        self.note = path.with_name(path.name + ".part.json")

    def version(self, url: str) -> str:
        """The version that the unfinished file is of; empty where it cannot be continued."""
        try:
            said = json.loads(self.note.read_text(encoding="utf-8"))
            return str(said["version"]) if said["url"] == url and self.file.exists() else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def size(self, url: str) -> int:
        """Bytes from which to go on."""
        return self.file.stat().st_size if self.version(url) else 0

    def begin(self, url: str, version: str) -> None:
        """Note what is about to be written, after dropping what there is."""
        self.drop()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.note.write_text(json.dumps({"url": url, "version": version}), encoding="utf-8")

    def drop(self) -> None:
        """Remove both."""
        self.file.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def _fetch_some(
    session: PoliteSession, url: str, part: _Part, max_bytes: int, until: float | None
) -> Download | Unfinished | None:
    """One request: as many bytes as it brings before the time is up."""
    have, version = part.size(url), part.version(url)
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    with session.get(url, headers=headers, stream=True) as response:
        if response.status_code in (404, 410):
            part.drop()
            return None
        if response.status_code == 416:  # nothing comes after what is there: was it all?
            total = re.fullmatch(r"bytes \*/(\d+)", response.headers.get("Content-Range", ""))
            if total is not None and int(total[1]) == have:
                return Download(url, part.path, have, version)
            part.drop()
            raise requests.ConnectionError("the file is shorter than what is here")
        _refuse_wrapping(url, response)
        said = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
        total_bytes: int | None
        if response.status_code == 206:
            if said is None or int(said[1]) != have:
                part.drop()
                raise requests.ConnectionError("another part than the one that was asked for")
            total_bytes = int(said[2])
        else:
            have, length = 0, response.headers.get("Content-Length", "")
            total_bytes = int(length) if length.isdecimal() else None
            version = _version(response)
            part.begin(url, version)
            if not version or response.headers.get("Accept-Ranges") != "bytes":
                until = None  # stopping would mean to begin again
        if total_bytes is not None:
            _refuse_large(url, part, total_bytes, max_bytes)
            free = shutil.disk_usage(part.path.parent).free
            if free < total_bytes - have:
                raise _disk_full(part.path, f"{total_bytes - have} bytes needed, {free} free")
        have = _write(response, part, have, max_bytes, until)
        _refuse_large(url, part, have, max_bytes)
    if total_bytes is not None and have < total_bytes:
        if until is not None and time.monotonic() >= until:
            return Unfinished(have, total_bytes)
        raise requests.ConnectionError("the connection was closed early")
    return Download(url, part.path, have, version)


def _write(
    response: requests.Response, part: _Part, have: int, max_bytes: int, until: float | None
) -> int:
    """Append the body; returns the bytes that are there then."""
    with part.file.open("ab") as out:
        try:
            # not iter_content: it drops what it has of a block when the connection breaks
            while block := response.raw.read1(BLOCK_BYTES):
                out.write(block)
                have += len(block)
                if have > max_bytes or (until is not None and time.monotonic() >= until):
                    break
        except HTTPError as exc:
            raise requests.ConnectionError(str(exc)) from exc
        finally:
            out.flush()
            os.fsync(out.fileno())
    return have


def _accept(part: _Part, done: Download, check: Callable[[Path], None]) -> None:
    """Check a complete file and give it its name."""
    try:
        with part.file.open("rb") as file:
            if file.read(512).lstrip().startswith(b"<"):
                raise _html(done.url)
        check(part.file)
    except BadInputError:
        part.drop()
        raise
    part.file.replace(part.path)
    folder = os.open(part.path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    part.note.unlink(missing_ok=True)


def _refuse_wrapping(url: str, response: requests.Response) -> None:
    """Refuse what is a page for people, or was compressed on the way."""
    if "html" in response.headers.get("Content-Type", "").lower():
        raise _html(url)
    if response.headers.get("Content-Encoding", "identity") not in ("", "identity"):
        raise BadInputError(
            "WRONG_CONTENT", f"{url} comes compressed though it was not asked to be", ""
        )


def _refuse_large(url: str, part: _Part, size: int, max_bytes: int) -> None:
    """Refuse what would fill the disk."""
    if size > max_bytes:
        part.drop()
        raise BadInputError(
            "TOO_LARGE", f"{url} has {size} bytes or more, where {max_bytes} are plausible", ""
        )


def _html(url: str) -> BadInputError:
    """What is said of a page in place of a file."""
    return BadInputError(
        "HTML_BODY",
        f"{url} brings a web page instead of a file",
        "Look at it in a browser; it may be a message of the archive",
    )


def _version(response: requests.Response) -> str:
    """What the server calls this version; weak tags do not promise the same bytes."""
    tag = response.headers.get("ETag", "")
    return response.headers.get("Last-Modified", "") if tag.startswith("W/") or not tag else tag


def _disk_full(path: Path, why: str) -> DiskFullError:
    """What is said where there is no room."""
    return DiskFullError(
        f"there is no room for {path.name} in {path.parent}: {why}",
        "Make room and run the command again: it goes on where it stopped",
    )
