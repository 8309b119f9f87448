"""The embedding model is fetched, prepared, or shown."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import render
from .terminal import Terminal, cli, command

model_cli = typer.Typer(help="The embedding model.", no_args_is_help=True)
cli.add_typer(model_cli, name="model")


@command(model_cli)
def pull(
    terminal: Terminal,
    name: Annotated[str, typer.Argument(help="As the hub names it.")] = "all-MiniLM-L6-v2",
    endpoint: Annotated[str, typer.Option(help="The hub, or a mirror of it.")] = "https://huggingface.co",
) -> None:
    """Download an embedding model: the only command that fetches one."""
    from ..search import remote

    with terminal.app() as app:
        network = app.settings.network
        folder = remote.pull(
            name,
            app.settings.folders.models,
            endpoint=endpoint,
            proxy=network.proxy,
            ca_file=network.ca_file,
            sink=terminal.sink,
            cancel=terminal.cancel,
        )
    terminal.print({"model": name, "path": str(folder)}, f"{name} is in {folder}")


@command(model_cli)
def prepare(terminal: Terminal) -> None:
    """Export the model and, where nothing else is indexed, embed the handbook: what a first question starts aside."""
    with terminal.app() as app:
        made = app.prepare()
        name = app.settings.embed.model if app.settings.embed.engine == "endpoint" else app.model.name
    vectors = made.vectors if made else 0
    handbook = f"; {render.count(vectors, 'chunk')} of the handbook have vectors" if made else ""
    terminal.print({"model": name, "handbook_vectors": vectors}, f"{name} is ready{handbook}")


@command(model_cli)
def show(terminal: Terminal) -> None:
    """Show which model embeds, and where it was found."""
    with terminal.app() as app:
        if app.settings.embed.engine == "endpoint":
            embed = app.settings.embed
            terminal.print({"model": embed.model, "server": embed.base_url}, f"{embed.model} at {embed.base_url}")
            return
        found = app.model
    shape = {"model": found.name, "path": str(found.path), "origin": found.origin, "key": found.key}
    terminal.print(shape, f"{found.name} ({found.origin}): {found.path}")
