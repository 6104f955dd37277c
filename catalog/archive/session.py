"""Polite HTTP: a pace, retries with back-off and jitter, Retry-After, no way to another host."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError

from catalog.archive.patience import PatientAdapter
from catalog.errors import SourceUnavailableError

#: Answers of a server that may do better in a moment.
PASSING = (408, 425, 429, 500, 502, 503, 504)
#: Answers that are answers, also when they bring nothing.
ANSWERS = (200, 206, 404, 410, 416)
MAX_REDIRECTS = 5
_BROKEN = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,  # an answer that is shorter than promised
    requests.exceptions.ContentDecodingError,
)


class UnreachableError(SourceUnavailableError):
    """The archive did not answer one request, however often asked; others may fare better."""


class RefusedError(SourceUnavailableError):
    """The archive does not want these requests at all: asking on would make it worse."""


@dataclass(frozen=True)
class Manners:
    """Limits and intervals of requests.

    Attributes
    ----------
    interval_s : float
        Least time between two requests [s].
    attempts : int
        How often one request is made at most.
    backoff_s : float
        Mean wait before the second attempt [s]; doubles with each.
    longest_wait_s : float
        A server that asks for a longer pause is left alone [s].
    connect_s, read_s : float
        Patience for a connection, and for the head of an answer as for each next bytes of it [s].
    answer_s, answer_bytes : float, int
        Patience for a whole answer that is not a download [s], and its largest size [bytes].
    min_rate, rate_window_s : float
        A download that brings less than this [bytes/s] over this time [s] is given up.
    """

    interval_s: float = 0.0
    attempts: int = 5
    backoff_s: float = 1.0
    longest_wait_s: float = 120.0
    connect_s: float = 10.0
    read_s: float = 60.0
    answer_s: float = 600.0
    answer_bytes: int = 1 << 28
    min_rate: float = 10_000.0
    rate_window_s: float = 60.0


class Pace:
    """Requests of all threads, one after the other, none before its time."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s, self._next, self._lock = interval_s, 0.0, threading.Lock()

    def wait(self) -> None:
        """Sleep until the next request may go out."""
        with self._lock:
            at = max(self._next, time.monotonic())
            self._next = at + self._interval_s
        while (rest := at - time.monotonic()) > 0:
            time.sleep(rest)

    def hold(self, seconds: float) -> None:
        """Let nobody send anything for a while."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


class PoliteSession(requests.Session):  # type: ignore[misc]
    """A session whose every request keeps to `Manners`; threads may share it.

    Parameters
    ----------
    manners : Manners
        Pace, patience, retries.
    program : str
        How it names itself to the server.
    """

    def __init__(self, manners: Manners, program: str = "crosslabel") -> None:
        super().__init__()
        self.max_redirects = MAX_REDIRECTS
        self.manners = manners
        self.pace = Pace(manners.interval_s)
        for scheme in ("http://", "https://"):
            self.mount(scheme, PatientAdapter())
        self.headers["User-Agent"] = program

    def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> requests.Response:
        """Make a request until the server gives an answer of `ANSWERS`.

        Raises
        ------
        UnreachableError
            After the last attempt, or where the server asks to wait for too long.
        RefusedError
            For 401 and 403, any other answer, addresses that lead nowhere, and redirections in a
            circle or to another host.
        """
        kwargs["timeout"] = (self.manners.connect_s, self.manners.read_s)
        as_stream = bool(kwargs.get("stream"))
        kwargs["stream"] = True  # the body is read here, within limits
        where = _place(str(url))

        def ask() -> requests.Response:
            response = super(PoliteSession, self).request(method, url, *args, **kwargs)
            if not as_stream:
                read_body(response, where, self.manners)
            return response

        for attempt in range(1, self.manners.attempts + 1):
            self.pace.wait()
            wait, problem = 0.0, ""
            try:
                response = ask()
            except _BROKEN as exc:
                problem = _in_words(exc)
            except (requests.RequestException, HTTPError, ValueError) as exc:  # a circle, no URL
                raise RefusedError(
                    f"{where} cannot be asked: {' '.join(str(exc).split())[:200]}",
                    "Is the address of the archive right?",
                ) from exc
            else:
                if response.status_code in ANSWERS:
                    return response
                response.close()
                if response.status_code not in PASSING:
                    raise RefusedError(
                        f"{where} answers {response.status_code} {response.reason}",
                        "Stopped. Is the address right, and may this machine ask that often?",
                    )
                problem = f"answers {response.status_code}"
                wait = retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
            if wait > self.manners.longest_wait_s:
                raise UnreachableError(
                    f"{where} asks to wait {wait:.0f} s", "Run the command again after that"
                )
            if attempt < self.manners.attempts:
                self._rest(attempt, wait)
        raise UnreachableError(
            f"{where} {problem} ({self.manners.attempts} attempts)", "Try again later"
        )

    def _rest(self, attempt: int, wait: float) -> None:
        """Wait before the next attempt; where the server asked for it, everybody waits."""
        backoff = self.manners.backoff_s * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)
        if wait > 0:
            self.pace.hold(max(wait, backoff))
        else:
            time.sleep(backoff)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Follow redirections within a host only: elsewhere are login pages, or worse."""
        target: str | None = super().get_redirect_target(resp)
        if target is None:
            return None
        here, there = urlsplit(resp.url), urlsplit(urljoin(resp.url, target))
        if here.netloc != there.netloc:
            raise RefusedError(
                f"{here.netloc}{here.path} leads to another host, {there.netloc}",
                "Not followed. Is the address of the archive right?",
            )
        resp._content, resp._content_consumed = b"", True  # its body, which may never end
        resp.raw.close()
        return target


def _place(url: str) -> str:
    """Return host and path of a URL, for messages: what follows may hold secrets."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address"
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}"


def read_body(response: requests.Response, where: str, manners: Manners) -> None:
    """Read the whole body of an answer into the response, within the limits of our manners.

    Parameters
    ----------
    response : requests.Response
        Made with ``stream=True``.
    where : str
        The address, for messages.
    manners : Manners
        Of which ``answer_s`` and ``answer_bytes`` count.

    Raises
    ------
    UnreachableError
        If it takes too long, or is too large.
    requests.ConnectionError
        If it breaks off, or cannot be decompressed.
    """
    until, parts, n_bytes = time.monotonic() + manners.answer_s, [], 0
    with response:
        try:
            # not content: a server that sends a byte a second would hold us for ever
            while block := response.raw.read1(1 << 16, decode_content=True):
                parts.append(block)
                n_bytes += len(block)
                if n_bytes > manners.answer_bytes:
                    raise UnreachableError(
                        f"{where} answers with more than {manners.answer_bytes:,} bytes",
                        "Is the address right?",
                    )
                if time.monotonic() > until:
                    raise UnreachableError(
                        f"{where} has not ended its answer within {manners.answer_s:.0f} s",
                        "Try again later",
                    )
        except HTTPError as exc:
            raise requests.ConnectionError(str(exc)) from exc
    response._content = b"".join(parts)  # as requests itself does


def retry_after(value: str | None, now: datetime) -> float:
    """Return the time that a server asks to wait [s], from seconds or a date; 0 if it says nothing.

    Parameters
    ----------
    value : str or None
        The header Retry-After (RFC 9110, 10.2.3).
    now : datetime
        With its time zone.
    """
    text = (value or "").strip()
    if text.isdecimal():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())


def _in_words(exc: Exception) -> str:
    """Return why there was no answer, without the layers of the library."""
    if isinstance(exc, requests.Timeout):
        return "does not answer in time"
    if isinstance(exc, requests.exceptions.SSLError):
        return "has no certificate that can be trusted"
    return "cannot be reached, or hangs up"
