"""`https:` and `http:` addresses become the pages there, by the rules of the network; that of a sitemap, its pages."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from ...errors import FetchError
from ...events import Cancel
from ...model import Response
from .. import sitemaps, urls
from . import Means

LOCAL = False
MOST_SITEMAPS: Final = 200  # of one site; an index may name 50,000
MOST_PAGES: Final = 50_000


def canonical(address: str) -> str:
    return urls.canonical(address)


def pages(address: str, means: Means, cancel: Cancel) -> Iterable[str]:
    """The page itself; of a sitemap, a sitemap index or an llms.txt the pages that it lists."""
    url = canonical(address)
    if not sitemaps.is_list(url):
        yield url
        return
    left, met, named = deque([url]), {url}, 0
    while left:
        listed = sitemaps.read(means.fetcher.get(left.popleft(), also=sitemaps.TYPES, cancel=cancel))
        named += len(listed.pages)
        yield from listed.pages
        new = [each for each in dict.fromkeys(listed.sitemaps) if each not in met]
        met.update(new)
        left.extend(new)
        if len(met) > MOST_SITEMAPS or named > MOST_PAGES:
            message = f"{url} lists more than {MOST_SITEMAPS} sitemaps or {MOST_PAGES:,} pages"
            raise FetchError(message, hint="name one of its sitemaps instead")
    if not named:
        raise FetchError(f"{url} lists no pages", hint="name pages of the site instead")


def read(url: str, means: Means, cancel: Cancel, *, etag: str = "", last_modified: str = "") -> Response:
    return means.fetcher.get(url, etag=etag, last_modified=last_modified, cancel=cancel)
