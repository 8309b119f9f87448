"""The nouns that cross the doorways between rooms: what a page becomes on its way to an answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, Final, Literal, NamedTuple

from .errors import InvalidParams

BlockKind = Literal["paragraph", "heading", "item", "row", "code", "image"]
Mode = Literal["hybrid", "lexical"]
HEAVIEST: Final = 1000.0  # the most that a collection weighs: a score times more is soon no number that JSON has
Standing = Literal["indexed", "allowed", "collection", "unknown"]  # of an address, to who may not choose where to go


@dataclass(frozen=True, slots=True)
class Source:
    """A collection: where to start reading, and how far to go.

    `allow` and `deny` are globs over whole URLs (`*` matches any characters); an empty `allow` means
    the folders of the seeds. `depth` counts links from a seed; `max_pages` counts pages fetched. `weight`, above 0
    and at most HEAVIEST, multiplies the scores of its sections in a search.
    """

    name: str
    title: str
    seeds: tuple[str, ...]
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    depth: int = 0
    max_pages: int = 500
    licence: str = ""
    weight: float = 1.0

    def within(self, depth: int, max_pages: int) -> Source:
        """The same, going this far instead; a negative DEPTH and a MAX_PAGES of 0 change nothing."""
        return replace(self, depth=self.depth if depth < 0 else depth, max_pages=max_pages or self.max_pages)


@dataclass(frozen=True, slots=True)
class Response:
    """What one fetch brought: a body (status 200), or the word that nothing changed (status 304, no body).

    `url` is the identity under which the page is stored and cited: canonical, after redirects, with a
    mirror undone. `fetched_from` is the address that really answered. `media_type` is what the bytes
    are, not what the header claims; `charset` is the header's label, lower case, or "".
    """

    url: str
    fetched_from: str
    status: int
    body: bytes
    media_type: str
    charset: str
    etag: str
    last_modified: str
    fetched_at: str  # RFC 3339, UTC


@dataclass(frozen=True, slots=True)
class Item:
    """An address that somebody means to read, as a list names it: `url` may be anything that stood in its place.

    `title` and `note` are the list's own; `read`: it says that this was read. `feed` is the address of the news
    feed that it subscribes to, whose newest entries are meant.
    """

    url: str
    title: str = ""
    tags: tuple[str, ...] = ()
    note: str = ""
    read: bool = False
    feed: str = ""


class Block(NamedTuple):
    """A paragraph-sized part of a section: `section.text[start:end]`, markup (fence, bullet) included."""

    kind: BlockKind
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Section:
    """The text under one heading, up to the next heading that can be linked to.

    `text` is Markdown with code verbatim; quotes are substrings of it. `anchor` is "" for what stands
    before the first heading. `heading` is the path from the page title down.
    """

    url: str
    anchor: str
    heading: tuple[str, ...]
    text: str
    blocks: tuple[Block, ...]

    @property
    def link(self) -> str:
        return link(self.url, self.anchor)

    def markdown(self, title: str = "", *, level: int = 1, link: str = "") -> str:
        """The section under its heading, or under TITLE where it has none; its text stands last, unchanged.

        The heading is of LEVEL at least, and LINK stands behind it.
        """
        name = " ".join((self.heading[-1] if self.heading else title).split())
        words = ["#" * min(max(len(self.heading), level), 6), name, f"<{link}>" if link else ""]
        return f"{' '.join(filter(None, words))}\n\n{self.text}"


@dataclass(frozen=True, slots=True)
class Page:
    """One document, extracted: its sections in reading order and the links it offers a crawler."""

    url: str
    title: str
    sections: tuple[Section, ...]
    links: tuple[str, ...] = ()
    author: str = ""
    date: str = ""
    marked: bool = True  # the content element was marked up (article, main); else it had to be guessed
    notes: tuple[str, ...] = ()  # for who reads it now: what of it could not be read, or is not all of it

    def part(self, anchor: str) -> tuple[Section, ...]:
        """The section at ANCHOR and those below it; none for an unknown anchor, all for ""."""
        if not anchor:
            return self.sections
        start = next((n for n, each in enumerate(self.sections) if each.anchor == anchor), len(self.sections))
        path = self.sections[start].heading if start < len(self.sections) else ()
        below = takewhile(lambda each: each.heading[: len(path)] == path != each.heading, self.sections[start + 1 :])
        return (*self.sections[start : start + 1], *below)

    def at(self, anchor: str) -> Page:
        """The page with the sections at ANCHOR alone, or all of it for ""; raises InvalidParams when there are none."""
        sections = tuple(each for each in self.sections if not anchor or each.anchor == anchor)
        if anchor and not sections:
            raise InvalidParams(f"no section #{anchor} in {self.url}", hint="leave the anchor out to see the page")
        return replace(self, sections=sections)

    def markdown(self) -> str:
        """All of it as one text."""
        return "\n\n".join(each.markdown(self.title) for each in self.sections)

    def as_json(self) -> dict[str, Any]:
        """What `fetch` gives, on every transport."""
        sections = [
            {"anchor": each.anchor, "link": each.link, "heading": list(each.heading), "text": each.text}
            for each in self.sections
        ]
        return {"url": self.url, "title": self.title, "sections": sections}


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a section small enough to embed: `section.text[start:end] == text`."""

    id: str
    url: str
    anchor: str
    heading: tuple[str, ...]
    text: str
    start: int
    end: int

    @property
    def passage(self) -> str:
        """The text as it is embedded and indexed: the heading path in front."""
        return " > ".join(self.heading) + "\n" + self.text


@dataclass(frozen=True, slots=True)
class Hit:
    """A section that answers a query, with the window of it that does: `section.text[start:end]`.

    `chunks` are those of its chunks that were found, best first, each with its score. Scores are
    comparable within one search only.
    """

    section: Section
    chunks: tuple[tuple[Chunk, float], ...]
    start: int
    end: int
    title: str
    collection: str
    fetched_at: str
    fetched_from: str
    opening: bool = False  # the section is the first of its page

    @property
    def text(self) -> str:
        return self.section.text[self.start : self.end]

    @property
    def score(self) -> float:
        return self.chunks[0][1]

    def as_json(self) -> dict[str, Any]:
        """One of the `results` of a search, on every transport."""
        section = self.section
        return {
            "url": section.url,
            "anchor": section.anchor,
            "link": section.link,
            "title": self.title,
            "heading": list(section.heading),
            "text": self.text,
            "score": round(self.score, 4),
            "collection": self.collection,
            "fetched_at": self.fetched_at,
            **_mirrored(section.url, self.fetched_from),
        }


@dataclass(frozen=True, slots=True)
class Citation:
    """Where claim `[n]` can be opened; `quote` is a verbatim substring of that section."""

    n: int
    url: str
    anchor: str
    title: str
    heading: tuple[str, ...]
    quote: str
    fetched_at: str
    fetched_from: str

    @property
    def link(self) -> str:
        return link(self.url, self.anchor)

    def as_json(self) -> dict[str, Any]:
        """One of the `citations` of an answer, on every transport."""
        return {
            "n": self.n,
            "url": self.url,
            "anchor": self.anchor,
            "link": self.link,
            "title": self.title,
            "heading": list(self.heading),
            "quote": self.quote,
            "fetched_at": self.fetched_at,
            **_mirrored(self.url, self.fetched_from),
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose every `[n]` is one of `citations`.

    `uncovered` names the words of the question that nothing found speaks of. `model` is "" for an
    extractive answer. `notes` are for the reader: what was degraded, dropped, or could be done next.
    `reranked_by` is the LLM that put the sections in order, or "".
    """

    text: str
    citations: tuple[Citation, ...]
    mode: Mode
    confidence: float
    abstained: bool = False
    uncovered: tuple[str, ...] = ()
    model: str = ""
    notes: tuple[str, ...] = ()
    reranked_by: str = ""

    def as_json(self) -> dict[str, Any]:
        """The answer as every transport gives it."""
        return {
            "answer": self.text,
            "citations": [citation.as_json() for citation in self.citations],
            "mode": self.mode,
            "confidence": self.confidence,
            "abstained": self.abstained,
            "uncovered": list(self.uncovered),
            "model": self.model,
            "notes": list(self.notes),
            "reranked_by": self.reranked_by,
        }


def _mirrored(url: str, fetched_from: str) -> dict[str, str]:
    """Where a page really came from, told only when that is not its address."""
    return {} if fetched_from in {"", url} else {"fetched_from": fetched_from}


def link(url: str, anchor: str) -> str:
    """The address that opens at the heading."""
    return f"{url}#{anchor}" if anchor else url
