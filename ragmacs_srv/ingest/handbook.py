"""The handbook that ships with us, as if it had been fetched: one Markdown response per page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from ..errors import NoContent
from ..model import Response, Source
from . import sources

SCHEME = "handbook:"


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
    """The page at `handbook:NAME`; raises NoContent when there is none of that name."""
    path = _folder() / (url.removeprefix(SCHEME) + ".md")
    if path not in _files():
        raise NoContent(f"no handbook page {url}", hint="ragmacs collections handbook lists them")
    stamp = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
    return Response(url, url, 200, path.read_bytes(), "text/markdown", "utf-8", "", "", stamp)


def _folder() -> Path:
    return sources.shipped() / "handbook"


def _files() -> list[Path]:
    return sorted(_folder().glob("*.md"))
