"""A command line becomes what that program printed; time and output have limits, and what it starts ends with it."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Literal

from .events import Cancel

OUTPUT: Final = 32 << 20  # bytes that a program may print
COMPLAINTS: Final = 32 << 20  # bytes of stderr that are kept: a compiler explains its decisions there
FILE: Final = 2 << 30  # bytes of a file that it may write
Stopped = Literal["", "timeout", "too_large"]


@dataclass(frozen=True, slots=True)
class Output:
    """What a program printed, how it ended, and how long it took; `stopped` says why we ended it, or is ""."""

    argv: tuple[str, ...]
    stdout: bytes
    stderr: str
    code: int
    ms: int
    stopped: Stopped = ""


def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    environ: Mapping[str, str],
    cancel: Cancel,
    seconds: float,
    stdin: bytes = b"",
    limit: int = OUTPUT,
) -> Output:
    """Run ARGV with nothing but ENVIRON, until it ends, SECONDS are over, it printed LIMIT bytes, or CANCEL.

    Its whole process group ends with it. Raises OSError when it cannot be started, and Cancelled.
    """
    began = time.monotonic()
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            process_group=0,
        )
        group = _Group(process)
        _limit(process.pid, seconds)
        try:
            with group.ended_after(seconds), cancel.on_cancel(group.end):
                stdout = _conversed(process, stdin, limit)
                if len(stdout) <= limit:
                    with suppress(ChildProcessError):  # `group` was faster
                        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # its number stays taken
        finally:
            group.end()
        cancel.check()
        stderr = _tail(complaints)
    stopped: Stopped = "timeout" if group.late else "too_large" if len(stdout) > limit else ""
    taken = round((time.monotonic() - began) * 1000)
    return Output(tuple(argv), stdout, stderr, process.returncode, taken, stopped)


class _Group:
    """A process and all that it starts, ended together and once: before anybody has waited for it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._lock = threading.Lock()
        self._over = False
        self.late = False

    def end(self) -> None:
        with self._lock:
            if not self._over:
                self._over = True
                with suppress(ProcessLookupError, PermissionError):  # nobody of them is left
                    os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    @contextmanager
    def ended_after(self, seconds: float) -> Iterator[None]:
        def end() -> None:
            self.late = True
            self.end()

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def _conversed(process: subprocess.Popen[bytes], stdin: bytes, limit: int) -> bytes:
    """Send STDIN, and read what PROCESS prints, one byte beyond LIMIT at most."""
    assert process.stdin and process.stdout  # pipes were asked for
    feeder = threading.Thread(target=_feed, args=(process.stdin, stdin), daemon=True)
    feeder.start()
    with process.stdout:
        stdout = process.stdout.read(limit + 1)
    feeder.join()
    return stdout


def _feed(pipe: IO[bytes], text: bytes) -> None:
    with suppress(OSError), pipe:  # it need not read all of it
        pipe.write(text)


def _limit(pid: int, seconds: float) -> None:
    """A process that outlives its parent ends all the same; only Linux can set the limits of another."""
    if not hasattr(resource, "prlimit"):
        return
    cpu = int(seconds) * (os.cpu_count() or 1) + 1
    for what, most in ((resource.RLIMIT_CPU, cpu), (resource.RLIMIT_FSIZE, FILE), (resource.RLIMIT_CORE, 0)):
        with suppress(ValueError, OSError):  # it has ended, or has lower ones
            resource.prlimit(pid, what, (most, most))


def _tail(complaints: IO[bytes]) -> str:
    size = complaints.seek(0, os.SEEK_END)
    complaints.seek(max(0, size - COMPLAINTS))
    return complaints.read().decode(errors="replace")
