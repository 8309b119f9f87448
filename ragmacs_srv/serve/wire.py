"""Two file descriptors become one client: bytes in, bytes out, and nobody waits for who does not read.

Neither descriptor is made non-blocking: that would hold for whoever else has the same pipe. Writes are so small
that none blocks where the system says that there is room.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from .framing import Broken, Frames
from .rpc import Peer, Service

SLICE = select.PIPE_BUF  # bytes that a pipe with room takes at once

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may cost: bytes, and seconds."""

    backlog: int = 8 * 2**20  # bytes that wait to be read by the client; who lets more come together is dropped
    pause: int = 2**20  # from here on its next message is not read before it has read ours,
    patience: float = 10.0  # and it is dropped when it reads nothing for so long
    message: float = 60.0  # from the first byte of a message to its last
    grace: float = 2.0  # after the last message, for the answers that are still to come
    stop: float = 4.0  # for work that was told to stop


class Outbox:
    """What is written to one client: at once as far as it goes, the rest by a thread that waits for it.

    DROP is called once, when the client is gone or will not read.
    """

    def __init__(self, fd: int, limits: Limits, drop: Callable[[], None]) -> None:
        self._fd = fd
        self._limits = limits
        self._drop = drop
        self._ready = select.poll()
        self._ready.register(fd, select.POLLOUT)
        self._changed = threading.Condition()
        self._queue: deque[memoryview] = deque()
        self._size = 0
        self._written = 0
        self._draining = False
        self._closed = False

    def put(self, data: bytes) -> None:
        """Write DATA, now or later; never waits."""
        with self._changed:
            rest = memoryview(data)
            if not self._queue and not self._closed:
                rest = rest[self._write(rest) :]
            if self._closed or not rest:
                return
            if self._size > self._limits.backlog:
                log.warning("a client that does not read is dropped")
                self._give_up()
                return
            self._queue.append(rest)
            self._size += len(rest)
            if not self._draining:
                self._draining = True
                threading.Thread(target=self._drain, name="ragmacs-writer", daemon=True).start()

    def wait_for_room(self) -> None:
        """Wait until the client has read most of what it was sent, or drop it when it reads nothing."""
        with self._changed:
            while self._size > self._limits.pause and not self._closed:
                before = self._written
                if not self._changed.wait_for(partial(self._moved, before), self._limits.patience):
                    log.warning("a client that does not read is dropped")
                    self._give_up()

    def _moved(self, before: int) -> bool:
        return self._written != before or self._closed

    def flush(self, seconds: float) -> None:
        """Wait until all is written, but not longer than SECONDS."""
        with self._changed:
            self._changed.wait_for(lambda: not self._queue or self._closed, seconds)

    def close(self) -> None:
        """Write nothing more; the descriptor is then free to be closed."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _give_up(self) -> None:
        self._closed = True
        self._queue.clear()
        self._size = 0
        self._changed.notify_all()
        self._drop()

    def _write(self, data: memoryview) -> int:
        """How many bytes of DATA the system took without waiting."""
        sent = 0
        try:
            while sent < len(data) and self._ready.poll(0):
                sent += os.write(self._fd, data[sent : sent + SLICE])
        except OSError:  # the client is gone
            self._give_up()
        return sent

    def _drain(self) -> None:
        ready = select.poll()  # one of its own: a poll object serves one thread
        ready.register(self._fd, select.POLLOUT)
        while True:
            ready.poll(1000)
            with self._changed:
                if not self._closed and self._queue:
                    self._account(self._write(self._queue[0]))
                if self._closed or not self._queue:
                    self._draining = False
                    return

    def _account(self, sent: int) -> None:
        if self._closed:
            return
        self._written += sent
        self._size -= sent
        self._queue[0] = self._queue[0][sent:]
        if not self._queue[0]:
            self._queue.popleft()
        self._changed.notify_all()


class Connection:
    """One client, read from SOURCE and written to SINK; DROP makes a thread that waits for it go on."""

    def __init__(
        self, service: Service, source: int, sink: int, *, limits: Limits | None = None, drop: Callable[[], None]
    ) -> None:
        self._limits = limits or Limits()
        self._source = source
        self._sink = sink
        self.outbox = Outbox(sink, self._limits, drop)
        self.peer = Peer(service, self.outbox.put)
        self._frames = Frames()
        self._spent = 0.0  # seconds that the message which is coming has taken so far
        self._readable = select.poll()
        self._readable.register(source, select.POLLIN)

    def run(self) -> None:
        """Read messages until the client has no more; then let what is under way be answered."""
        try:
            while not self.peer.left and (data := self._read()):
                for body in self._frames.feed(data):
                    self.peer.receive(body)
                    if self.peer.left:
                        break
                    self.outbox.wait_for_room()
            if not self.peer.left:
                self._frames.end()
        except Broken as exc:
            self.peer.refuse(str(exc))
        finally:
            self.finish(0.0 if self.peer.left or self._gone() else self._limits.grace)

    def finish(self, grace: float = 0.0) -> None:
        """Stop the work for this client after GRACE seconds, have it answered, and write no more."""
        self.peer.drain(grace)
        self.peer.stop()
        self.peer.drain(self._limits.stop)
        self.outbox.flush(1.0)
        self.outbox.close()

    def _read(self) -> bytes:
        """What came, or b"" at the end; raises Broken when the rest of a message does not come."""
        if not self._frames.begun:
            self._spent = 0.0
            self._readable.poll()
        else:
            began = time.monotonic()
            if not self._readable.poll(max(self._limits.message - self._spent, 0) * 1000):
                raise Broken(f"the rest of a message did not come within {self._limits.message:g} seconds")
            self._spent += time.monotonic() - began
        try:
            return os.read(self._source, 2**16)
        except OSError:  # the client is gone
            return b""

    def _gone(self) -> bool:
        """Whether nobody can read what we would still write."""
        hung = select.poll()
        hung.register(self._sink, 0)
        return any(event & (select.POLLHUP | select.POLLERR) for _, event in hung.poll(0))
