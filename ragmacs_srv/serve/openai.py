"""HTTP on loopback as OpenAI speaks it: chat completions become questions to App, its answers become completions.

Made for gptel and good for any client. With an LLM behind us it writes the answer from what was found, and what only
a model can do (tools, rewriting) goes to it unchanged; without one, answers are extracted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Generator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, Router

from ..app import App
from ..errors import RagmacsError
from ..events import Cancel
from ..ingest import sources
from ..model import Answer
from ..render import printable
from . import chat, extra
from .bridge import Work
from .chat import Asked
from .guard import ASGI, BODY_TIME, MAX_BODY, RPC, Guard, Receive, Scope, Send
from .loopback import HOST, listening, running
from .refusal import RETRY, Refusal, refusal
from .token import issued

SLOTS = 4  # answers that are made at the same time
QUEUE = 124  # requests that wait for one of them, two seconds or so; more are told to come back
PATIENCE = 10.0  # seconds in which a failure still gets its status; then the headers go out
BEAT = 5.0  # seconds between two signs of life on a stream that has nothing to say

log = logging.getLogger(__name__)


class Server:
    """The ASGI application over APP; TOKEN is what its clients show, MOUNTS are others by their path."""

    def __init__(
        self,
        app: App,
        *,
        token: str,
        mounts: Mapping[str, ASGI] | None = None,
        slots: int = SLOTS,
        queue: int = QUEUE,
        patience: float = PATIENCE,
        beat: float = BEAT,
        max_body: int = MAX_BODY,
        body_time: float = BODY_TIME,
    ) -> None:
        self._app = app
        self._desk = Desk(slots, queue)
        self._patience = patience
        self._beat = beat
        self._works: set[Work[bytes]] = set()
        routes: list[BaseRoute] = [
            Route("/healthz", self._health),
            Route("/v1/models", self._models),
            Route("/v1/models/{name}", self._model),
            Route("/v1/chat/completions", _Endpoint(self.complete), methods=["POST"]),
            *(Route(path, _Endpoint(mounted)) for path, mounted in (mounts or {}).items()),
        ]
        self._router = Router(routes, redirect_slashes=False)
        self._guarded = Guard(self._mapped, token, max_body=max_body, body_time=body_time)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._guarded(scope, receive, send)

    def stop(self) -> None:
        """Stop all work; from any thread."""
        for work in tuple(self._works):
            work.cancel.cancel()

    async def _mapped(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The routes, whose failures become Refusals."""
        scope["app"] = self  # Starlette then raises its 404 and 405
        try:
            await self._router(scope, receive, send)
        except HTTPException as exc:
            text = f"{scope['method']} {scope['path'][:200]}: {exc.detail.lower()}"
            code = "not_found" if exc.status_code == 404 else "method_not_allowed"
            raise Refusal(exc.status_code, text, code, exc.headers) from exc
        except ClientDisconnect:
            pass
        except Refusal:
            raise
        except Exception as exc:  # the rim: a client gets a reply whatever happens
            if not isinstance(exc, RagmacsError):
                log.exception("a request broke")
            raise refusal(exc) from exc

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _models(self, request: Request) -> Response:
        names = await asyncio.to_thread(self._known)
        return JSONResponse(chat.model_list(names))

    async def _model(self, request: Request) -> Response:
        name = request.path_params["name"]
        chat.check_model(name, await asyncio.to_thread(self._known))
        return JSONResponse(chat.model_entry(name))

    def _known(self) -> list[str]:
        """The models there are: one for all that is indexed, one for each collection."""
        made = self._app.manifest()
        return chat.models({sources.HANDBOOK, *(made.collections if made else ())})

    # Completions

    async def complete(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a chat completion request, as long as its client is there."""
        body = await Request(scope, receive).body()
        asked = await asyncio.to_thread(self._checked, body)
        await _while_there(receive, self._answer(asked, send))

    def _checked(self, body: bytes) -> Asked:
        asked = chat.parse(body)
        chat.check_model(asked.model, self._known())
        if asked.rewrites and not self._app.settings.llm.base_url:
            raise Refusal(400, _NO_REWRITE, "no_rewrite")
        return asked

    async def _answer(self, asked: Asked, send: Send) -> None:
        async with self._desk.place(), self._working(asked) as work:
            if asked.stream:
                await self._stream(asked, work, send)
            else:
                text = b"".join([piece async for piece in _rest(work)])
                await _respond(send, "application/json", text)

    @asynccontextmanager
    async def _working(self, asked: Asked) -> AsyncIterator[Work[bytes]]:
        """The work on ASKED; it is over when this is, so that no more than the slots are at work."""
        work = Work(lambda cancel: self._made(asked, cancel))
        self._works.add(work)
        try:
            yield work
        finally:
            await work.ended()
            self._works.discard(work)

    def _made(self, asked: Asked, cancel: Cancel) -> Generator[bytes]:
        """The response to ASKED in pieces, in the thread that this runs in."""
        _ = self._app.chat  # made once: requests share what is there when they begin
        with self._app.request(cancel=cancel) as app:
            if asked.needs_model and app.chat is not None:
                yield from app.chat.relay(asked.body, cancel=cancel)
            elif asked.stream:
                yield from chat.frames(asked, _pieces(app, asked))
            else:
                yield chat.whole(asked, _pieces(app, asked))

    async def _stream(self, asked: Asked, work: Work[bytes], send: Send) -> None:
        """Send what WORK makes as events; a failure before the first of them, or soon, is raised."""
        try:
            async with asyncio.timeout(self._patience):
                first = await work.take()
        except TimeoutError:
            first = chat.KEEPALIVE
        await send({"type": "http.response.start", "status": 200, "headers": _STREAM_HEADERS})
        await _send_more(send, first or b"")
        try:
            async for piece in _rest(work, self._beat):
                await _send_more(send, piece)
        except Exception as exc:  # the rim: the status is sent, all that is left is text
            if not isinstance(exc, RagmacsError):
                log.exception("a stream broke")
            await _send_more(send, chat.broken(asked, refusal(exc).message))
        await send({"type": "http.response.body", "body": b""})


class _Endpoint:
    """What Starlette hands the connection itself, as it does to none that is a function."""

    def __init__(self, app: ASGI) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


class Desk:
    """A bound on the work that is done at the same time, and on the requests that wait for it."""

    def __init__(self, slots: int, queue: int) -> None:
        self._slots = asyncio.Semaphore(slots)
        self._room = slots + queue

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place to work at, when it is free; raises a Refusal when too many wait."""
        if self._room <= 0:
            raise Refusal(503, "too many questions at the same time: try again", "busy", RETRY)
        self._room -= 1
        try:
            async with self._slots:
                yield
        finally:
            self._room += 1


_STREAM_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
_NO_REWRITE = (
    "ragmacs answers questions from documentation and has no language model to rewrite text with: choose another "
    "backend for gptel-rewrite, or set [llm] base_url and model in the configuration of ragmacs"
)


def _pieces(app: App, asked: Asked) -> Iterator[str]:
    """The answer of APP as text, with what the Answer says beside it at its end."""
    for piece in app.ask(asked.question, collections=asked.collections):
        text = chat.ending(piece) if isinstance(piece, Answer) else piece
        if text := printable(text):
            yield text


async def _rest(work: Work[bytes], beat: float | None = None) -> AsyncIterator[bytes]:
    """What WORK still makes, with a sign of life every BEAT seconds in which it makes nothing."""
    while True:
        try:
            async with asyncio.timeout(beat):
                piece = await work.take()
        except TimeoutError:
            piece = chat.KEEPALIVE
        if piece is None:
            return
        yield piece


async def _while_there(receive: Receive, doing: Awaitable[None]) -> None:
    """Do DOING; stop it when the client leaves."""
    task = asyncio.ensure_future(doing)
    watch = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        watch.cancel()
        if not task.done():
            task.cancel()
        await asyncio.wait({task, watch})
    if not task.cancelled():
        task.result()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _respond(send: Send, media_type: str, body: bytes) -> None:
    headers = [(b"content-type", media_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _send_more(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


# Running


@contextmanager
def serving(app: App, port: int, token_file: Path) -> Iterator[str]:
    """Serve APP at PORT (0: any) of 127.0.0.1 while inside; the address is yielded, the token is in TOKEN_FILE.

    Raises Busy when the port is taken, StorageError when the token cannot be written.
    """
    with listening(port) as at, issued(token_file) as token:
        mcp = extra.endpoint(app)
        server = Server(app, token=token, mounts={RPC: mcp})

        def end() -> None:
            server.stop()
            mcp.stop()

        with running(server, at, ending=end):
            yield f"http://{HOST}:{at.getsockname()[1]}"
