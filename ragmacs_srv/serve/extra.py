"""The extra `mcp` becomes an application, loaded when a client first asks for it, or a word on how to install it.

Its SDK takes a second to load and 26 MB to keep: who never speaks MCP does not pay for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import ModuleType
from typing import Protocol

from ..app import App
from ..errors import SettingsError
from .guard import Receive, Scope, Send
from .refusal import Refusal, said


class Live(Protocol):
    """An ASGI application that answers while it is `running`; `stop` ends its work, from any thread."""

    def running(self) -> AbstractAsyncContextManager[None]: ...
    def stop(self) -> None: ...
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class Late:
    """What MAKE gives, as an application that is made with its first request and then runs as long as the event loop.

    MAKE is called in a thread; when it raises SettingsError, the request is refused, and the next one tries again.
    """

    def __init__(self, make: Callable[[], Live]) -> None:
        self._make = make
        self._making = asyncio.Lock()
        self._made: Live | None = None
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._making:
            made = self._made = self._made or await self._begun()
        await made(scope, receive, send)

    def stop(self) -> None:
        """End what it does, and the streams that its clients keep open; from any thread."""
        if self._made is not None:
            self._made.stop()
        if self._running is not None:
            self._running.get_loop().call_soon_threadsafe(self._running.cancel)

    async def _begun(self) -> Live:
        try:
            made = await asyncio.to_thread(self._make)
        except SettingsError as exc:
            raise Refusal(501, said(exc), "not_installed") from exc
        begun = asyncio.Event()
        self._running = asyncio.create_task(_run(made, begun))
        await begun.wait()
        return made


async def _run(made: Live, begun: asyncio.Event) -> None:
    async with made.running():
        begun.set()
        await asyncio.Event().wait()  # until this task is cancelled, at the latest with the loop


def sdk() -> ModuleType:
    """Our module `mcp`; raises SettingsError where the SDK that it needs is not installed."""
    try:
        from . import mcp
    except ModuleNotFoundError as exc:
        raise SettingsError(f"{exc.name} is not installed", hint="pip install 'ragmacs-srv[mcp]'") from exc
    return mcp


def endpoint(app: App) -> Late:
    """The MCP server of APP, for one path of an HTTP server."""

    def make() -> Live:
        made: Live = sdk().Endpoint(app)
        return made

    return Late(make)
