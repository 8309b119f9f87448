"""Turn an Info manual into sections, one for each of its nodes, and the names of nodes into anchors and back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ..model import Section
from . import charset, infotext
from .sections import Piece, build

DEEPEST: Final = 20  # nodes above a node; a manual whose nodes stand above each other in a circle has endlessly many

_SEPARATOR: Final = "\x1f"
_CODING: Final = re.compile(rb"^coding: *([\w-]+)", re.M)
_NAME: Final = r"[ \t]*(?:\x7f([^\x7f\n]*)\x7f|([^,\t\n]*))"  # names with commas in them are quoted
_NODE: Final = re.compile(rf"(?:File:[^\n]*?[,\t] *)?Node:{_NAME}")
_UP: Final = re.compile(rf"[,\t] *Up:{_NAME}")
_ENTRY: Final = re.compile(r"START-INFO-DIR-ENTRY\n\* ([^:\n]+): *\(")
_PLAIN: Final = re.compile(r"[A-Za-z0-9]")
_ENCODED: Final = re.compile(r"__([0-9a-f]{6})|_([0-9a-f]{4})|(-)", re.I)


@dataclass(frozen=True, slots=True)
class Node:
    """A node: its name, that of the node above it or "", its heading or "", and its blocks."""

    name: str
    up: str
    heading: str
    pieces: tuple[Piece, ...]


def encode(name: str) -> str:
    """NAME of a node as in the HTML cross references of Texinfo: it holds no blanks, and can be turned back."""
    return "".join(map(_encoded, name))


def decode(anchor: str) -> str:
    """The name of the node at ANCHOR."""
    return _ENCODED.sub(lambda found: " " if found[3] else chr(int(found[1] or found[2], 16)), anchor)


def text(body: bytes) -> str:
    """BODY, the bytes of a manual, as the text that its last lines say it is."""
    coding = _CODING.search(body, max(len(body) - 3000, 0))
    return charset.decode(body, coding[1].decode("ascii") if coding else "")


def nodes(text: str) -> Iterator[Node]:
    """The nodes of a manual, by what separates them: a tag table may lag behind its text."""
    for part in text.split(_SEPARATOR)[1:]:
        header, _, rest = part.lstrip("\f\n").partition("\n")
        if found := _NODE.match(header):
            up = _UP.search(header)
            above = _joined(up) if up else ""
            heading, pieces = infotext.read(rest.split("\n"))
            yield Node(_joined(found), "" if above.startswith("(") else above, heading, tuple(pieces))


def sections(url: str, text: str, *, default: str) -> tuple[str, list[Section]]:
    """The title of the manual TEXT, DEFAULT when it tells none, and its sections, each node once."""
    known: dict[str, Node] = {}
    for each in nodes(text):
        known.setdefault(each.name, each)
    entry = _ENTRY.search(text)
    top = known.get("Top")
    title = (top.heading if top else "") or (entry[1].strip() if entry else default)
    return title, [build(url, encode(each.name), (title, *_path(each, known)), each.pieces) for each in known.values()]


def _path(node: Node, known: Mapping[str, Node]) -> tuple[str, ...]:
    """The headings from below the top of the manual down to NODE."""
    path: list[str] = []
    at: Node | None = node
    while at and at.name != "Top" and len(path) < DEEPEST:
        path.append(at.heading or at.name)
        at = known.get(at.up)
    return tuple(reversed(path))


def _encoded(letter: str) -> str:
    if _PLAIN.match(letter):
        return letter
    return "-" if letter == " " else f"_{ord(letter):04x}" if ord(letter) <= 0xFFFF else f"__{ord(letter):06x}"


def _joined(found: re.Match[str]) -> str:
    return " ".join((found[1] or found[2] or "").split())
