"""Put blocks together into sections, and take out again those that stand on every page of a site."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..model import Block, BlockKind, Page, Section

REPEAT_SHARE = 0.5  # measured: lower shares find no more menus
REPEAT_PAGES = 5  # on fewer pages a sentence that stands twice is still a sentence


class Piece(NamedTuple):
    """A block before it has a place: what kind it is, and its Markdown."""

    kind: BlockKind
    text: str


class Heading(NamedTuple):
    """A heading, and the id under which a link reaches it ("" if none does)."""

    level: int
    text: str
    anchor: str


def build(url: str, anchor: str, heading: tuple[str, ...], pieces: Iterable[Piece]) -> Section:
    """Join PIECES to the text of one section and note where each of them stands."""
    parts: list[str] = []
    blocks: list[Block] = []
    at = 0
    last: Piece | None = None
    for piece in pieces:
        gap = _gap(last, piece)
        parts += (gap, piece.text)
        blocks.append(Block(piece.kind, at + len(gap), at + len(gap) + len(piece.text)))
        at = blocks[-1].end
        last = piece
    return Section(url, anchor, heading, "".join(parts), tuple(blocks))


def pieces(section: Section) -> Iterator[Piece]:
    """The blocks of SECTION with their text: what `build` made it from."""
    return (Piece(block.kind, section.text[block.start : block.end]) for block in section.blocks)


def block_texts(page: Page) -> set[str]:
    """The texts of PAGE that may turn out to be a menu; headings never are ("Introduction" is not noise)."""
    return {piece.text for section in page.sections for piece in pieces(section) if piece.kind != "heading"}


def repeated(pages: Sequence[Collection[str]]) -> frozenset[str]:
    """The texts that stand on at least half of the PAGES of one origin, and on five of them.

    Each of PAGES is what `block_texts` gives for it. Meant for sites that mark no content element: there
    the whole body is read, menus too, and only the other pages can tell the one from the other.
    """
    counts = Counter(text for page in pages for text in set(page))
    least = max(REPEAT_PAGES, REPEAT_SHARE * len(pages))
    return frozenset(text for text, count in counts.items() if count >= least)


def without(section: Section, repeated: Collection[str]) -> Section:
    """SECTION minus the blocks whose text is in REPEATED; its headings stay."""
    kept = [piece for piece in pieces(section) if piece.kind == "heading" or piece.text not in repeated]
    if len(kept) == len(section.blocks):
        return section
    return build(section.url, section.anchor, section.heading, kept)


@dataclass(slots=True)
class _Draft:
    """A section whose text is still coming."""

    anchor: str
    heading: tuple[str, ...]
    pieces: list[Piece]


def cut(url: str, title: str, parts: Sequence[Heading | Piece]) -> list[Section]:
    """Cut PARTS at the headings that a link can open; the others stay in the text as headings.

    The title needs no line of its own: it heads every section. An h1 before it is the name of the site.
    """
    named = next((n for n, part in enumerate(parts) if isinstance(part, Heading) and _same(part.text, title)), -1)
    path: list[tuple[int, str]] = []
    drafts = [_Draft("", (title,), [])]
    seen = {""}
    for n, part in enumerate(parts):
        if isinstance(part, Piece):
            drafts[-1].pieces.append(part)
            continue
        path = [] if n == named else _nested(path, part)
        if part.anchor not in seen:
            seen.add(part.anchor)
            drafts.append(_Draft(part.anchor, _path(title, path), []))
        elif part.text and n != named and not (n < named and part.level == 1):
            drafts[-1].pieces.append(Piece("heading", f"{'#' * part.level} {part.text}"))
    return [build(url, draft.anchor, draft.heading, draft.pieces) for draft in drafts if draft.anchor or draft.pieces]


def _nested(path: Sequence[tuple[int, str]], heading: Heading) -> list[tuple[int, str]]:
    """PATH with HEADING under the last heading of a higher rank."""
    return [*(above for above in path if above[0] < heading.level), (heading.level, heading.text)]


def _path(title: str, path: Iterable[tuple[int, str]]) -> tuple[str, ...]:
    return (title, *(text for _, text in path if text and not _same(text, title)))


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()


def _gap(last: Piece | None, piece: Piece) -> str:
    """What stands between two blocks: items and rows sit tight, as does a definition under its term."""
    if last is None:
        return ""
    tight = last.kind == piece.kind in ("item", "row") or (piece.kind == "item" and piece.text.startswith(": "))
    return "\n" if tight else "\n\n"
