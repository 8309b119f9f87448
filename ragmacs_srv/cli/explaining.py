"""A line that Go printed becomes what it is and what to make of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..answer import explain as explaining
from ..golang import received
from ..tools.explain import pages
from .terminal import HERE, Terminal, command


@command()
def explain(
    terminal: Terminal,
    file: Annotated[str, typer.Argument(metavar="[FILE]", help="Default: stdin.")] = "-",
) -> None:
    """Explain what Go printed: a GC trace, escape analysis, a benchmark, a profile, a crash; or a struct's source."""
    with terminal.app() as app:
        app.roots = HERE
        found = explaining.explain(_text(file), app.workshop, pages(app))
    shape = {"explanations": [each.as_json() for each in found]}
    terminal.print(shape, "\n\n".join(map(explaining.told, found)))


def _text(name: str) -> str:
    """What the file NAME has, or stdin for "-"."""
    found = sys.stdin.buffer.read(received.MOST + 1) if name == "-" else received.content(Path(name))
    return received.bounded(found, name).decode("utf-8", "replace")
