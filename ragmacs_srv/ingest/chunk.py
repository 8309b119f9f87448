"""Split sections into chunks small enough to embed, each with a stable id."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator

from ..model import Block, Chunk, Section

VERSION = 1  # part of every manifest: raise it when the same section would give other chunks

Count = Callable[[str], int]
Span = tuple[int, int]

SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`\"'(\[])")
LINE_END = re.compile(r"\n")
WORD_END = re.compile(r"\s+")


def split(section: Section, *, limit: int, count: Count) -> Iterator[Chunk]:
    """Cut SECTION at block borders into chunks whose passage COUNTs at most LIMIT tokens.

    The heading path stands in front of every chunk and is counted with it. A block that does not fit
    is cut at lines (code) or sentences, then at words, and in the end anywhere.
    """
    room = max(limit - count(" > ".join(section.heading) + "\n"), limit // 4)
    pieces = [piece for block in section.blocks for piece in _pieces(section.text, block, room, count)]
    for n, ((start, end), _) in enumerate(_pack(pieces, room)):
        text = section.text[start:end]
        yield Chunk(_id(section, n, text), section.url, section.anchor, section.heading, text, start, end)


def _id(section: Section, n: int, text: str) -> str:
    key = "\0".join((section.url, section.anchor, str(n), text))
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _pack(pieces: list[tuple[Span, int]], room: int) -> Iterator[tuple[Span, int]]:
    """Neighbouring pieces together while they fit, with their tokens."""
    start = end = used = 0
    for (first, last), tokens in pieces:
        if used and used + tokens > room:
            yield (start, end), used
            used = 0
        if not used:
            start = first
        end, used = last, used + tokens
    if used:
        yield (start, end), used


def _pieces(text: str, block: Block, room: int, count: Count) -> Iterator[tuple[Span, int]]:
    """BLOCK whole if it fits, else cut; every piece with its number of tokens."""
    borders = [LINE_END, WORD_END] if block.kind == "code" else [SENTENCE_END, LINE_END, WORD_END]
    yield from _cut(text, (block.start, block.end), room, count, borders)


def _cut(text: str, span: Span, room: int, count: Count, borders: list[re.Pattern[str]]) -> Iterator[tuple[Span, int]]:
    start, end = span
    tokens = max(count(text[start:end]), 1)
    if tokens <= room:
        yield span, tokens
        return
    if not borders:
        step = max((end - start) * room // tokens, 1)
        yield from (((at, min(at + step, end)), room) for at in range(start, end, step))
        return
    parts = [piece for part in _parts(text, span, borders[0]) for piece in _cut(text, part, room, count, borders[1:])]
    yield from _pack(parts, room)


def _parts(text: str, span: Span, border: re.Pattern[str]) -> Iterator[Span]:
    """SPAN divided at BORDER; what separates stays outside."""
    start, end = span
    for match in border.finditer(text, start, end):
        if match.start() > start:
            yield start, match.start()
        start = match.end()
    if start < end:
        yield start, end
