"""Downloads that can be cut off anywhere: to ``NAME.part``, checked, then renamed.

Beside the ``.part`` file lies what the server called its version (ETag or Last-Modified), so that
what is continued (RFC 9110, 14: Range with If-Range) is the same file. What was there before stays
until the new one has been found good. A server that lies about sizes, sends the same again or
next to nothing is given up (`catalog.archive.partial`).
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import requests
from urllib3.exceptions import HTTPError

from catalog.archive.partial import Part, tidy
from catalog.archive.session import PoliteSession
from catalog.errors import NO_ROOM, BadInputError, CrosslabelError
from catalog.files.opening import open_input

BLOCK_BYTES = 1 << 18
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d+/(\d{1,18})")
_LENGTH = re.compile(r"[0-9]{1,18}")


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
    UnreachableError
        See `PoliteSession.request`; also when the connection breaks again and again without
        progress, or the bytes come more slowly than ``session.manners`` allows. The ``.part`` file
        stays.
    RefusedError
        See `PoliteSession.request`.
    DiskFullError
        The ``.part`` file stays, to go on from there.
    """
    tidy(path)
    part = Part(path, url)
    until = None if budget_s is None else time.monotonic() + budget_s
    while True:
        try:
            done = _fetch_some(session, part, max_bytes, until)
        except requests.RequestException:  # broke off: go on from there
            part.broke_off()
            part.give_up_if_hopeless(session.manners)
            time.sleep(min(session.manners.backoff_s, 1.0) * (1 + part.note.idle))
            continue
        except OSError as exc:
            if exc.errno in NO_ROOM:
                raise _disk_full(path, str(exc.strerror)) from exc
            raise CrosslabelError(
                f"{path} cannot be written: {exc.strerror}", "Check the folder's permissions"
            ) from exc
        finally:
            _save(part)
        if isinstance(done, Download):
            _accept(part, done, check)
        elif isinstance(done, Unfinished):
            part.give_up_if_hopeless(session.manners)
        return done


def _save(part: Part) -> None:
    """Write the note where that is possible: without it a download only begins again."""
    with suppress(OSError):
        part.save() if part.file.exists() else tidy(part.path)


def _fetch_some(
    session: PoliteSession, part: Part, max_bytes: int, until: float | None
) -> Download | Unfinished | None:
    """Make one request: as many bytes as it brings before the time is up."""
    url, have, version = part.note.url, part.size, part.version
    began = time.monotonic()
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
            part.restart()
            raise requests.ConnectionError("the file is shorter than what is here")
        _refuse_wrapping(url, response)
        said = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
        total_bytes: int | None
        if response.status_code == 206:
            if said is None or int(said[1]) != have or not have:
                part.restart()
                raise requests.ConnectionError("another part than the one that was asked for")
            total_bytes = int(said[2])
        else:
            have, length = 0, response.headers.get("Content-Length", "")
            total_bytes = int(length) if _LENGTH.fullmatch(length) else None
            version = _version(response)
            part.begin(version)
            if not version or response.headers.get("Accept-Ranges") != "bytes":
                until = None  # stopping would mean to begin again
        if total_bytes is not None:
            _refuse_large(url, part, total_bytes, max_bytes)
            free = shutil.disk_usage(part.path.parent).free
            if free < total_bytes - have:
                raise _disk_full(part.path, f"{total_bytes - have} bytes needed, {free} free")
        most = max_bytes if total_bytes is None else total_bytes
        part.came(0, time.monotonic() - began, session.manners)
        have = _write(session, response, part, have, most, until)
        _refuse_large(url, part, have, max_bytes)
    if total_bytes is not None and have > total_bytes:
        part.restart()
        raise requests.ConnectionError("more bytes than were promised")
    if total_bytes is not None and have < total_bytes:
        if until is not None and time.monotonic() >= until:
            return Unfinished(have, total_bytes)
        raise requests.ConnectionError("the connection was closed early")
    return Download(url, part.path, have, version)


def _write(
    session: PoliteSession, response: requests.Response, part: Part, have: int, most: int,
    until: float | None,
) -> int:  # fmt: skip
    """Append the body, up to a little more than ``most`` bytes; returns how many are there."""
    last = time.monotonic()
    with part.file.open("ab") as out:
        try:
            # not iter_content: it drops what it has of a block when the connection breaks
            while block := response.raw.read1(BLOCK_BYTES):
                out.write(block)
                have += len(block)
                now = time.monotonic()
                part.came(len(block), now - last, session.manners)
                last = now
                if have > most or (until is not None and now >= until):
                    break
        except HTTPError as exc:
            part.came(0, time.monotonic() - last, session.manners)
            raise requests.ConnectionError(str(exc)) from exc
        finally:
            out.flush()
            os.fsync(out.fileno())
    return have


def _accept(part: Part, done: Download, check: Callable[[Path], None]) -> None:
    """Check a complete file and give it its name."""
    try:
        with open_input(part.file) as file:
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
    tidy(part.path)


def _refuse_wrapping(url: str, response: requests.Response) -> None:
    """Refuse what is a page for people, or was compressed on the way."""
    if "html" in response.headers.get("Content-Type", "").lower():
        raise _html(url)
    if response.headers.get("Content-Encoding", "identity") not in ("", "identity"):
        raise BadInputError(
            "WRONG_CONTENT", f"{url} comes compressed though it was not asked to be", ""
        )


def _refuse_large(url: str, part: Part, size: int, max_bytes: int) -> None:
    """Refuse what would fill the disk."""
    if size > max_bytes:
        part.drop()
        raise BadInputError(
            "TOO_LARGE", f"{url} has {size} bytes or more, where {max_bytes} are plausible", ""
        )


def _html(url: str) -> BadInputError:
    """Return the error for a web page in place of a file."""
    return BadInputError(
        "HTML_BODY",
        f"{url} brings a web page instead of a file",
        "Look at it in a browser; it may be a message of the archive",
    )


def _version(response: requests.Response) -> str:
    """Return the server's tag of this version; weak tags do not promise the same bytes."""
    tag: str = response.headers.get("ETag", "")
    date: str = response.headers.get("Last-Modified", "")
    return date if tag.startswith("W/") or not tag else tag


def _disk_full(path: Path, why: str) -> DiskFullError:
    """Return the error for a full disk."""
    return DiskFullError(
        f"there is no room for {path.name} in {path.parent}: {why}",
        "Make room and run the command again: it goes on where it stopped",
    )
