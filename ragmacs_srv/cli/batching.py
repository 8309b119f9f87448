"""A reading list becomes a report, and its pages a collection."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from .. import render
from ..answer import batch as batching
from ..answer import report, themes
from ..answer.batch import Options, Row
from ..answer.journal import Journal
from ..answer.summarize import LENGTH, STYLES, check_form
from ..collecting import checked_name
from ..errors import Cancelled
from ..ingest import files, lists
from ..ingest.lists import Entry
from .terminal import Allow, Mirror, Terminal, command, entries


@command()
def batch(
    terminal: Terminal,
    listed: Annotated[str, typer.Argument(metavar="LIST", help="A file, an address, or - for stdin.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="An .org, .md, .html or .jsonl file.")],
    kind: Annotated[str, typer.Option("--format", metavar="org|md|html|jsonl", help="Default: as OUT ends.")] = "",
    length: Annotated[int, typer.Option("-n", "--length", metavar="WORDS", help="Of a summary, at most.")] = LENGTH,
    style: Annotated[str, typer.Option(metavar="|".join(STYLES), help="Of a summary.")] = STYLES[0],
    language: Annotated[str, typer.Option(help="In which an LLM is to write; default: the page's.")] = "",
    index: Annotated[bool, typer.Option("--index", help="Make the pages a collection to ask and search.")] = False,
    name: Annotated[str | None, typer.Option(help="Of the collection; default: that of OUT.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try again what failed or was refused.")] = False,
    max_tokens: Annotated[int, typer.Option(min=0, help="What the LLM may cost; 0: no bound.")] = 0,
    max_minutes: Annotated[float, typer.Option(min=0, help="Then stop, to go on another time; 0: no bound.")] = 0,
    no_llm: Annotated[bool, typer.Option("--no-llm", help="Extract, even when an LLM is configured.")] = False,
    allow: Allow = None,
    mirror: Mirror = None,
) -> int:
    """Read and summarize a reading list into a report. Run again, it goes on: OUT.batch remembers what is done."""
    opened, mirrored = entries(allow), entries(mirror)
    form = report.format_of(output, kind)
    collection = checked_name(name or re.sub(r"[^\w.-]", "-", output.stem)) if index else None
    local = "://" not in listed
    report.check_output(output, *([Path(listed)] if local and listed != "-" else []))
    options = Options(length, retry_failed, max_tokens, max_minutes * 60, check_form(style, language), language)
    with terminal.app(llm_base_url="" if no_llm else None) as app, Journal(Path(f"{output}.batch")) as journal:
        found = app.listed(listed, allow=opened, mirror=mirrored) if not local else _local(listed)
        title = "Reading list" if listed == "-" else f"Reading list: {Path(listed).name if local else listed}"
        try:
            found = app.subscribed(found, journal, allow=opened, mirror=mirrored)
            rows, digest = app.batch(found, journal, options, allow=opened, mirror=mirrored)
        except Cancelled as exc:
            rows = batching.rows(found, journal.records())
            report.save(output, report.report(form, title, rows, themes.digest(rows)), journal)
            raise Cancelled(hint=f"what was finished is in {output}; the same command goes on") from exc
        saved = report.save(output, report.report(form, title, rows, digest), journal)
        if saved:
            terminal.say(f"note: {output} was not as the last run left it: that file is now {saved}")
        indexed = None
        if collection:
            indexed = app.shelve(collection, title, rows, journal, allow=opened, mirror=mirrored)
    shape = {
        "output": str(output),
        "counts": batching.counts(rows),
        "digest": digest.as_json(),
        "collection": collection,
    }
    not_done = [row for row in rows if row.record.state != "done"]
    lacking = [{"url": row.entry.url, "state": row.record.state, "reason": row.record.reason} for row in not_done]
    lines = [f"{output}: {report.summary_line(rows)}", *_lacking(not_done)]
    lines += [f"{render.count(indexed.outcomes.total(), 'page')} in the collection {collection}"] if indexed else []
    terminal.print({**shape, "not_done": lacking}, "\n".join(lines))
    return 1 if not_done else 0


def _local(listed: str) -> list[Entry]:
    """What the list in the file LISTED, or on stdin for "-", names."""
    found = files.read_stream(sys.stdin.buffer) if listed == "-" else files.read(Path(listed))
    return lists.fold(lists.parse(found.body))


def _lacking(rows: Sequence[Row], most: int = 20) -> Iterator[str]:
    """What did not end as a page, a line each; the rest is in the report."""
    for row in rows[:most]:
        named = "" if row.entry.url in row.record.reason else f"{row.entry.url}: "
        hint = f" ({row.record.hint})" if row.record.hint else ""
        yield f"  {row.record.state}: {named}{row.record.reason}{hint}"
    if len(rows) > most:
        yield f"  … and {len(rows) - most} more"
