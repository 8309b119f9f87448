"""What texts are read with takes time in proportion to them, whatever they are made of."""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable
from pathlib import PurePosixPath

import pytest

from ragmacs_srv.ingest import asciidoc, infotext, mantext, sitemaps
from ragmacs_srv.ingest.chunk import split
from ragmacs_srv.ingest.kinds import saved
from ragmacs_srv.model import Block, Response, Section
from ragmacs_srv.search.embed import Words

pytestmark = pytest.mark.slow

PLACE = PurePosixPath("docs.test/page")
SITEMAP = "https://docs.test/sitemap.xml"


def info(text: str) -> None:
    infotext.read(text.split("\n"))


def origins(text: str) -> None:
    list(saved._origins(text.encode(), PLACE))


def chunks(text: str) -> None:
    section = Section("https://docs.test/", "", ("Title",), text, (Block("text", 0, len(text)),))
    list(split(section, limit=Words.limit, count=Words().count))


def address(text: str) -> None:
    """Read a sitemap with an address as long as TEXT, which is left out."""
    urls = "".join(f"<url><loc>{each}</loc></url>" for each in ("https://docs.test/a", text))
    body = f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{urls}</urlset>'.encode()
    found = sitemaps.read(Response(SITEMAP, SITEMAP, 200, body, "application/xml", "", "", "", ""))
    assert found.pages == ["https://docs.test/a"]


def seconds(read: Callable[[str], object], text: str) -> float:
    """What reading TEXT takes this thread at its quickest, with no collection of garbage (`timeit` sees to that)."""
    return min(timeit.repeat(lambda: read(text), timer=time.thread_time, number=1, repeat=3))


@pytest.mark.parametrize(
    ("read", "part"),
    [
        (info, "  - a\n"),
        (info, "a\n---\n"),
        (mantext.read, "       -a  b\n"),
        (origins, "<link "),
        (chunks, "word "),
        (chunks, "word\n"),
        (address, "b" * 99 + "\n"),
        (asciidoc.read, "----\n"),
        (asciidoc.read, "|===\n"),
        (asciidoc.read, "== a\n\n"),
        (asciidoc.read, "http://"),
        (asciidoc.read, "http://x["),
        (asciidoc.read, "link:"),
        (asciidoc.read, "xref:a"),
        (asciidoc.read, "a:: "),
        (asciidoc.read, "|a"),
        (asciidoc.read, "`a"),
        (asciidoc.read, "'`a"),
        (asciidoc.read, "(("),
        (asciidoc.read, "[["),
        (asciidoc.read, "<<"),
        (asciidoc.read, "{"),
        (asciidoc.read, "*a "),
        (asciidoc.read, "_a"),
    ],
)
def test_a_text_of_one_part_without_end_takes_time_in_proportion(read: Callable[[str], object], part: str) -> None:
    parts = 8
    while seconds(read, part * parts) < 0.02:
        parts *= 2
    assert seconds(read, part * 8 * parts) < 3 * 8 * seconds(read, part * parts)


def test_one_long_name_in_a_tag_takes_no_longer_than_many_short_ones() -> None:
    long, short = (f"<link {inside}>" * 40 for inside in ("a" * 2900, "a " * 1450))
    assert seconds(origins, long) < 20 * max(seconds(origins, short), 0.001)
