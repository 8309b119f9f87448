"""One process serves many clients: those that connect to its socket, or the one at its stdin."""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import __version__, meeting
from ..app import App
from ..errors import Busy
from ..settings import ServeSettings
from .apart import Apart
from .framing import frame
from .methods import Methods, lanes
from .rpc import Service, failure
from .web import Web
from .wire import Connection

MAX_CLIENTS = 256  # two threads each, at most

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """How a server runs: `room` requests of a kind may wait; without a client for `idle` seconds it ends, 0: never.

    `configuration` is what its settings were read from, as `meeting.configuration` gives it.
    """

    room: int = 128
    idle: float = 0.0
    debug: bool = False
    configuration: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: ServeSettings, environ: Mapping[str, str]) -> Options:
        debug = environ.get("RAGMACS_DEBUG") == "1"
        return cls(settings.queue, settings.idle_minutes * 60, debug, meeting.configuration(environ))


class Server:
    """Answers clients until it is stopped: by a method, by a signal, or by idleness.

    `stop` may be called from any thread and from a signal handler: it writes a byte and takes no lock.
    """

    def __init__(self, app: App, options: Options, *, path: Path | None = None, apart: Apart | None = None) -> None:
        """PATH is where it will listen; what indexes is done APART, or else in this process."""
        self._options = options
        self._path = path
        self._started = time.monotonic()
        self._wake, self._waker = os.pipe()
        self._lock = threading.Lock()
        self._connections: set[Connection] = set()
        self._last = time.monotonic()  # when there last was a client
        self.lanes = lanes(options.room)
        self.web = Web(app)
        methods = Methods(
            app,
            state=self.state,
            stop=self.stop,
            http=self.web.open,
            configuration=options.configuration,
            apart=apart,
        )
        self.service = Service(methods.table(debug=options.debug), self.lanes)

    def state(self) -> dict[str, Any]:
        """The `server` of a status, on every transport."""
        return {
            "pid": os.getpid(),
            "version": __version__,
            "socket": str(self._path or ""),
            "http": self.web.address,
            "uptime_s": round(time.monotonic() - self._started, 1),
            "clients": len(self._connections),
            "requests": self.service.requests,
            "queue": {name: lane.state() for name, lane in self.lanes.items()},
            "rss_anon_mb": rss_anon_mb(),
        }

    def stop(self) -> None:
        """Have `run` end."""
        os.write(self._waker, b"x")

    def listen(self, listener: socket.socket) -> None:
        """Serve whoever connects to LISTENER, until stopped or idle."""
        waiting = select.poll()
        waiting.register(self._wake, select.POLLIN)
        waiting.register(listener, select.POLLIN)
        while (left := self._idle_left()) is None or left > 0:
            ready = [fd for fd, _ in waiting.poll(None if left is None else left * 1000 + 1)]
            if self._wake in ready:
                break
            if listener.fileno() in ready:
                self._accept(listener)
        listener.close()
        self._finish()

    def serve(self, source: int, sink: int) -> None:
        """Serve the one client behind two descriptors, until it has no more or the server is stopped."""
        connection = Connection(self.service, source, sink, drop=self.stop)
        self._start(connection, self.stop)
        waiting = select.poll()
        waiting.register(self._wake, select.POLLIN)
        waiting.poll()
        self._finish()

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except OSError as exc:  # it is gone again, or we have no descriptors left
            log.warning("a client could not be accepted: %s", exc)
            time.sleep(0.05)
            return
        if len(self._connections) >= MAX_CLIENTS:
            refusal = Busy(f"{MAX_CLIENTS} clients are connected", hint="close one", data={"retry_after": 10.0})
            with client, suppress(OSError):
                client.settimeout(0.1)
                client.sendall(frame(failure(None, refusal)))
            return

        def drop() -> None:
            with suppress(OSError):  # it may have gone by itself
                client.shutdown(socket.SHUT_RDWR)

        fd = client.fileno()
        self._start(Connection(self.service, fd, fd, drop=drop), client.close)

    def _start(self, connection: Connection, close: Callable[[], None]) -> None:
        def run() -> None:
            try:
                connection.run()
            finally:
                with self._lock:
                    self._connections.discard(connection)
                    self._last = time.monotonic()
                close()

        with self._lock:
            self._connections.add(connection)
        threading.Thread(target=run, name="ragmacs-client", daemon=True).start()

    def _idle_left(self) -> float | None:
        """Seconds that may still pass without a client, or None for ever: clients over HTTP start no server."""
        if not self._options.idle or self.web.address:
            return None
        with self._lock:
            last = time.monotonic() if self._connections else self._last
        return last + self._options.idle - time.monotonic()

    def _finish(self) -> None:
        """Stop all work and have it answered: every client at the same time, all within a few seconds."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.peer.shut = True
            connection.peer.stop()
        closers = [threading.Thread(target=each.finish, daemon=True) for each in connections]
        closers.append(threading.Thread(target=self.web.close, daemon=True))
        for thread in closers:
            thread.start()
        for thread in closers:
            thread.join(5.0)


def rss_anon_mb() -> float | None:
    """The memory that is this process's own, mapped files apart; None where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((round(int(line.split()[1]) / 1024, 1) for line in lines if line.startswith("RssAnon")), None)
