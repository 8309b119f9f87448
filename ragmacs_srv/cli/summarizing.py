"""A page or a file becomes a summary, or Markdown."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import render
from ..answer.summarize import LENGTH, STYLES, Summary
from ..ingest import files, kinds
from ..model import Response
from .terminal import Allow, Mirror, Terminal, command, entries


@command()
def summarize(
    terminal: Terminal,
    target: Annotated[str, typer.Argument(metavar="URL|FILE|-", help="With #anchor: that section only.")],
    length: Annotated[int, typer.Option("-n", "--length", metavar="WORDS", help="Words at most.")] = LENGTH,
    style: Annotated[str, typer.Option(metavar="|".join(STYLES), help="Its form.")] = STYLES[0],
    language: Annotated[str, typer.Option(help="In which an LLM is to write; default: the page's.")] = "",
    refresh: Annotated[bool, typer.Option("--refresh", help="Have the LLM write again what was kept.")] = False,
    no_llm: Annotated[bool, typer.Option("--no-llm", help="Extract, even when an LLM is configured.")] = False,
    allow: Allow = None,
    mirror: Mirror = None,
) -> None:
    """Say in few words what a page says, each point with the section that says it; nothing is indexed."""
    with terminal.app(llm_base_url="" if no_llm else None) as app:
        local = None if kinds.is_address(target) else app.extracted(_file(target))
        summary = None
        form: dict[str, Any] = {"length": length, "style": style, "language": language, "refresh": refresh}
        for piece in app.summarize(target, **form, allow=entries(allow), mirror=entries(mirror), page=local):
            if isinstance(piece, Summary):
                summary = piece
            elif not terminal.json:
                print(render.printable(f"- {piece.text}\n  {piece.link}"), flush=True)  # noqa: T201
    assert summary is not None
    if terminal.json:
        terminal.print(summary.as_json(), "")
        return
    for note in summary.notes:
        terminal.say(f"note: {note}")


@command()
def fetch(
    terminal: Terminal,
    url: Annotated[str, typer.Argument(help="With #anchor: that section only.")],
    allow: Allow = None,
    mirror: Mirror = None,
) -> None:
    """Print one page as Markdown; nothing is stored."""
    with terminal.app() as app:
        page = app.read(url, allow=entries(allow), mirror=entries(mirror))
    page = page.at(url.partition("#")[2])
    terminal.print(page.as_json(), page.markdown())


def _file(name: str) -> Response:
    """The document in the file NAME, or on stdin for "-", as if it had been fetched."""
    return files.read_stream(sys.stdin.buffer) if name == "-" else files.read(Path(name.partition("#")[0]))
