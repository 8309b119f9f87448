"""A JSON-RPC server in a thread that does what a script says: methods by name, `initialize` among them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ragmacs_srv import __version__, meeting
from ragmacs_srv.errors import RagmacsError

Send = Callable[[str, dict[str, Any]], None]  # a notification: its method and params
Method = Callable[[dict[str, Any], Send], Any]


class Hangup(Exception):
    """Raised by a method that lets the connection end."""


class Server:
    """Listens at PATH; `asked` has every message that came, as (method, params)."""

    def __init__(self, path: Path, methods: Mapping[str, Method]) -> None:
        self.methods: dict[str, Method] = {"initialize": greet, **methods}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.came = threading.Condition()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def names(self) -> list[str]:
        """The methods that were called, greetings apart."""
        return [method for method, _ in self.asked if method != "initialize"]

    def wait_for(self, method: str) -> bool:
        """Whether METHOD was called in the end."""
        with self.came:
            return self.came.wait_for(lambda: method in self.names(), 30)

    def refuse(self) -> None:
        """Take no more clients."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the socket, once all clients have let go of us."""
        self.refuse()
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        with ThreadPoolExecutor() as clients:
            while True:
                try:
                    connection, _ = self._listener.accept()
                except OSError:
                    return
                clients.submit(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as stream, ThreadPoolExecutor() as requests:
            while header := stream.readline():
                assert stream.readline() == b"\r\n"
                message = json.loads(stream.read(int(header.removeprefix(b"Content-Length: "))))
                with self.came:
                    self.asked.append((message["method"], message["params"]))
                    self.came.notify_all()
                if "id" in message:
                    requests.submit(self._reply, message, connection, stream)

    def _reply(self, message: dict[str, Any], connection: socket.socket, stream: Any) -> None:
        with contextlib.suppress(OSError):
            try:
                send(stream, {"id": message["id"], **self._answer(message, stream)})
            except Hangup:
                connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, message: dict[str, Any], stream: Any) -> dict[str, Any]:
        def notify(method: str, params: dict[str, Any]) -> None:
            send(stream, {"method": method, "params": params})

        try:
            return {"result": self.methods[message["method"]](message["params"], notify)}
        except RagmacsError as exc:
            data = {"hint": exc.hint, "exit_code": exc.exit_code}
            return {"error": {"code": exc.code, "message": exc.message, "data": data}}


def send(stream: Any, message: dict[str, Any]) -> None:
    body = json.dumps({"jsonrpc": "2.0", **message}).encode()
    stream.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
    stream.flush()


def greet(params: dict[str, Any], send: Send) -> dict[str, Any]:
    """What a server says that was started just now."""
    return {"version": __version__, "configuration": meeting.configuration(os.environ)}


@contextmanager
def listening(path: Path, **methods: Method) -> Iterator[Server]:
    """A Server of METHODS, whose names are written with _ for /."""
    server = Server(path, {name.replace("_", "/"): method for name, method in methods.items()})
    try:
        yield server
    finally:
        server.close()
