"""Turn the bytes of one document into a Page: find the content, read its blocks, collect its links.

trafilatura finds and judges the content and reads the metadata; the text itself comes from the DOM,
because trafilatura drops every heading id, half of the code blocks, and lists made of links.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

import trafilatura
from lxml import etree
from lxml.etree import _Element
from lxml.html import HTMLParser, document_fromstring
from markdown_it import MarkdownIt

from ..errors import NoContent
from ..model import Page
from . import asciidoc, kinds, org, sniff, walls
from .charset import decode
from .clean import clean, is_byline
from .dom import clear, heading_text, line, walk
from .sections import Heading, Piece, build, cut, pieces

HTML: Final = frozenset({"text/html", "application/xhtml+xml"})
MARKDOWN: Final = frozenset({"text/markdown", "text/x-markdown"})
PLAIN: Final = frozenset({"text/plain"})
ORG: Final = frozenset({"text/org"})
RST: Final = frozenset({"text/x-rst"})
ASCIIDOC: Final = frozenset({"text/asciidoc"})
PDF: Final = frozenset({"application/pdf"})

MIN_WORDS: Final = 20  # fewer, code and headings counted, are an error page or a shell for scripts
HOLDS: Final = 0.95  # of trafilatura's words stand in an element that is the content
ENOUGH: Final = 0.5  # of the page's words, or of trafilatura's, stand in an element that may be the content

logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # it finds nothing: that is judged here, not told


def extract(body: bytes, url: str, *, media_type: str = "text/html", charset: str = "") -> Page:
    """The page in BODY, fetched as URL; CHARSET is the label of the Content-Type header, or "".

    Raises NoContent for a page without text and for media types that hold none.
    """
    if media_type in PLAIN:
        page = _from_plain(decode(body, charset), url)
    elif media_type in MARKDOWN:
        page = _from_markdown(decode(body, charset), url)
    elif media_type in HTML:
        page = _from_html(decode(body, charset, declared=True), url)
    elif media_type in ORG:
        page = _from_org(decode(body, charset), url)
    elif media_type in RST:
        page = _from_rst(decode(body, charset), url)
    elif media_type in ASCIIDOC:
        page = _from_asciidoc(decode(body, charset), url)
    elif read_kind := kinds.extractor(media_type):
        page = read_kind(body, url)
    elif media_type in PDF:
        from .pdf import read  # here: it takes as long to import as thirty pages take to read

        page = read(body, url)
    else:
        hint = "HTML, Markdown, Org, reST, AsciiDoc, plain text and PDF can be read"
        raise NoContent(f"{url} is {sniff.describe(media_type)}, which cannot be read as text", hint=hint)
    if url.startswith("file:"):  # one's own note may be short
        if not _count(page):
            raise NoContent(f"{url} holds no words", hint="name a file with text in it")
    elif _count(page) < MIN_WORDS:
        hint = "if scripts fill it in the browser, save it there, then: ragmacs crawl saved:///FOLDER"
        raise NoContent(f"{url} holds fewer than {MIN_WORDS} words of text", hint=hint)
    return page


# HTML

_HEAD: Final = frozenset(
    {"base", "basefont", "bgsound", "link", "meta", "noscript", "script", "style", "template", "title"}
)


def _from_html(text: str, url: str) -> Page:
    tree, body = _parse(text, url)
    links = tuple(_links(tree, url))
    facts = _facts(tree, url)
    form = walls.asks_for_password(str(field.get("type", "")) for field in tree.iter("input"))
    notes = (walls.PARTLY,) if walls.is_for_pay(text) else ()
    marked = _marked(body)
    clean(body, marked[0] if marked else None)
    content, certain = _content(body, marked, facts.words)
    parts = list(walk(content))
    title = _title(facts.titles, body, parts) or _name(url)
    page = Page(url, title, tuple(cut(url, title, parts)), links, facts.author, facts.date, certain, notes)
    if form:
        walls.check_form(url, _count(page))
    return page


def fragment(text: str, url: str) -> list[Piece]:
    """The blocks of TEXT, HTML that is a part of the page at URL; no link opens at a heading in it."""
    _, body = _parse(f"<html><body>{text}</body></html>", url)
    clean(body, body)
    return [
        Piece("heading", f"{'#' * part.level} {part.text}") if isinstance(part, Heading) else part
        for part in walk(body)
        if part.text
    ]


def _parse(text: str, url: str) -> tuple[_Element, _Element]:
    """The tree of a document, and its body."""
    parser = HTMLParser(encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True, collect_ids=False)
    try:
        tree = document_fromstring(text.replace("\0", "").encode(errors="replace"), parser=parser)
    except etree.ParserError as exc:
        raise NoContent(f"{url} is empty") from exc
    body = tree.find("body")
    if body is None:
        body = etree.SubElement(tree, "body")
    _end_head(tree.find("head"), body)
    return tree, body


def _end_head(head: _Element | None, body: _Element) -> None:
    """Move to BODY what libxml2 left in HEAD: `main`, `article` and the like do not end a head for it."""
    elements = [] if head is None else list(head)
    first = next((n for n, element in enumerate(elements) if element.tag not in _HEAD), len(elements))
    strays = elements[first:]
    if strays:
        strays[-1].tail = (strays[-1].tail or "") + (body.text or "")
        body.text = None
        body[:0] = strays


def _links(tree: _Element, url: str) -> Iterator[str]:
    """Every address the page offers to follow, once each, absolute and without fragment."""
    robots = " ".join(meta.get("content", "") for meta in tree.iter("meta") if _meta_name(meta) == "robots")
    if re.search(r"\b(nofollow|none)\b", robots, re.I):
        return
    base = next((element.get("href", "") for element in tree.iter("base") if element.get("href")), "")
    origin = _resolve(url, base) or url
    seen: set[str] = set()
    for link in tree.iter("a", "area"):
        address = _resolve(origin, link.get("href", ""))
        if address and address not in seen and "nofollow" not in link.get("rel", "").lower().split():
            seen.add(address)
            yield address


def _resolve(base: str, href: str) -> str:
    """HREF as an http address without fragment, or "" if it leads to no other document."""
    href = re.sub(r"[\t\n\r]", "", href.strip()).partition("#")[0].replace(" ", "%20")
    if not href:  # a place on the same page
        return ""
    try:
        address = urljoin(base, href)
        parts = urlsplit(address)
        return address if parts.scheme in ("http", "https") and parts.hostname else ""
    except ValueError:  # "http://[": the standard library parses the host
        return ""


class _Facts(NamedTuple):
    """What trafilatura and the head say of a page."""

    titles: tuple[str, ...]  # the likeliest first
    author: str
    date: str
    words: Counter[str]  # those that trafilatura takes for content


def _facts(tree: _Element, url: str) -> _Facts:
    dated = _is_dated(tree)
    names = {_meta_name(meta): line(meta.get("content", "")) for meta in tree.iter("meta")}
    titles = (tree.findtext(".//title"), names.get("og:title"), names.get("twitter:title"))
    found = _judge(tree, url, facts=dated or "author" in names)
    if found is None:
        return _Facts(_lines(titles), "", "", Counter())
    author = ", ".join(name for name in _lines((found.author or "").split(";")) if " " in name)  # no "July"
    date = line(found.date or "") if dated else ""
    return _Facts(_lines((*titles, found.title)), author, date, Counter(_words(found.text or "")))


def _judge(tree: _Element, url: str, *, facts: bool) -> Any:
    """What trafilatura makes of the page: its Document, or None if it finds nothing.

    Without FACTS it does not look for author and date, which takes longer than to find the content.
    """
    try:
        return trafilatura.bare_extraction(tree, url=url, fast=True, include_comments=False, with_metadata=facts)
    except RecursionError:  # a page nested that deep is read without a second opinion
        return None


def _is_dated(tree: _Element) -> bool:
    """Whether the page itself tells its day; trafilatura else takes one out of the prose, a wrong one."""
    names = [_meta_name(meta) for meta in tree.iter("meta")]
    if any("date" in name or "published" in name for name in names):
        return True
    if any(script.get("type", "") == "application/ld+json" for script in tree.iter("script")):
        return True
    return next(tree.iter("time"), None) is not None or any(is_byline(element) for element in tree.iter("p", "div"))


def _meta_name(meta: _Element) -> str:
    return str(meta.get("property") or meta.get("name") or "").lower()


def _lines(texts: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(text for text in (line(text or "") for text in texts) if text)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


# The content element


def _marked(body: _Element) -> list[_Element]:
    """The elements that the page marks as its content, the likeliest first."""
    articles = list(body.iter("article"))
    mains = [*body.iter("main"), *(element for element in body.iter() if element.get("role") == "main")]
    return [*(articles if len(articles) == 1 else ()), *mains[:1]]


def _content(body: _Element, marked: Sequence[_Element], judged: Counter[str]) -> tuple[_Element, bool]:
    """The element to read, and whether the page marked it; JUDGED are trafilatura's words.

    A marked element is believed unless most of the page and most of what trafilatura found stand outside
    of it. A guess is the smallest element that holds nearly all trafilatura found; but trafilatura loses
    pages that are lists of links, so a guess with less than half of the page's words is not believed.
    """
    tokens = _Tokens(body)
    judged = judged & Counter(tokens.words)
    for element in marked:
        inside = tokens.within(element)
        share = (inside & judged).total() / judged.total() if judged else 1.0
        if inside.total() and (share >= ENOUGH or inside.total() >= ENOUGH * len(tokens.words)):
            return element, True
    guess = tokens.smallest(judged)
    return (guess if tokens.size(guess) >= ENOUGH * len(tokens.words) else body), False


class _Tokens:
    """The words of a tree in order, and which of them each element holds; read once."""

    def __init__(self, root: _Element) -> None:
        self.words: list[str] = []
        self._spans: dict[_Element, tuple[int, int]] = {}
        self._root = root
        for event, element in etree.iterwalk(root, events=("start", "end")):
            if event == "start":
                self._spans[element] = (len(self.words), -1)
                self.words += _words(element.text or "")
            else:
                self._spans[element] = (self._spans[element][0], len(self.words))
                self.words += _words(element.tail or "") if element is not root else []

    def size(self, element: _Element) -> int:
        start, end = self._spans[element]
        return end - start

    def within(self, element: _Element) -> Counter[str]:
        start, end = self._spans[element]
        return Counter(self.words[start:end])

    def smallest(self, wanted: Counter[str]) -> _Element:
        """The innermost element that holds HOLDS of the WANTED words."""
        least = HOLDS * wanted.total()
        best, inner = self._root, iter(self._root) if least else iter(())
        for child in inner:
            if self.size(child) == self.size(best) or self._holds(child, wanted, least):
                best, inner = child, iter(child)
        return best

    def _holds(self, element: _Element, wanted: Counter[str], least: float) -> bool:
        return self.size(element) >= least and (self.within(element) & wanted).total() >= least


# The title


def _title(titles: Sequence[str], body: _Element, parts: Iterable[Heading | Piece]) -> str:
    """The h1 that the head speaks of; else the only h1; else what the head says; else the first heading."""
    mains = [text for text in map(heading_text, body.iter("h1")) if text]
    told = [text for text in mains if any(text.casefold() in title.casefold() for title in titles)]
    if told:
        return max(told, key=len)
    if len(mains) == 1:
        return mains[0]
    headings = (part.text for part in parts if isinstance(part, Heading))
    return next((text for text in (*titles, *headings) if text), "")


def _name(url: str) -> str:
    """A title for a page that has none: the last part of its address."""
    parts = urlsplit(url)
    return unquote(PurePosixPath(parts.path).name) or parts.netloc or url


def _count(page: Page) -> int:
    """How many words PAGE holds: prose, code and headings; the alternative texts of images say too little."""
    texts = [piece.text for section in page.sections for piece in pieces(section) if piece.kind != "image"]
    texts += [section.heading[-1] for section in page.sections if section.anchor]
    return sum(len(_words(text)) for text in texts)


# Markdown and plain text

_FRONT_MATTER: Final = re.compile(r"\A---[ \t]*\n(.*?\n)?(?:---|\.\.\.)[ \t]*\n", re.S)
_FRONT_TITLE: Final = re.compile(r"^title:[ \t]*([\"']?)(.+?)\1[ \t]*$", re.M)
_EXPLICIT_ID: Final = re.compile(r"\s*\{#([\w.:-]+)\}\s*$")


def _from_markdown(text: str, url: str) -> Page:
    text = text.replace("\r\n", "\n")
    front = _FRONT_MATTER.match(text)
    named = _FRONT_TITLE.search(front[0]) if front else None
    tree, body = _parse(f"<html><body>{_render(text[front.end() if front else 0 :])}</body></html>", url)
    clean(body, body)
    return _of_markup(tree, body, url, title=line(named[2]) if named else "")


def _of_markup(tree: _Element, body: _Element, url: str, *, title: str = "", notes: tuple[str, ...] = ()) -> Page:
    """The page in a tree that was made of a markup, so that all of it is content."""
    parts = list(walk(body))
    title = title or _title((), body, parts) or _name(url)
    return Page(url, title, tuple(cut(url, title, parts)), tuple(_links(tree, url)), notes=notes)


def _render(text: str) -> str:
    """Markdown as HTML whose headings have the ids that GitHub gives them."""
    markdown = MarkdownIt("commonmark").enable("table")
    tokens = markdown.parse(text)
    slugs: Counter[str] = Counter()
    for opening, inline in pairwise(tokens):
        if opening.type != "heading_open":
            continue
        explicit = _EXPLICIT_ID.search(inline.content)
        if explicit and inline.children:
            inline.children[-1].content = _EXPLICIT_ID.sub("", inline.children[-1].content)
        words = "".join(child.content for child in inline.children or () if child.type in ("text", "code_inline"))
        opening.attrSet("id", explicit[1] if explicit else _unique(_slug(words), slugs))
    return str(markdown.renderer.render(tokens, markdown.options, {}))


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _unique(slug: str, slugs: Counter[str]) -> str:
    """SLUG, numbered if it has been used: "usage", "usage-1"."""
    slugs[slug] += 1
    return f"{slug}-{slugs[slug] - 1}" if slugs[slug] > 1 else slug


def _from_org(text: str, url: str) -> Page:
    found = org.read(text)
    slugs = Counter(part.anchor for part in found.parts if isinstance(part, Heading) and part.anchor)
    parts = [
        part._replace(anchor=part.anchor or _unique(_slug(part.text), slugs)) if isinstance(part, Heading) else part
        for part in found.parts
    ]
    return _of_parts(found.title, parts, found.links, url)


def _from_rst(text: str, url: str) -> Page:
    from . import rst  # here: docutils takes as long to import as a page takes to read

    text = clear(text)
    try:
        tree, body = _parse(rst.html(text), url)
    except rst.BROKEN:  # what is too strange for it can still be read
        return _from_plain(text, url)
    return _of_markup(tree, body, url, notes=_left_out(rst.included(text)))


def _from_asciidoc(text: str, url: str) -> Page:
    found = asciidoc.read(text)
    return _of_parts(found.title, found.parts, found.links, url, notes=_left_out(found.included))


def _of_parts(
    title: str, parts: Sequence[Heading | Piece], links: Iterable[str], url: str, *, notes: tuple[str, ...] = ()
) -> Page:
    """The page of a text that was read by us."""
    title = title or next((part.text for part in parts if isinstance(part, Heading)), "") or _name(url)
    known = dict.fromkeys(_resolve(url, each) for each in links)
    return Page(url, title, tuple(cut(url, title, parts)), tuple(filter(None, known)), notes=notes)


def _left_out(included: Sequence[str]) -> tuple[str, ...]:
    more = f" and {len(included) - 5} more" if len(included) > 5 else ""
    return (f"it includes files that were not read with it: {', '.join(included[:5])}{more}",) if included else ()


def _from_plain(text: str, url: str) -> Page:
    title = _name(url)
    paragraphs = re.split(r"\n(?:[ \t]*\n)+", clear(text))
    text_pieces = (Piece("paragraph", part.rstrip()) for part in paragraphs if part.strip())
    return Page(url, title, (build(url, "", (title,), text_pieces),))
