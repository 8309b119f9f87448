"""`handbook:` addresses become the pages of the handbook that ships with us: Markdown files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from ...errors import AddressRefused, FetchError
from ...events import Cancel
from ...model import Response, Source
from .. import sources
from . import Means

LOCAL = False  # what ships with us is no secret
SCHEME = "handbook:"


def canonical(address: str) -> str:
    name = address.partition("#")[0][len(SCHEME) :]
    if not name or not all(each.isalnum() or each in "-_" for each in name):
        hint = "ragmacs collections handbook lists them"
        raise AddressRefused(f"{address[:200]!r} is no address of the handbook", hint=hint, data={"rule": "form"})
    return SCHEME + name


def pages(address: str, means: Means, cancel: Cancel) -> Iterable[str]:
    yield canonical(address)


def read(url: str, means: Means | None, cancel: Cancel, *, etag: str = "", last_modified: str = "") -> Response:
    return response(canonical(url))


def source() -> Source:
    """The collection that the handbook's pages belong to."""
    seeds = tuple(SCHEME + path.stem for path in _files())
    title = "Handbook: the rules of Go memory, and how to measure each"
    return Source(sources.HANDBOOK, title, seeds, allow=seeds, licence="GPL-3.0-or-later")


def responses() -> Iterator[Response]:
    """Every page, in the order of the folder."""
    for path in _files():
        yield response(SCHEME + path.stem)


def response(url: str) -> Response:
    """The page at `handbook:NAME`; raises FetchError when there is none of that name."""
    path = _folder() / (url.removeprefix(SCHEME) + ".md")
    if path not in _files():
        raise FetchError(f"no handbook page {url}", hint="ragmacs collections handbook lists them", status=404)
    stamp = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
    return Response(url, url, 200, path.read_bytes(), "text/markdown", "utf-8", "", "", stamp)


def _folder() -> Path:
    return sources.shipped() / "handbook"


def _files() -> list[Path]:
    return sorted(_folder().glob("*.md"))
