"""`python -m tests.serve.mcp_server`: MCP on stdio with the tools of the tests; `toolbox` has them in this process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from ragmacs_srv import registry, settings
from ragmacs_srv.app import App
from ragmacs_srv.events import Cancel
from tests.serve.toolbox import TOOLS


@contextmanager
def toolbox() -> Iterator[None]:
    """The registry holds the tools of the tests while inside, and no others."""
    ours = dict(registry._TOOLS)
    registry._TOOLS.clear()
    registry._TOOLS.update(TOOLS)
    try:
        yield
    finally:
        registry._TOOLS.clear()
        registry._TOOLS.update(ours)


if __name__ == "__main__":
    from ragmacs_srv.serve import mcp

    cancel = Cancel()
    with toolbox(), App(settings.load(os.environ, {"search.mode": "lexical"}), os.environ, cancel=cancel) as app:
        signal.signal(signal.SIGTERM, lambda *_: cancel.cancel())
        mcp.stdio(app, cancel=cancel)
