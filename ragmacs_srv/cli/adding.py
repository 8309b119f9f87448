"""What a person types for documentation becomes a plan, and when they agree a collection: a file, and its pages."""

from __future__ import annotations

import re
import shlex
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from .. import render
from ..app import App
from ..errors import InvalidParams
from ..ingest import kinds, sources
from ..ingest.address import is_loopback
from ..ingest.plans import Found, Guess, within
from ..ingest.urls import parse
from ..model import Source
from ..proposal import Plan
from .reading import crawl
from .terminal import Allow, Mirror, Mode, Terminal, command, entries

WIDTH: Final = 100  # columns of a plan
LISTS: Final = {".opml", ".rss", ".atom"}


@command()
def add(
    terminal: Terminal,
    addresses: Annotated[
        list[str], typer.Argument(metavar="ADDRESS...", help="Of a page, a site, a path, info:elisp…")
    ],
    name: Annotated[str | None, typer.Option(help="Name of the one collection that they become.")] = None,
    depth: Annotated[int | None, typer.Option(min=0, help="Links away from a start page.")] = None,
    max_pages: Annotated[int | None, typer.Option(min=1, help="Stop after so many.")] = None,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do it without asking.")] = False,
    later: Annotated[
        bool, typer.Option("--later", help="Write the file of the collection only; read nothing.")
    ] = False,
    allow: Allow = None,
    mirror: Mirror = None,
    mode: Mode = None,
) -> int:
    """Make a collection of what is at an address or a path: shows the plan, asks, then reads it."""
    with terminal.app(search_mode=mode) as app:
        opened, mirrored = entries(allow), entries(mirror)
        known, guesses = _meant(app, addresses, name)
        guesses = [within(each, depth, max_pages) for each in guesses]
        made = [*known, *(app.propose(each, allow=opened, mirror=mirrored) for each in guesses)]
        shape = {"plans": [_as_json(app, each, mirrored) for each in made]}
        text = "\n\n".join(_text(each) for each in shape["plans"])
        if terminal.json and not yes:
            terminal.print({**shape, "text": text}, "")
            return 0
        if not yes and not _agreed(terminal, text):
            terminal.say("nothing was read or stored")
            return 1
        written = [sources.write(each.source, app.settings.folders.sources) for each in made if _is_new(app, each)]
    names = [each.source.name for each in made]
    if later:
        flags = [*(f"--allow={each}" for each in opened), *(f"--mirror={each}" for each in mirrored)]
        reads = shlex.join(["ragmacs", "crawl", *names, *flags])  # a file does not hold how pages are fetched
        said = [f"{path} is written" for path in written] + [f"{reads} reads it"]
        terminal.print({**shape, "written": list(map(str, written))}, "\n".join(said))
        return 0
    return crawl(terminal, names, depth=depth, max_pages=max_pages, allow=allow, mirror=mirror, mode=mode) or 0


def look(path: Path) -> Found:
    """What is at PATH on this machine."""
    try:
        if path.is_dir():
            return "folder"
        if not path.is_file():
            return ""
    except OSError:  # a name that is too long, say
        return ""
    return "list" if path.suffix.lower() in LISTS or _is_list(path) else "file"


def _meant(app: App, addresses: Sequence[str], name: str | None) -> tuple[list[Plan], list[Guess]]:
    """The plans for those of ADDRESSES that are collections already, and what the others would become."""
    meant = [app.meant(each, look) for each in addresses]
    known = list({each.name: _known(each) for each in meant if isinstance(each, Source)}.values())
    guesses = [each for each in meant if isinstance(each, Guess)]
    if name and not guesses:
        raise InvalidParams(f"{known[0].source.name!r} is a collection already", hint="leave --name out")
    return known, app.named(guesses, name)


def _known(source: Source) -> Plan:
    """The plan to read a collection that there is."""
    scope = "what its file says" if len(source.seeds) > 1 else "what is there"
    pages = source.depth == 0 and all(seed.startswith("http") for seed in source.seeds)
    documents = len(source.seeds) if pages else None
    return Plan(source, scope, ("this is a collection already: no file is written",), documents=documents)


def _is_new(app: App, plan: Plan) -> bool:
    return plan.source.name not in {*sources.files(app.settings.folders.sources), sources.HANDBOOK}


def _agreed(terminal: Terminal, text: str) -> bool:
    """Whether the person who is shown the plan TEXT wants it; raises InvalidParams where nobody can be asked."""
    terminal.print(None, text)
    if not sys.stdin.isatty():
        message = "nothing was read or stored: there is no terminal on which to agree to this plan"
        raise InvalidParams(message, hint="the same command with --yes")
    return terminal.confirm("Read this?")


# The plan, as JSON and as text


def _as_json(app: App, plan: Plan, mirror: Sequence[str]) -> dict[str, Any]:
    source, where = plan.source, app.settings.folders
    new = _is_new(app, plan)
    return {
        "name": source.name,
        "title": source.title,
        "kind": kinds.scheme_of(source.seeds[0]),
        "seeds": list(source.seeds),
        "scope": plan.scope,
        "found": plan.found,
        "documents": plan.documents,
        "whole": plan.whole,
        "depth": source.depth,
        "max_pages": source.max_pages,
        "seconds": _seconds(app, plan, mirror),
        "licence": source.licence,
        "file": str(where.sources / f"{source.name}.toml") if new else None,
        "store": str(where.store),
        "notes": list(plan.notes),
        "troubles": [{"url": url, "reason": exc.message, "hint": exc.hint} for url, exc in plan.troubles],
    }


def _seconds(app: App, plan: Plan, mirror: Sequence[str]) -> int:
    """How long politeness alone makes a crawl at most; 0 for what is on this machine."""
    network = app.settings.network
    mirrored = [each.partition("=")[0] for each in (*network.mirror, *mirror)]
    asked = [seed for seed in plan.source.seeds if seed.startswith("http") and not seed.startswith(tuple(mirrored))]
    if not asked or all(is_loopback(parse(seed).host) for seed in asked):
        return 0
    pages = plan.source.max_pages if plan.documents is None or plan.source.depth else plan.documents
    return round(pages * network.delay)


def _text(plan: dict[str, Any]) -> str:
    """PLAN, as `_as_json` gives it, for people."""
    rows = [(label, value) for label, value in _rows(plan) if value]
    indent = " " * 12
    lines = [
        textwrap.fill(
            value,
            WIDTH,
            initial_indent=f"  {label:10}",
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for label, value in rows
    ]
    return "\n".join([f"{plan['name']}: {plan['title']}", *lines])


def _rows(plan: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "reads", plan["scope"]
    seeds = plan["seeds"]
    yield from (("from", seed) for seed in seeds[:3])
    yield "", f"and {len(seeds) - 3:,} more" if len(seeds) > 3 else ""
    yield "found", plan["found"] or _counted(plan)
    yield "at most", _limits(plan)
    yield "licence", plan["licence"]
    yield "file", plan["file"] or ""
    yield "stored in", plan["store"]
    yield from (("note", note) for note in plan["notes"])
    yield from (("not read", f"{each['url']}: {each['reason']}") for each in plan["troubles"])


def _counted(plan: dict[str, Any]) -> str:
    if plan["documents"] is None:
        return ""
    there = render.count(plan["documents"], "document")
    return there if plan["whole"] else f"more than {there}; --max-pages reads more"


def _limits(plan: dict[str, Any]) -> str:
    if not plan["seconds"] and (plan["documents"] is not None or plan["kind"] not in {"http", "https"}):
        return ""
    pages, seconds = render.count(plan["max_pages"], "page"), plan["seconds"]
    far = f"{seconds} seconds" if seconds < 100 else f"{round(seconds / 60)} minutes"
    return f"{pages}, a pause of a second after each: {far}" if seconds > 1 else pages


def _is_list(path: Path, most: int = 50) -> bool:
    """Whether the file at PATH begins with bare addresses, one a line."""
    if path.suffix.lower() not in {"", ".txt", ".text", ".list"}:
        return False
    lines = [line for line in _lines(path, most) if not line.startswith("#")]
    return bool(lines) and all(re.fullmatch(r"https?://\S+", line) for line in lines)


def _lines(path: Path, most: int) -> list[str]:
    """The first lines of the file at PATH that say something; none of what cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(200 * most).decode("utf-8-sig", "replace").splitlines()[:most]
    except OSError:
        return []
    return [line.strip() for line in head if line.strip()]
