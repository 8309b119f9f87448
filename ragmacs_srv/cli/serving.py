"""This process becomes a server, or starts, stops and reaches the shared one."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from .. import settings
from ..errors import Cancelled, InvalidParams
from .terminal import Terminal, command


@command()
def serve(
    terminal: Terminal,
    stdio: Annotated[bool, typer.Option("--stdio", help="One client at stdin and stdout.")] = False,
    own: Annotated[bool, typer.Option("--own", help="With --stdio: in this process, not in the shared one.")] = False,
    path: Annotated[Path | None, typer.Option("--socket", metavar="PATH", help="Listen here.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Start the shared server, if none runs.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End the shared server.")] = False,
    http: Annotated[bool, typer.Option("--http", help="Speak OpenAI's API on 127.0.0.1 instead.")] = False,
    port: Annotated[int | None, typer.Argument(min=0, max=65535, help="Default: [serve] http_port; 0: any.")] = None,
    ready: Annotated[int, typer.Option(hidden=True)] = -1,
) -> int:
    """Answer Emacs and the shell by JSON-RPC: all that is asked about one home, from one warm process."""
    from ..serve import daemon, server  # what only a server needs
    from ..serve.place import Place, listening
    from ..serve.stdio import guarded

    if sum((stdio, detach, stop, http)) > 1 or (own and not stdio) or (port is not None and not http):
        message = "--stdio [--own], --http [PORT], --detach and --stop exclude each other"
        raise InvalidParams(message, hint="ragmacs serve --help")
    if http:
        return _serve_http(terminal, port)
    place = Place.of(settings.folders(terminal.environ), terminal.environ, path)
    if stop:
        stopped = daemon.stop(place)
        terminal.print({"stopped": stopped}, "stopped" if stopped else "no server was running")
        return 0
    if detach:
        found = daemon.reach(place)["server"]
        terminal.print({"server": found}, daemon.serving(found))
        return 0
    if stdio and not own:
        with terminal.cancel.on_cancel(lambda: os._exit(143)):  # the server works on
            return daemon.relay(place, *guarded())
    with terminal.app() as app:
        if stdio:
            source, sink = guarded()
            here = server.Server(app, server.Options.of(app.settings.serve, terminal.environ))
            with terminal.cancel.on_cancel(here.stop):
                here.serve(source, sink)
            return 0
        with listening(place.path) as listener:
            here = server.Server(app, server.Options.of(app.settings.serve, terminal.environ), path=place.path)
            terminal.say(f"serving at {place.path}")
            with terminal.cancel.on_cancel(here.stop):
                daemon.announce(ready)
                here.listen(listener)
    return 0


@command()
def service(terminal: Terminal) -> None:
    """Print a systemd unit that keeps the server running: ragmacs service > ~/.config/systemd/user/ragmacs.service."""
    from ..serve import daemon

    text = daemon.unit(terminal.environ)
    terminal.print({"unit": text}, text)


@command()
def mcp(terminal: Terminal) -> None:
    """Serve an MCP client on stdin and stdout until it hangs up."""
    from ..serve import extra  # its SDK takes twice what all of ours does to load

    sdk = extra.sdk()
    with terminal.app() as app:
        sdk.stdio(app, cancel=terminal.cancel)


def _serve_http(terminal: Terminal, port: int | None) -> int:
    """Speak OpenAI's API until stopped."""
    from ..serve import openai  # 50 ms: only a server listens

    with terminal.app() as app:
        where = app.settings.folders.http_token
        chosen = app.settings.serve.http_port if port is None else port
        with openai.serving(app, chosen, where) as address:
            terminal.print({"address": address, "token_file": str(where)}, f"{address}/v1, token in {where}")
            sys.stdout.flush()
            with contextlib.suppress(Cancelled):
                while True:
                    terminal.cancel.wait(3600)
    return 0
