"""`python -m tests.serve.mcp_server [PORT]`: the MCP server with the tools of the tests, on stdio or over HTTP."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator

from ragmacs_srv import registry, settings
from ragmacs_srv.app import App
from ragmacs_srv.events import Cancel
from ragmacs_srv.serve import mcp
from tests.serve.toolbox import TOOLS


def http(app: App, port: int) -> None:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.routing import Route

    endpoint = mcp.Endpoint(app)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with endpoint.running():
            yield

    application = Starlette(routes=[Route("/mcp", endpoint)], lifespan=lifespan)
    uvicorn.run(application, port=port, log_level="warning", timeout_graceful_shutdown=1)


if __name__ == "__main__":
    registry._TOOLS.clear()
    registry._TOOLS.update(TOOLS)
    cancel = Cancel()
    with App(settings.load(os.environ, {"search.mode": "lexical"}), os.environ, cancel=cancel) as app:
        if sys.argv[1:]:
            http(app, int(sys.argv[1]))
        else:
            signal.signal(signal.SIGTERM, lambda *_: cancel.cancel())
            mcp.stdio(app, cancel=cancel)
