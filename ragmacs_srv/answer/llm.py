"""Turns messages into a stream of text, through any server that speaks OpenAI's chat completions."""

from __future__ import annotations

import json
import math
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, Protocol

import httpx
from httpx_sse import EventSource

from ..errors import LLMRefused, LLMUnavailable, ModelError, SettingsError
from ..events import Cancel
from ..search.remote import hints, sendable, server_address
from .prompt import Message

__all__ = ["Chat", "Message", "OpenAIChat"]

TIMEOUT = 120.0  # seconds without a sign of the model: it may have to be loaded, and to read a long prompt
CONNECT_TIMEOUT = 5.0
DEADLINE = 600.0  # seconds for a whole answer: 2,000 tokens from a laptop that makes 4 in a second
MAX_CHARS = 200_000  # of an answer; a model that repeats itself for ever is stopped here
MAX_BYTES = 64 << 20  # of a response: a token comes wrapped in some 300 bytes, and thinking counts too
MAX_ERROR_BYTES = 64 << 10  # of the body of an error, of which one line is shown
MAX_QUOTE = 300  # characters of what a server said, in an error of ours
PATIENCE = 20.0  # seconds that a server may ask us to wait
RETRIES = 2

_URL_HINT, _KEY_HINT = hints("llm")
_START_HINT = "start the server, or drop `[llm] base_url` to get extractive answers"
_HINTS = {
    401: _KEY_HINT,
    403: _KEY_HINT,
    404: "check `[llm] model` and `[llm] base_url`; for most servers the latter ends in /v1",
    413: "the question with its passages is too long for this server",
}


_ENDED = re.compile(rb"^data:\s*\[DONE\]", re.MULTILINE)
_FINISHED = re.compile(rb'"finish_reason"\s*:\s*"')


class Chat(Protocol):
    """Something that can go on with a conversation."""

    model: str

    def stream(self, messages: Sequence[Message], *, max_tokens: int, cancel: Cancel) -> Iterator[str]:
        """The reply, piece by piece; nothing is sent before the first piece is asked for.

        Raises LLMUnavailable (with the text so far), LLMRefused, Cancelled. A reply without any text is
        LLMUnavailable too.
        """
        ...

    def relay(self, body: Mapping[str, object], *, cancel: Cancel) -> Iterator[bytes]:
        """The reply to BODY, a whole chat-completions request, as its bytes come; only the model is ours.

        Whole lines of an event stream where BODY asks for one, which always ends in `[DONE]`; else one JSON
        object. Nothing is sent before the first piece is asked for. Raises as `stream`.
        """
        ...


class OpenAIChat:
    """A `Chat` over HTTP: Ollama, llama.cpp, vLLM, LM Studio, transformers, and the hosted services.

    BASE_URL is what these programs call so, with or without a slash at its end; /chat/completions is
    appended. If it has no path, /v1 is supplied: http://127.0.0.1:11434 means http://127.0.0.1:11434/v1.
    Any path there is, is taken as it is. A user, query or fragment is a SettingsError.

    TIMEOUT is the longest silence before the first token and between two, CONNECT_TIMEOUT that of the
    connection, and DEADLINE the time for it all, in seconds. Comments that keep a connection alive are
    silence; a model's thinking is not. CA_FILE names a private certificate authority to trust as well.
    Environment variables play no part and no redirect is followed: the key goes to this server only.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        key: str = "",
        timeout: float = TIMEOUT,
        connect_timeout: float = CONNECT_TIMEOUT,
        deadline: float = DEADLINE,
        max_chars: int = MAX_CHARS,
        ca_file: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model = model
        self.base_url = server_address(base_url, "llm", "/chat/completions")
        self._key = sendable(key, "llm")
        self._connect_timeout = connect_timeout
        self._limits = _Limits(min(timeout, deadline), deadline, max_chars)
        self._ca_file = ca_file
        self._clock = clock
        self._limit = "max_tokens"  # the parameter's name, until the server wants another

    def __repr__(self) -> str:
        key = ", key=…" if self._key else ""
        return f"{type(self).__name__}({self.base_url!r}, {self.model!r}{key})"

    def stream(self, messages: Sequence[Message], *, max_tokens: int, cancel: Cancel) -> Iterator[str]:
        """As `Chat.stream`. Once connected, a cancel from another thread ends it at once."""
        cancel.check()
        reply = _Reply(self.base_url, self._key, self._limits, self._clock, cancel)
        turns = [asdict(message) for message in messages]
        with cancel.on_cancel(reply.line.cut):
            for retries in reversed(range(RETRIES + 1)):
                try:
                    yield from self._attempt({"messages": turns, self._limit: max_tokens}, reply)
                    return
                except LLMRefused as refusal:
                    pause = self._remedy(refusal, reply.left())
                    if pause is None or not retries:
                        raise
                    cancel.wait(pause)

    def relay(self, body: Mapping[str, object], *, cancel: Cancel) -> Iterator[bytes]:
        """As `Chat.relay`. A refusal is not tried again: whoever wrote BODY knows what it was for."""
        cancel.check()
        reply = _Reply(self.base_url, self._key, self._limits, self._clock, cancel)
        with cancel.on_cancel(reply.line.cut), reply.mapped(), self._client() as client:
            asked = {**body, "model": self.model}
            url = f"{self.base_url}/chat/completions"
            with client.stream("POST", url, json=asked, extensions={"trace": reply.line.trace}) as response:
                if not response.is_success:
                    raise reply.refusal(response)
                yield from reply.raw(response, streams=bool(body.get("stream")))

    def _remedy(self, refusal: LLMRefused, left: float) -> float | None:
        """Seconds after which it makes sense to ask again, None for never."""
        if refusal.status == 400 and "max_completion_tokens" in refusal.message and self._limit == "max_tokens":
            self._limit = "max_completion_tokens"  # OpenAI's models since o1 refuse the name everyone else knows
            return 0.0
        after: float | None = refusal.data.get("retry_after")
        return after if after is not None and after <= min(PATIENCE, left) else None

    def _attempt(self, body: Mapping[str, object], reply: _Reply) -> Iterator[str]:
        """One request over a connection of its own: of a kept one, `trace` would not tell the socket."""
        with reply.mapped(), self._client() as client:
            asked = {"model": self.model, "stream": True, **body}
            url = f"{self.base_url}/chat/completions"
            with client.stream("POST", url, json=asked, extensions={"trace": reply.line.trace}) as response:
                if not response.is_success:
                    raise reply.refusal(response)
                yield from reply.read(response)

    def _client(self) -> httpx.Client:
        headers = httpx.Headers({"Accept": "text/event-stream, application/json", "Accept-Encoding": "identity"})
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        timeout = httpx.Timeout(self._limits.silence, connect=self._connect_timeout)
        return httpx.Client(headers=headers, timeout=timeout, verify=self._trust, trust_env=False)

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        """Whose certificates to accept. Loading them takes 50 ms of CPU: once, and never for plain http."""
        if self.base_url.startswith("http:"):
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context = httpx.create_ssl_context(trust_env=False)
        if self._ca_file:
            try:
                context.load_verify_locations(self._ca_file)
            except OSError as exc:
                raise SettingsError(f"no certificates in {self._ca_file}: {exc}", hint="check `ca_file`") from exc
        return context


@dataclass(frozen=True, slots=True)
class _Limits:
    silence: float  # seconds
    total: float  # seconds
    chars: int


class _Line:
    """The socket of a request, for another thread to cut while we are blocked in reading from it."""

    def __init__(self, cancel: Cancel) -> None:
        self._cancel = cancel
        self._socket: socket.socket | None = None

    def trace(self, event: str, about: Mapping[str, Any]) -> None:
        """httpcore calls this at each step of a request; two of them bring the socket, over TLS the latter's."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._socket = about["return_value"].get_extra_info("socket")
            if self._cancel.cancelled:  # too early for `cut`; set before it reads the socket, so one of us cuts
                self.cut()

    def cut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # closed by now
                # Not SSLSocket's own: that forgets the TLS session under the thread that is reading.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class _Reply:
    """What has come from the server so far, and how much longer it may take."""

    def __init__(self, server: str, key: str, limits: _Limits, clock: Callable[[], float], cancel: Cancel) -> None:
        self.line = _Line(cancel)
        self._server = server
        self._key = key
        self._limits = limits
        self._clock = clock
        self._cancel = cancel
        self._ends = clock() + limits.total
        self._alive = 0.0  # when the model last gave a sign
        self._text: list[str] = []
        self._finished = False  # a finish_reason has come

    def left(self) -> float:
        """Seconds until the deadline."""
        return self._ends - self._clock()

    @contextmanager
    def mapped(self) -> Iterator[None]:
        """Where httpx's exceptions become ours; one after the finish_reason takes nothing from the answer."""
        try:
            yield
        except httpx.RequestError as exc:
            self._cancel.check()  # a line that we cut looks broken
            if not (self._finished and self._text):
                raise self._broken(exc) from exc

    def read(self, response: httpx.Response) -> Iterator[str]:
        """The text in RESPONSE, whether or not the server streams."""
        self._alive = self._clock()
        streams = _media_type(response) == "text/event-stream"
        size = 0
        for piece in self._streamed(response) if streams else self._whole(response):
            self._cancel.check()  # one block may hold several
            size += len(piece)
            self._text.append(piece[: len(piece) - max(0, size - self._limits.chars)])
            if size > self._limits.chars:
                raise self._unavailable(f"stopped {self._server} after {self._limits.chars} characters")
            yield piece
        if not size:
            hint = "a thinking model may have spent all its tokens on thinking: allow more, or switch it off"
            raise self._unavailable(f"{self._server} sent an answer without any text", hint)

    def raw(self, response: httpx.Response, *, streams: bool) -> Iterator[bytes]:
        """The bytes of RESPONSE, which must be what was asked for; an event stream line by line, and complete."""
        self._alive = self._clock()
        kind = _media_type(response)
        if kind != ("text/event-stream" if streams else "application/json"):
            message = f"{self._server} answered with {self._quote(kind or 'an unnamed type')}"
            raise self._unavailable(message, _URL_HINT)
        if not streams:
            yield b"".join(self._bytes(response))
            return
        ended = False
        for lines in self._whole_lines(response):
            ended |= _ENDED.search(lines) is not None
            self._finished |= _FINISHED.search(lines) is not None
            yield lines
            self._alive = self._clock()
        if not (ended or self._finished):
            raise self._unavailable(f"{self._server} broke off in the middle of its answer")
        if not ended:
            yield b"\n\ndata: [DONE]\n\n"

    def _whole_lines(self, response: httpx.Response) -> Iterator[bytes]:
        held = bytearray()
        for block in self._bytes(response):
            head, end, rest = block.rpartition(b"\n")
            if end:
                yield bytes(held) + head + end
                held.clear()
            held += rest
        if held:
            yield bytes(held) + b"\n"

    def refusal(self, response: httpx.Response) -> ModelError:
        """What a RESPONSE that is not a success means."""
        status = response.status_code
        message = f"{self._server} answered {status}: {self._quote(self._said(response) or response.reason_phrase)}"
        if response.is_redirect:
            return LLMRefused(f"{message}; a redirect is not followed", status=status, hint=_URL_HINT)
        if response.is_server_error:
            return LLMUnavailable(message, hint="see the log of that server, or try again later")
        if status != 429:
            return LLMRefused(message, status=status, hint=_HINTS.get(status, ""))
        after = _retry_after(response.headers.get("retry-after", ""), datetime.now(UTC))
        hint = "try again later" if after is None else f"try again in {math.ceil(after)} s"
        return LLMRefused(message, status=status, hint=hint, data={} if after is None else {"retry_after": after})

    def _streamed(self, response: httpx.Response) -> Iterator[str]:
        # Our own response around the bytes, to count them, to be UTF-8 as the standard of event streams has
        # it, less a byte order mark, and to end with the blank line that some servers leave out.
        headers = {"Content-Type": "text/event-stream; charset=utf-8-sig"}
        for event in EventSource(httpx.Response(200, headers=headers, content=self._lines(response))).iter_sse():
            if event.data.strip() == "[DONE]":
                return
            if event.data.strip():
                chunk = self._parsed(event.data)
                self._finished |= bool(_at(chunk, "choices", 0, "finish_reason"))
                if text := _text(_at(chunk, "choices", 0, "delta", "content")):
                    yield text
                self._alive = self._clock()  # after the yield: the time that our caller takes is not the server's
        if not self._finished:
            raise self._unavailable(f"{self._server} broke off in the middle of its answer")

    def _whole(self, response: httpx.Response) -> Iterator[str]:
        """Some servers ignore `stream`."""
        body = b"".join(self._bytes(response)).decode("utf-8-sig", errors="replace")
        media_type = _media_type(response)
        if "json" not in media_type:
            kind = self._quote(media_type or "an unnamed type")
            raise self._unavailable(f"{self._server} answered with {kind}, not with a chat completion", _URL_HINT)
        yield _text(_at(self._parsed(body), "choices", 0, "message", "content"))

    def _lines(self, response: httpx.Response) -> Iterator[bytes]:
        yield from self._bytes(response)
        yield b"\n\n"

    def _bytes(self, response: httpx.Response) -> Iterator[bytes]:
        """The body of RESPONSE, as long as it keeps to the limits."""
        size = 0
        for block in response.iter_bytes():
            size += len(block)
            self._check(size)
            yield block
        self._cancel.check()  # a line that we cut looks ended

    def _check(self, size: int) -> None:
        self._cancel.check()
        now = self._clock()
        if now > self._ends:
            raise self._unavailable(f"{self._server} was not done after {self._limits.total:g} s")
        if now > self._alive + self._limits.silence:
            raise self._unavailable(f"{self._server} sent no token for {self._limits.silence:g} s")
        if size > MAX_BYTES:
            raise self._unavailable(f"stopped {self._server} after {MAX_BYTES >> 20} MiB")

    def _parsed(self, text: str) -> object:
        """The JSON value of TEXT, unless it is an error of the server."""
        try:
            value: object = json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise self._unavailable(f"{self._server} sent what is not JSON: {self._quote(text[:80])}") from exc
        if _at(value, "error") or _at(value, "object") == "error":
            message = f"{self._server} failed: {self._quote(_complaint(value) or text)}"
            raise LLMRefused(message, status=200, data={"partial": "".join(self._text)})
        return value

    def _said(self, response: httpx.Response) -> str:
        """What the body of an error says; "" for a page that is meant for a browser."""
        body = bytearray()
        for block in response.iter_bytes():
            body += block
            if len(body) > MAX_ERROR_BYTES or self.left() < 0:
                break
        self._cancel.check()
        text = "" if "html" in _media_type(response) else body.decode(errors="replace")
        try:
            return _complaint(json.loads(body)) or text
        except (ValueError, RecursionError):
            return text

    def _broken(self, exc: httpx.RequestError) -> LLMUnavailable:
        if isinstance(exc, (httpx.ConnectError, httpx.ConnectTimeout)):
            return self._unavailable(f"cannot connect to {self._server}: {self._quote(str(exc))}", _START_HINT)
        if isinstance(exc, httpx.TimeoutException):
            return self._unavailable(f"{self._server} sent nothing for {self._limits.silence:g} s")
        return self._unavailable(f"the connection to {self._server} broke: {self._quote(str(exc))}")

    def _unavailable(self, message: str, hint: str = "") -> LLMUnavailable:
        return LLMUnavailable(message, partial="".join(self._text), hint=hint)

    def _quote(self, said: str) -> str:
        """One printable line of what a server SAID, who may have repeated the key."""
        said = said.replace(self._key, "…") if self._key else said
        line = " ".join("".join(char if char.isprintable() else " " for char in said).split())
        return line if len(line) <= MAX_QUOTE else f"{line[:MAX_QUOTE]}…"


def _media_type(response: httpx.Response) -> str:
    value: str = response.headers.get("content-type", "")
    return value.partition(";")[0].strip().lower()


def _retry_after(header: str, now: datetime) -> float | None:
    """The seconds that a Retry-After HEADER, a number or a date, asks for; None if it asks for none."""
    try:
        seconds = float(header)
    except ValueError:
        seconds = _seconds_until(header, now)
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _seconds_until(date: str, now: datetime) -> float:
    try:
        when = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return math.nan
    return (when.replace(tzinfo=when.tzinfo or UTC) - now).total_seconds()


def _at(value: object, *path: str | int) -> object:
    """What VALUE has at PATH; None where a server left it out or made it something else."""
    for key in path:
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            value = value[key]
        else:
            return None
    return value


def _text(content: object) -> str:
    """The text of a delta or message: a string, nothing, or parts (Mistral's) of which some are text."""
    if not isinstance(content, list):
        parts = [content]
    else:
        parts = [_at(part, "text") for part in content if _at(part, "type") == "text"]
    # A lone surrogate, which JSON can carry, would break whoever writes the answer out as UTF-8.
    return "".join(part.encode(errors="replace").decode() for part in parts if isinstance(part, str))


def _complaint(value: object) -> str:
    """What an error VALUE says, in the forms in which OpenAI, Ollama, FastAPI and vLLM say it; else ""."""
    for path in (("error", "message"), ("error",), ("detail",), ("message",), ()):
        said = _at(value, *path)
        if isinstance(said, str) and said.strip():
            return said
    return ""
