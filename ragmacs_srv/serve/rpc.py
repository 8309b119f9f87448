"""Messages become calls, and calls replies: JSON-RPC 2.0 for one client, without any transport.

A request is answered by its finished future, so also one that is cancelled before it starts gets its one reply.
What Emacs's jsonrpc.el takes decides the rest: no member beyond those of the specification, no key in an error but
`code`, `message` and `data`, ids with the type they came with.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from .. import registry
from ..errors import Cancelled, FetchError, InvalidParams, LLMUnavailable, RagmacsError
from ..events import Cancel, Progress
from ..settings import nearest
from .framing import Malformed, frame, parse
from .lanes import Lane, settle

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND = -32700, -32600, -32601
MAX_BATCH = 1000  # messages
SHOWN = 80  # characters of a foreign name in a message of ours

Id = str | int | float | None
Message = dict[str, Any]
Reply = Callable[[Message | None], None]  # called once per message; None: there is nothing to say

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Method:
    """What a name of the protocol stands for: `run(call, **arguments)`, by the threads of `lane`.

    Without a lane it runs where the message is read: it has to be quick.
    """

    run: Callable[..., dict[str, Any]]
    convert: Callable[[Mapping[str, Any]], dict[str, Any]]  # params to arguments; raises InvalidParams
    lane: str = ""


def method(run: Callable[..., dict[str, Any]], lane: str = "") -> Method:
    """RUN, whose first parameter is the Call, as a Method; its annotations say what its arguments are."""
    return Method(run, partial(registry.converted, registry.define(cast("Any", run))), lane)


class Service:
    """What all clients share: the methods, and the threads that run them."""

    def __init__(self, methods: Mapping[str, Method], lanes: Mapping[str, Lane]) -> None:
        self.methods = methods
        self.lanes = lanes
        self._lock = threading.Lock()
        self._requests = 0

    @property
    def requests(self) -> int:
        """How many have come so far."""
        return self._requests

    def start(self, name: str, work: Callable[[], dict[str, Any]]) -> Future[dict[str, Any]]:
        """The future of WORK, done as the method NAME is; raises Busy."""
        with self._lock:
            self._requests += 1
        lane = self.methods[name].lane
        if lane:
            return self.lanes[lane].submit(work)
        future: Future[dict[str, Any]] = Future()
        settle(future, work)
        return future


@dataclass(frozen=True, slots=True)
class Request:
    """A message that asks for something; without `answered` it is a notification."""

    method: str
    params: Mapping[str, Any]
    id: Id
    answered: bool


class Refused(Exception):
    """A message that is no request: why, by which code, and to which id."""

    def __init__(self, message: str, to: Id = None, code: int = INVALID_REQUEST) -> None:
        super().__init__(message)
        self.to = to
        self.code = code


class Call:
    """One request while it is worked on: what tells its client how far it is, and what stops it."""

    def __init__(self, peer: Peer, request: Request, token: str | int | None) -> None:
        self.peer = peer
        self.request = request
        self.token = token
        self.cancel = Cancel()
        self.future: Future[dict[str, Any]] | None = None
        self._afterwards: Callable[[], None] | None = None

    def delta(self, text: str) -> None:
        """A piece of the answer, for a client that gave a token."""
        self._notify("$/delta", {"text": text})

    def progress(self, progress: Progress) -> None:
        """The sink of the work, for a client that gave a token."""
        shape = {
            "job": progress.job,
            "done": progress.done,
            "total": progress.total,
            "rate": round(progress.rate, 3),
            "eta_s": None if progress.eta_s is None else round(progress.eta_s, 1),
            "message": progress.message,
        }
        self._notify("$/progress", shape)

    def afterwards(self, callback: Callable[[], None]) -> None:
        """Have CALLBACK run once the reply is written."""
        self._afterwards = callback

    def run(self, method: Method, arguments: Mapping[str, Any]) -> dict[str, Any]:
        self.cancel.check()
        return method.run(self, **arguments)

    def stop(self) -> None:
        """Stop the work, or have it never begin; safe from any thread, any number of times."""
        self.cancel.cancel()
        if self.future is not None:
            self.future.cancel()

    def finished(self) -> None:
        """The reply is written."""
        if self._afterwards is not None:
            self._afterwards()

    def _notify(self, name: str, params: Message) -> None:
        if self.token is not None:
            self.peer.send({"jsonrpc": "2.0", "method": name, "params": {"token": self.token, **params}})


class Peer:
    """One client: bodies of messages come in by `receive`, frames go out by WRITE, from any thread."""

    def __init__(self, service: Service, write: Callable[[bytes], None]) -> None:
        self.service = service
        self.shut = False  # by `shutdown`: nothing but `exit` is taken
        self.left = False  # by `exit`: nothing more is read
        self.roots: tuple[Path, ...] = ()  # by `initialize`: folders whose files may be read for this client
        self._write = write
        self._calls: set[Call] = set()
        self._changed = threading.Condition()

    def receive(self, body: bytes) -> None:
        """Take one message; replies are written as they become ready."""
        try:
            message = parse(body)
        except Malformed as exc:
            self.refuse(str(exc))
            return
        if not isinstance(message, list):
            self._take(message, self._answer)
        elif not 0 < len(message) <= MAX_BATCH:
            self._answer(error(None, INVALID_REQUEST, f"a batch holds 1 to {MAX_BATCH:,} messages"))
        else:
            batch = _Batch(len(message), self._send)
            for each in message:
                self._take(each, batch.add)

    def refuse(self, why: str) -> None:
        """Answer bytes that are no message."""
        self._send(error(None, PARSE_ERROR, why))

    def send(self, message: Message) -> None:
        """Write a notification."""
        self._send(message)

    def stop(self) -> None:
        """Stop all that this client waits for; each call still gets its reply."""
        for call in self._under_way():
            call.stop()

    def drain(self, seconds: float) -> bool:
        """Wait until every call has its reply written; whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._calls, seconds)

    def _take(self, message: object, reply: Reply) -> None:
        """Begin what MESSAGE asks for; REPLY is called once, now or later."""
        try:
            request = read(message)
            if request is None:
                reply(None)
            elif request.method == "$/cancelRequest":
                stopped = self._cancel(request.params)
                reply(result(request.id, {"cancelled": stopped}) if request.answered else None)
            else:
                self._begin(request, reply)
        except Refused as exc:
            reply(error(exc.to, exc.code, str(exc)))

    def _begin(self, request: Request, reply: Reply) -> None:
        try:
            method = self._method(request)
            params = dict(request.params)
            call = Call(self, request, _token(params.pop("token", None)))
            arguments = method.convert(params)
            with self._changed:
                self._calls.add(call)
            try:
                call.future = self.service.start(request.method, partial(call.run, method, arguments))
            except RagmacsError:
                self._forget(call)
                raise
        except Refused as exc:
            reply(error(exc.to, exc.code, str(exc)) if request.answered else None)
        except RagmacsError as exc:
            reply(failure(request.id, exc) if request.answered else None)
        else:
            call.future.add_done_callback(partial(self._finish, call, reply))

    def _method(self, request: Request) -> Method:
        found = self.service.methods.get(request.method)
        if found is None:
            near = nearest(request.method[:SHOWN], list(self.service.methods))
            raise Refused(f"there is no method {_shown(request.method)}; {near}", request.id, METHOD_NOT_FOUND)
        if self.shut and request.method != "exit":
            raise Refused("this connection is shut down", request.id)
        return found

    def _finish(self, call: Call, reply: Reply, future: Future[dict[str, Any]]) -> None:
        """Write the reply of CALL, whose FUTURE is done: the only place that answers work."""
        failed = Cancelled() if future.cancelled() else future.exception()
        if not call.request.answered:
            if failed is not None and not isinstance(failed, Cancelled):
                log.warning("the notification %s failed: %s", _shown(call.request.method), failed)
            reply(None)
        else:
            reply(failure(call.request.id, failed) if failed else result(call.request.id, future.result()))
        self._forget(call)
        call.finished()

    def _cancel(self, params: Mapping[str, Any]) -> int:
        """Stop the calls that PARAMS name by `id` or `token`; how many those are."""
        named = [
            call
            for call in self._under_way()
            if ("id" in params and call.request.answered and _same(call.request.id, params["id"]))
            or (call.token is not None and _same(call.token, params.get("token")))
        ]
        for call in named:
            call.stop()
        return len(named)

    def _under_way(self) -> list[Call]:
        with self._changed:
            return list(self._calls)

    def _forget(self, call: Call) -> None:
        with self._changed:
            self._calls.discard(call)
            self._changed.notify_all()

    def _answer(self, message: Message | None) -> None:
        if message is not None:
            self._send(message)

    def _send(self, message: Message | list[Message]) -> None:
        try:
            data = frame(message)
        except (TypeError, ValueError, RecursionError) as exc:
            log.exception("a message of ours is no JSON")
            data = frame(failure(message.get("id") if isinstance(message, dict) else None, exc))
        self._write(data)


class _Batch:
    """Gathers the replies to COUNT messages, and sends those that there are as one list."""

    def __init__(self, count: int, send: Callable[[list[Message]], None]) -> None:
        self._left = count
        self._send = send
        self._replies: list[Message] = []
        self._lock = threading.Lock()

    def add(self, reply: Message | None) -> None:
        with self._lock:
            self._left -= 1
            if reply is not None:
                self._replies.append(reply)
            whole = not self._left and bool(self._replies)
        if whole:
            self._send(self._replies)


def read(message: object) -> Request | None:
    """MESSAGE as a request, or None for a reply to something that we never asked; raises Refused."""
    if not isinstance(message, dict):
        raise Refused("a message is an object")
    key = message.get("id")
    if isinstance(key, bool | dict | list):
        raise Refused("an id is a string or a number")
    if "method" not in message and ("result" in message or "error" in message):
        return None
    if message.get("jsonrpc") != "2.0":
        raise Refused('the member jsonrpc is not "2.0"', key)
    if not isinstance(message.get("method"), str):
        raise Refused("the method is not a string", key)
    params = message.get("params")
    if params is not None and not isinstance(params, dict | list):
        raise Refused("params are an object", key)
    answered = "id" in message
    named = params if isinstance(params, dict) else {}
    if params and not named:
        if not answered:
            return None
        raise Refused("give params by name, as an object", key, InvalidParams.code)
    if message["method"].startswith("$/") and not answered and message["method"] != "$/cancelRequest":
        return None  # of these a server may ignore what it does not know
    return Request(message["method"], named, key, answered)


def result(to: Id, value: dict[str, Any]) -> Message:
    """The reply that brings VALUE, which is never empty: to Emacs {} would be nil."""
    return {"jsonrpc": "2.0", "id": to, "result": value or {"ok": True}}


def error(to: Id, code: int, message: str, data: Mapping[str, Any] | None = None) -> Message:
    """The reply that says what went wrong. Any other key in `error` hangs Emacs 30."""
    shape = {"code": code, "message": message, **({"data": dict(data)} if data else {})}
    return {"jsonrpc": "2.0", "id": to, "error": shape}


def failure(to: Id, exc: BaseException) -> Message:
    """The reply for EXC: one of ours with all it knows, anything else as a bug of ours."""
    if not isinstance(exc, RagmacsError):
        log.error("a request failed by a bug of ours", exc_info=exc)
        exc = RagmacsError(f"internal error: {type(exc).__name__}: {exc}"[:1000], hint="the server's log says more")
    data = {"hint": exc.hint, "exit_code": exc.exit_code, **exc.data}
    if isinstance(exc, FetchError):
        data |= {"status": exc.status, "retry_after": exc.retry_after}
    if isinstance(exc, LLMUnavailable):
        data["partial"] = exc.partial
    return error(to, exc.code, exc.message, data)


def _token(token: object) -> str | int | None:
    if isinstance(token, bool) or not isinstance(token, str | int | None):
        raise InvalidParams("the argument 'token' must be a string or a whole number", hint="choose it yourself")
    return token


def _same(ours: Id, theirs: object) -> bool:
    return type(ours) is type(theirs) and ours == theirs


def _shown(name: str) -> str:
    return repr(name if len(name) <= SHOWN else name[: SHOWN - 1] + "…")
