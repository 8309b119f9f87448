"""A server with a socket gets an HTTP address, too, when someone asks for it: one process, one warm App for both."""

from __future__ import annotations

import threading
from contextlib import ExitStack

from ..app import App
from ..errors import Busy


class Web:
    """The HTTP side of a server of APP: closed until `open`, then open until `close`; from any thread."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._opened = ExitStack()
        self.address = ""  # http://127.0.0.1:PORT while it is open

    def open(self, port: int | None = None) -> dict[str, str]:
        """Listen at PORT (0: any; None: that of the settings), if it does not yet: `{address, token_file}`.

        Raises Busy when another program has the port, or when this listens at another.
        """
        from . import openai  # 60 ms and 7 MB: only who wants HTTP pays for it

        token_file = self._app.settings.folders.http_token
        with self._lock:
            if not self.address:
                chosen = self._app.settings.serve.http_port if port is None else port
                self.address = self._opened.enter_context(openai.serving(self._app, chosen, token_file))
            elif port and not self.address.endswith(f":{port}"):
                raise Busy(
                    f"this server listens at {self.address}", hint="ragmacs serve --stop, to choose another port"
                )
            return {"address": self.address, "token_file": str(token_file)}

    def close(self) -> None:
        """End it, with all that its clients wait for."""
        with self._lock:
            self._opened.close()
            self.address = ""
