"""A scripted server that speaks OpenAI's chat completions on loopback, well or badly, as a test asks it to."""

from __future__ import annotations

import json
import queue
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATIENCE = 30.0  # seconds after which a test that went wrong is let go


class Act(Enum):
    """What a script can do beside sending."""

    HANG = auto()  # wait until the client hangs up


Step = str | bytes | threading.Event | Act


@dataclass(frozen=True)
class Reply:
    """One reply: what to wait for, a status line, headers, then the steps of BODY in turn.

    A str is a line of an event stream, sent with the blank line that ends it; bytes are sent as they
    are; an Event is waited for. The body ends when the connection closes, unless HEADERS say otherwise.
    """

    body: Iterable[Step] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "text/event-stream"})
    before: Sequence[Step] = ()


@dataclass(frozen=True)
class Request:
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]


class Server:
    """Where to find the server, what it was asked, and when a client hung up on it."""

    def __init__(self, replies: Sequence[Reply], answer: Callable[[Request], Reply] | None = None) -> None:
        self.url = ""
        self.requests: list[Request] = []
        self.hung_up = threading.Event()
        self._arrived: queue.Queue[Request] = queue.Queue()
        self._replies = iter(replies)
        self._answer = answer

    def next_request(self) -> Request:
        """The next request, as soon as it has arrived."""
        return self._arrived.get(timeout=PATIENCE)

    def take(self, request: Request) -> Reply:
        self.requests.append(request)
        self._arrived.put(request)
        if self._answer is not None:
            return self._answer(request)
        return next(self._replies, json_reply({"error": {"message": "the script is over"}}, status=500))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _HTTPServer

    def do_POST(self) -> None:
        self.close_connection = True
        body = self.rfile.read(int(self.headers["Content-Length"]))
        reply = self.server.script.take(Request(self.path, dict(self.headers), json.loads(body)))
        with suppress(ConnectionError, ssl.SSLError):
            self._play(reply.before)
            self.send_response(reply.status)
            for name, value in {"Connection": "close", **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self._play(reply.body)

    def _play(self, steps: Iterable[Step]) -> None:
        for step in steps:
            if isinstance(step, threading.Event):
                step.wait(PATIENCE)
            elif step is Act.HANG:
                self._await_hang_up()
            elif isinstance(step, bytes):
                self.wfile.write(step)
            else:
                self.wfile.write(f"{step}\n\n".encode())

    def _await_hang_up(self) -> None:
        with suppress(OSError):  # a reset is one too
            self.connection.settimeout(PATIENCE)
            self.connection.recv(1)
        self.server.script.hung_up.set()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name in the base class)
        """Say nothing."""


class _HTTPServer(ThreadingHTTPServer):
    script: Server

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves in the middle is what some tests are about."""


@contextmanager
def scripted(
    *replies: Reply, tls: ssl.SSLContext | None = None, answer: Callable[[Request], Reply] | None = None
) -> Iterator[Server]:
    """Serve REPLIES in turn, one a request, afterwards every request fails with 500; or what ANSWER makes of each."""
    httpd = _HTTPServer(("127.0.0.1", 0), _Handler)
    httpd.script = Server(replies, answer)
    httpd.script.url = f"{'https' if tls else 'http'}://127.0.0.1:{httpd.server_port}/v1"
    if tls:
        httpd.socket = tls.wrap_socket(httpd.socket, server_side=True)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield httpd.script
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def chunk(choice: Mapping[str, Any] | None) -> str:
    """A line of the stream: CHOICE, or the usage chunk that has none."""
    choices = [] if choice is None else [{"index": 0, "finish_reason": None, **choice}]
    return "data: " + json.dumps({"id": "x", "object": "chat.completion.chunk", "model": "m", "choices": choices})


def delta(text: str | None, **more: Any) -> str:
    return chunk({"delta": {"content": text, **more}})


def finish(reason: str = "stop") -> str:
    return chunk({"delta": {}, "finish_reason": reason})


DONE = "data: [DONE]"


def says(*deltas: str) -> Reply:
    """A reply as it should be."""
    return Reply([delta(None, role="assistant"), *map(delta, deltas), finish(), DONE])


def json_reply(value: object, status: int = 200, **headers: str) -> Reply:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply([json.dumps(value).encode()], status, {"Content-Type": "application/json", **named})


def refuses(status: int, message: str, **headers: str) -> Reply:
    return json_reply({"error": {"message": message, "type": "error"}}, status, **headers)
