"""Runs an ASGI application on 127.0.0.1, and outlives clients that are slow, hostile or gone.

uvicorn does the work. What it leaves to a proxy in front of it, and there is none, is added to its protocol: a time
for the headers, a time for a client that stops reading, a bound on connections, errors as JSON, and no `100 Continue`
(gptel takes an error behind one for an empty success; a client that gets none sends its body a second later).
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..errors import Busy
from .refusal import RETRY, Refusal

HOST = "127.0.0.1"
HEADER_TIME = 10.0  # seconds in which the headers of a request must have come
STALL_TIME = 60.0  # seconds after which a client that does not read what we write is given up
MAX_HEADERS = 32 << 10  # bytes of the headers of a request
MAX_CONNECTIONS = 256
GRACE = 3  # seconds that requests have to end when the server does


class _Connection(h11.Connection):
    """HTTP/1.1 without `100 Continue`."""

    @property
    def they_are_waiting_for_100_continue(self) -> bool:
        return False


def protocol(
    header_time: float = HEADER_TIME, stall_time: float = STALL_TIME, connections: int = MAX_CONNECTIONS
) -> type[H11Protocol]:
    """uvicorn's side of one connection, with the times in seconds and the number of connections at most."""

    class Protocol(H11Protocol):
        """One request, then the connection is closed."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.conn = _Connection(h11.SERVER, MAX_HEADERS)
            self._stalled: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > connections:
                self._refuse(Refusal(503, "too many connections are open: try again", "busy", RETRY))
            else:
                self.loop.call_later(header_time, self._expect_request)

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget_stall()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stalled = self.loop.call_later(stall_time, self.transport.abort)

        def resume_writing(self) -> None:
            self._forget_stall()
            super().resume_writing()

        def send_400_response(self, msg: str) -> None:
            """What is no HTTP, or too much of it."""
            self._refuse(Refusal(400, msg.rstrip("."), "invalid_http"))

        def _expect_request(self) -> None:
            if self.cycle is None and not self.transport.is_closing():
                self._refuse(Refusal(408, f"no request came within {header_time:g} s", "too_slow"))

        def _refuse(self, refused: Refusal) -> None:
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                headers = {"Content-Type": "application/json", "Connection": "close", **refused.headers}
                length = {"Content-Length": str(len(refused.body))}
                reason = HTTPStatus(refused.status).phrase
                start = h11.Response(
                    status_code=refused.status, headers=list((headers | length).items()), reason=reason
                )
                for event in (start, h11.Data(refused.body), h11.EndOfMessage()):
                    self.transport.write(self.conn.send(event) or b"")
            self.transport.close()

        def _forget_stall(self) -> None:
            if self._stalled is not None:
                self._stalled.cancel()
                self._stalled = None

    return Protocol


@contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """A socket of ours at PORT (0: any); raises Busy when another program has it."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((HOST, port))
            bound.listen(128)
        except OSError as exc:
            raise Busy(f"port {port} of {HOST}: {exc.strerror}", hint="ragmacs serve --http ANOTHER_PORT") from exc
        yield bound


@contextmanager
def running(
    app: Callable[..., Any], at: socket.socket, *, made: type[H11Protocol] | None = None, ending: Callable[[], None]
) -> Iterator[None]:
    """Serve the ASGI application APP at the socket AT while inside, from a thread; ENDING is told when it is to end."""
    config = uvicorn.Config(
        app,
        http=made or protocol(),
        ws="none",
        loop="asyncio",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        headers=[("Connection", "close")],  # one request each: no second one can dawdle behind the first
        timeout_graceful_shutdown=GRACE,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [at]}, name="http", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending()
        server.should_exit = True
        thread.join()
