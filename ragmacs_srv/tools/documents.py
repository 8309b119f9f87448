"""What is indexed, searched, asked, read and summarized for a model.

What comes from pages is quoted as data. A tool fetches only what is indexed, allowed by the settings or on a
collection's site, and stores nothing: its arguments were chosen by a model, which may have read them on a page.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, Protocol

from .. import pipeline
from ..answer.summarize import LENGTH, STYLES, Point, Style, Summary
from ..errors import AddressRefused, InvalidParams
from ..ingest import kinds, plans
from ..ingest.address import vet
from ..ingest.plans import Guess
from ..ingest.urls import parse, shown, split_fragment
from ..model import Answer, Citation, Hit, Page, Section, Source, Standing
from ..registry import BUDGET, Between, Result, bookmark, resumed, tool
from ..search.generation import Manifest
from ..search.retrieve import Results
from ..settings import nearest
from .replies import DATA, FOOTER, Cursor, LanguageName, clean, clipped, continued, cut, fitting, link, one_line

SHALLOW, DEEPEST = 20, 50  # results looked at; who has not found it by then asks something else
OUTLINE = 1500  # characters for the names of the sections that did not fit

Collection = Annotated[str, "Name of one collection to search; list_collections names them. Default: all."]


class Library(Protocol):
    """The App, as far as tools use it."""

    def search(self, question: str, *, k: int = 0, collections: Sequence[str] = ()) -> Results: ...
    def ask(self, question: str, *, collections: Sequence[str] = ()) -> Iterator[str | Answer]: ...
    def indexed(self, url: str) -> Page | None: ...
    def standing(self, url: str) -> Standing: ...
    def read(self, url: str, *, known_only: bool = False) -> Page: ...
    def summarize(
        self, url: str, *, length: int = LENGTH, known_only: bool = False, style: str = "", language: str = ""
    ) -> Iterator[Point | Summary]: ...
    def known_collections(self) -> list[tuple[str, str, str]]: ...
    def manifest(self) -> Manifest | None: ...
    def source(self, name: str) -> Source: ...
    def named(self, guesses: Sequence[Guess], name: str | None) -> list[Guess]: ...


def asks_for_site(app: Library, url: str, **_: object) -> str:
    """What to ask a person before a page is read: nothing where no request is made, or one they allowed."""
    return f"Fetch {shown(url)}?" if app.standing(url) == "collection" else ""


@tool()
def search_docs(
    app: Library,
    query: Annotated[str, "Words or a question; filters: site:go.dev, -site:HOST, release:1.21, since:2024."],
    limit: Annotated[int, "How many sections at most.", Between(1, 20)] = 6,
    collection: Collection = "",
    cursor: Cursor = "",
) -> Result:
    """Search the documentation that is indexed on this machine. Returns the best sections with their text and a link
    each; cite these links. Use it before answering from memory. For a whole page use read_page."""
    started = time.monotonic()
    opened = app.manifest()
    key = ("search_docs", query, collection, opened.revision if opened else "")
    first = resumed(cursor, *key)
    k = SHALLOW if first + limit < SHALLOW else DEEPEST
    results = app.search(query, k=k, collections=_named(collection))
    hits = _distinct(results.hits)
    head = _search_head(query, results) if hits[first:] else _nothing(query, results, first)
    parts = list(_numbered(hits[first : first + limit], first, BUDGET - len(head) - FOOTER))
    after = first + len(parts)
    found = {**results.as_json(), "results": [hit.as_json() for hit in hits[first:after]]}
    found["took_ms"] = round((time.monotonic() - started) * 1000)
    more = after < len(hits) or (len(results.hits) == k < DEEPEST)
    return continued([head, *parts], found, bookmark(after, *key) if more else "")


@tool()
def ask_docs(
    app: Library,
    question: Annotated[str, "One question, in the user's words; filters as in search_docs."],
    collection: Collection = "",
) -> Result:
    """Answer one question from the indexed documentation. Returns a short answer made of quotes, numbered, with the
    link that each number stands for, or says that nothing indexed answers it. To judge for yourself use search_docs."""
    *_, answer = app.ask(question, collections=_named(collection))
    assert isinstance(answer, Answer)
    lines = [_citation(each) for each in answer.citations]
    notes = [f"Note: {note.rstrip('.')}." for note in answer.notes]
    tail = fitting([*notes, *lines], BUDGET // 2)
    head = f"{DATA}\n\n" if answer.citations else ""
    text = clipped(answer.text, BUDGET - len(head) - len(tail) - 2)
    return Result(clean(f"{head}{text}\n\n{tail}".strip()), answer.as_json())


@tool(open_world=True, asks=asks_for_site)
def read_page(
    app: Library,
    url: Annotated[str, "Address of the page; with #anchor only that section, as links of search_docs have it."],
    section: Annotated[str, "Heading or anchor of one section of the page. Default: the whole page."] = "",
    cursor: Cursor = "",
) -> Result:
    """Read a page, or one section with what is below it, as Markdown: from the index, or fetched where the user's
    settings allow that site. A long page comes in parts; the reply says how to get the next one."""
    cached = app.indexed(_address(url))
    page = cached or app.read(url, known_only=True)
    wanted = _wanted(page, section or split_fragment(url)[1])
    body = "\n\n".join(map(_written, wanted))
    key = ("read_page", url, section, body)
    start = resumed(cursor, *key)
    head = f"# {_title(page)}\n<{link(page.url)}>{'' if cached else ' (fetched just now, not indexed)'}\n{DATA}"
    room = BUDGET - len(head) - FOOTER
    whole = len(body) - start <= room
    end = len(body) if whole else start + cut(body[start:], room if start else room - OUTLINE)
    said = [head, body[start:end].strip("\n")]
    if not (whole or start):
        said.append(_outline(wanted, end))
    shape = {"url": page.url, "title": page.title, "sections": _between(wanted, start, end)}
    return continued(said, {**shape, "from_cache": cached is not None}, "" if whole else bookmark(end, *key))


@tool(open_world=True, asks=asks_for_site)
def summarize_url(
    app: Library,
    url: Annotated[str, "Address of the page; with #anchor only that section."],
    length: Annotated[int, "Words at most.", Between(20, 600)] = LENGTH,
    style: Annotated[Style, "Its form."] = STYLES[0],
    language: LanguageName = "",
) -> Result:
    """Summarize a page in a few words, each point with the link of the section that says it: a page of the index, or
    one fetched where the user's settings allow that site. For the page itself use read_page."""
    *_, summary = app.summarize(_address(url), length=length, style=style, language=language, known_only=True)
    assert isinstance(summary, Summary)
    head = f"# {one_line(summary.title)[:200]}\n<{link(summary.url)}>\n{DATA}"
    lines = [f"- {clipped(point.text, BUDGET // 4)} <{link(point.link)}>" for point in summary.points]
    notes = [f"Note: {note.rstrip('.')}." for note in summary.notes]
    return Result(clean(f"{head}\n{fitting([*notes, *lines], BUDGET - len(head) - 1)}"), summary.as_json())


@tool()
def list_collections(app: Library) -> Result:
    """List the collections of documentation: those that are indexed, with their number of pages, and those that the
    user could have crawled."""
    opened = app.manifest()
    pages: Mapping[str, int] = opened.collections if opened else {}
    known = app.known_collections()
    rows = [{"name": name, "pages": pages.get(name, 0), "title": title, "licence": by} for name, title, by in known]
    indexed = [f"- {row['name']}: {row['title']} ({row['pages']} pages)" for row in rows if row["pages"]]
    others = [f"- {row['name']}: {row['title']}" for row in rows if not row["pages"]]
    lines = ["Indexed:", *(indexed or ["- nothing yet; questions are answered from the handbook of Go memory"])]
    lines += ["Not indexed; the user can run `ragmacs crawl NAME`:", *others] if others else []
    return Result(clean(fitting(lines, BUDGET)), {"collections": rows})


@tool()
def add_source(
    app: Library,
    address: Annotated[str, "Of a page, a site, stackexchange:TAG, or the name of a known collection."],
    name: Annotated[str, "Name of the collection that it becomes. Default: made of the address."] = "",
    depth: Annotated[int, "Links away that pages are read. Default: by how the address looks.", Between(0, 5)] = -1,
) -> Result:
    """Propose documentation to index. Returns the plan and the command that the user has to run; nothing is fetched
    or stored by this tool."""
    source, command = _proposed(app, address, name, depth)
    rows = [{"collection": source.name, "url": url, "refused": why} for url, why in pipeline.plan(source)]
    for row in rows:
        row["refused"] = row["refused"] or _objection(app, row["url"])
    lines = [
        "Nothing was fetched or stored. Show this plan to the user, who alone can carry it out by running:",
        f"    {command}",
        f"It asks them first. Collection {source.name!r}, links up to {source.depth} away, at most {source.max_pages}"
        " pages, from:",
        *(f"- {row['url']}{'  refused: ' + row['refused'] if row['refused'] else ''}" for row in rows),
    ]
    return Result(clean(fitting(lines, BUDGET)), {"plan": rows, "command": command, "max_pages": source.max_pages})


# Searching


def _named(collection: str) -> tuple[str, ...]:
    return (collection,) if collection else ()


def _distinct(hits: Sequence[Hit]) -> list[Hit]:
    """HITS without those that say what one before says: pages that stand twice, sections that copy others."""
    found: dict[str, Hit] = {}
    for hit in hits:
        found.setdefault(" ".join(hit.text.split()), hit)
    return list(found.values())


def _search_head(query: str, results: Results) -> str:
    lines = [f"Sections for {query[:200]!r}, best first ({results.mode}, confidence {results.confidence:.2f})."]
    lines += [f"Note: {note.rstrip('.')}." for note in (results.reason, *results.notes) if note]
    if results.verdict.uncovered:
        lines.append(f"Nothing indexed mentions {', '.join(map(repr, results.verdict.uncovered))[:200]}.")
    return "\n".join([*lines, DATA])


def _nothing(query: str, results: Results, first: int) -> str:
    if first:
        return "There are no more results."
    reason = f" (searched by words only: {results.reason})" if results.reason else ""
    return f"Nothing indexed matches {query[:200]!r}{reason}. list_collections says what is indexed."


def _numbered(hits: Sequence[Hit], first: int, room: int) -> Iterator[str]:
    """Those of HITS that fit into ROOM characters, numbered from FIRST + 1; the very first is cut to fit."""
    left = room
    for n, hit in enumerate(hits, first + 1):
        heading = one_line(" > ".join(hit.section.heading) or hit.title)[:300]
        part = f"[{n}] {heading}\n<{link(hit.section.link)}>\n"
        part += clipped(hit.text, left - len(part) - 2) if left == room else hit.text
        left -= len(part) + 2
        if left < 0:
            return
        yield part


def _citation(citation: Citation) -> str:
    heading = citation.heading[-1] if citation.heading else citation.title
    name = heading if heading == citation.title else f"{citation.title}, {heading}"
    return f"[{citation.n}] {one_line(name)[:200]} <{link(citation.link)}>"


# Reading


def _address(url: str) -> str:
    """URL; raises AddressRefused, with an example, for what is none."""
    kinds.canonical(url)
    return url


def _wanted(page: Page, where: str) -> tuple[Section, ...]:
    """The sections of PAGE at the anchor or heading WHERE; raises InvalidParams that offers the nearest."""
    if not where or page.part(where):
        return page.part(where)
    for each in page.sections:
        if each.heading and _folded(each.heading[-1]) == _folded(where):
            return page.part(each.anchor) if each.anchor else (each,)
    known = [each.heading[-1] for each in page.sections if each.heading]
    known += [each.anchor for each in page.sections if each.anchor]
    raise InvalidParams(
        f"{page.url} has no section {where[:80]!r}", hint=nearest(where, list(dict.fromkeys(known)))[:OUTLINE]
    )


def _folded(heading: str) -> str:
    return " ".join(re.findall(r"\w+", heading.lower()))


def _written(section: Section) -> str:
    return section.markdown(level=2, link=link(section.link))


def _places(sections: Sequence[Section]) -> Iterator[tuple[int, Section]]:
    """Where the text of each of SECTIONS begins when they are `_written` one after the other."""
    at = 0
    for section in sections:
        written = len(_written(section))
        yield at + written - len(section.text), section
        at += written + len("\n\n")


def _between(sections: Sequence[Section], start: int, end: int) -> list[dict[str, Any]]:
    """Those of SECTIONS, as JSON, whose text stands between START and END, with that of it which does."""
    found = []
    for at, each in _places(sections):
        text = each.text[max(start - at, 0) : max(end - at, 0)]
        if text:
            shape = {"anchor": each.anchor, "link": each.link, "heading": list(each.heading), "text": text}
            found.append(shape)
    return found


def _outline(sections: Sequence[Section], end: int) -> str:
    """The names of those of SECTIONS that begin behind END: a model can ask for one of them instead of reading on."""
    rest = (each for at, each in _places(sections) if at >= end and each.heading and each.anchor)
    names = [f"{one_line(each.heading[-1])[:80]} (#{each.anchor})" for each in rest]
    return "Sections that follow: " + fitting(names, OUTLINE - 60, "; ") if names else ""


# Proposing


def _proposed(app: Library, address: str, name: str, depth: int) -> tuple[Source, str]:
    """The collection that ADDRESS would become, and the command that makes it one."""
    known = {each for each, _, _ in app.known_collections()}
    if address in known:
        with suppress(InvalidParams):  # indexed, but without a file: it can be updated
            return app.source(address), shlex.join(["ragmacs", "crawl", address])
        return Source(address, address, ()), shlex.join(["ragmacs", "update", address])
    meant = plans.within(plans.guess(address), depth if depth >= 0 else None, None)
    for seed in meant.source.seeds:
        kinds.check_open(seed)
        kinds.canonical(seed)
    source = app.named([meant], name or None)[0].source
    far = ["--depth", str(depth)] if depth >= 0 else []
    return source, shlex.join(["ragmacs", "add", *source.seeds, *far, "--name", source.name])


def _objection(app: Library, url: str) -> str:
    """Why the network rules will refuse URL as far as can be told without asking anybody, or ""."""
    if not url.startswith("http") or app.standing(url) in {"indexed", "allowed"}:
        return ""
    try:
        vet(parse(url), allow=(), resolve=None)
    except AddressRefused as exc:
        return f"{exc.message}; only the user can allow it, with --allow"
    return ""


def _title(page: Page) -> str:
    return one_line(page.title)[:200]
