"""What is stored, set and installed becomes lines to read; what is damaged is repaired."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from .. import __version__, render, settings
from ..diagnosis import diagnose
from ..golang import helper
from .terminal import Mode, Terminal, command


@command()
def collections(
    terminal: Terminal, name: Annotated[str | None, typer.Argument(help="List the pages of this one.")] = None
) -> None:
    """List the collections, indexed or not, with their age and state; or what became of the pages of one."""
    with terminal.app() as app:
        if name:
            found = app.collection(name)
            terminal.print(found, "\n".join(_pages(found)))
            return
        known = app.collections()
    terminal.print({"collections": known}, "\n".join(_table([_HEAD, *map(_cells, known)])))


_HEAD = ("name", "pages", "chunks", "text", "age", "state", "licence", "title")
_WIDEST = (20, 7, 9, 7, 10, 20, 12, 60)
_LINE = 100


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    counts = (f"{row['pages']:,}", f"{row['chunks']:,}", render.size(row["bytes"]))
    sizes = [text if row["pages"] else "-" for text in counts]
    licence = row["licence"].partition("(")[0].partition(",")[0].strip()
    return (row["name"], *sizes, row["age"] or "-", row["state"], licence or "-", row["title"])


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """ROWS as lines of at most `_LINE` characters, numbers and ages at the right of their columns."""
    widths = [min(max(map(len, cells)), most) for cells, most in zip(zip(*rows, strict=True), _WIDEST, strict=True)]
    for row in rows:
        signs = ("<", ">", ">", ">", ">", "<", "<", "<")
        cells = zip(row, signs, widths, strict=True)
        yield "  ".join(f"{cell[:width]:{sign}{width}}" for cell, sign, width in cells)[:_LINE].rstrip()


def _pages(found: Mapping[str, Any]) -> Iterator[str]:
    """The pages with the days on which they were read, then the addresses that gave none, with the reasons."""
    for row in found["pages"]:
        yield f"{row['fetched_at'][:10]}  {row['url']}  {row['title']}"
    for row in found["without"]:
        kept = "; the copy that was read before is kept" if row["kept"] else ""
        yield f"{row['at'][:10]}  {row['url']}  {row['status']}: {row['reason']}{kept}"


@command()
def status(terminal: Terminal) -> None:
    """Say which server runs, what is indexed, and who is writing."""
    from ..serve import daemon
    from ..serve.place import Place

    place = Place.of(settings.folders(terminal.environ), terminal.environ)
    running = None if terminal.no_server else daemon.status(place)
    with terminal.app() as app:
        state = {"server": running["server"] if running else None, **app.status()}
    terminal.print(state, render.status(state))


@command()
def verify(
    terminal: Terminal,
    repair: Annotated[
        bool, typer.Option("--repair", help="Drop what is damaged; the next crawl reads it again.")
    ] = False,
) -> int:
    """Check every file and every row against its hash; exit 0 only for a sound store."""
    with terminal.app() as app:
        repaired = app.repair() if repair else None
        found = app.verify()
    shape = {"sound": not found, "problems": found, "repaired": repaired}
    lines = [*([f"repaired: {line}" for line in repaired] if repaired else []), *found]
    hint = ["hint: ragmacs verify --repair, then ragmacs update"] if found and not repair else []
    terminal.print(shape, "\n".join([*lines, *hint, *([] if found else ["the store is sound"])]))
    return 3 if found else 0


@command()
def reindex(terminal: Terminal, mode: Mode = None) -> None:
    """Split, embed and index again what is stored; no network."""
    with terminal.app(search_mode=mode) as app:
        made = app.reindex()
    terminal.print(
        dataclasses.asdict(made),
        f"generation {made.number}: {render.count(made.pages, 'page')}, {render.count(made.chunks, 'chunk')},"
        f" {'vectors by ' + made.model if made.model else 'no vectors'}",
    )


@command()
def doctor(
    terminal: Terminal,
    warm: Annotated[
        bool, typer.Option("--warm", help="Build what the Go tools need now, not at their first use.")
    ] = False,
) -> None:
    """Show every folder with its size, and what works on this machine."""
    with terminal.app() as app:
        if warm:
            helper.warm(app.workshop)
        found = diagnose(app)
    width = max(len(row["what"]) for row in found)
    lines = [f"{'ok ' if row['ok'] else '-- '} {row['what']:{width}}  {row['found']}" for row in found]
    terminal.print({"version": __version__, "checks": found}, "\n".join(lines))


@command()
def config(terminal: Terminal) -> None:
    """Show every setting, and where its value came from."""
    loaded = settings.load(terminal.environ)
    rows = [{"key": key, "value": value, "origin": origin} for key, value, origin in loaded.rows()]
    width = max(len(str(row["key"])) for row in rows)
    lines = [f"{row['key']:{width}} = {json.dumps(row['value'])}  ({row['origin']})" for row in rows]
    folders = loaded.folders
    lines.append(f"token of the HTTP server: {folders.http_token}")
    shape = {"file": str(folders.config_file), "token_file": str(folders.http_token), "settings": rows}
    terminal.print(shape, "\n".join(lines))
