"""`https:` and `http:` addresses become the pages there, by the rules of the network."""

from __future__ import annotations

from collections.abc import Iterable

from ...events import Cancel
from ...model import Response
from .. import urls
from . import Means

LOCAL = False


def canonical(address: str) -> str:
    return urls.canonical(address)


def pages(address: str, means: Means, cancel: Cancel) -> Iterable[str]:
    yield canonical(address)


def read(url: str, means: Means, cancel: Cancel, *, etag: str = "", last_modified: str = "") -> Response:
    return means.fetcher.get(url, etag=etag, last_modified=last_modified, cancel=cancel)
