"""Read what the archive publishes of a file: size, version, checksum."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from catalog.archive.session import PoliteSession
from catalog.errors import BadInputError
from catalog.files.opening import open_input

_SUMS = re.compile(r'href="(?:\./)?([\w.+-]+\.sha1sum)"', re.IGNORECASE)
_LINE = re.compile(r"([0-9a-fA-F]{40})[ \t]+\*?(\S+)")


@dataclass(frozen=True)
class Published:
    """A file as the archive offers it now; None and empty where it does not say."""

    url: str
    size: int | None
    version: str


def look_up(session: PoliteSession, url: str) -> Published | None:
    """Ask what a file is without fetching it; None where there is no such file.

    Raises
    ------
    BadInputError
        HTML_BODY, where a page for people is in its place.
    UnreachableError, RefusedError
        See `PoliteSession.request`.
    """
    with session.head(
        url, headers={"Accept-Encoding": "identity"}, allow_redirects=True
    ) as response:
        if response.status_code != 200:
            return None
        if "html" in response.headers.get("Content-Type", "").lower():
            raise BadInputError(
                "HTML_BODY", f"{url} is a web page, not a file", "Look at it in a browser"
            )
        length = response.headers.get("Content-Length", "")
        version = response.headers.get("ETag") or response.headers.get("Last-Modified", "")
        return Published(url, int(length) if length.isdecimal() else None, version)


def find_sha1(session: PoliteSession, url: str) -> str | None:
    """The SHA-1 of a file in the ``*.sha1sum`` list of its folder, if the folder has such a list.

    The lists have names that differ from folder to folder, so the folder's index is read first.

    Parameters
    ----------
    session : PoliteSession
        Makes the requests.
    url : str
        The file.
    """
    folder, _, name = url.rpartition("/")
    with session.get(f"{folder}/") as index:
        lists = sorted(set(_SUMS.findall(index.text))) if index.status_code == 200 else []
    for sums in lists:
        with session.get(f"{folder}/{sums}") as response:
            text = response.text if response.status_code == 200 else ""
        for digest, path in _LINE.findall(text):
            if path.rpartition("/")[2] == name:
                return str(digest).lower()
    return None


def check_sha1(path: Path, url: str, expected: str | None) -> None:
    """Compare a file with the archive's checksum, where it has one.

    Raises
    ------
    BadInputError
        CHECKSUM.
    """
    if expected is None:
        return
    with open_input(path) as file:
        found = hashlib.file_digest(file, "sha1").hexdigest()
    if found != expected:
        raise BadInputError(
            "CHECKSUM",
            f"what came from {url} has the SHA-1 {found}, the archive's list says {expected}",
            "Download it again: crosslabel retry",
        )
