"""Take out of a tree what is not content: menus, notices, controls, hidden text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from lxml.etree import _Element

HEADINGS: Final = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})

_TAGS: Final = frozenset({
    "applet", "aside", "audio", "button", "canvas", "datalist", "dialog", "embed", "footer", "header", "iframe",
    "input", "label", "link", "map", "meta", "nav", "noframes", "noscript", "object", "optgroup", "option",
    "script", "select", "style", "svg", "template", "textarea", "title", "video",
})  # fmt: skip
_ROLES: Final = frozenset({
    "alertdialog", "banner", "complementary", "contentinfo", "dialog", "menu", "menubar", "navigation",
    "search", "toolbar",
})  # fmt: skip
_NOTE: Final = re.compile(r"admonition|callout|note|tip|hint|info|warning|caution|important|danger|aside", re.I)
_INVISIBLE: Final = re.compile(r"(^|;)\s*(display\s*:\s*none|visibility\s*:\s*hidden)", re.I)

# Names that page templates give to what surrounds the content. Each is a whole word of `class`, or the
# `id` of a container: "pagination" is also the id of a chapter about pagination.
_BREADCRUMB: Final = re.compile(r".*breadcrumbs?.*")
_PAGER: Final = re.compile(r"(.*[-_])?(pagination|pager|prev-?next|next-?prev|post-nav|page-nav)([-_].*)?")
_COOKIE: Final = re.compile(r".*(cookie|gdpr)s?[-_]?(notice|banner|consent|bar|popup|message|modal|law)([-_].*)?")
_TOC: Final = re.compile(r"(.*[-_])?(toc|table-?of-?contents)")
_BYLINE: Final = re.compile(r"authors?|by-?line|(post|entry|article|blog)[-_]?(meta|authors?|date)")
_LINENOS: Final = re.compile(r"linenos|lineno|linenodiv|gutter|line-numbers-rows|rouge-gutter")
_SECTION: Final = re.compile(r"section")
_CONTAINERS: Final = frozenset({"div", "section", "ul", "ol", "aside", "p", "table"})

_NEIGHBOURS: Final = re.compile(r"((next|previous|prev)( (article|post|page|chapter|section|topic))?:\s*)+")
_LONE_LINK: Final = re.compile(
    r"[←«‹<]*\s*(next|previous|prev|home|top|index|blog index|(back|up) to .*|skip to (main |the )?content)\s*[→»›>]*"
)
_EDIT_LINK: Final = re.compile(r"(edit|improve) (this (page|file|document|section)|(the )?source|on git\w+)( on \w+)?")

_SHORT: Final = 40  # words of a line of navigation, at most
_NOTICE: Final = 200  # words of a cookie notice, at most


def clean(body: _Element, content: _Element | None = None) -> None:
    """Remove from BODY, in place, everything that surrounds a page's text.

    CONTENT, the element that the page itself marks as its content, is never removed, nor is what holds it:
    broken templates put all of it inside an `aside`.
    """
    _name_tabs(body)
    kept = {body} if content is None else {content, *content.iterancestors()}
    for element in list(body.iterdescendants()):
        if element not in kept and _unwanted(element):
            _remove(element)


def is_byline(element: _Element) -> bool:
    """Whether ELEMENT names the author and the day: metadata, no prose."""
    if element.tag not in ("p", "div", "address", "ul", "section"):
        return False
    return _any(_BYLINE, _names(element)) and bool(words(element, _SHORT))


def words(element: _Element, limit: int) -> list[str]:
    """The words of ELEMENT, or none if there are more than LIMIT: big containers are not read to the end."""
    found: list[str] = []
    for text in element.itertext():
        found += str(text).split()
        if len(found) > limit:
            return []
    return found


def is_section(element: _Element | None) -> bool:
    """Whether ELEMENT is what Sphinx and docutils wrap around a heading and its text."""
    return element is not None and (
        element.tag == "section" or (element.tag == "div" and _any(_SECTION, _names(element)))
    )


def _unwanted(element: _Element) -> bool:
    if element.tag in _TAGS:
        return not _content_after_all(element)
    if element.tag in HEADINGS:
        return _hidden(element)
    return (
        _hidden(element)
        or element.get("role", "").lower() in _ROLES
        or _surrounds(element)
        or is_byline(element)
        or _leads_elsewhere(element)
    )


def _content_after_all(element: _Element) -> bool:
    """The exceptions among the tags that are never content."""
    match element.tag:
        case "header":  # of the article itself, with its title
            inside = any(parent.tag in ("article", "main") for parent in element.iterancestors())
            return inside and _has_heading(element)
        case "footer":  # the source of a quotation
            parent = element.getparent()
            return parent is not None and parent.tag == "blockquote"
        case "aside":  # Starlight, Docusaurus: a boxed note
            return any(_NOTE.fullmatch(word) for name in _names(element) for word in re.split(r"[-_]+", name))
        case "input":  # "[x] done" is said by nothing else
            return element.get("type", "").lower() == "checkbox" and any(
                parent.tag == "li" for parent in element.iterancestors()
            )
        case "label":  # the name of a tab stands for "on Debian:"
            return "tab" in element.get("class", "")
    return False


def _hidden(element: _Element) -> bool:
    if "hidden" in element.attrib and element.get("role") != "tabpanel":
        return element.get("hidden", "").lower() != "until-found"
    if _INVISIBLE.search(element.get("style", "")):
        return element.tag != "pre"  # the folded-away part of an example is part of it
    # An `a` may be all that carries the heading's id; the walk skips its glyph.
    return element.get("aria-hidden", "").lower() == "true" and element.tag != "a"


def _surrounds(element: _Element) -> bool:
    """Whether template names, and a look inside, say that ELEMENT is no content."""
    names = _names(element)
    if not names:
        return False
    if element.tag == "td":
        return _any(_LINENOS, names)
    if _any(_TOC, names):
        return _mostly_links(element)
    if _any(_BREADCRUMB, names) or _any(_PAGER, names):
        return not _has_heading(element) and bool(words(element, _SHORT))
    return _any(_COOKIE, names) and not _has_heading(element) and bool(words(element, _NOTICE))


def _leads_elsewhere(element: _Element) -> bool:
    """Whether ELEMENT is a line like "Next article: …", "Blog Index" or "Edit this page"."""
    if element.tag == "a":
        return _edits(element)
    if element.tag not in ("p", "div", "ul", "center"):
        return False
    text = " ".join(words(element, _SHORT)).lower()
    if not text or next(element.iter("a"), None) is None:
        return False
    unlinked = _unlinked(element).lower()
    if _NEIGHBOURS.fullmatch(unlinked):
        return True
    return not unlinked and bool(_LONE_LINK.fullmatch(text) or _EDIT_LINK.fullmatch(text))


def _edits(link: _Element) -> bool:
    """Whether LINK says "Edit this page", outside of any sentence."""
    parent = link.getparent()
    if parent is None or (link.tail or "").strip() or parent.tag in ("p", "li", "td", "dd"):
        return False
    text = " ".join(words(link, _SHORT)) or link.get("title", "")
    return bool(_EDIT_LINK.fullmatch(text.lower()))


def _mostly_links(element: _Element) -> bool:
    whole = len("".join(map(str, element.itertext())).split())
    return len(_unlinked(element).split()) < 0.5 * whole


def _unlinked(element: _Element) -> str:
    """The text of ELEMENT that no link holds."""
    inside = {part for link in element.iter("a") for part in link.iter()}
    texts = [part.text for part in element.iter() if part not in inside]
    tails = [part.tail for part in element.iterdescendants() if part.tag == "a" or part not in inside]
    return " ".join(" ".join(text for text in texts + tails if text).split())


def _has_heading(element: _Element) -> bool:
    return next(element.iter(*HEADINGS), None) is not None


def _names(element: _Element) -> list[str]:
    names = element.get("class", "").lower().split()
    return [*names, element.get("id", "").lower()] if element.tag in _CONTAINERS else names


def _any(pattern: re.Pattern[str], names: Iterable[str]) -> bool:
    return any(map(pattern.fullmatch, names))


def _name_tabs(body: _Element) -> None:
    """Put the name of each tab (mkdocs) above its panel: without it nobody knows which system a command is for."""
    for tabs in [element for element in body.iter("div") if "tabbed-set" in element.get("class", "")]:
        labels = tabs.findall("./div[@class='tabbed-labels']/label")
        panels = tabs.findall("./div[@class='tabbed-content']/div")
        if len(labels) != len(panels):
            continue
        for label, panel in zip(labels, panels, strict=True):
            label.tag = "p"
            label.tail = panel.text
            panel.text = None
            panel.insert(0, label)


def _remove(element: _Element) -> None:
    """Take ELEMENT out and leave the text behind it where it is."""
    parent = element.getparent()
    if parent is None:
        return
    tail = element.tail or ""
    if tail:
        before = element.getprevious()
        if before is None:
            parent.text = (parent.text or "") + tail
        else:
            before.tail = (before.tail or "") + tail
    parent.remove(element)
