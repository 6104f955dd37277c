"""An archive on the loopback interface: SAS files and SkyServer queries, with faults on demand.

It speaks what the real ones speak (ranges, ETags, folder indexes with ``*.sha1sum`` lists,
SkyServer's CSV with its ``#Table1`` line) and keeps a log. Faults are queued per path: each request
of the path takes the next one; when none is left, the server behaves.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from catalog.surveys.specobjid import pack_specobjid

PAGE = b"<!DOCTYPE html><html><body>Down for maintenance</body></html>"


@dataclass
class Archive:
    """What the archive has, how it misbehaves, and what it was asked.

    Attributes
    ----------
    files : dict
        Path below ``/sas/`` -> bytes.
    spectra : list
        SkyServer's spectra: (plate, mjd, fiber, run2d, ra, dec).
    sspp : list
        SkyServer's sppParams joined to SpecObjAll, by the names of ssppOut.
    faults : dict
        Path, or ``query`` -> faults still to play.
    lies : dict
        Path -> what the checksum list says instead of the truth.
    log : list
        (time, method, path, Range header, status or fault).
    """

    files: dict[str, bytes] = field(default_factory=dict)
    spectra: list[tuple[int, int, int, str, float, float]] = field(default_factory=list)
    sspp: list[dict[str, object]] = field(default_factory=list)
    faults: dict[str, list[str]] = field(default_factory=dict)
    lies: dict[str, str] = field(default_factory=dict)
    log: list[tuple[float, str, str, str | None, str]] = field(default_factory=list)
    busy: int = 0
    most_busy: int = 0
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def asked(self, what: str) -> list[tuple[float, str, str, str | None, str]]:
        """The log entries whose path contains this."""
        return [entry for entry in self.log if what in entry[2]]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may hang up; anything else is a mistake of this server."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serve(archive: Archive) -> Iterator[Archive]:
    """Run the archive; its ``url`` is the root."""
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"archive": archive}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    archive.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield archive
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    archive: Archive
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """The archive keeps its own log."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_POST(self) -> None:
        self.upload = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = urlsplit(self.path).path
        key = path.removeprefix("/sas/") if path.startswith("/sas/") else "query"
        with self.archive.lock:
            self.archive.busy += 1
            self.archive.most_busy = max(self.archive.most_busy, self.archive.busy)
            fault = ""
            # a look at a file beforehand does not use up what is meant for its download
            if self.command != "HEAD" and "fDocColumns" not in self.path:
                queue = self.archive.faults.get(key, [])
                fault = queue.pop(0) if queue else ""
            at = len(self.archive.log)
            entry = (time.monotonic(), self.command, path, self.headers.get("Range"), fault)
            self.archive.log.append(entry)
        try:
            status = self._play(key, fault, body)
        except (BrokenPipeError, ConnectionResetError):
            status = "client went away"
        finally:
            with self.archive.lock:
                self.archive.busy -= 1
        self.archive.log[at] = (*entry[:4], f"{fault} {status}".strip())

    def _play(self, key: str, fault: str, body: bool) -> str:
        if fault.startswith("429"):
            return self._send(429, b"", {"Retry-After": fault.removeprefix("429:") or "0"})
        if fault in ("500", "503", "403", "404"):
            return self._send(int(fault), b"error")
        if fault == "html":
            return self._send(200, PAGE, {"Content-Type": "text/html; charset=utf-8"})
        if fault == "html as fits":
            return self._send(200, PAGE, {"Content-Type": "application/fits"})
        if fault == "elsewhere":
            return self._send(302, b"", {"Location": "http://login.example.org/"})
        if fault == "circle":
            return self._send(302, b"", {"Location": self.path})
        if fault == "drip":
            self._head(200, {"ETag": '"slow"', "Accept-Ranges": "bytes"}, 1 << 19)
            return self._drip(b"S" * 600)
        if fault == "drip head":
            return self._drip(b"HTTP/1.1 200 OK\r\nETag: " + b"S" * 600)
        if fault == "drip chunk":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            return self._drip(b"0" * 600)
        if fault == "drip behind redirection":
            self._head(302, {"Location": self.path}, 600)
            return self._drip(b"S" * 600)
        if fault == "hang up":
            self.close_connection = True
            return "closed"
        if key == "query":
            return self._query(fault)
        if key.endswith("/"):
            return self._index(key)
        data = self._file(key, fault)
        if data is None:
            return self._send(404, b"no such file", {"Content-Type": "text/html"})
        return self._send_file(data, fault, body)

    def _file(self, key: str, fault: str) -> bytes | None:
        if fault.startswith("wrong file:"):
            return self.archive.files[fault.removeprefix("wrong file:")]
        if key.endswith(".sha1sum"):
            folder = key.rpartition("/")[0]
            return "".join(
                f"{self.archive.lies.get(k, hashlib.sha1(v).hexdigest())}  {k.rpartition('/')[2]}\n"
                for k, v in self.archive.files.items()
                if k.rpartition("/")[0] == folder
            ).encode()
        return self.archive.files.get(key)

    def _index(self, key: str) -> str:
        name = key.rstrip("/").replace("/", "_") + ".sha1sum"
        inside = any(k.startswith(key) for k in self.archive.files) or not key
        page = f'<html><a href="../">up</a><a href="{name}">{name}</a></html>'.encode()
        return self._send(200 if inside else 404, page, {"Content-Type": "text/html"})

    def _send_file(self, data: bytes, fault: str, body: bool) -> str:
        tag = f'"{hashlib.md5(data).hexdigest()}"'
        headers = {"ETag": tag, "Accept-Ranges": "bytes", "Content-Type": "application/fits"}
        status, start = 200, 0
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted and self.headers.get("If-Range") == tag and fault != "no ranges":
            start = int(wanted[1])
            if start >= len(data):
                end = len(data) + (1000 if fault in ("large total", "long length") else 0)
                return self._send(416, b"", {"Content-Range": f"bytes */{end}"})
            status = 206
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        if fault == "no ranges":
            del headers["Accept-Ranges"], headers["ETag"]
        rest = data[start:]
        if not body:
            return self._send(status, b"", headers, length=len(rest))
        if fault in ("other tag", "other tag cut"):  # each time another version, from the start
            rest, status = data, 200
            headers["ETag"] = f'"{len(self.archive.log)}"'
            headers.pop("Content-Range", None)
            fault = fault.removeprefix("other tag").strip()
        endless = ("wrong range", "long range", "large total", "long length")
        if fault in endless and status == 200:
            fault = "cut"
        if fault == "wrong range":
            headers["Content-Range"] = f"bytes {start + 7}-{len(data) - 1}/{len(data)}"
        if fault == "long range":
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{'9' * 5000}"
        if fault == "large total":  # more than there is; what comes after the end is refused
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data) + 1000}"
        if fault == "short length":
            return self._send(status, rest[: len(rest) // 2], headers)
        if fault == "long length":
            self._head(status, headers, len(rest) + 1000)
            self.wfile.write(rest)
            self.close_connection = True
            return f"{status} short"
        if fault.startswith("cut"):  # promises everything, sends a part, hangs up
            self._head(status, headers, len(rest))
            self.wfile.write(rest[: max(1, len(rest) // 3)])
            self.wfile.flush()
            self.close_connection = True
            return f"{status} cut off"
        if fault == "stall":
            self._head(status, headers, len(rest))
            self.wfile.write(rest[: len(rest) // 2])
            self.wfile.flush()
            time.sleep(0.8)
            self.close_connection = True
            return f"{status} stalled"
        if fault == "no length":
            self.send_response(200)
            self.send_header("Content-Type", "application/fits")
            self.end_headers()
            self.wfile.write(rest)
            self.close_connection = True
            return "200 without length"
        if fault.startswith("slow"):
            self._head(status, headers, len(rest))
            step = max(1, len(rest) // 8)
            for i in range(0, len(rest), step):
                self.wfile.write(rest[i : i + step])
                self.wfile.flush()
                time.sleep(0.05)
            return str(status)
        return self._send(status, rest, headers)

    def _drip(self, data: bytes) -> str:
        """Send a byte now and then, for as long as somebody listens."""
        self.close_connection = True
        for i in range(len(data)):
            self.wfile.write(data[i : i + 1])
            self.wfile.flush()
            time.sleep(0.02)
        return "dripped"

    def _query(self, fault: str) -> str:
        parts = urlsplit(self.path)
        cmd = parse_qs(parts.query).get("cmd", [""])[0]
        if "fDocColumns" in cmd:
            rows = [{"name": n} for n in ("plate", "mjd", "fiberID", "run2d", "specObjID", "ra")]
            return self._send(200, json.dumps([{"Rows": rows}]).encode())
        if cmd:
            return self._sspp(cmd, fault)
        stars = re.findall(r"^ ?(\d+) (-?[\d.e-]+) (-?[\d.e-]+) *\r?$", self.upload, re.MULTILINE)
        radius = re.search(r'name="radius"\s+([\d.e-]+)', self.upload)
        assert radius is not None
        # Like the real one it answers the columns of the query and no others: no names.
        select = re.search(r"SELECT\s+(.*?)\s+FROM #upload u JOIN", self.upload, re.DOTALL)
        assert select is not None
        items = [item.strip() for item in select[1].split(",")]
        lines = ["#Table1", ",".join(re.split(r"\.| AS ", item)[-1] for item in items)]
        if fault == "missing column":
            lines[1] = lines[1].replace("run2d", "run1d")
        if fault == "wrong star":
            stars.append(("0", "1.0", "2.0"))
        spectra = [
            *self.archive.spectra,
            *([(1, 50002, 3, "26", 1.0, 2.0)] * (fault == "wrong star")),
        ]
        for _, ra, dec in stars:
            for plate, mjd, fiber, run2d, ra2, dec2 in spectra:
                east = (ra2 - float(ra)) * math.cos(math.radians(dec2))
                if math.hypot(east, dec2 - float(dec)) * 60 > float(radius[1]):
                    continue
                number = pack_specobjid(plate, mjd, fiber, run2d)
                far = 0.01 if fault == "wrong object" else 0.0
                row = {
                    "p.ra": ra2, "p.dec": dec2 + far, "s.plate": plate, "s.mjd": mjd,
                    "s.fiberID": fiber, "s.run2d": run2d, "s.specObjID": number,
                    "s.ra AS fibre_ra": ra2, "s.dec AS fibre_dec": dec2,
                    "s.SpecObjID AS obj_id": number, "dbo.fPhotoTypeN(p.type) AS type": "STAR",
                }  # fmt: skip
                if fault == "wrong id":
                    row["s.specObjID"] = number + 1024
                lines.append(",".join(str(row[item]) for item in items))
        text = "\n".join(lines) + "\n"
        if fault == "nothing":
            text = "#Table1\nNo objects have been found\n"
        if fault == "broken off":
            text = text[: len(text) - 9]
        if fault == "cut":
            self._head(200, {"Content-Type": "text/csv"}, len(text))
            self.wfile.write(text[: len(text) // 2].encode())
            self.close_connection = True
            return "200 cut off"
        return self._send(200, text.encode(), {"Content-Type": "text/csv"})

    def _sspp(self, cmd: str, fault: str) -> str:
        names = re.findall(r"[ps]\.\w+ AS (\w+)", cmd)
        plate = re.search(r"WHERE p\.PLATE = (\d+)$", cmd.strip())
        assert plate is not None
        wanted = plate[1] if fault != "wrong plate" else str(self.archive.sspp[0]["PLATE"])
        rows = [r for r in self.archive.sspp if str(r["PLATE"]) == wanted]
        lines = ["#Table1", ",".join(names)]
        lines += [",".join(str(r[name]) for name in names) for r in rows]
        return self._send(200, ("\n".join(lines) + "\n").encode(), {"Content-Type": "text/csv"})

    def _head(self, status: int, headers: dict[str, str], length: int) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _send(
        self,
        status: int,
        data: bytes,
        headers: dict[str, str] | None = None,
        length: int | None = None,
    ) -> str:
        self._head(status, headers or {}, len(data) if length is None else length)
        if self.command != "HEAD":
            self.wfile.write(data)
        return str(status)
