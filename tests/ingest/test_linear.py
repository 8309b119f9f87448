"""What texts are read with takes time in proportion to them, whatever they are made of."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import PurePosixPath

import pytest

from ragmacs_srv.ingest import asciidoc, infotext, mantext
from ragmacs_srv.ingest.chunk import split
from ragmacs_srv.ingest.kinds import saved
from ragmacs_srv.model import Block, Section
from ragmacs_srv.search.embed import Words

pytestmark = pytest.mark.slow

PLACE = PurePosixPath("docs.test/page")


def info(text: str) -> object:
    return infotext.read(text.split("\n"))


def origins(text: str) -> object:
    return list(saved._origins(text.encode(), PLACE))


def chunks(text: str) -> object:
    section = Section("https://docs.test/", "", ("Title",), text, (Block("text", 0, len(text)),))
    return list(split(section, limit=Words.limit, count=Words().count))


@pytest.mark.parametrize(
    ("read", "part"),
    [
        (info, "  - a\n"),
        (info, "a\n---\n"),
        (mantext.read, "       -a  b\n"),
        (asciidoc.read, "----\n"),
        (asciidoc.read, "|===\n"),
        (asciidoc.read, "http://"),
        (asciidoc.read, "link:"),
        (origins, "<link "),
        (chunks, "word "),
        (chunks, "word\n"),
    ],
)
def test_a_text_of_one_part_without_end_takes_time_in_proportion(read: Callable[[str], object], part: str) -> None:
    def each(parts: int) -> float:
        started = time.process_time()
        read(part * parts)
        return (time.process_time() - started) / parts

    parts = 8
    while each(parts) * parts < 0.02:
        parts *= 2
    assert each(8 * parts) < 3 * each(parts)


def test_one_long_name_in_a_tag_takes_no_longer_than_many_short_ones() -> None:
    def seconds(inside: str) -> float:
        started = time.process_time()
        origins(f"<link {inside}>" * 40)
        return time.process_time() - started

    assert seconds("a" * 2900) < 20 * max(seconds("a " * 1450), 0.001)
