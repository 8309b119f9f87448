"""What is indexed becomes a list to page through: an address for each collection and page, and Markdown behind it."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_right
from dataclasses import dataclass
from urllib.parse import quote, unquote

from ..app import App
from ..errors import InvalidParams, NotIndexed
from ..ingest import sources
from ..ingest.kinds import handbook
from ..search.generation import Generation

COLLECTION = "ragmacs://collection/"  # and its name
PAGE = "ragmacs://page/"  # and its address, percent-encoded
AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Resource:
    """A collection or a page that can be read; `fetched_at` is RFC 3339, "" for a collection."""

    uri: str
    name: str
    title: str
    fetched_at: str = ""


def page_uri(url: str) -> str:
    """Where the page at URL is read here."""
    return PAGE + quote(url, safe="")


def resources(app: App, cursor: str = "", limit: int = AT_ONCE) -> tuple[list[Resource], str]:
    """At most LIMIT resources, collections first, and the cursor of those that follow, or "" after the last.

    A cursor names the resource it comes after: it stays good when pages come and go. Raises InvalidParams for others.
    """
    listed = _all(app)
    start = bisect_right([each.uri for each in listed], _named(cursor)) if cursor else 0
    shown = listed[start : start + limit]
    return shown, _cursor(shown[-1].uri) if start + limit < len(listed) else ""


def read(app: App, uri: str) -> str:
    """The Markdown text of the resource URI; raises NotIndexed when there is none."""
    if uri.startswith(COLLECTION):
        return _collection(app, unquote(uri.removeprefix(COLLECTION)))
    if uri.startswith(PAGE):
        return _page(app, unquote(uri.removeprefix(PAGE)))
    raise NotIndexed(f"{uri[:200]} is no resource of ours", hint=f"{COLLECTION}NAME and {PAGE}ADDRESS are")


def _all(app: App) -> list[Resource]:
    """Every collection and page, in the order of their addresses."""
    opened = app.generation()
    titles = {name: title for name, title, _ in app.known_collections()}
    found = {
        uri: Resource(uri, name, titles.get(name) or name)
        for name in opened.manifest.collections
        for uri in (COLLECTION + quote(name, safe=""),)
    }
    for name in opened.manifest.collections:
        for url, title, fetched_at in opened.pages(name):
            found.setdefault(page_uri(url), Resource(page_uri(url), url, title or url, fetched_at))
    return sorted(found.values(), key=lambda each: each.uri)


def _collection(app: App, name: str) -> str:
    opened = app.generation([name])
    opened.check_collections([name], app.way_to)
    title = next((title for each, title, _ in app.known_collections() if each == name and title), name)
    pages = opened.pages(name)
    return "\n".join([f"# {title}", "", *(f"- [{title or url}]({url})" for url, title, _ in pages)])


def _page(app: App, url: str) -> str:
    page = _holding(app, url).page(url)
    if page is None:
        raise NotIndexed(f"the page {url[:200]} is not indexed", hint=f"ragmacs crawl {url[:200]}")
    return page.markdown()


def _holding(app: App, url: str) -> Generation:
    return app.generation([sources.HANDBOOK] if url.startswith(handbook.SCHEME) else ())


def _cursor(uri: str) -> str:
    return base64.urlsafe_b64encode(uri.encode()).decode()


def _named(cursor: str) -> str:
    """The address that CURSOR stands for."""
    try:
        uri = base64.b64decode(cursor.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        uri = ""
    if not uri.startswith((COLLECTION, PAGE)):
        raise InvalidParams("the cursor is none that was given here", hint="list again, without a cursor")
    return uri
