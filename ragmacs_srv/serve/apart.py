"""A method of ours becomes the work of another process: searches share neither a lock nor the memory with it.

That process is our own server for one client, us: it says how far it is and can be stopped as in this process, and
what it took is given back when it ends. When we end it does, too, for its stdin does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..errors import RagmacsError
from ..events import Cancel, Progress, Sink
from .framing import Broken, Frames, frame, parse

PACKAGE = str(__package__).partition(".")[0]
NICE = 5  # who indexes can wait, who asks cannot
END_S = 10.0  # for a process whose stdin has ended; it needs the fewest of them


@dataclass(frozen=True, slots=True)
class Apart:
    """Processes with this environment, one for each call."""

    environ: Mapping[str, str]

    def call(self, method: str, params: Mapping[str, Any], *, sink: Sink, cancel: Cancel) -> dict[str, Any]:
        """What METHOD gives; raises what it raised, as Reported, and Cancelled."""
        with self._started() as process:
            assert process.stdin and process.stdout
            _send(process.stdin, {"id": 1, "method": method, "params": {**params, "token": 1}})
            stop = {"method": "$/cancelRequest", "params": {"id": 1}}
            with cancel.on_cancel(lambda: _send(process.stdin, stop)):
                reply = _reply(process.stdout, sink)
        cancel.check()
        if reply is None:
            message = f"the process that did {method} ended with {process.returncode}"
            raise RagmacsError(message, hint="ask again: what it had finished is kept; the server's log may say why")
        if "error" in reply:
            raise Reported(reply["error"])
        return dict(reply["result"])

    @contextmanager
    def _started(self) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", f"{PACKAGE}.cli", "serve", "--stdio", "--own"]
        with subprocess.Popen(
            ["nice", "-n", str(NICE), *command],
            cwd=Path(__file__).parents[2],  # `-m` looks here first
            env=dict(self.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        ) as process:
            try:
                yield process
            finally:
                assert process.stdin
                process.stdin.close()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(END_S)
                process.kill()


class Reported(RagmacsError):
    """A failure in another process, with the code that it has there."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        said = dict(error.get("data", {}))
        super().__init__(error["message"], hint=said.pop("hint", ""), data=said)
        self.code = error["code"]  # type: ignore[misc]


def _send(stdin: IO[bytes] | None, message: Mapping[str, Any]) -> None:
    with suppress(OSError, ValueError):  # it has ended, which the other side shows
        assert stdin
        stdin.write(frame({"jsonrpc": "2.0", **message}))


def _reply(stdout: IO[bytes], sink: Sink) -> dict[str, Any] | None:
    """The reply to the one request, None when none comes; SINK is told of the progress meanwhile."""
    frames = Frames()
    with suppress(Broken):
        while data := os.read(stdout.fileno(), 2**16):
            for message in map(parse, frames.feed(data)):
                if message.get("method") == "$/progress":
                    sink(Progress(**{key: value for key, value in message["params"].items() if key != "token"}))
                elif message.get("id") == 1:
                    return dict(message)
    return None
