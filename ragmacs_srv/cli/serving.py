"""This process becomes a server, or starts, stops and reaches the shared one."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import settings
from ..app import App
from ..errors import Busy, InvalidParams
from .terminal import Terminal, command

if TYPE_CHECKING:  # what only a server needs
    from ..serve.place import Place
    from ..serve.web import Web


@command()
def serve(
    terminal: Terminal,
    stdio: Annotated[bool, typer.Option("--stdio", help="One client at stdin and stdout.")] = False,
    own: Annotated[bool, typer.Option("--own", help="With --stdio: in this process, not in the shared one.")] = False,
    path: Annotated[Path | None, typer.Option("--socket", metavar="PATH", help="Listen here.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Start the shared server, if none runs.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End the shared server.")] = False,
    http: Annotated[bool, typer.Option("--http", help="Speak OpenAI's API and MCP on 127.0.0.1, too.")] = False,
    port: Annotated[int | None, typer.Argument(min=0, max=65535, help="Default: \\[serve] http_port; 0: any.")] = None,
    ready: Annotated[int, typer.Option(hidden=True)] = -1,
) -> int:
    """Answer Emacs and the shell by JSON-RPC: all that is asked about one home, from one warm process."""
    from ..serve import daemon, server  # what only a server needs
    from ..serve.place import Place
    from ..serve.stdio import guarded

    if sum((stdio, detach, stop)) > 1 or (own and not stdio) or (http and (stdio or stop)):
        message = "--stdio [--own], --detach and --stop exclude each other, and --stdio and --stop exclude --http"
        raise InvalidParams(message, hint="ragmacs serve --help")
    if port is not None and not http:
        raise InvalidParams("a port is only for --http", hint=f"ragmacs serve --http {port}")
    place = Place.of(settings.folders(terminal.environ), terminal.environ, path)
    if stop:
        stopped = daemon.stop(place)
        terminal.print({"stopped": stopped}, "stopped" if stopped else "no server was running")
    elif detach:
        _detached(terminal, place, http, port)
    elif stdio and not own:
        with terminal.cancel.on_cancel(lambda: os._exit(143)):  # the server works on
            return daemon.relay(place, *guarded())
    elif stdio:
        with terminal.app() as app:
            here = server.Server(app, server.Options.of(app.settings.serve, terminal.environ))
            with terminal.cancel.on_cancel(here.stop):
                here.serve(*guarded())
    else:
        _listen(terminal, place, http, port, ready)
    return 0


def _detached(terminal: Terminal, place: Place, http: bool, port: int | None) -> None:
    """Start the shared server, if none runs, and have it listen on HTTP, if that is wanted."""
    from ..serve import daemon

    found = daemon.reach(place)["server"]
    shape, text = {"server": found}, daemon.serving(found)
    if http:
        opened = daemon.open_http(place, port)
        shape, text = {**shape, **opened}, f"{text}\n{_web(opened)}"
    terminal.print(shape, text)


def _listen(terminal: Terminal, place: Place, http: bool, port: int | None, ready: int) -> None:
    """Be the shared server, until it is stopped."""
    from ..serve import daemon, server
    from ..serve.apart import Apart
    from ..serve.place import holder, listening

    if http and (pid := holder(place.path)):
        message = f"a server is already running (pid {pid})"
        raise Busy(
            message, hint="ragmacs serve --detach --http has it listen on HTTP, too; ragmacs serve --stop ends it"
        )
    with terminal.app() as app, listening(place.path) as listener:
        options, apart = server.Options.of(app.settings.serve, terminal.environ), Apart(terminal.environ)
        here = server.Server(app, options, path=place.path, apart=apart)
        with terminal.cancel.on_cancel(here.stop), contextlib.closing(here.web):
            if http:
                opened = here.web.open(port)
                terminal.print(opened, _web(opened))
                sys.stdout.flush()
            else:
                _open_by_settings(terminal, app, here.web)
                terminal.say(f"serving at {place.path}")
            daemon.announce(ready)
            here.listen(listener)


def _open_by_settings(terminal: Terminal, app: App, web: Web) -> None:
    """Listen on HTTP where the settings say so. A port that is taken keeps nobody from the socket."""
    if app.settings.serve.http:
        try:
            terminal.say(_web(web.open()))
        except Busy as exc:
            terminal.say(f"not on HTTP: {exc.message}")


def _web(opened: Mapping[str, str]) -> str:
    return f"{opened['address']}/v1 and {opened['address']}/mcp, token in {opened['token_file']}"


@command()
def service(
    terminal: Terminal,
    timer: Annotated[bool, typer.Option("--timer", help="A script that has `ragmacs update` run once a week.")] = False,
) -> None:
    """Print a systemd unit that keeps the server running: ragmacs service > ~/.config/systemd/user/ragmacs.service."""
    from ..serve import daemon

    if timer:
        text, shape = daemon.schedule(terminal.environ), {"unit": daemon.update_unit(terminal.environ)}
        terminal.print({**shape, "timer": daemon.TIMER, "commands": list(daemon.ENABLE)}, text)
        return
    text = daemon.unit(terminal.environ)
    terminal.print({"unit": text}, text)


@command()
def emacs(terminal: Terminal) -> None:
    """Print what goes into the init file of Emacs: ragmacs emacs >> ~/.emacs.d/init.el."""
    from ..serve.emacs import snippet

    text = snippet(terminal.environ)
    terminal.print({"snippet": text}, text)


@command()
def mcp(terminal: Terminal) -> None:
    """Serve an MCP client on stdin and stdout until it hangs up, in this process; /mcp of `serve --http` is shared."""
    from ..serve import extra  # its SDK takes twice what all of ours does to load

    sdk = extra.sdk()
    with terminal.app() as app:
        sdk.stdio(app, cancel=terminal.cancel)
