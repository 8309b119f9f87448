"""A Layout becomes a picture: what lies where, drawn to be read at 8 and at 8,000 bytes, in light and dark.

What is what is told by a pattern beside the colour; a row's height grows with the logarithm of its size, so that a
byte can be read and a page does not fill a wall. Offsets are those of the compiler, never sums of heights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from ..errors import InvalidParams
from .layout import Group, Layout, Row, short
from .table import clipped, named

Theme = Literal["auto", "light", "dark"]

MOST: Final = 200  # rows of a column
CHARACTER: Final = 7.25  # pixels, of the monospaced 12 px
LOW, STEP, HIGH = 20.0, 9.0, 120.0  # pixels: of a row of a word, for each doubling, at most
OFFSET, BAR, BRACKET, GAP, MARGIN = 64.0, 44.0, 9.0, 12.0, 16.0  # widths, in pixels
TITLE: Final = 66.0  # pixels above a column
NAMES, TYPES = 40, 44  # characters
RULERS: Final = 4  # borders of cache lines that are drawn within one row: the others are counted

# Of Okabe and Ito, who chose them for all kinds of colour vision.
LIGHT: Final = {"ground": "#ffffff", "ink": "#1b1f24", "faint": "#6b7280", "line": "#c026a3"}
DARK: Final = {"ground": "#16191d", "ink": "#e8eaed", "faint": "#9aa3ad", "line": "#f472d0"}
KINDS: Final = {"scan": "#0072b2", "data": "#7cc4ec", "hole": "#e69f00"}
MEANINGS: Final = (("scan", "holds pointers"), ("data", "no pointers"), ("hole", "padding"))


def theme(name: str) -> Theme:
    """NAME, if it is a theme; raises InvalidParams."""
    for each in ("auto", "light", "dark"):
        if name == each:
            return each
    raise InvalidParams(f"there is no theme {name!r}", hint="auto, light or dark")


def svg(layout: Layout, theme: Theme = "auto") -> str:
    """The picture of LAYOUT, beside it that of the better order if there is one, as an SVG document.

    `auto` follows the reader's preference where the viewer tells it; Emacs does not.
    """
    columns = [_Column(f"{named(layout)}, as it is", layout.size, layout.ptr_bytes, layout.rows, layout.groups)]
    if best := layout.optimal:
        columns.append(_Column("in a better order", best.size, best.ptr_bytes, best.rows, best.groups))
    width = MARGIN + sum(column.width + 2 * MARGIN for column in columns) - MARGIN
    height = TITLE + max(column.height for column in columns) + 46
    root = Element("svg", xmlns="http://www.w3.org/2000/svg", width=_px(width), height=_px(height), role="img")
    root.set("viewBox", f"0 0 {_px(width)} {_px(height)}")
    SubElement(root, "title").text = f"{layout.type}: {layout.size} bytes on {layout.goarch}"
    SubElement(root, "style").text = _style(theme)
    root.append(_patterns())
    SubElement(root, "rect", width="100%", height="100%", attrib={"class": "ground"})
    left = MARGIN
    for column in columns:
        column.draw(root, left, layout.cache_line)
        left += column.width + 2 * MARGIN
    _legend(root, height - 16, layout.cache_line)
    ElementTree.indent(root, " ")
    return ElementTree.tostring(root, encoding="unicode") + "\n"


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
        group = SubElement(root, "g", transform=f"translate({_px(left)} {_px(TITLE)})")
        _text(group, 0, -40, self.title, "title")
        holes = sum(place.row.size for place in self.places if place.row.is_padding)
        padding = f", {holes:,} padding" if self.more <= 0 else ""
        _text(group, 0, -20, f"{self.size:,} bytes{padding}, {self.scanned:,} scanned", "faint")
        for place in self.places:
            self._row(group, place)
        for each in self.groups:
            self._bracket(group, each)
        for border in _borders(self.places, line):
            self._ruler(group, border, line)
        if self.more > 0:
            _text(group, self.before, self.height - 5, f"+{self.more} more rows, to byte {self.size:,}", "faint")

    def _row(self, parent: Element, place: _Place) -> None:
        row, middle = place.row, place.top + place.height / 2 + 4
        group = SubElement(parent, "g")
        SubElement(group, "title").text = _told(row)
        shape = {"x": _px(self.before), "y": _px(place.top), "width": _px(BAR), "height": _px(place.height - 1)}
        kind = "hole" if row.is_padding else "scan" if row.ptr_bytes else "data"
        SubElement(group, "rect", shape | {"fill": f"url(#{kind})", "rx": "2"})
        _text(group, OFFSET - 10, min(middle, place.top + 14), f"{row.start:,}", "faint end")
        at = self.before + BAR + GAP
        _text(group, at, middle, clipped(_label(row), NAMES), "faint" if row.is_padding else "name")
        _text(group, at + self.names, middle, clipped(short(row.type), TYPES), "faint")
        _text(group, at + self.names + self.kinds, middle, f"{row.size:,}", "faint end")

    def _bracket(self, parent: Element, group: Group) -> None:
        """A struct inside: a bracket beside its rows."""
        inside = [p for p in self.places if group.start <= p.row.start and p.row.end <= group.end]
        if not inside:
            return
        x = OFFSET + (group.depth - 1) * BRACKET + 2
        top, bottom = inside[0].top + 1, inside[-1].top + inside[-1].height - 2
        path = SubElement(parent, "path", attrib={"class": "bracket"})
        path.set("d", f"M {_px(x + 5)} {_px(top)} H {_px(x)} V {_px(bottom)} H {_px(x + 5)}")
        SubElement(path, "title").text = f"{group.name} {short(group.type)}: bytes {group.start} to {group.end}"

    def _ruler(self, parent: Element, border: _Border, line: int) -> None:
        """The border of a cache line of LINE bytes; where more follow in the same row, their number."""
        ends = {"x1": _px(self.before - 4), "x2": _px(self.before + BAR + 6), "y1": _px(border.y), "y2": _px(border.y)}
        drawn = SubElement(parent, "line", ends | {"class": "ruler"})
        SubElement(drawn, "title").text = f"byte {border.at:,}: a border of cache lines of {line}"
        if border.more:
            middle = self.before + BAR / 2
            _text(parent, middle, border.y + 14, f"+{border.more:,}", "more")


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
        shape = {"x": _px(left), "y": _px(y - 11), "width": "14", "height": "14", "fill": f"url(#{kind})", "rx": "2"}
        SubElement(root, "rect", shape)
        _text(root, left + 20, y, meaning, "faint")
        left += 36 + len(meaning) * CHARACTER
    ends = {"x1": _px(left), "x2": _px(left + 24), "y1": _px(y - 4), "y2": _px(y - 4)}
    SubElement(root, "line", ends | {"class": "ruler"})
    _text(root, left + 30, y, f"cache lines of {line}", "faint")


def _patterns() -> Element:
    """A texture for each kind, so that colour is not needed to tell them apart."""
    made = Element("defs")
    for kind, texture in (("scan", "M0 3 H6"), ("data", ""), ("hole", "M-1 7 L7 -1")):
        pattern = SubElement(made, "pattern", id=kind, width="6", height="6", patternUnits="userSpaceOnUse")
        SubElement(pattern, "rect", width="6", height="6", fill=KINDS[kind], attrib={"fill-opacity": "0.85"})
        if texture:
            SubElement(pattern, "path", d=texture, stroke="#ffffff", attrib={"stroke-opacity": "0.65"})
    return made


def _style(theme: Theme) -> str:
    colours = _colours(DARK if theme == "dark" else LIGHT)
    dark = f" @media (prefers-color-scheme: dark) {{ {_colours(DARK)} }}" if theme == "auto" else ""
    fixed = (
        "text { font: 12px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; white-space: pre }"
        " .title { font-size: 15px; font-weight: bold } .end { text-anchor: end }"
        " .more { font-size: 10px; text-anchor: middle; fill: #1b1f24 }"
        " .bracket { fill: none; stroke-width: 1.2 } .ruler { stroke-width: 1.4; stroke-dasharray: 4 2 }"
    )
    return f"{fixed} {colours}{dark}"


def _colours(of: dict[str, str]) -> str:
    return (
        f".ground {{ fill: {of['ground']} }} .name, .title {{ fill: {of['ink']} }} .faint {{ fill: {of['faint']} }}"
        f" .bracket {{ stroke: {of['faint']} }} .ruler {{ stroke: {of['line']} }}"
    )


def _text(parent: Element, x: float, y: float, text: str, kind: str) -> None:
    # What XML cannot hold cannot be in an identifier of Go, but a path may have it.
    clean = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    SubElement(parent, "text", x=_px(x), y=_px(y), attrib={"class": kind}).text = clean


def _px(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")
