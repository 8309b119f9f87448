"""Real servers on loopback for tests, and a small internet of names and public addresses that leads to them."""

from __future__ import annotations

import errno
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import NamedTuple


class Request(NamedTuple):
    """A request as a site saw it; header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """A complete response; `headers` come on top of type and length."""

    body: bytes = b""
    status: int = 200
    type: str = "text/html; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


Route = bytes | Answer | Callable[["Visit"], "Answer | bytes | None"]


class Visit(BaseHTTPRequestHandler):
    """One request under way; a route that is a function may write to it itself and return None."""

    protocol_version = "HTTP/1.1"
    timeout = 10  # seconds an idle connection is kept
    server: _Server

    @property
    def site(self) -> Site:
        return self.server.site

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.site.requests.append(Request(self.command, self.path, headers))
        route = self.site.route(self.path)
        answer = route(self) if callable(route) else route
        if answer is None:
            self.close_connection = True
        else:
            self.answer(answer if isinstance(answer, Answer) else Answer(answer))

    def answer(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in {"Content-Type": answer.type, **answer.headers}.items():
            if value:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def start(self) -> None:
        """Send the head of a page of unknown length; its body ends with the connection."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()

    def hang(self) -> None:
        """Do nothing until the test is over."""
        self.site.closing.wait(60)

    def log_message(self, *args: object) -> None:
        """Be silent: what a site saw is in `requests`."""


class Site:
    """A running server: its address, what it was asked, and the event that ends its longest answers."""

    def __init__(self, origin: str, routes: Mapping[str, Route] | Callable[[Visit], Answer | bytes | None]) -> None:
        self.origin = origin
        self.routes = routes
        self.requests: list[Request] = []
        self.closing = threading.Event()

    @property
    def port(self) -> int:
        return int(self.origin.rpartition(":")[2])

    @property
    def asked(self) -> list[str]:
        """The targets of all requests but those for robots.txt."""
        return [request.target for request in self.requests if request.target != "/robots.txt"]

    def route(self, target: str) -> Route:
        if not isinstance(self.routes, Mapping):
            return self.routes
        path = target.partition("?")[0]
        return self.routes.get(target, self.routes.get(path, Answer(b"no such page", 404)))


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for the last answer, and no test leaves a thread behind
    site: Site

    def server_bind(self) -> None:
        """Without the reverse look-up of our own name, which takes its time without a network."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients hang up on endless pages."""


@contextmanager
def serve(
    routes: Mapping[str, Route] | Callable[[Visit], Answer | bytes | None], *, tls: ssl.SSLContext | None = None
) -> Iterator[Site]:
    """A site on loopback while inside; ROUTES are paths (or targets with a query) to answers, or one function."""
    server = _Server(("127.0.0.1", 0), Visit)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    scheme = "https" if tls else "http"
    server.site = Site(f"{scheme}://127.0.0.1:{server.server_port}", routes)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.site
    finally:
        server.site.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


class Internet:
    """Names with addresses, and addresses that lead to loopback; `connect` stands in for the sockets' dialling."""

    def __init__(self) -> None:
        self.names: dict[str, Sequence[str]] = {}
        self.routes: dict[tuple[str, int], int] = {}
        self.lookups: list[str] = []
        self.dialled: list[tuple[str, int]] = []
        self._connect = socket.create_connection

    def publish(self, name: str, site: Site, address: str = "93.184.216.34") -> None:
        """NAME is at the public ADDRESS, where SITE listens at the port of its scheme."""
        self.names[name] = [address]
        self.routes[address, 443 if site.origin.startswith("https:") else 80] = site.port

    def resolve(self, host: str, port: int, /) -> Sequence[str]:
        self.lookups.append(host)
        if host not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self.names[host]

    def connect(
        self, address: tuple[str, int], timeout: float | None = None, source_address: tuple[str, int] | None = None
    ) -> socket.socket:
        self.dialled.append(address)
        port = self.routes.get(address, address[1] if address[0] == "127.0.0.1" else 0)
        if not port:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        return self._connect(("127.0.0.1", port), timeout)
