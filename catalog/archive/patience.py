"""Answers of servers that come within a time in all, not only each of their bytes.

A socket's own time-out begins anew with each byte, so that a server which sends one a second, of
the head of its answer or of the length of a chunk, would hold us for ever.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class _LimitedReader(io.RawIOBase):
    """Reads from a socket's file until a time; without one, as long as the socket waits itself."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw, self._sock, self.until = raw, sock, float("inf")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read as the socket's file does; raise TimeoutError when the time is over."""
        if self.until < float("inf"):
            left = self.until - time.monotonic()
            if left <= 0:
                raise TimeoutError("the answer comes too slowly")
            self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """Close the socket's file."""
        self._raw.close()
        super().close()


class _TimelyResponse(http.client.HTTPResponse):
    """An answer whose head, and each next bytes of its body, come within the socket's time-out.

    Raises
    ------
    TimeoutError
        Where they do not; urllib3 takes it for the socket's own.
    """

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._sock, self._patience_s = sock, sock.gettimeout()
        self._limited = _LimitedReader(self.fp.detach(), sock)
        self.fp = io.BufferedReader(self._limited)

    def begin(self) -> None:
        """Read the head."""
        with self._in_time():
            super().begin()

    def read1(self, n: int = -1) -> bytes:
        """Read the next bytes."""
        with self._in_time():
            return super().read1(n)

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        """Let all reads of the block together take no longer than one may."""
        if self._patience_s is not None:
            self._limited.until = time.monotonic() + self._patience_s
        try:
            yield
        finally:
            self._limited.until = float("inf")
            if self._patience_s is not None and self._sock.fileno() >= 0:
                self._sock.settimeout(self._patience_s)


class _Connection(HTTPConnection):
    response_class = _TimelyResponse


class _SecureConnection(HTTPSConnection):
    response_class = _TimelyResponse


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


_POOLS = {"http": _Pool, "https": _SecurePool}


class PatientAdapter(HTTPAdapter):  # type: ignore[misc]
    """Connections of `requests`, also through a proxy, whose answers keep to their time."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the connections to servers."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Return the connections through a proxy."""
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager
