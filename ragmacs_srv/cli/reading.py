"""Addresses and collections become pages that can be searched."""

from __future__ import annotations

import dataclasses
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from .. import pipeline, render
from ..app import App
from ..collecting import checked_name
from ..errors import InvalidParams
from ..model import Source, link
from ..pipeline import Report
from ..search.history import Change, worded
from .terminal import Allow, Mirror, Mode, Terminal, command, entries


@command()
def crawl(
    terminal: Terminal,
    targets: Annotated[list[str] | None, typer.Argument(metavar="[COLLECTION|URL]...")] = None,
    from_file: Annotated[Path | None, typer.Option("--from", metavar="FILE", help="One address per line.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the collection that the addresses become.")] = None,
    depth: Annotated[int | None, typer.Option(min=0, help="Links away from a start page.")] = None,
    max_pages: Annotated[int | None, typer.Option(min=1, help="Stop after so many.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only show what would be read.")] = False,
    allow: Allow = None,
    mirror: Mirror = None,
    mode: Mode = None,
) -> int:
    """Read a collection, or the pages at some addresses, and make them searchable."""
    with terminal.app(search_mode=mode) as app:
        wanted = _sources(app, targets or [], from_file, name)
        changes = {"depth": depth, "max_pages": max_pages}
        changes = {key: value for key, value in changes.items() if value is not None}
        wanted = [dataclasses.replace(source, **changes) for source in wanted]  # type: ignore[arg-type]
        if plan:
            return _show_plan(terminal, wanted)
        options = {"allow": entries(allow), "mirror": entries(mirror)}
        return _report(terminal, [app.crawl(source, **options) for source in wanted])


@command()
def update(
    terminal: Terminal,
    collection: Annotated[str | None, typer.Argument(help="Default: all.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only what failed or was refused the last time.")] = False,
    allow: Allow = None,
    mirror: Mirror = None,
    mode: Mode = None,
) -> int:
    """Crawl again: only what changed is read, what is gone at the second look is removed."""
    with terminal.app(search_mode=mode) as app:
        names = [collection] if collection else []
        return _report(terminal, app.update(names, failed=failed, allow=entries(allow), mirror=entries(mirror)))


@command()
def diff(
    terminal: Terminal,
    collection: Annotated[str | None, typer.Argument(help="Default: all.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="2026-11-01, 7d, '2 weeks'. Default: the last update.")
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="With the words that changed.")] = False,
) -> None:
    """List the sections that updates found new, changed or removed."""
    with terminal.app() as app:
        found = app.diff(collection or "", since or "")
    lines = [line for each in found for line in _change_lines(each, text=text)]
    shape = {"changes": [each.as_json(text=text) for each in found]}
    terminal.print(shape, "\n".join(lines) or "nothing changed")


@command()
def remove(terminal: Terminal, target: Annotated[str, typer.Argument(metavar="COLLECTION|URL")]) -> None:
    """Forget a collection or one page; a file that `add` wrote goes too, if nobody changed it."""
    with terminal.app() as app:
        removed, file, gone = app.forget(target)
    shape = {"removed": removed, **({"file": str(file), "file_removed": gone} if file else {})}
    said = f", and its file {file}" if gone else f"; {file} stays: delete it, or ragmacs crawl {target}" if file else ""
    terminal.print(shape, f"removed {render.count(removed, 'page')}{said}")


def _sources(app: App, targets: Sequence[str], file: Path | None, name: str | None) -> list[Source]:
    """The collections to crawl: named ones, and one made of the given addresses."""
    if file is not None and not targets:
        return [_from_file(app, file, name)]
    return [*app.wanted(targets, name), *([_from_file(app, file, name)] if file else [])]


def _from_file(app: App, file: Path, name: str | None) -> Source:
    listed = _listed(file)
    title = f"Pages listed in {file.name}"
    return app.added(Source(checked_name(name) or file.stem, title, listed, depth=0, max_pages=len(listed)))


def _listed(file: Path) -> tuple[str, ...]:
    try:
        lines = (sys.stdin.read() if str(file) == "-" else file.read_text("utf-8-sig")).splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidParams(f"{file} cannot be read: {exc}", hint="a text file with one address per line") from exc
    found = tuple(dict.fromkeys(line.strip() for line in lines if line.strip() and not line.startswith("#")))
    if not found:
        raise InvalidParams(f"{file} holds no addresses", hint="one per line")
    return found


def _show_plan(terminal: Terminal, wanted: Sequence[Source]) -> int:
    rows = [
        {"collection": source.name, "url": url, "refused": reason}
        for source in wanted
        for url, reason in pipeline.plan(source)
    ]
    limits = [
        f"{each.name}: links up to {each.depth} away, at most {render.count(each.max_pages, 'page')}" for each in wanted
    ]
    lines = [f"{row['url']}{'  refused: ' + row['refused'] if row['refused'] else ''}" for row in rows]
    terminal.print({"plan": rows}, "\n".join([*lines, *limits]))
    return 0


def _change_lines(change: Change, *, text: bool) -> Iterator[str]:
    heading = change.heading[-1] if change.heading else ""
    yield f"{change.at[:10]}  {change.change:12}  {link(change.url, change.anchor)}  {heading}".rstrip()
    if text:
        said = worded(change.before, change.after)
        yield from ("", textwrap.fill(said, 96, initial_indent="    ", subsequent_indent="    "), "")


def _report(terminal: Terminal, reports: Sequence[Report]) -> int:
    """Print what crawls did; 0 when every address gave a page, 1 when some did, else the first failure's code."""
    nothing = pipeline.nothing_read(reports)
    if terminal.json or not nothing:
        terminal.print({"crawls": [each.as_json() for each in reports]}, "\n".join(map(_report_lines, reports)))
    if nothing:
        raise nothing
    return 1 if any(each.failed for each in reports) else 0


def _report_lines(report: Report) -> str:
    outcomes = ", ".join(f"{count} {status}" for status, count in sorted(report.outcomes.items()))
    reasons: dict[str, list[str]] = {}
    for receipt in report.failed:
        reasons.setdefault(receipt.reason.replace(receipt.url, "the page"), []).append(receipt.url)
    lines = [f"{report.collection}: {outcomes or 'nothing'}"]
    for reason, urls in reasons.items():
        shown = urls[0] if len(urls) == 1 else f"{len(urls)} addresses, {urls[0]} among them"
        lines.append(f"  {shown}: {reason}")
    if report.cut:
        lines.append(f"  {report.cut} more were met; raise --max-pages to read them")
    return "\n".join(lines)
