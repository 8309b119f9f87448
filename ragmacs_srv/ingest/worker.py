"""Turn Responses into Pages in a process of their own that can be killed.

libxml2 and trafilatura read hostile input, and some input takes them minutes or gigabytes. A thread could
not be stopped; a child can: it is spawned (never forked: the parent has threads), kept warm because its
imports cost more than thirty pages, and replaced when it was killed, has crashed, or has grown old.

A frame on either pipe is its length (8 bytes), then JSON or, for the document itself, the bytes.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from types import TracebackType
from typing import IO, Any, Final

from ..errors import NoContent, RagmacsError
from ..events import Cancel
from ..model import Block, Page, Response, Section
from .kinds import media_type

MEMORY: Final = 2 << 30  # bytes of address space
PAGES: Final = 1000  # read by one worker; trafilatura's caches only grow
LARGEST: Final = 256 << 20  # bytes of a frame
START: Final = 60.0  # seconds to import what the worker needs, on a busy machine
BOOK: Final = 90.0  # seconds for hundreds of pages in one, as a PDF has: `pdf.SECONDS` of CPU, on a busy machine
_BOOKS: Final = frozenset({"application/pdf", media_type("info")})
_SIZE: Final = struct.Struct(">Q")
# No more: what reads hostile bytes needs no keys.
_ENVIRONMENT: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "TMPDIR")


class Extractor:
    """`extract` behind a process border: one worker, started on first use, safe to share between threads."""

    def __init__(self, *, limit: float = 10.0) -> None:
        self.limit = limit  # seconds for one page
        self._lock = threading.Lock()
        self._worker: _Worker | None = None

    def extract(self, response: Response, *, cancel: Cancel | None = None) -> Page:
        """The page in RESPONSE. NoContent when there is none, or the worker died or took too long over it."""
        cancel = cancel or Cancel()
        with self._lock:
            cancel.check()
            if self._worker is None:
                self._worker = _Worker(cancel)
            worker = self._worker
            try:
                limit = max(self.limit, BOOK) if response.media_type in _BOOKS else self.limit
                reply = worker.ask(response, limit, cancel)
            finally:
                if worker.spent:
                    self._drop()
        if "error" in reply:
            raise NoContent(reply["error"], hint=reply["hint"])
        return _page(reply["page"])

    def close(self) -> None:
        """Let the worker go. Extracting again starts another."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def __enter__(self) -> Extractor:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class _Ended(Exception):
    """The child died before it answered; the text says how, as the end of a sentence."""


class _Worker:
    """One child process, seen from its parent."""

    def __init__(self, cancel: Cancel) -> None:
        self.spent = True  # dead, out of step, or old: not to be asked again
        self._pages = 0
        self._ending = threading.Lock()
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115  # close() closes it
        # -P: a module of that name in the current directory is not ours. Its own process group: a Ctrl-C in
        # the terminal is the parent's to answer, and a kill takes along whatever the child may have started.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            process_group=0,
        )
        try:
            self._converse(START, cancel)
        except _Ended as exc:
            self.close()
            raise RagmacsError(
                f"starting the page reader {exc}", hint="pip install --force-reinstall ragmacs-srv"
            ) from exc
        except BaseException:  # Ctrl-C, too, leaves no child behind
            self.close()
            raise

    def ask(self, response: Response, limit: float, cancel: Cancel) -> dict[str, Any]:
        """Have RESPONSE read within LIMIT seconds; {"page": …} or {"error": …, "hint": …}."""
        order = {"url": response.url, "media_type": response.media_type, "charset": response.charset, "limit": limit}
        self._pages += 1
        try:
            return self._converse(limit, cancel, json.dumps(order).encode(), response.body)
        except _Ended as exc:
            hint = "the page is left out; everything else goes on"
            raise NoContent(f"reading {response.url} {exc}", hint=hint) from exc

    def close(self) -> None:
        """End the child and give back what it held."""
        self._end()
        for stream in (self._process.stdin, self._process.stdout, self._complaints):
            with suppress(BrokenPipeError):  # what it did not read before it ended
                if stream:
                    stream.close()

    def _converse(self, limit: float, cancel: Cancel, *frames: bytes) -> dict[str, Any]:
        """Send FRAMES and wait for the answer; a child that is late is killed. Raises _Ended if none comes."""
        assert self._process.stdin and self._process.stdout  # pipes were asked for
        self.spent = True  # until the answer is there: an exception leaves half a frame in the pipe
        try:
            with self._ended_after(limit) as late, cancel.on_cancel(self._end):
                for frame in frames:
                    _write(self._process.stdin, frame)
                answer = _read(self._process.stdout)
        except (EOFError, OSError) as exc:
            cancel.check()
            late_by = f"took more than {limit:g} s"
            raise _Ended(late_by if late.is_set() else f"failed: {self._last_words()}") from exc
        self.spent = late.is_set() or cancel.cancelled or self._pages >= PAGES
        reply: dict[str, Any] = json.loads(answer)
        return reply

    @contextmanager
    def _ended_after(self, seconds: float) -> Iterator[threading.Event]:
        """End the child if the block takes longer than SECONDS; the event then is set."""
        late = threading.Event()

        def end() -> None:
            late.set()
            self._end()

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            yield late
        finally:
            timer.cancel()
            timer.join()

    def _end(self) -> None:
        """Kill the child's process group, once: afterwards its number may be another's."""
        with self._ending:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def _last_words(self) -> str:
        """Why the child died: the end of its traceback, or the signal."""
        self._end()
        size = self._complaints.seek(0, os.SEEK_END)
        self._complaints.seek(max(0, size - 2000))
        lines = self._complaints.read().decode(errors="replace").split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return said or f"the page reader ended with status {self._process.returncode}"


# The child


def main() -> None:
    """Read orders from stdin and write replies to stdout, until stdin ends: with the parent, whatever ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orders, replies = sys.stdin.buffer, _take_stdout()
    _limit(resource.RLIMIT_AS, MEMORY)
    _limit(resource.RLIMIT_CORE, 0)
    logging.disable()
    from .extract import extract  # only here: the parent starts, and stays, without trafilatura and lxml

    _write(replies, b"{}")
    while (order := _read_order(orders)) is not None:
        body = _read(orders)
        # Wall time is the parent's to watch; this ends a child whose parent was killed while it looped.
        _limit(resource.RLIMIT_CPU, int(time.process_time() + order["limit"]) + 2)
        try:
            page = extract(body, order["url"], media_type=order["media_type"], charset=order["charset"])
            reply: Mapping[str, Any] = {"page": asdict(page)}
        except NoContent as error:
            reply = {"error": error.message, "hint": error.hint}
        _write(replies, json.dumps(reply).encode())


def _take_stdout() -> IO[bytes]:
    """The pipe to the parent; a stray print goes to stderr from now on."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return pipe


def _limit(what: int, most: int) -> None:
    """Lower the soft limit; some systems do not know all of them."""
    with suppress(ValueError, OSError):
        resource.setrlimit(what, (most, resource.getrlimit(what)[1]))


def _read_order(stream: IO[bytes]) -> dict[str, Any] | None:
    try:
        order: dict[str, Any] = json.loads(_read(stream))
    except EOFError:
        return None
    return order


# The wire


def _write(stream: IO[bytes], frame: bytes) -> None:
    stream.write(_SIZE.pack(len(frame)))
    stream.write(frame)
    stream.flush()


def _read(stream: IO[bytes]) -> bytes:
    """The next frame; EOFError if the stream ends before it does, OSError if nobody should send so much."""
    header = stream.read(_SIZE.size)
    if len(header) < _SIZE.size:
        raise EOFError
    (size,) = _SIZE.unpack(header)
    if size > LARGEST:
        raise OSError(f"a frame of {size} bytes")
    frame = stream.read(size)
    if len(frame) < size:
        raise EOFError
    return frame


def _page(fields: dict[str, Any]) -> Page:
    """The inverse of `asdict`, after JSON has made lists of all tuples."""
    sections = tuple(_section(section) for section in fields.pop("sections"))
    lists = {"links": tuple(fields["links"]), "notes": tuple(fields["notes"])}
    return Page(**(fields | lists | {"sections": sections}))


def _section(fields: dict[str, Any]) -> Section:
    blocks = tuple(Block(*block) for block in fields["blocks"])
    return Section(**(fields | {"heading": tuple(fields["heading"]), "blocks": blocks}))


if __name__ == "__main__":
    main()
