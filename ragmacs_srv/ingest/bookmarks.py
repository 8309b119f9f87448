"""Lists in markup become items: bookmark files of browsers, OPML, feeds, and web pages that are lists of links."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any, Final
from urllib.parse import urljoin

from ..model import Item

BOOKMARKS: Final = re.compile(r"<!doctype netscape-bookmark|<li><a href=[^>]*time_added=", re.I)  # the latter: Pocket
OPML: Final = re.compile(r"<opml[\s>]", re.I)
FEED: Final = re.compile(r"<(?:rss|feed|rdf:RDF)[\s>]", re.I)
ELSEWHERE: Final = frozenset({"nav", "header", "footer", "aside"})  # the parts of a page that every page has
CONTENT: Final = frozenset({"main", "article"})
NO_PAGE: Final = re.compile(r"#|(?!https?:|//)[a-z][a-z0-9+.-]*:", re.I)  # mailto:, javascript:, places on the page


def from_bookmarks(text: str, base: str) -> Iterator[Item]:
    """Every bookmark of a file that a browser or Pocket exported, whatever its address; TAGS and notes are kept."""
    for link in _links(text).found:
        tags = tuple(tag.strip() for tag in link.attributes.get("tags", "").split(",") if tag.strip())
        yield Item(absolute(base, link.href), link.title, tags, link.note)


def from_page(text: str, base: str) -> Iterator[Item]:
    """The links of a web page to other pages: those of its content, where that is marked up, but no menus."""
    page = _links(text)
    inside = any(link.inside for link in page.found)
    own = absolute(base, page.base) if page.base else base
    seen = set()
    for link in page.found:
        url = absolute(own, link.href).partition("#")[0]
        wanted = link.inside if inside else not link.elsewhere
        if wanted and link.href and not NO_PAGE.match(link.href) and url not in seen:
            seen.add(url)
            yield Item(url, link.title)


def from_opml(text: str, base: str) -> Iterator[Item]:
    """The links of an OPML outline; of a subscription its site with its feed, or the feed alone."""
    for attributes in _links(text).outlines:
        feed = attributes.get("xmlurl", "").strip()
        url = attributes.get("url") or attributes.get("htmlurl") or feed
        if url:
            title = _line(attributes.get("text") or attributes.get("title") or "")
            tags = [tag.strip().strip("/") for tag in attributes.get("category", "").split(",")]
            yield Item(absolute(base, url), title, tuple(filter(None, tags)), feed=absolute(base, feed))


def from_feed(body: bytes, base: str) -> Iterator[Item]:
    """The entries of an RSS or Atom feed; relative links are resolved as the feed says, else against BASE, its own."""
    import feedparser  # 70 ms: only who reads a feed pays them

    headers = {"content-location": base} if base else {}
    # From memory: it opens an address or a file that it is given as text.
    feed: Any = feedparser.parse(io.BytesIO(body), response_headers=headers, sanitize_html=False)
    site = base or str(feed.feed.get("link", ""))
    for entry in feed.entries:
        tags = [str(tag.get("term") or tag.get("label") or "") for tag in entry.get("tags", ())]
        url = entry.get("link") or entry.get("id") or ""
        yield Item(absolute(site, str(url)), _line(str(entry.get("title", ""))), tuple(filter(None, tags)))


def absolute(base: str, href: str) -> str:
    """HREF as a list at the address BASE means it; as it is where there is no telling."""
    try:
        return urljoin(base, href.strip()) if base else href.strip()
    except ValueError:  # "http://[": the standard library parses the host
        return href.strip()


class _Link:
    """A link of a page: where it leads, and what it says."""

    def __init__(self, attributes: dict[str, str], *, inside: bool, elsewhere: bool) -> None:
        self.attributes = attributes
        self.href = attributes.get("href", "").strip()
        self.inside = inside
        self.elsewhere = elsewhere
        self.said: list[str] = []
        self.noted: list[str] = []

    @property
    def title(self) -> str:
        return _line("".join(self.said))

    @property
    def note(self) -> str:
        return _line("".join(self.noted))


class _Reader(HTMLParser):
    """Collects links, with the text behind a `<dd>` as the note of the one before, and the outlines of OPML."""

    def __init__(self) -> None:
        super().__init__()
        self.base = ""
        self.found: list[_Link] = []
        self.outlines: list[dict[str, str]] = []
        self._open: list[str] | None = None  # what text is added to
        self._depth = {"content": 0, "elsewhere": 0}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "base":
            self.base = self.base or attributes.get("href", "")
        elif tag == "outline":
            self.outlines.append(attributes)
        elif tag == "a" and "href" in attributes:
            inside, elsewhere = self._depth["content"] > 0, self._depth["elsewhere"] > 0
            self.found.append(_Link(attributes, inside=inside and not elsewhere, elsewhere=elsewhere))
            self._open = self.found[-1].said
        elif tag == "dd" and self.found:
            self._open = self.found[-1].noted
        elif tag in {"dt", "dl", "h3", "li"}:
            self._open = None
        else:
            self._count(tag, 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"outline", "base", "a"}:
            self.handle_starttag(tag, attrs)
            self._open = None if tag == "a" else self._open

    def handle_endtag(self, tag: str) -> None:
        if tag in {"a", "dl"}:
            self._open = None
        self._count(tag, -1)

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self._open.append(data)

    def _count(self, tag: str, step: int) -> None:
        kind = "content" if tag in CONTENT else "elsewhere" if tag in ELSEWHERE else ""
        if kind:
            self._depth[kind] = max(self._depth[kind] + step, 0)


def _links(text: str) -> _Reader:
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return reader


def _line(text: str) -> str:
    return " ".join(re.sub(r"<[^<>]{1,200}>", "", text).split())
