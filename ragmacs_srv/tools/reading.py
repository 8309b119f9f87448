"""Reading lists for a model: a few addresses become their summaries, as far as their sites are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Protocol

from ..answer.batch import Options, Row
from ..answer.jobs import Job
from ..answer.summarize import STYLES, Style
from ..errors import InvalidParams
from ..ingest import lists
from ..ingest.lists import Entry
from ..ingest.urls import origin
from ..model import Standing
from ..registry import BUDGET, Between, Result, bookmark, resumed, tool
from .replies import DATA, FOOTER, Cursor, LanguageName, clean, clipped, continued, link, one_line

MOST = 50  # addresses: a model that wants more has a person run `ragmacs batch`


class Shelf(Protocol):
    """The App, as far as these tools use it."""

    def standing(self, url: str) -> Standing: ...
    def job(self, entries: Sequence[Entry], title: str, options: Options) -> Job: ...


def asks_for_sites(app: Shelf, text: str, **_: object) -> str:
    """What to ask a person before the pages are read: which sites that they have not allowed are asked."""
    known = (each.url for each in _entries(text) if not each.refused)
    sites = {origin(url) for url in known if app.standing(url) == "collection"}
    return f"Fetch pages of {', '.join(sorted(sites))}?" if sites else ""


@tool(open_world=True, asks=asks_for_sites)
def summarize_list(
    app: Shelf,
    text: Annotated[str, "Addresses, one a line, or as links in Markdown or Org; 50 at most."],
    length: Annotated[int, "Words at most of each summary.", Between(20, 200)] = 60,
    style: Annotated[Style, "Their form."] = STYLES[0],
    language: LanguageName = "",
    cursor: Cursor = "",
) -> Result:
    """Summarize every page of a list of addresses: pages of the index, or fetched where the user's settings allow
    that site. Returns what became of each, failures with their reason. For one page use summarize_url."""
    entries = _entries(text)
    made = app.job(entries, "Reading list", Options(length, style=style, language=language))
    key = ("summarize_list", text, length, style, language, made.name)
    first = resumed(cursor, *key)
    themes = "; ".join(f"{each.name} ({len(each.rows)})" for each in made.digest.themes)
    head = f"{len(made.rows)} pages." + (f" Themes: {themes}." if themes else "") + f"\n{DATA}"
    parts: list[str] = []
    left = BUDGET - len(head) - FOOTER
    for row in made.rows[first:]:
        part = clipped(_said(row), left if not parts else BUDGET)
        left -= len(part) + 2
        if left < 0 and parts:
            break
        parts.append(part)
    after = first + len(parts)
    shape = {**made.as_json(), "items": [row.as_json() for row in made.rows[first:after]]}
    return continued([head, *parts], shape, bookmark(after, *key) if after < len(made.rows) else "")


def _entries(text: str) -> list[Entry]:
    entries = lists.fold(lists.parse(text.encode()))
    if len(entries) > MOST:
        message = f"the list has {len(entries)} addresses, at most {MOST} are read"
        raise InvalidParams(message, hint="call it with a part of the list")
    return entries


def _said(row: Row) -> str:
    head = f"# {one_line(row.title)[:200]}\n<{link(row.url)}>"
    if row.record.state != "done":
        return clean(f"{head}\n{row.record.state}: {row.record.reason[:300]}")
    return clean("\n".join([head, *(f"- {text}" for text, _ in row.record.points)]))
