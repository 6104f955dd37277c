"""A `crosslabel` for shells that starts at once, as a session of a hundred commands needs it.

A server imports what commands import and forks for each one. The program on the shell's path asks
it to: the command runs in the shell's folder, with its environment, input and output, and the
program ends with its exit code.

Usage: python -m tests.support.warm SOCKET [MODULE...]
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

from tests.support.processes import PRELOADED

_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = """#!{python} -ISs
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    asked = {{"words": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}
    socket.send_fds(server, [b"crosslabel"], [0, 1, 2])
    server.sendall(json.dumps(asked).encode() + b"\\n")
    code = server.makefile().readline()
sys.exit(int(code))
"""


@contextmanager
def warm_program(folder: Path, *first: str) -> Iterator[Path]:
    """The program `crosslabel` in a new folder, while its server runs.

    ``first`` are modules that are imported before all others.
    """
    address = folder / "server"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.warm", str(address), *first],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
    ) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            program = folder / "bin" / "crosslabel"
            program.parent.mkdir()
            program.write_text(_PROGRAM.format(python=sys.executable, address=str(address)))
            program.chmod(0o755)
            yield program
        finally:
            server.kill()


def serve(address: str, *first: str) -> None:
    """Fork for each command that is asked for, until killed."""
    for name in (*first, *PRELOADED):
        import_module(name)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        while True:
            asking, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _answer(asking)
                os._exit(0)
            asking.close()
            with suppress(ChildProcessError):  # those that have ended
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def _answer(asking: socket.socket) -> None:
    """Run the command in a process of its own, and tell its exit code."""
    _, streams, *_ = socket.recv_fds(asking, 10, 3)
    asked = json.loads(asking.makefile().readline())
    pid = os.fork()
    if pid == 0:
        asking.close()
        os._exit(_run(asked["words"], asked["folder"], asked["environment"], streams))
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    asking.sendall(f"{code if code >= 0 else 128 - code}\n".encode())


def _run(words: list[str], folder: str, environment: dict[str, str], streams: list[int]) -> int:
    """Run the command line; its exit code."""
    from jobs.cli import main

    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["crosslabel", *words]
    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
        if not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    assert isinstance(code, int)
    return code


if __name__ == "__main__":
    serve(*sys.argv[1:])
