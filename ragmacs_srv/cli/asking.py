"""A question becomes an answer or a list of sections, and a tool's name what it says to a model."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated

import typer

from .. import registry, render
from ..errors import Cancelled, InvalidParams
from ..model import Answer
from .terminal import HERE, Collections, Mode, Terminal, command, question_of, text_of

FILTERS = "Filters: site:go.dev/blog, -site:go.dev, release:1.21, since:2024, since:7d."


@command()
def ask(
    terminal: Terminal,
    question: Annotated[list[str], typer.Argument(help="In your own words; - reads stdin. Filters: as in search.")],
    collection: Collections = None,
    mode: Mode = None,
    max_chars: Annotated[int | None, typer.Option(min=100, help="Length of an extractive answer.")] = None,
    no_llm: Annotated[bool, typer.Option("--no-llm", help="Extract, even when an LLM is configured.")] = False,
) -> None:
    """Answer a question from what is indexed, with quotes that can be opened."""
    flags = {"search_mode": mode, "answer_max_chars": max_chars, "llm_base_url": "" if no_llm else None}
    with terminal.app(**flags) as app:
        answer = None
        for piece in app.ask(question_of(question), collections=collection or ()):
            if isinstance(piece, Answer):
                answer = piece
            elif not terminal.json:
                print(render.printable(piece), end="", flush=True)  # noqa: T201
    assert answer is not None
    shape = answer.as_json()
    terminal.print(shape, render.citations(shape))
    if not terminal.json:
        for note in render.answer_notes(shape):
            terminal.say(note)


@command()
def search(
    terminal: Terminal,
    query: Annotated[list[str], typer.Argument(help=f"Words or a question; - reads it from stdin. {FILTERS}")],
    collection: Collections = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=100, help="How many results.")] = 8,
    mode: Mode = None,
) -> None:
    """List the sections that match best."""
    started = time.monotonic()
    with terminal.app(search_mode=mode) as app:
        results = app.search(question_of(query), k=limit, collections=collection or ())
    found = {**results.as_json(), "took_ms": round((time.monotonic() - started) * 1000)}
    terminal.print(found, render.results(found))
    for note in render.result_notes(found):
        terminal.say(note)


@command(name="tool")
def run_tool(
    terminal: Terminal,
    name: Annotated[str | None, typer.Argument(help="Default: list the tools.")] = None,
    arguments: Annotated[str, typer.Argument(metavar="JSON", help="Its arguments; - reads them from stdin.")] = "{}",
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask before a request is made.")] = False,
) -> int:
    """Run a tool as a model does, with the reply that a model gets; without NAME, list the tools."""
    if name is None:
        known = registry.tools()
        lines = [f"{registry.usage(each)}\n    {each.description}" for each in known]
        terminal.print({"tools": [each.as_json() for each in known]}, "\n".join(lines))
        return 0
    try:
        given = json.loads(text_of(arguments))
    except ValueError as exc:
        hint = 'for example: ragmacs tool search_docs \'{"query": "GOGC"}\''
        raise InvalidParams(f"the arguments of {name} are no JSON: {exc}", hint=hint) from exc
    with terminal.app() as app:
        app.roots = HERE
        wanted = registry.question(app, name, given)
        if wanted and not yes:
            _agreed(name, wanted)
        done = registry.call(app, name, given)
    if done.error:
        shape = {key: done.data["error"][key] for key in ("code", "message", "hint")}
        terminal.say(json.dumps({"error": shape}, ensure_ascii=False) if terminal.json else done.text)
        return int(done.data["error"]["exit_code"])
    terminal.print({"text": done.text, "data": done.data}, done.text)
    return 0


def _agreed(name: str, question: str) -> None:
    """Ask QUESTION of the person at the terminal; without one, only a tool that changes nothing may go on."""
    if not sys.stdin.isatty():
        if registry.lookup(name).changes_state:
            raise InvalidParams(
                f"{name} needs consent: {question}", hint="add --yes, after you have looked at the code"
            )
    elif not typer.confirm(question, err=True):
        raise Cancelled(hint="nothing was begun")
