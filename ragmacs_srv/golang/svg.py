"""A Layout becomes a picture: what lies where, drawn to be read at 8 and at 8,000 bytes, in light and dark.

What is what is told by a pattern beside the colour; a row's height grows with the logarithm of its size, so that a
byte can be read and a page does not fill a wall. Offsets are those of the compiler, never sums of heights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element, SubElement

from .canvas import BLUE, CHARACTER, ORANGE, SKY, Theme, blank, px, write, written
from .layout import Group, Layout, Row, short
from .table import clipped, named

MOST: Final = 200  # rows of a column
LOW, STEP, HIGH = 20.0, 9.0, 120.0  # pixels: of a row of a word, for each doubling, at most
OFFSET, BAR, BRACKET, GAP, MARGIN = 64.0, 44.0, 9.0, 12.0, 16.0  # widths, in pixels
TITLE: Final = 66.0  # pixels above a column
NAMES, TYPES = 40, 44  # characters
RULES: Final = ".more { font-size: 10px; text-anchor: middle; fill: #1b1f24 }"
RULERS: Final = 4  # borders of cache lines that are drawn within one row: the others are counted

KINDS: Final = {"scan": BLUE, "data": SKY, "hole": ORANGE}
MEANINGS: Final = (("scan", "holds pointers"), ("data", "no pointers"), ("hole", "padding"))


def svg(layout: Layout, theme: Theme = "auto") -> str:
    """The picture of LAYOUT, beside it that of the better order if there is one, as an SVG document."""
    columns = [_Column(f"{named(layout)}, as it is", layout.size, layout.ptr_bytes, layout.rows, layout.groups)]
    if best := layout.optimal:
        columns.append(_Column("in a better order", best.size, best.ptr_bytes, best.rows, best.groups))
    width = MARGIN + sum(column.width + 2 * MARGIN for column in columns) - MARGIN
    height = TITLE + max(column.height for column in columns) + 46
    root = blank(width, height, f"{layout.type}: {layout.size} bytes on {layout.goarch}", theme, RULES)
    root.append(_patterns())
    left = MARGIN
    for column in columns:
        column.draw(root, left, layout.cache_line)
        left += column.width + 2 * MARGIN
    _legend(root, height - 16, layout.cache_line)
    return written(root)


@dataclass(frozen=True, slots=True)
class _Place:
    """A row, and where it is drawn."""

    row: Row
    top: float
    height: float


@dataclass(frozen=True, slots=True)
class _Border:
    """Where a cache line begins, and how many more do in the same row that are not drawn."""

    at: int
    y: float
    more: int


class _Column:
    """The rows of one order of the fields, drawn below each other."""

    def __init__(self, title: str, size: int, scanned: int, rows: Sequence[Row], groups: Sequence[Group]) -> None:
        self.title = title
        self.size = size
        self.scanned = scanned
        self.more = len(rows) - MOST
        self.places = list(_placed(rows[:MOST]))
        self.groups = [each for each in groups if any(p.row.start >= each.start for p in self.places)]
        self.depth = max((group.depth for group in self.groups), default=0)
        names = max((len(_label(p.row)) for p in self.places), default=0)
        kinds = max((len(short(p.row.type)) for p in self.places), default=0)
        sizes = max((len(f"{p.row.size:,}") for p in self.places), default=0)
        self.names = (min(names, NAMES) + 2) * CHARACTER
        self.kinds = (min(kinds, TYPES) + 2 + sizes) * CHARACTER
        text = self.names + self.kinds
        self.before = OFFSET + self.depth * BRACKET
        self.width = max(self.before + BAR + GAP + text, (len(title) + 2) * CHARACTER * 1.25, 330.0)
        self.height = (self.places[-1].top + self.places[-1].height if self.places else LOW) + (
            LOW if self.more > 0 else 0
        )

    def draw(self, root: Element, left: float, line: int) -> None:
        """Add the column at LEFT, with a ruler at each LINE bytes."""
        group = SubElement(root, "g", transform=f"translate({px(left)} {px(TITLE)})")
        write(group, 0, -40, self.title, "title")
        holes = sum(place.row.size for place in self.places if place.row.is_padding)
        padding = f", {holes:,} padding" if self.more <= 0 else ""
        write(group, 0, -20, f"{self.size:,} bytes{padding}, {self.scanned:,} scanned", "faint")
        for place in self.places:
            self._row(group, place)
        for each in self.groups:
            self._bracket(group, each)
        for border in _borders(self.places, line):
            self._ruler(group, border, line)
        if self.more > 0:
            write(group, self.before, self.height - 5, f"+{self.more} more rows, to byte {self.size:,}", "faint")

    def _row(self, parent: Element, place: _Place) -> None:
        row, middle = place.row, place.top + place.height / 2 + 4
        group = SubElement(parent, "g")
        SubElement(group, "title").text = _told(row)
        shape = {"x": px(self.before), "y": px(place.top), "width": px(BAR), "height": px(place.height - 1)}
        kind = "hole" if row.is_padding else "scan" if row.ptr_bytes else "data"
        SubElement(group, "rect", shape | {"fill": f"url(#{kind})", "rx": "2"})
        write(group, OFFSET - 10, min(middle, place.top + 14), f"{row.start:,}", "faint end")
        at = self.before + BAR + GAP
        write(group, at, middle, clipped(_label(row), NAMES), "faint" if row.is_padding else "name")
        write(group, at + self.names, middle, clipped(short(row.type), TYPES), "faint")
        write(group, at + self.names + self.kinds, middle, f"{row.size:,}", "faint end")

    def _bracket(self, parent: Element, group: Group) -> None:
        """A struct inside: a bracket beside its rows."""
        inside = [p for p in self.places if group.start <= p.row.start and p.row.end <= group.end]
        if not inside:
            return
        x = OFFSET + (group.depth - 1) * BRACKET + 2
        top, bottom = inside[0].top + 1, inside[-1].top + inside[-1].height - 2
        path = SubElement(parent, "path", attrib={"class": "axis"})
        path.set("d", f"M {px(x + 5)} {px(top)} H {px(x)} V {px(bottom)} H {px(x + 5)}")
        SubElement(path, "title").text = f"{group.name} {short(group.type)}: bytes {group.start} to {group.end}"

    def _ruler(self, parent: Element, border: _Border, line: int) -> None:
        """The border of a cache line of LINE bytes; where more follow in the same row, their number."""
        ends = {"x1": px(self.before - 4), "x2": px(self.before + BAR + 6), "y1": px(border.y), "y2": px(border.y)}
        drawn = SubElement(parent, "line", ends | {"class": "ruler"})
        SubElement(drawn, "title").text = f"byte {border.at:,}: a border of cache lines of {line}"
        if border.more:
            middle = self.before + BAR / 2
            write(parent, middle, border.y + 14, f"+{border.more:,}", "more")


def _placed(rows: Sequence[Row]) -> Iterator[_Place]:
    top = 0.0
    for row in rows:
        height = LOW if row.size <= 8 else min(HIGH, LOW + STEP * math.log2(row.size / 8))
        yield _Place(row, top, height)
        top += height


def _borders(places: Sequence[_Place], line: int) -> Iterator[_Border]:
    """The borders between cache lines of LINE bytes; of those within one row the first few."""
    for place in places:
        row = place.row
        inside = range(-(-row.start // line) * line or line, row.end, line)
        for at in inside[:RULERS]:
            last = at == inside[:RULERS][-1]
            y = place.top + place.height * (at - row.start) / row.size - 0.5
            yield _Border(at, y, len(inside) - RULERS if last and len(inside) > RULERS else 0)


def _label(row: Row) -> str:
    return "(padding)" if row.is_padding else row.name.partition(".")[2] or row.name


def _told(row: Row) -> str:
    """What a pointer over a row shows."""
    where = f"bytes {row.start:,} to {row.end:,} (0x{row.start:x}), {row.size:,} long"
    if row.is_padding:
        return f"padding: {where}"
    scanned = f", {row.ptr_bytes:,} scanned" if row.ptr_bytes else ""
    return f"{row.name} {row.type}: {where}, aligned to {row.align}{scanned}"


def _legend(root: Element, y: float, line: int) -> None:
    left = MARGIN
    for kind, meaning in MEANINGS:
        shape = {"x": px(left), "y": px(y - 11), "width": "14", "height": "14", "fill": f"url(#{kind})", "rx": "2"}
        SubElement(root, "rect", shape)
        write(root, left + 20, y, meaning, "faint")
        left += 36 + len(meaning) * CHARACTER
    ends = {"x1": px(left), "x2": px(left + 24), "y1": px(y - 4), "y2": px(y - 4)}
    SubElement(root, "line", ends | {"class": "ruler"})
    write(root, left + 30, y, f"cache lines of {line}", "faint")


def _patterns() -> Element:
    """A texture for each kind, so that colour is not needed to tell them apart."""
    made = Element("defs")
    for kind, texture in (("scan", "M0 3 H6"), ("data", ""), ("hole", "M-1 7 L7 -1")):
        pattern = SubElement(made, "pattern", id=kind, width="6", height="6", patternUnits="userSpaceOnUse")
        SubElement(pattern, "rect", width="6", height="6", fill=KINDS[kind], attrib={"fill-opacity": "0.85"})
        if texture:
            SubElement(pattern, "path", d=texture, stroke="#ffffff", attrib={"stroke-opacity": "0.65"})
    return made
