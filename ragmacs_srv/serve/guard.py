"""Lets a request through to an ASGI application only from this machine, with the token, and of a bearable size.

Everything is judged by the headers, before a byte of the body is asked for. The order is that of what it gives
away: who calls (Host, Origin) before what they know (token) before what they send.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from .refusal import Refusal

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGI = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY = 8 << 20  # bytes
BODY_TIME = 30.0  # seconds in which a body must have come
DRAIN_TIME = 2.0  # seconds for which the body of a refused request is read and dropped
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
OPEN = "/healthz"  # the one path without a token
RPC = "/mcp"  # the one path where a refusal, too, is a message of JSON-RPC


class Guard:
    """APP behind the checks; TOKEN is what `Authorization: Bearer` must carry."""

    def __init__(self, app: ASGI, token: str, *, max_body: int = MAX_BODY, body_time: float = BODY_TIME) -> None:
        self._app = app
        self._token = token.encode()
        self._max_body = max_body
        self._body_time = body_time

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = _Headers(scope["headers"])
        body = _Body(receive, self._max_body, self._body_time)
        started = False

        async def sent(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            self._check(scope, headers)
            await self._app(scope, body.receive, sent)
        except Refusal as refused:
            if started:
                raise
            if refused.status != 408 and not headers.one("expect"):  # who expects a 100 sends no body before it
                await body.drain()
            await _refuse(send, refused, refused.rpc if scope["path"] == RPC else refused.body)

    def _check(self, scope: Scope, headers: _Headers) -> None:
        """Raise the Refusal that SCOPE deserves."""
        if not _is_ours(headers.one("host"), scope["server"][1]):
            raise Refusal(403, "the Host header must be 127.0.0.1 or localhost, with the port", "wrong_host")
        if not all(_is_loopback(origin) for origin in headers.all("origin")):
            raise Refusal(403, "web pages of other origins may not ask here", "wrong_origin")
        if scope["path"] == OPEN:
            return
        if not hmac.compare_digest(_bearer(headers.one("authorization")), self._token):
            hint = "the token is in the file that `ragmacs config` names"
            raise Refusal(401, f"the bearer token is missing or wrong: {hint}", "wrong_token", _ASK_FOR_TOKEN)
        if scope["method"] == "POST" and not _is_json(headers.one("content-type")):
            raise Refusal(415, "the body must be of the type application/json", "wrong_content_type")
        if int(headers.one("content-length") or 0) > self._max_body:  # h11 lets digits only through
            raise _too_large(self._max_body)


class _Body:
    """RECEIVE, which raises a Refusal for a body without end, in size or in time."""

    def __init__(self, receive: Receive, limit: int, seconds: float) -> None:
        self._receive = receive
        self._limit = limit
        self._seconds = seconds
        self._ends = asyncio.get_running_loop().time() + seconds
        self._size = 0
        self._more = True

    async def receive(self) -> Message:
        if not self._more:  # from here on it waits for the client to leave
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._ends):
                message = await self._receive()
        except TimeoutError:
            raise Refusal(408, f"the body did not come within {self._seconds:g} s", "too_slow") from None
        self._size += len(message.get("body", b""))
        self._more = message.get("more_body", False)
        if self._size > self._limit:
            raise _too_large(self._limit)
        return message

    async def drain(self) -> None:
        """Drop what a client goes on sending: it may not read before it is done, and a reset would eat our answer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_TIME):
                while self._more and self._size < 4 * MAX_BODY:
                    message = await self._receive()
                    self._size += len(message.get("body", b""))
                    self._more = message.get("more_body", False)


def _too_large(limit: int) -> Refusal:
    return Refusal(413, f"the body is larger than {limit / 2**20:g} MiB", "too_large")


class _Headers:
    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        self._pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs]

    def all(self, wanted: str) -> list[str]:
        return [value for name, value in self._pairs if name == wanted]

    def one(self, wanted: str) -> str:
        """The value of a header that stands there once, else ""."""
        values = self.all(wanted)
        return values[0].strip() if len(values) == 1 else ""


_ASK_FOR_TOKEN = {"WWW-Authenticate": "Bearer"}


async def _refuse(send: Send, refused: Refusal, body: bytes) -> None:
    """Answer with REFUSED, told in BODY."""
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **refused.headers}
    pairs = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


def _is_ours(host: str, port: int) -> bool:
    name, colon, given = host.rpartition(":")
    return bool(colon) and given == str(port) and name.lower() in {"127.0.0.1", "localhost", "[::1]"}


def _is_loopback(origin: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and parts.hostname in LOOPBACK


def _bearer(header: str) -> bytes:
    scheme, _, token = header.partition(" ")
    return token.strip().encode() if scheme.lower() == "bearer" else b""


def _is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "application/json"
