"""The server that `ragmacs serve` is, in a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ragmacs_srv.app import App
from ragmacs_srv.serve.place import Place, listening
from ragmacs_srv.serve.server import Options, Server
from ragmacs_srv.settings import load


@contextmanager
def real(environ: Mapping[str, str]) -> Iterator[Server]:
    """Serve the home of ENVIRON."""
    settings = load(environ)
    path = Place.of(settings.folders, environ).path
    with App(settings, environ) as app, listening(path) as listener:
        server = Server(app, Options.of(settings.serve, environ), path=path)
        thread = threading.Thread(target=server.listen, args=(listener,))
        thread.start()
        try:
            yield server
        finally:
            server.stop()
            thread.join(60)
