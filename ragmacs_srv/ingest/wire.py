"""Bound one exchange with a stranger: in time, in bytes, and by the user's wish to stop."""

from __future__ import annotations

import queue
import socket
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from ..errors import Cancelled, RagmacsError
from ..events import Cancel

T = TypeVar("T")


class Damaged(Exception):
    """A body that cannot be unpacked, and why."""


class Budget:
    """Seconds of network time that are left; what is waited out of politeness does not count."""

    def __init__(self, total: float, clock: Callable[[], float]) -> None:
        self.total = total
        self._left = total
        self._clock = clock

    @contextmanager
    def spend(self) -> Iterator[float]:
        """Gives the seconds left, and takes off what is used inside."""
        start = self._clock()
        try:
            yield max(self._left, 0.0)
        finally:
            self._left -= self._clock() - start


class Wire:
    """The socket of one exchange, for another thread to cut.

    Closing an httpx client from outside does not wake a reader; shutting the socket down does. The
    socket is held by a duplicate, which reaches the connection also once TLS has taken the original.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._is_cut = False

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """httpx's `trace` extension: take hold of every connection as soon as it stands."""
        if event.endswith("connect_tcp.complete"):
            self.hold(info["return_value"].get_extra_info("socket").dup())

    def hold(self, connection: socket.socket) -> None:
        """Take CONNECTION over; a wire that is cut already cuts it at once."""
        with self._lock:
            previous, self._socket = self._socket, connection
            late = self._is_cut
        if previous is not None:
            previous.close()
        if late:
            self.cut()

    def cut(self) -> None:
        """End the exchange, wherever it is; harmless when it has ended by itself."""
        with self._lock:
            self._is_cut = True
            connection, self._socket = self._socket, None
        if connection is not None:
            with suppress(OSError):  # the other side was faster
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def within(seconds: float, cancel: Cancel, work: Callable[[], T]) -> T:
    """The result of WORK, or TimeoutError after SECONDS, or Cancelled.

    WORK runs in a thread that is left behind when it is late: looking up a name and connecting cannot
    be interrupted. It must know how to end, and raise only errors of ours, or TimeoutError where a
    socket notices the end of the seconds before we do.
    """
    outcome: queue.SimpleQueue[tuple[T] | RagmacsError | TimeoutError | None] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcome.put((work(),))
        except (RagmacsError, TimeoutError) as exc:
            outcome.put(exc)
        finally:
            outcome.put(None)  # reached first only by an error that is not ours: its traceback is on stderr

    cancel.check()
    if seconds <= 0:
        raise TimeoutError
    threading.Thread(target=run, name="exchange", daemon=True).start()
    with cancel.on_cancel(lambda: outcome.put(Cancelled())):
        try:
            first = outcome.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError from None
    if first is None:
        raise RuntimeError("an exchange ended without a result")
    if isinstance(first, Exception):
        raise first
    return first[0]


def unpack(chunks: Iterable[bytes], content_encoding: str, limit: int) -> bytes:
    """The decoded body, but at most LIMIT + 1 bytes of it: the one too many says that there is more.

    Never more than that is decoded, however well a bomb is packed. Damaged for a coding we did not
    ask for, for more than one, and for a body that is broken or cut short.
    """
    codings = [name for part in content_encoding.split(",") if (name := part.strip().lower()) not in ("", "identity")]
    if codings and (len(codings) > 1 or codings[0] not in ("gzip", "x-gzip")):
        raise Damaged(f"it is packed as {', '.join(codings)[:80]}, though only gzip was asked for")
    return _gunzip(chunks, limit) if codings else _collect(chunks, limit)


def _collect(chunks: Iterable[bytes], limit: int) -> bytes:
    body = bytearray()
    for chunk in chunks:
        body += chunk[: limit + 1 - len(body)]
        if len(body) > limit:
            break
    return bytes(body)


def _gunzip(chunks: Iterable[bytes], limit: int) -> bytes:
    body = bytearray()
    member = zlib.decompressobj(wbits=31)
    empty = True
    try:
        for packed in chunks:
            while packed and len(body) <= limit:
                if member.eof and not packed.startswith(b"\x1f"):
                    return bytes(body)  # padding, as some servers add it
                if member.eof:  # there may be several members
                    member = zlib.decompressobj(wbits=31)
                body += member.decompress(packed, limit + 1 - len(body))
                packed, empty = member.unused_data, False
            if len(body) > limit:
                return bytes(body)
    except zlib.error as exc:
        raise Damaged(str(exc)) from exc
    if not (member.eof or empty):
        raise Damaged("it is cut short")
    return bytes(body)
